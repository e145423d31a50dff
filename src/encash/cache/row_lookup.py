"""Rows of entries by day and ticker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from encash.arrays import DayLike, Int64, positions, to_day
from encash.errors import InputError, shown
from encash.store.index import EntryIndex

_MOST_LISTS = 256
"""Lists of tickers whose columns are remembered."""


class RowLookup:
    """Rows in one index. Days and lists of tickers are remembered, since a backtest asks for the same ones again."""

    def __init__(self, index: EntryIndex):
        self._index = index
        self._days: dict[DayLike, int] = {}
        self._tickers: dict[tuple[str, ...], Int64] = {}

    def rows(self, day: DayLike, tickers: Sequence[str]) -> Int64:
        """Find the row of each ticker on a day, −1 if not found; shape (n,).

        Raises:
            InputError: an invalid day, or a string instead of a list of tickers.
        """
        columns = self._columns(tickers)
        if (number := self._days.get(day)) is None:
            number = self._days[day] = int(positions(self._index.days, np.asarray([to_day(day)]))[0])
        if number < 0 or self._index.row.size == 0:
            return np.full(len(columns), -1, dtype=np.int64)
        rows: Int64 = self._index.row[number].take(columns).astype(np.int64)
        if columns.min(initial=0) < 0:
            rows[columns < 0] = -1
        return rows

    def _columns(self, tickers: Sequence[str]) -> Int64:
        """Find the column of each ticker in the index."""
        names = tuple(check_tickers(tickers))
        if (columns := self._tickers.get(names)) is None:
            columns = positions(self._index.tickers, np.asarray(names, dtype=np.str_))
            if len(self._tickers) >= _MOST_LISTS:
                self._tickers.clear()
            self._tickers[names] = columns
        return columns


def check_tickers(tickers: Sequence[str]) -> Sequence[str]:
    """Return the tickers, refusing a string, which is a sequence of letters.

    Raises:
        InputError: a string.
    """
    if isinstance(tickers, str):
        raise InputError(f"tickers is the text {tickers!r}; expected a list, such as [{tickers!r}]")
    if not isinstance(tickers, Iterable):
        raise InputError(f"tickers is {shown(tickers)}; expected a list of names")
    return tickers
