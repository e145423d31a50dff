"""The index of a snapshot: which row holds each (day, ticker), and from which window it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encash.arrays import DayLike, Days, Int32, Int64, Text, UInt64, day_text, positions, to_day
from encash.errors import InputError

_DENSE_DAYS = 1_000_000
"""A span of days (2,700 years) up to which days are ranked by marking instead of sorting."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowKeys:
    """Keys and digests of n rows, in the order in which their snapshot numbers them."""

    day: Int32
    """Days since 1970-01-01, shape (n,)."""
    ticker: Int32
    """Position of each row's ticker in `names`, shape (n,)."""
    names: Text
    """Distinct tickers, in any order."""
    digest: UInt64
    """Digest of each row's input window, shape (n,)."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.digest)


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryIndex:
    """Keys and digests of all rows of one snapshot, as a grid of days × tickers.

    Immutable: a commit that only adds rows extends the index of the version before (`extended`) instead of building
    one from all rows. Every array may be a read-only memory map: readers take one day (a row of the grid) at a time.

    >>> keys = RowKeys(
    ...     day=np.zeros(2, np.int32), ticker=np.array([1, 0], np.int32), names=np.array(["A", "B"]),
    ...     digest=np.array([7, 8], np.uint64),
    ... )
    >>> index = EntryIndex.of(keys)
    >>> index.row
    array([[1, 0]], dtype=int32)
    >>> index.locate(index.days, np.array(["B"]))
    array([0])
    """

    days: Days
    """Distinct days of the rows, ascending; shape (T,)."""
    tickers: Text
    """Distinct tickers of the rows, ascending; shape (N,)."""
    row: Int32
    """Row of each cell, −1 for an empty cell; shape (T, N). Rows number the entries 0 … n−1 in the snapshot's own
    order. They mean nothing in any other snapshot."""
    digest: UInt64
    """Input digest of each row, 0 if unknown; shape (n,)."""
    day: Int32
    """Position of each row's day in `days`, shape (n,)."""
    ticker: Int32
    """Position of each row's ticker in `tickers`, shape (n,)."""

    @classmethod
    def of(cls, keys: RowKeys) -> EntryIndex:
        """Build the index of some rows; if two rows share a key, the cell holds the later one."""
        return _EMPTY.extended(keys)

    @property
    def entries(self) -> int:
        """Number of entries: distinct keys."""
        return len(self.digest) - self.duplicates

    @cached_property
    def duplicates(self) -> int:
        """Rows whose key a later row repeats; only tools other than encash write such rows."""
        return len(self.digest) - int(np.count_nonzero(self.row >= 0))

    def locate(self, days: Days, tickers: Text) -> Int64:
        """Find the row of (day i, ticker i) for each i, −1 if not found; shape (n,)."""
        day, ticker = positions(self.days, days), self._ticker_positions(tickers)
        if self.row.size == 0:
            return np.full(len(day), -1, dtype=np.int64)
        return np.where((day >= 0) & (ticker >= 0), self.row[day, ticker], -1).astype(np.int64)

    def grid(self, days: Days, tickers: Text) -> Int32:
        """Find the row of each (day, ticker) of a grid, −1 if not found; shape (T, N)."""
        day, ticker = positions(self.days, days), positions(self.tickers, tickers)
        rows = np.full((len(days), len(tickers)), -1, dtype=np.int32)
        rows[np.ix_(day >= 0, ticker >= 0)] = self.row[np.ix_(day[day >= 0], ticker[ticker >= 0])]
        return rows

    def digests(self, rows: Int32 | Int64) -> UInt64:
        """Look up the input digest of each row; 0 if unknown or if the row is −1. Same shape as `rows`."""
        if not len(self.digest):
            return np.zeros(rows.shape, dtype=np.uint64)
        return np.where(rows >= 0, self.digest[rows], np.uint64(0))

    def span(self, start: DayLike | None, end: DayLike | None) -> tuple[int, int]:
        """Find the positions in `days` of a range: its first day, and one past its last day.

        Raises:
            InputError: the start is after the end.
        """
        if start is not None and end is not None and to_day(start) > to_day(end):
            raise InputError(f"start {day_text(start)} is after end {day_text(end)}; swap them")
        first = 0 if start is None else int(np.searchsorted(self.days, to_day(start)))
        return first, len(self.days) if end is None else int(np.searchsorted(self.days, to_day(end), side="right"))

    def keys(self, rows: Int64) -> tuple[Days, Text]:
        """Return day and ticker of each row, shape (n,) each.

        Raises:
            InputError: a row that the snapshot does not have, −1 included.
        """
        rows = check_rows(rows, len(self.digest))
        return self.days[self.day[rows]], self.tickers[self.ticker[rows]]

    def rows(self, start: DayLike | None = None, end: DayLike | None = None) -> Int64:
        """Return the rows of all entries in a range of days, ordered by day, then ticker; shape (n,)."""
        grid = self.row[slice(*self.span(start, end))]
        return grid[grid >= 0].astype(np.int64)

    def keys_of(self, rows: slice) -> RowKeys:
        """Return the keys of consecutive rows, to build the index of a different version from them."""
        return RowKeys(
            day=self.days.astype(np.int32)[self.day[rows]],
            ticker=self.ticker[rows],
            names=self.tickers,
            digest=self.digest[rows],
        )

    def extended(self, added: RowKeys) -> EntryIndex:
        """Return the index of the same rows followed by others, without sorting the existing rows again."""
        added_days, day = _rank_days(added.day)
        present = np.flatnonzero(np.bincount(added.ticker, minlength=len(added.names)))
        days = np.union1d(self.days, added_days)
        tickers = np.union1d(self.tickers, added.names[present])
        old_day, old_ticker = np.searchsorted(days, self.days), np.searchsorted(tickers, self.tickers)
        column = np.zeros(len(added.names), dtype=np.int32)
        column[present] = np.searchsorted(tickers, added.names[present])
        new_day = np.searchsorted(days, added_days).astype(np.int32)[day]
        new_ticker = column[added.ticker]
        grid = np.full((len(days), len(tickers)), -1, dtype=np.int32)
        grid[np.ix_(old_day, old_ticker)] = self.row
        count = len(self.digest)
        grid[new_day, new_ticker] = np.arange(count, count + len(added), dtype=np.int32)  # a later row wins
        return EntryIndex(
            days=days,
            tickers=tickers,
            row=grid,
            digest=np.concatenate([self.digest, added.digest]),
            day=np.concatenate([old_day.astype(np.int32)[self.day], new_day]),
            ticker=np.concatenate([old_ticker.astype(np.int32)[self.ticker], new_ticker]),
        )

    def _ticker_positions(self, wanted: Text) -> Int64:
        """Find tickers; immediate for all tickers in order, which is a full session."""
        if len(wanted) == len(self.tickers) and np.array_equal(wanted, self.tickers):
            return np.arange(len(wanted))
        return positions(self.tickers, wanted)


_EMPTY = EntryIndex(
    days=np.empty(0, dtype="datetime64[D]"),
    tickers=np.empty(0, dtype=np.str_),
    row=np.empty((0, 0), dtype=np.int32),
    digest=np.empty(0, dtype=np.uint64),
    day=np.empty(0, dtype=np.int32),
    ticker=np.empty(0, dtype=np.int32),
)


def join_keys(parts: Sequence[RowKeys]) -> RowKeys:
    """Return the keys of several groups of rows, one after the other."""
    names = np.unique(np.concatenate([np.empty(0, dtype=np.str_), *(part.names for part in parts)]))
    tickers = [np.searchsorted(names, part.names).astype(np.int32)[part.ticker] for part in parts if len(part)]
    return RowKeys(
        day=np.concatenate([np.empty(0, dtype=np.int32), *(part.day for part in parts)]),
        ticker=np.concatenate([np.empty(0, dtype=np.int32), *tickers]),
        names=names,
        digest=np.concatenate([np.empty(0, dtype=np.uint64), *(part.digest for part in parts)]),
    )


def check_rows(rows: Int64, count: int) -> Int64:
    """Return row numbers as int64, each within 0 … count − 1.

    Raises:
        InputError: a row out of range.
    """
    rows = np.asarray(rows, dtype=np.int64)
    row_bounds(rows, count)
    return rows


def row_bounds(rows: Int64, count: int) -> tuple[int, int]:
    """Return the smallest and the largest row, each within 0 … count − 1; (0, 0) without rows.

    Raises:
        InputError: a row out of range.
    """
    if len(rows) == 0:
        return 0, 0
    first, last = int(rows.min()), int(rows.max())
    if first < 0 or last >= count:
        raise InputError(f"rows {first} … {last} of a store of {count:,}; take row numbers from index()")
    return first, last


def _rank_days(day: Int32) -> tuple[Days, Int32]:
    """Return the distinct days, ascending, and the position of each row's day in them."""
    if len(day) == 0:
        return np.empty(0, dtype="datetime64[D]"), np.empty(0, dtype=np.int32)
    first, last = int(day.min()), int(day.max())
    if last - first > _DENSE_DAYS:
        distinct, place = np.unique(day, return_inverse=True)
        return distinct.astype(np.int64).astype("datetime64[D]"), place.astype(np.int32)
    seen = np.zeros(last - first + 1, dtype=bool)
    seen[day - np.int32(first)] = True
    place = (np.cumsum(seen, dtype=np.int32) - np.int32(1))[day - np.int32(first)]
    return (np.flatnonzero(seen) + first).astype("datetime64[D]"), place
