"""Groups of tickers, such as sectors or countries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encash.arrays import Int64
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint
from encash.text_files import read_csv


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Group of each ticker."""

    of_ticker: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Identity of the groups of all tickers."""
        return fingerprint("\n".join(f"{ticker},{group}" for ticker, group in sorted(self.of_ticker.items())))

    def codes(self, tickers: tuple[str, ...]) -> Int64:
        """Return the number of each ticker's group, from 0 in alphabetical order; shape (N,).

        Raises:
            InputError: a ticker has no group.
        """
        if absent := [ticker for ticker in tickers if ticker not in self.of_ticker]:
            raise InputError(
                f"no group for {absent[0]!r} ({len(absent)} of {len(tickers)} tickers have none); "
                "expected a line ticker,group for each candidate"
            )
        names = [self.of_ticker[ticker] for ticker in tickers]
        number = {name: code for code, name in enumerate(sorted(set(names)))}
        return np.array([number[name] for name in names], dtype=np.int64)


def read_groups(path: str | Path) -> Groups:
    """Read groups from a CSV file with a header and lines of ``ticker,group``; the second column may have any name.

    Raises:
        MissingFileError: no such file.
        FormatError: not text, a different header, an incomplete line, or a ticker with two groups.
    """
    _, rows = read_csv(path, ("ticker", "group"), kind="file of groups", free=1)
    if not rows:
        raise FormatError(f"{path} has no groups; expected a line ticker,group for each candidate")
    found: dict[str, str] = {}
    for number, (ticker, group) in rows:
        if not ticker or not group:
            raise FormatError(f"{path}, line {number}: {f'{ticker},{group}'!r}; expected ticker,group")
        if found.setdefault(ticker, group) != group:
            raise FormatError(
                f"{path}, line {number}: {ticker} is in {found[ticker]!r} and in {group!r}; expected one group"
            )
    return Groups(of_ticker=found)
