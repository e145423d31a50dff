"""The digests that the panel's windows have now, for whoever compares entries with them. Knows a panel; no cache."""

from __future__ import annotations

import numpy as np

from encash.arrays import Days, UInt64
from encash.cache.plan import window_digests
from encash.cache.task import Cells
from encash.panel.panel import Panel


class ExpectedDigests:
    """The digests that the panel's windows have now, kept by ticker for as long as the same days are asked for."""

    def __init__(self, panel: Panel, lookback: int):
        self._panel = panel
        self._lookback = lookback
        self._known: dict[str, tuple[Days, UInt64]] = {}
        self._tickers = frozenset(panel.tickers)

    def digests(self, cells: Cells) -> UInt64:
        """The digest of each cell's window, 0 where there is none; shape (n,)."""
        result = np.zeros(len(cells), dtype=np.uint64)
        if len(cells) == 0:
            return result
        names, owner = np.unique(cells.tickers, return_inverse=True)
        first, last = cells.days.min(), cells.days.max()
        self._learn([name for name in names.tolist() if name in self._tickers], first, last)
        order = np.argsort(owner, kind="stable")
        bounds = np.searchsorted(owner[order], np.arange(len(names) + 1))
        for number, name in enumerate(names.tolist()):
            if name in self._tickers:
                own = order[bounds[number] : bounds[number + 1]]
                result[own] = self._of_ticker(name, cells.days[own])
        return result

    def _of_ticker(self, name: str, wanted: Days) -> UInt64:
        days, digest = self._known[name]
        at = np.minimum(np.searchsorted(days, wanted), len(days) - 1)
        return np.where(days[at] == wanted, digest[at], np.uint64(0))

    def _learn(self, names: list[str], first: np.datetime64, last: np.datetime64) -> None:
        """Read what is not known of these tickers in this range."""
        new = tuple(name for name in names if not self._covers(name, first, last))
        if not new:
            return
        own = [
            days[np.searchsorted(days, first) : np.searchsorted(days, last, side="right")]
            for days in map(self._panel.days, new)
        ]
        days = np.unique(np.concatenate([*own, np.array([first, last], dtype="datetime64[D]")]))
        windows = window_digests(self._panel, new, days, self._lookback)
        self._known.update((name, (days, windows.digest[:, column])) for column, name in enumerate(new))

    def _covers(self, name: str, first: np.datetime64, last: np.datetime64) -> bool:
        days = self._known[name][0] if name in self._known else None
        return days is not None and bool(days[0] <= first and last <= days[-1])
