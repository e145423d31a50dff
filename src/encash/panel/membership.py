"""Point-in-time membership of a universe: which tickers belong to it on which days."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encash.arrays import Bool, Days, Text, to_days
from encash.errors import FormatError, MissingFileError


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

    A stay with an empty `until` has not ended.

    Raises:
        MissingFileError: no such file.
        FormatError: a different header, or an invalid row.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no membership file {path}; expected a CSV with the columns ticker,from,until")
    with open(path, newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header != ["ticker", "from", "until"]:
        raise FormatError(f"{path} has the columns {','.join(header)!r}; expected ticker,from,until")
    if bad := [number for number, row in enumerate(rows, start=2) if len(row) != 3 or not row[0] or not row[1]]:
        raise FormatError(f"{path}, line {bad[0]}: expected ticker,from,until with a ticker and a first day")
    membership = Membership(
        tickers=np.array([row[0] for row in rows], dtype=np.str_),
        first=to_days([row[1] for row in rows]),
        last=to_days([row[2] or "9999-12-31" for row in rows]),
    )
    if (wrong := np.flatnonzero(membership.first > membership.last)).size:
        raise FormatError(
            f"{path}, line {wrong[0] + 2}: the stay of {membership.tickers[wrong[0]]} ends before it begins"
        )
    return membership
