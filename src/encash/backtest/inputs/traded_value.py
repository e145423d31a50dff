"""Mean dollar volume of tickers, known before each session."""

from __future__ import annotations

import numpy as np

from encash.arrays import Bool, Float64
from encash.errors import InputError


def mean_before(dollars: Float64, sessions: int) -> Float64:
    """Return the mean dollar volume over the sessions before each one, shape (T + 1, N); row T is that of the next one.

    A session without a trade counts as 0. If fewer sessions than requested are available, the mean is over those;
    before the first it is 0. The values of a session change no row up to its own.

    Args:
        dollars: dollar volume in currency units of the day, NaN if unknown or not traded; shape (T, N).
        sessions: maximum number of sessions of a mean.

    >>> mean_before(np.array([[3.0], [np.nan], [6.0]]), 2).ravel().tolist()
    [0.0, 3.0, 1.5, 3.0]
    """
    known = np.nan_to_num(dollars)
    total = np.zeros((len(known) + 1, known.shape[1]))
    for back in range(1, min(sessions, len(known)) + 1):  # sums of few terms: no rounding of a long running total
        total[back:] += known[: len(known) - back + 1]
    count = np.minimum(np.arange(len(total)), sessions)[:, None]
    mean: Float64 = total / np.maximum(count, 1)
    return mean


def refuse_unknown(dollars: Float64 | None, traded: Bool, first: int, tickers: tuple[str, ...]) -> Float64:
    """Return the dollar volume of a run, shape (T, N); refuse prices without it, or a ticker without it.

    Args:
        dollars: as the prices have it, from the beginning of the file; None if they do not.
        traded: True if a ticker has a close, from the first session of the run on; shape (S, N).
        first: row of the first session in `dollars`.
        tickers: N names.

    Raises:
        InputError: the prices, or a ticker, have no dollar volume.
    """
    if dollars is None:
        raise InputError(
            "the prices have no dollar volume, or it was not read: close × volume counts only if both are raw or both "
            "adjusted for splits alike; if yours are, prepare again and say so with --columns close=close,"
            "volume=volume,raw_close=close,raw_volume=volume"
        )
    known = ~np.isnan(dollars[first:])
    absent = traded.any(axis=0) & ~known.any(axis=0)
    if absent.any():
        raise InputError(
            f"no dollar volume for {tickers[int(absent.argmax())]!r} ({int(absent.sum())} of {len(tickers)} tickers "
            "have none); leave them out with --tickers, or give their volumes"
        )
    return dollars
