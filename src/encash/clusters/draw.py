"""Random draws that depend only on (seed, day, ticker): independent of row order and batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from encash.arrays import Days, Int64, Text, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draw_scores(seed: int, days: Days, ticker_keys: UInt64) -> UInt64:
    """Draw a uniform 64-bit number for each (day, ticker); the lowest of a group is a fair draw from it.

    The score of a (seed, day, ticker) does not depend on order or on other rows. The mixing is the finalizer
    of SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014).

    Args:
        seed: any integer.
        days: shape (n,).
        ticker_keys: from `ticker_keys`, shape (n,).

    Returns:
        shape (n,).

    >>> days = np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[D]")
    >>> forth = draw_scores(7, days, ticker_keys(["A", "B"]))
    >>> back = draw_scores(7, days[::-1], ticker_keys(["B", "A"]))
    >>> bool((forth == back[::-1]).all())
    True
    """
    start = np.uint64(seed % 2**64)
    number = days.astype("datetime64[D]").astype(np.int64).astype(np.uint64)
    return _mix(_mix(_mix(np.full(len(days), start)) ^ number) ^ ticker_keys)


def ticker_keys(tickers: Iterable[str]) -> UInt64:
    """Return a 64-bit number for each ticker's name (the first bytes of its SHA-256)."""
    digests = (hashlib.sha256(str(ticker).encode()).digest()[:8] for ticker in tickers)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), dtype=np.uint64)


def ticker_codes(tickers: Text) -> tuple[Int64, Text]:
    """Return the index of each ticker among the distinct ones (n,), and these in alphabetical order.

    >>> codes, names = ticker_codes(np.array(["B", "A", "B"]))
    >>> codes.tolist(), names.tolist()
    ([1, 0, 1], ['A', 'B'])
    """
    each = tickers.tolist()
    names = sorted(set(each))
    place = {name: code for code, name in enumerate(names)}
    codes = np.fromiter(map(place.__getitem__, each), dtype=np.int64, count=len(each))
    return codes, np.array(names, dtype=np.str_)


def group_ranks(groups: Int64, *keys: NDArray[np.generic]) -> Int64:
    """Rank each row within its group by these keys, the first one first; from 0, shape (n,).

    >>> group_ranks(np.array([0, 1, 0, 1]), np.array([9, 3, 5, 4])).tolist()
    [1, 0, 0, 1]
    """
    order = np.lexsort((*reversed(keys), groups))
    in_order = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]])) if len(groups) else order
    sizes = np.diff(np.concatenate([starts, [len(groups)]]))
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return ranks


def _mix(value: UInt64) -> UInt64:
    """Apply one step of SplitMix64, which wraps around 2⁶⁴ on purpose."""
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
