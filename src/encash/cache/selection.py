"""Select days and tickers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict, get_type_hints

import numpy as np

from encash.arguments import read
from encash.arrays import DayLike, Days, day_text, to_day
from encash.errors import InputError, UnknownKeyError

DAYS_OF_A_MONTH = 30


class SelectionFields(TypedDict, total=False):
    """Fields of a `Selection`, as keywords of the methods that take one."""

    start: DayLike | None
    end: DayLike | None
    months: int | None
    tickers: tuple[str, ...] | None
    num_stocks: int | None
    skip: int | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A range of days and a choice of tickers.

    Tickers are counted by name, so that a build can be done in stages. ``num_stocks=500`` without ``skip`` selects the
    last 500. With ``skip``, the count starts at the front: ``skip=0, num_stocks=500`` selects the first 500,
    ``skip=500, num_stocks=500`` the next 500, and ``skip=1000`` all the rest.

    >>> Selection(num_stocks=2).choose_tickers(["D", "B", "A", "C"])
    ('C', 'D')
    >>> Selection(num_stocks=2, skip=0).choose_tickers(["D", "B", "A", "C"])
    ('A', 'B')
    >>> Selection(skip=1).choose_tickers(["D", "B", "A", "C"])
    ('B', 'C', 'D')
    """

    start: DayLike | None = None
    """First day, inclusive."""
    end: DayLike | None = None
    """Last day, inclusive."""
    months: int | None = None
    """The last N months of 30 calendar days each, counted back from `end`, else from the last session."""
    tickers: tuple[str, ...] | None = None
    """Only these; None selects all."""
    num_stocks: int | None = None
    """Number of tickers: the last N by name, or, with `skip`, the N after the skipped ones."""
    skip: int | None = None
    """Leave out the first N by name; 0 counts from the front and skips none."""

    def __post_init__(self) -> None:
        if self.months is not None and self.start is not None:
            raise InputError("both months and start are given, and each sets the first day; give one")
        for name, hint in get_type_hints(Selection).items():
            object.__setattr__(self, name, read(name, getattr(self, name), hint))
        for name, least in (("months", 1), ("num_stocks", 1), ("skip", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; expected {least} or more")

    def choose_days(self, sessions: Days) -> Days:
        """Return the sessions of this range, ascending.

        Args:
            sessions: all sessions, ascending.

        Raises:
            InputError: there are none.
        """
        if len(sessions) == 0:
            raise InputError("the data have no sessions; give a file with prices")
        last = sessions[-1] if self.end is None else to_day(self.end)
        first = sessions[0] if self.start is None else to_day(self.start)
        if self.months is not None:
            first = last - np.timedelta64(DAYS_OF_A_MONTH * self.months, "D")
        chosen = sessions[np.searchsorted(sessions, first) : np.searchsorted(sessions, last, side="right")]
        if len(chosen) == 0:
            raise InputError(
                f"no session from {day_text(first)} to {day_text(last)}; choose days within the data, "
                f"{day_text(sessions[0])} to {day_text(sessions[-1])}"
            )
        return chosen

    def choose_tickers(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the selected tickers among all names, ascending and distinct.

        Raises:
            UnknownKeyError: a ticker that is not among the names.
            InputError: none is left.
        """
        every = sorted(set(names))
        chosen = every if self.tickers is None else sorted(set(self.tickers))
        if unknown := set(chosen) - set(every):
            raise UnknownKeyError(
                f"the data have no ticker {min(unknown)!r} ({len(unknown)} of the {len(chosen)} requested are unknown)"
            )
        if self.skip is not None:
            left = chosen[self.skip :][: self.num_stocks]
        else:
            left = chosen if self.num_stocks is None else chosen[-self.num_stocks :]
        if not left:
            raise InputError(f"no ticker is left: {len(chosen)} to choose from, skip {self.skip}")
        return tuple(left)

    def describe(self, names: Iterable[str]) -> str | None:
        """Say which tickers are selected, if only a number of them is; None otherwise.

        >>> Selection(num_stocks=2).describe(["D", "B", "A", "C"])
        'the last 2 of 4 tickers by name: C to D'
        >>> Selection(num_stocks=2, skip=1).describe(["D", "B", "A", "C"])
        'tickers 2 to 3 of 4 by name: B to C'
        """
        if self.num_stocks is None and self.skip is None:
            return None
        chosen = self.choose_tickers(names)
        every = len(set(names) if self.tickers is None else set(self.tickers))
        ends = f"{chosen[0]} to {chosen[-1]}"
        if self.skip is None:
            return f"the last {len(chosen):,} of {every:,} tickers by name: {ends}"
        return f"tickers {self.skip + 1:,} to {self.skip + len(chosen):,} of {every:,} by name: {ends}"


def one_selection(selection: Selection | None, fields: SelectionFields) -> Selection:
    """Return the selection, or the one with these fields, for methods that accept either.

    Raises:
        InputError: both are given.
    """
    if selection is not None and fields:
        raise InputError(f"both a selection and {', '.join(sorted(fields))} are given; give one of them")
    if selection is None:
        return Selection(**fields)
    return selection
