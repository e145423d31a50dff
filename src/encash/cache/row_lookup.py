"""Where the entries of one version of a store are, by day and ticker. Knows their index; reads no vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encash.arrays import DayLike, Int64, positions, to_day
from encash.errors import InputError
from encash.store.base import EntryIndex

MOST_LISTS = 256
"""Lists of tickers whose places are remembered."""


class Places:
    """The rows of entries; days and lists of tickers that were asked for are remembered, since a backtest asks for the
    same again."""

    def __init__(self, index: EntryIndex):
        self.index = index
        self._days: dict[DayLike, int] = {}
        self._tickers: dict[tuple[str, ...], Int64] = {}

    def rows(self, day: DayLike, tickers: Sequence[str]) -> Int64:
        """The row of each ticker on a day, −1 where there is none; shape (n,).

        Raises:
            InputError: no day, or one text instead of a list of tickers.
        """
        columns = self._columns(tickers)
        if (place := self._days.get(day)) is None:
            place = self._days[day] = int(positions(self.index.days, np.asarray([to_day(day)]))[0])
        if place < 0 or self.index.row.size == 0:
            return np.full(len(columns), -1, dtype=np.int64)
        rows: Int64 = self.index.row[place].take(columns).astype(np.int64)
        if columns.min(initial=0) < 0:
            rows[columns < 0] = -1
        return rows

    def _columns(self, tickers: Sequence[str]) -> Int64:
        """The place of each ticker in the index."""
        if isinstance(tickers, str):
            raise InputError(f"{tickers!r} came as the tickers; expected a list of them, such as [{tickers!r}]")
        names = tuple(tickers)
        if (places := self._tickers.get(names)) is None:
            places = positions(self.index.tickers, np.asarray(names, dtype=np.str_))
            if len(self._tickers) >= MOST_LISTS:
                self._tickers.clear()
            self._tickers[names] = places
        return places
