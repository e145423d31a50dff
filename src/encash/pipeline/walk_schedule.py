"""The schedule of a walk: when each encoder is trained, and on which days it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from encash.arrays import DayLike, Days, day_text, to_day
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Time from one training to the next."""

    count: int
    unit: Literal["sessions", "years"] = "sessions"

    def __post_init__(self) -> None:
        """Refuse an interval that does not move on.

        Raises:
            InputError: a count below 1.
        """
        if self.count < 1:
            raise InputError(f"an encoder every {self.count} {self.unit}: expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The days of one encoder of a walk. All of them are sessions."""

    train_end: np.datetime64
    """Last day that its training, the fit of its clusters and their ranking may know."""
    first_entry: np.datetime64
    """First day of its cache, from which its clusters are fitted and ranked."""
    first_day: np.datetime64
    """First day on which it may be used: an embargo after `train_end`."""
    last_day: np.datetime64
    """Last day on which it is used, and of its cache."""


def schedule(
    sessions: Days, first: DayLike, every: Interval, *, embargo: int, window: int, end: DayLike | None = None
) -> tuple[Stretch, ...]:
    """Return the stretches of a walk; an encoder that no session may use is not trained.

    Args:
        sessions: trading days, ascending.
        first: end of the first training, or a day after the session that is.
        every: time from one training to the next.
        embargo: sessions from the end of a training to the first day on which the encoder is used.
        window: sessions, up to the end of the training, on which clusters are fitted and ranked.
        end: last day on which an encoder is used; None is the last session.

    Raises:
        InputError: no session by the end of the first training, none that may use the encoder, or an empty window.

    >>> days = np.arange("2024-01-01", "2024-01-15", dtype="datetime64[D]")
    >>> for one in schedule(days, "2024-01-04", Interval(count=4), embargo=2, window=3):
    ...     print(one.train_end, one.first_entry, one.first_day, one.last_day)
    2024-01-04 2024-01-02 2024-01-06 2024-01-09
    2024-01-08 2024-01-06 2024-01-10 2024-01-13
    2024-01-12 2024-01-10 2024-01-14 2024-01-14
    """
    if window < 1:
        raise InputError(f"clusters look back over {window} sessions; expected 1 or more")
    stop = len(sessions) if end is None else int(np.searchsorted(sessions, to_day(end), side="right"))
    ends: list[int] = []
    for place in _train_ends(sessions, to_day(first), every):
        if place + max(1, embargo) >= stop:
            break
        if place not in ends[-1:]:  # a year without sessions
            ends.append(place)
    if not ends or ends[0] < 0:
        known = f"{day_text(sessions[0])} to {day_text(sessions[stop - 1])}" if stop else "none"
        raise InputError(
            f"the first training ends on {day_text(first)}, and an encoder may be used {embargo} sessions later; the "
            f"sessions are {known}: give a day within them that leaves more sessions after it"
        )
    last_days = [later + embargo - 1 for later in ends[1:]] + [stop - 1]
    return tuple(
        Stretch(
            train_end=sessions[place],
            first_entry=sessions[max(0, place + 1 - window)],
            first_day=sessions[place + embargo],
            last_day=sessions[last],
        )
        for place, last in zip(ends, last_days, strict=True)
    )


def _train_ends(sessions: Days, first: np.datetime64, every: Interval) -> Iterator[int]:
    """Yield the position of the session on which each training ends, without end; −1 if the first has none."""
    start = int(np.searchsorted(sessions, first, side="right")) - 1
    for number in count():
        if every.unit == "sessions":
            yield start + number * every.count
        else:
            yield int(np.searchsorted(sessions, _years_later(first, number * every.count), side="right")) - 1


def _years_later(day: np.datetime64, years: int) -> np.datetime64:
    """Return the same day some years later; for February 29 that may be March 1.

    >>> _years_later(np.datetime64("2016-02-29"), 1), _years_later(np.datetime64("2016-12-31"), 2)
    (np.datetime64('2017-03-01'), np.datetime64('2018-12-31'))
    """
    month = day.astype("datetime64[M]")
    later: np.datetime64 = (month + np.timedelta64(12 * years, "M")).astype("datetime64[D]") + (
        day - month.astype("datetime64[D]")
    )
    return later
