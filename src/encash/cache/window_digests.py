"""Digests of the panel's windows, to compare entries with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Int8, UInt64, positions
from encash.cache.task import Cells
from encash.panel.panel import Panel
from encash.panel.windows import Reason, window_grid

CHUNK_BYTES = 16 * 2**20
"""Feature rows in memory while windows are compared."""
_KEPT = np.timedelta64(91, "D")
"""A quarter, some 62 sessions: a caller that asks day by day reads the windows of each ticker once per quarter, at
about twice the cost of one day's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowDigests:
    """The digest of each cell's window, or why there is none; shape (T, N) each."""

    digest: UInt64
    """0 without a window."""
    reason: Int8
    """A `Reason`."""


def window_digests(panel: Panel, tickers: tuple[str, ...], days: Days, lookback: int) -> WindowDigests:
    """Compute the digest of every window of these days × tickers; each feature row is read once, in bounded memory.

    Args:
        panel: the data.
        tickers: N of the panel's.
        days: ascending and distinct, shape (T,), T ≥ 1.
        lookback: sessions in a window.
    """
    digest = np.zeros((len(days), len(tickers)), dtype=np.uint64)
    reason = np.full(digest.shape, Reason.NO_ROW, dtype=np.int8)
    for at, names in _ticker_chunks(panel, tickers, len(days) + lookback):
        rows = panel.rows(names, start=days[0], end=days[-1], lookback=lookback)
        grid = window_grid(rows, days, lookback)
        digest[:, at : at + len(names)], reason[:, at : at + len(names)] = grid.digest, grid.reason
    return WindowDigests(digest=digest, reason=reason)


class DigestCache:
    """Digests of the panel's current windows, kept from the first day requested to the last, or for a quarter."""

    def __init__(self, panel: Panel, lookback: int):
        self._panel = panel
        self._lookback = lookback
        self._tickers = np.array(sorted(panel.tickers), dtype=np.str_)
        self._keep(np.datetime64("1970-01-01"), np.datetime64("1969-12-31"))

    def of(self, cells: Cells) -> UInt64:
        """Return the digest of each cell's window, 0 if there is none; shape (n,)."""
        if len(cells) == 0:
            return np.zeros(0, dtype=np.uint64)
        first, last = cells.days.min(), cells.days.max()
        if not self._first <= first <= last <= self._last:
            self._keep(first, max(last, first + _KEPT))
        column = positions(self._tickers, cells.tickers)
        there = column >= 0
        requested = np.zeros(len(self._tickers), dtype=np.bool_)
        requested[column[there]] = True
        self._read(requested)
        result = np.zeros(len(cells), dtype=np.uint64)
        result[there] = self._digest[column[there], (cells.days[there] - self._first).astype(np.int64)]
        return result

    def _keep(self, first: np.datetime64, last: np.datetime64) -> None:
        """Forget everything, and keep these calendar days from now on; memory grows as tickers are read."""
        self._first, self._last = first, last
        days = int((last - first).astype(np.int64)) + 1
        self._digest = np.zeros((len(self._tickers), days), dtype=np.uint64)
        self._known = np.zeros(len(self._tickers), dtype=np.bool_)

    def _read(self, requested: Bool) -> None:
        """Read the digests of these tickers that are not known yet."""
        new = np.flatnonzero(requested & ~self._known)
        self._known[new] = True
        names = tuple(self._tickers[new].tolist())
        own = [days[(days >= self._first) & (days <= self._last)] for days in map(self._panel.days, names)]
        if not any(map(len, own)):
            return
        days = np.unique(np.concatenate(own))
        digest = window_digests(self._panel, names, days, self._lookback).digest
        self._digest[new[:, None], (days - self._first).astype(np.int64)] = digest.T


def _ticker_chunks(panel: Panel, tickers: tuple[str, ...], rows_each: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Iterate over groups of tickers whose feature rows fit the chunk, each with the position of its first."""
    size = max(1, CHUNK_BYTES // (rows_each * panel.num_features * 4))
    for at in range(0, len(tickers), size):
        yield at, tickers[at : at + size]
