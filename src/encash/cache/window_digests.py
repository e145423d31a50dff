"""The digests that the panel's windows have now, for whoever compares entries with them. Knows a panel; no cache."""

from __future__ import annotations

import numpy as np

from encash.arrays import Bool, UInt64, positions
from encash.cache.plan import window_digests
from encash.cache.task import Cells
from encash.panel.panel import Panel

_AHEAD = np.timedelta64(91, "D")
"""A quarter, some 62 sessions: whoever asks day by day makes the windows of each ticker once a quarter, at about twice
the cost of one day's."""


class ExpectedDigests:
    """The digests that the panel's windows have now, kept from the first day asked for to the last, or a quarter on."""

    def __init__(self, panel: Panel, lookback: int):
        self._panel = panel
        self._lookback = lookback
        self._tickers = np.array(sorted(panel.tickers), dtype=np.str_)
        self._keep(np.datetime64("1970-01-01"), np.datetime64("1969-12-31"))

    def digests(self, cells: Cells) -> UInt64:
        """The digest of each cell's window, 0 where there is none; shape (n,)."""
        if len(cells) == 0:
            return np.zeros(0, dtype=np.uint64)
        first, last = cells.days.min(), cells.days.max()
        if not self._first <= first <= last <= self._last:
            self._keep(first, max(last, first + _AHEAD))
        column = positions(self._tickers, cells.tickers)
        there = column >= 0
        asked = np.zeros(len(self._tickers), dtype=np.bool_)
        asked[column[there]] = True
        self._learn(asked)
        result = np.zeros(len(cells), dtype=np.uint64)
        result[there] = self._digest[column[there], (cells.days[there] - self._first).astype(np.int64)]
        return result

    def _keep(self, first: np.datetime64, last: np.datetime64) -> None:
        """Forget what is known, and keep these calendar days from now on; memory is taken as tickers are learned."""
        self._first, self._last = first, last
        days = int((last - first).astype(np.int64)) + 1
        self._digest = np.zeros((len(self._tickers), days), dtype=np.uint64)
        self._known = np.zeros(len(self._tickers), dtype=np.bool_)

    def _learn(self, asked: Bool) -> None:
        """Read what is not known of these tickers."""
        new = np.flatnonzero(asked & ~self._known)
        self._known[new] = True
        names = tuple(self._tickers[new].tolist())
        own = [days[(days >= self._first) & (days <= self._last)] for days in map(self._panel.days, names)]
        if not any(map(len, own)):
            return
        days = np.unique(np.concatenate(own))
        digest = window_digests(self._panel, names, days, self._lookback).digest
        self._digest[new[:, None], (days - self._first).astype(np.int64)] = digest.T
