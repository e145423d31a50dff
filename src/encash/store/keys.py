"""The keys of a store's rows, kept piece by piece so that an append reads only what is new.
Knows arrays; nothing of files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Int32, Int64, UInt64
from encash.store.base import EntryIndex

_DENSE_DAYS = 1_000_000
"""A span of days (2,700 years) up to which days are ranked by marking instead of sorting."""


@dataclass(frozen=True, kw_only=True)
class PieceKeys:
    """The keys of the rows of one immutable piece of a store."""

    day: Int32
    """Days since 1970-01-01, shape (n,)."""
    ticker: Int32
    """Place of the ticker among the store's names, shape (n,)."""
    digest: UInt64
    """shape (n,)."""


class TickerNames:
    """Numbers for tickers in the order in which they were first seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}

    def numbers(self, names: list[str]) -> Int32:
        """The number of each name; a new name gets the next one."""
        for name in names:
            if name not in self._number:
                self._number[name] = len(self.names)
                self.names.append(name)
        return np.array([self._number[name] for name in names], dtype=np.int32)


def build_index(pieces: list[PieceKeys], names: list[str]) -> tuple[EntryIndex, Int32, Int32]:
    """The index of all rows, and the place of each row's day and ticker in it, shapes (rows,).

    >>> two = np.array([1, 0], dtype=np.int32)
    >>> keys = PieceKeys(day=two * 0, ticker=two, digest=np.zeros(2, np.uint64))
    >>> build_index([keys], ["B", "A"])[0].row
    array([[0, 1]], dtype=int32)
    """
    day = _joined([piece.day for piece in pieces], np.int32)
    ticker = _joined([piece.ticker for piece in pieces], np.int32)
    digest = _joined([piece.digest for piece in pieces], np.uint64)
    days, day_place = _rank_days(day)
    present = np.flatnonzero(np.bincount(ticker, minlength=len(names)))
    texts = np.array([names[number] for number in present], dtype=np.str_)
    order = np.argsort(texts)
    place_of = np.zeros(len(names), dtype=np.int32)
    place_of[present[order]] = np.arange(len(order), dtype=np.int32)
    ticker_place = place_of[ticker]
    row = np.full((len(days), len(texts)), -1, dtype=np.int32)
    row[day_place, ticker_place] = np.arange(len(day), dtype=np.int32)  # of two rows with one key the last one stays
    index = EntryIndex(
        days=days,
        tickers=texts[order],
        row=row,
        digest=digest,
        duplicates=len(day) - int(np.count_nonzero(row >= 0)),
    )
    return index, day_place, ticker_place


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


def _rank_days(day: Int32) -> tuple[Days, Int32]:
    """Distinct days, ascending, and the place of each row's day among them."""
    if len(day) == 0:
        return np.empty(0, dtype="datetime64[D]"), np.empty(0, dtype=np.int32)
    first, last = int(day.min()), int(day.max())
    if last - first > _DENSE_DAYS:
        distinct, place = np.unique(day, return_inverse=True)
        return distinct.astype(np.int64).astype("datetime64[D]"), place.astype(np.int32)
    seen = np.zeros(last - first + 1, dtype=bool)
    seen[day - np.int32(first)] = True
    place = (np.cumsum(seen, dtype=np.int32) - np.int32(1))[day - np.int32(first)]
    distinct_days: Int64 = np.flatnonzero(seen) + first
    return distinct_days.astype("datetime64[D]"), place
