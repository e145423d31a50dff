"""Array types and trading days. Knows numpy alone; nothing of tickers, files or models."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from encash.errors import InputError

Bool = NDArray[np.bool_]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Text = NDArray[np.str_]
Days = NDArray[np.datetime64]
"""Calendar days: a numpy array of dtype ``datetime64[D]``."""

DayLike = str | dt.date | np.datetime64
"""One calendar day: ``"2024-01-02"``, a `datetime.date` or a numpy day."""

_WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def to_day(day: DayLike) -> np.datetime64:
    """One calendar day.

    Raises:
        InputError: it is no day, or text of another form than YYYY-MM-DD.

    >>> to_day("2024-01-02")
    np.datetime64('2024-01-02')
    """
    result = np.datetime64("NaT", "D")
    if not isinstance(day, str) or _WRITTEN_DAY.fullmatch(day):  # numpy takes 20240102 for a year, 2024-01 for a day
        with suppress(ValueError, TypeError):
            result = np.datetime64(day).astype("datetime64[D]")
    if np.isnat(result):
        raise InputError(f"{day!r} is not a day; expected YYYY-MM-DD, such as 2024-01-02")
    return result


def to_days(days: Sequence[DayLike] | Days) -> Days:
    """Many calendar days, in the order given.

    >>> to_days(["2024-01-02", "2024-01-03"])
    array(['2024-01-02', '2024-01-03'], dtype='datetime64[D]')
    """
    if isinstance(days, np.ndarray) and days.dtype == "datetime64[D]":
        return days
    return np.array([to_day(day) for day in days], dtype="datetime64[D]")


def day_text(day: DayLike) -> str:
    """A day as YYYY-MM-DD.

    >>> day_text(np.datetime64("2024-01-02"))
    '2024-01-02'
    """
    return str(to_day(day))


def positions(sorted_keys: NDArray[np.generic], wanted: NDArray[np.generic]) -> Int64:
    """The place of each wanted key among sorted, distinct keys; −1 where it is not among them.

    >>> positions(np.array([2, 4, 6]), np.array([4, 5, 6]))
    array([ 1, -1,  2])
    """
    if len(sorted_keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[place] == wanted, place, -1).astype(np.int64)
