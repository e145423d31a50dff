"""Point-in-time membership of a universe: which tickers belong to it on which days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encash.arrays import Bool, Days, Text, to_day, to_days
from encash.errors import FormatError, InputError
from encash.text_files import read_csv


@dataclass(frozen=True, kw_only=True, eq=False)
class Membership:
    """Stays of tickers in the universe, both ends included; all arrays have shape (n,)."""

    tickers: Text
    first: Days
    last: Days

    def mask(self, days: Days, tickers: Sequence[str]) -> Bool:
        """Return True for each day on which a ticker is a member, shape (days, tickers)."""
        member = np.zeros((len(days), len(tickers)), dtype=bool)
        column = {ticker: place for place, ticker in enumerate(tickers)}
        for ticker, first, last in zip(self.tickers.tolist(), self.first, self.last, strict=True):
            if ticker in column:
                member[:, column[ticker]] |= (days >= first) & (days <= last)
        return member

    def stays(self, ticker: str) -> Days:
        """Return the first and last day of each stay of a ticker, shape (stays, 2)."""
        own = self.tickers == ticker
        return np.stack([self.first[own], self.last[own]], axis=1)

    def _rows(self) -> tuple[tuple[str, ...], ...]:
        columns = (self.tickers, self.first.astype(str), self.last.astype(str))
        return tuple(sorted(zip(*(column.tolist() for column in columns), strict=True)))

    def __eq__(self, other: object) -> bool:
        """Compare the stays in any order."""
        return isinstance(other, Membership) and self._rows() == other._rows()

    def __hash__(self) -> int:
        """Hash the stays in any order."""
        return hash(self._rows())


def read_membership(path: str | Path) -> Membership:
    """Read a point-in-time universe from a CSV file with the columns ``ticker,from,until``.

    A stay with an empty `until` has not ended. Stays of one ticker may overlap: it is a member on the days of each.

    Raises:
        MissingFileError: no such file.
        FormatError: a different header, an invalid row, or none.
    """
    _, rows = read_csv(path, ("ticker", "from", "until"), kind="membership file")
    if not rows:
        raise FormatError(f"{path} has no periods of membership; expected a line ticker,from,until for each")
    stays = [_stay(cells, f"{path}, line {number}") for number, cells in rows]
    tickers, first, last = zip(*stays, strict=True)
    return Membership(tickers=np.array(tickers, dtype=np.str_), first=to_days(first), last=to_days(last))


def _stay(cells: list[str], where: str) -> tuple[str, np.datetime64, np.datetime64]:
    """Return ticker, first and last day of a row.

    Raises:
        FormatError: no ticker, no first day, or an invalid day.
    """
    ticker, begins, ends = cells
    if not ticker or not begins:
        raise FormatError(
            f"{where}: {','.join(cells)[:80]!r}; expected ticker,from,until with a ticker and a first day"
        )
    try:
        first, last = to_day(begins), to_day(ends or "9999-12-31")
    except InputError as error:
        raise FormatError(f"{where}: {error}") from None
    if first > last:
        raise FormatError(
            f"{where}: the membership of {ticker} ends before it begins ({first} to {last}); swap the days"
        )
    return ticker, first, last
