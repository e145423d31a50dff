"""Array types and calendar days."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from encash.errors import InputError, shown

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
"""One calendar day, as `to_day` reads it: ``"2024-01-02"``, a `datetime.date`, a ``datetime64``, or a midnight."""

_WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LONGER_UNITS = ("Y", "M", "W")


def to_day(day: DayLike) -> np.datetime64:
    """Return one calendar day as ``datetime64[D]``.

    An instant (a `datetime.datetime`, a pandas Timestamp, a ``datetime64`` of a finer unit) counts as a day only at
    midnight, as it is written: a time zone is ignored, never converted. Any other instant is refused, because its day
    depends on a time zone that only the caller knows.

    Raises:
        InputError: not a day, text of a form other than YYYY-MM-DD, an instant other than midnight, or a month or year.

    >>> to_day("2024-01-02")
    np.datetime64('2024-01-02')
    >>> to_day(dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-5))))
    np.datetime64('2024-01-02')
    """
    instant: np.datetime64 = np.datetime64("NaT", "D")
    with suppress(ValueError, TypeError):  # a date that no calendar has, and the NaT of pandas
        match day:
            case str() if _WRITTEN_DAY.fullmatch(day):  # numpy would take 20240102 for a year
                instant = np.datetime64(day, "D")
            case dt.datetime():
                instant = np.datetime64(day.replace(tzinfo=None), "us")
                if nanoseconds := getattr(day, "nanosecond", 0):  # of a pandas Timestamp
                    instant += np.timedelta64(nanoseconds, "ns")
            case dt.date():
                instant = np.datetime64(day, "D")
            case np.datetime64() if np.datetime_data(day.dtype)[0] not in _LONGER_UNITS:
                instant = day
    result: np.datetime64 = instant.astype("datetime64[D]")
    if np.isnat(result):
        raise InputError(f"{shown(day)} is not a day; expected YYYY-MM-DD, such as 2024-01-02")
    if result != instant:
        raise InputError(
            f"{shown(day)} has a time of day; expected a day, or midnight: pass the date of its trading session"
        )
    return result


def to_days(days: Sequence[DayLike] | Days) -> Days:
    """Return calendar days in the given order, shape (n,); the rules are those of `to_day`.

    Raises:
        InputError: as `to_day`, for the first item that is not a day.

    >>> to_days(["2024-01-02", "2024-01-03"])
    array(['2024-01-02', '2024-01-03'], dtype='datetime64[D]')
    """
    if not isinstance(days, np.ndarray) or days.dtype.kind != "M":
        return np.array([to_day(day) for day in days], dtype="datetime64[D]")
    whole: Days = days.astype("datetime64[D]", copy=False)
    unit = np.datetime_data(days.dtype)[0]
    is_day = ~np.isnat(whole) if unit == "D" else (whole == days) & (unit not in _LONGER_UNITS)
    if not is_day.all():
        to_day(days[~is_day][0])
    return whole


def day_text(day: DayLike) -> str:
    """Return a day as YYYY-MM-DD.

    Raises:
        InputError: as `to_day`.

    >>> day_text(np.datetime64("2024-01-02"))
    '2024-01-02'
    """
    return str(to_day(day))


def positions(sorted_keys: NDArray[np.generic], wanted: NDArray[np.generic]) -> Int64:
    """Return the position of each wanted key among sorted, distinct keys, −1 if it is absent; shape of `wanted`.

    >>> positions(np.array([2, 4, 6]), np.array([4, 5, 6]))
    array([ 1, -1,  2])
    """
    if len(sorted_keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    found = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[found] == wanted, found, -1).astype(np.int64)


def runs_of_rows(values: Float32, starts: Int64, length: int) -> Float32:
    """Copy runs of consecutive rows.

    Args:
        values: shape (R, F).
        starts: the first row of each run, from 0 to R − length; shape (n,).
        length: rows in a run (L).

    Returns:
        shape (n, L, F); only these n × L × F × 4 bytes are allocated.

    >>> runs_of_rows(np.array([[1], [2], [3]], dtype=np.float32), np.array([1, 0]), 2)[:, :, 0].tolist()
    [[2.0, 3.0], [1.0, 2.0]]
    """
    width = values.shape[1]
    if len(starts) == 0:
        return np.empty((0, length, width), dtype=np.float32)
    # Overlapping views of L × F consecutive floats: indexing them copies each run as one block of memory.
    flat = np.ascontiguousarray(values).reshape(-1)
    every = np.lib.stride_tricks.sliding_window_view(flat, length * width)[::width]
    return every[starts].reshape(-1, length, width)
