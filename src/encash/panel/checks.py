"""Checks of features and prices, in files and in memory: invalid dates, shapes and prices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encash.arrays import Days, Float64
from encash.errors import FormatError

_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9)
_DASHES = (4, 7)


def days_from_bytes(ticker: str, dates: NDArray[np.bytes_]) -> Days:
    """Return dates in bytes ``YYYY-MM-DD`` as days.

    Raises:
        FormatError: a date in a different format, or one that does not exist.

    >>> days_from_bytes("A", np.array([b"2024-02-29"]))
    array(['2024-02-29'], dtype='datetime64[D]')
    """
    width = dates.dtype.itemsize
    if width < 10 and len(dates):
        raise _bad_date(ticker, dates[0])
    letters = np.ascontiguousarray(dates).view(np.uint8).reshape(len(dates), width)
    digits, dashes = letters[:, _DIGITS], letters[:, _DASHES]
    formed = ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=1) & (dashes == ord("-")).all(axis=1)
    formed &= ~letters[:, 10:].any(axis=1)
    if not formed.all():
        raise _bad_date(ticker, dates[np.argmin(formed)])
    try:
        days: Days = dates.astype("S10").astype("datetime64[D]")
    except ValueError as error:
        raise FormatError(f"{ticker!r} has a date that does not exist ({error}); write its dates again") from None
    return days


def check_days(ticker: str, days: Days) -> None:
    """Refuse days that are not ascending and distinct.

    Raises:
        FormatError: a duplicate, unsorted or missing (NaT) day.
    """
    if np.isnat(days).any():
        raise FormatError(f"{ticker!r}: row {int(np.argmax(np.isnat(days)))} has no date; expected YYYY-MM-DD")
    steps = np.diff(days.view(np.int64))
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        what = "duplicate" if steps[at] == 0 else "unsorted"
        raise FormatError(
            f"{ticker!r} has {what} dates: {days[at + 1]} follows {days[at]} in row {at + 1}; "
            "expected ascending days, each once"
        )


def check_one_day_per_row(ticker: str, days: Days, num_rows: int, *, of: str) -> None:
    """Refuse days that are fewer or more than the rows.

    Raises:
        FormatError: the two differ.
    """
    if len(days) != num_rows:
        raise FormatError(
            f"{ticker!r} has {len(days)} dates for {num_rows} rows of {of}; each row needs its own date, "
            "write this ticker again"
        )


def check_features(ticker: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Refuse features that are not a matrix (rows, F) of numbers.

    Returns:
        F, the number of features.

    Raises:
        FormatError: a different number of dimensions, no column, or values that are not numbers.
    """
    if len(shape) != 2 or shape[1] == 0:
        raise FormatError(f"the features of {ticker!r} have shape {shape}; expected (dates, features)")
    if dtype.kind not in "fiu":
        raise FormatError(f"the features of {ticker!r} are {dtype}; expected float32")
    return shape[1]


def check_width(ticker: str, num_features: int, first: str, expected: int) -> None:
    """Refuse a ticker whose number of features differs from that of the first one.

    Raises:
        FormatError: the two differ.
    """
    if num_features != expected:
        raise FormatError(
            f"{ticker!r} has {num_features} features and {first!r} has {expected}; "
            "all tickers of a file need the same features, prepare the file again"
        )


def check_prices(tickers: tuple[str, ...], days: Days, prices: Float64, *, of: str) -> None:
    """Refuse prices that are zero, negative or infinite; NaN means that the ticker did not trade on that day.

    Args:
        tickers: N tickers.
        days: shape (T,).
        prices: shape (T, N).
        of: the kind of price, for the message: ``"close"`` or ``"open"``.

    Raises:
        FormatError: an invalid price; the message names the ticker and the day.
    """
    bad = (prices <= 0) | (prices == np.inf)
    if bad.any():
        column = int(np.argmax(bad.any(axis=0)))
        row = int(np.argmax(bad[:, column]))
        raise FormatError(
            f"the {of} of {tickers[column]!r} on {days[row]} is {prices[row, column]:g} ({int(bad.sum())} such prices "
            "in all); expected a price above zero, or NaN where it did not trade"
        )


def _bad_date(ticker: str, date: bytes) -> FormatError:
    return FormatError(f"{ticker!r} has the date {date.decode(errors='replace')!r}; expected YYYY-MM-DD")
