"""Which days and tickers a command works on. Knows names and dates, not what is cached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from encash.arrays import DayLike, Days, day_text, to_day
from encash.errors import InputError, UnknownKeyError

DAYS_OF_A_MONTH = 30


class SelectionFields(TypedDict, total=False):
    """The fields of a `Selection`, as keywords of the methods that take one."""

    start: DayLike | None
    end: DayLike | None
    months: int | None
    tickers: tuple[str, ...] | None
    num_stocks: int | None
    skip: int | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A range of days and a choice of tickers.

    Stages: tickers are taken by name. ``num_stocks=500`` alone is the last 500 by name. With ``skip`` the count runs
    from the front: ``skip=0, num_stocks=500`` is the first 500, ``skip=500, num_stocks=500`` the next 500, and
    ``skip=1000`` alone is all the rest.

    >>> Selection(num_stocks=2).choose_tickers(["D", "B", "A", "C"])
    ('C', 'D')
    >>> Selection(num_stocks=2, skip=0).choose_tickers(["D", "B", "A", "C"])
    ('A', 'B')
    >>> Selection(skip=1).choose_tickers(["D", "B", "A", "C"])
    ('B', 'C', 'D')
    """

    start: DayLike | None = None
    """First day, that day included."""
    end: DayLike | None = None
    """Last day, that day included."""
    months: int | None = None
    """The last N months of 30 calendar days each, counted back from `end`, else from the last session."""
    tickers: tuple[str, ...] | None = None
    """These alone; None takes all of them."""
    num_stocks: int | None = None
    """This many tickers: the last by name, or, where `skip` is given, those that follow the skipped."""
    skip: int | None = None
    """Without the first so many by name; 0 counts from the front and skips none."""

    def __post_init__(self) -> None:
        if self.months is not None and self.start is not None:
            raise InputError("both months and start are given; they say two things about the first day: give one")
        for name, least in (("months", 1), ("num_stocks", 1), ("skip", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; expected {least} or more")

    def choose_days(self, sessions: Days) -> Days:
        """The sessions of this range, ascending.

        Raises:
            InputError: there are none.
        """
        if len(sessions) == 0:
            raise InputError("the data have no session at all")
        last = sessions[-1] if self.end is None else to_day(self.end)
        first = sessions[0] if self.start is None else to_day(self.start)
        if self.months is not None:
            first = last - np.timedelta64(DAYS_OF_A_MONTH * self.months, "D")
        chosen = sessions[np.searchsorted(sessions, first) : np.searchsorted(sessions, last, side="right")]
        if len(chosen) == 0:
            raise InputError(
                f"no session from {day_text(first)} to {day_text(last)}; the data reach from "
                f"{day_text(sessions[0])} to {day_text(sessions[-1])}"
            )
        return chosen

    def choose_tickers(self, names: Iterable[str]) -> tuple[str, ...]:
        """The tickers of this choice among all names, ascending and distinct.

        Raises:
            UnknownKeyError: a ticker that is not among the names.
            InputError: none is left.
        """
        every = sorted(set(names))
        chosen = every if self.tickers is None else sorted(set(self.tickers))
        if unknown := set(chosen) - set(every):
            raise UnknownKeyError(
                f"the data have no ticker {min(unknown)!r} ({len(unknown)} of the {len(chosen)} asked for are unknown)"
            )
        if self.skip is not None:
            left = chosen[self.skip :][: self.num_stocks]
        else:
            left = chosen if self.num_stocks is None else chosen[-self.num_stocks :]
        if not left:
            raise InputError(f"no ticker is left: {len(chosen)} to choose from, skip {self.skip}")
        return tuple(left)


def one_selection(selection: Selection | None, fields: SelectionFields) -> Selection:
    """The selection, or the one with these fields; what all methods take that take either.

    Raises:
        InputError: both are given.
    """
    if selection is not None and fields:
        raise InputError(f"both a selection and {', '.join(sorted(fields))} are given; give one of them")
    if selection is None:
        names = fields.get("tickers")
        return replace(Selection(**fields), tickers=None if names is None else tuple(names))
    return selection
