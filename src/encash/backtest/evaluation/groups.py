"""Groups of tickers, such as sectors: reading them, and what bets on them explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64, Int64
from encash.backtest.evaluation.selection import CandidateReturns, group_weights
from encash.backtest.files import json_value
from encash.errors import FormatError, InputError
from encash.significance import mean_of, regress
from encash.text_files import read_csv


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Group of each ticker."""

    of_ticker: Mapping[str, str]

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


@dataclass(frozen=True, kw_only=True)
class GroupBets:
    """Yearly excess return of the picks over all candidates, before costs, divided into group bets and the rest."""

    count: int
    """Groups of the candidates."""
    excess: float
    explained: float
    """By holding other shares of the groups than the candidates have (Brinson, Hood and Beebower 1986)."""
    rest_alpha_t: float
    """t-statistic of the alpha of the rest."""

    @property
    def sentence(self) -> str:
        """Finding in one sentence."""
        return (
            f"Before costs, the picks returned {text_of(self.excess, '+.1%')} a year over all candidates, of which "
            f"bets on {self.count} groups explain {text_of(self.explained, '+.1%')}; the alpha of the rest has t = "
            f"{text_of(self.rest_alpha_t, '.1f')}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**{name: json_value(value) for name, value in vars(self).items()}, "sentence": self.sentence}


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


def explain_by_groups(
    universe: CandidateReturns, weights: Float64, groups: Int64, benchmark: Float64, sessions_per_year: float
) -> GroupBets:
    """Divide the excess return of a portfolio over its candidates into group bets and the rest.

    Args:
        universe: the candidates.
        weights: of the portfolio at each signal, shape (R, N).
        groups: group of each ticker, shape (N,).
        benchmark: daily returns of the benchmark, shape (S − 1,).
        sessions_per_year: sessions per year.
    """
    excess = universe.of(universe.excess(weights))
    explained = universe.of(universe.excess(group_weights(weights, universe.candidates, groups)))
    return GroupBets(
        count=len(np.unique(groups)),
        excess=mean_of(excess).value * sessions_per_year,
        explained=mean_of(explained).value * sessions_per_year,
        rest_alpha_t=regress(excess - explained, benchmark).alpha.t,
    )


def text_of(value: float, form: str) -> str:
    """Return a number in a format, or a dash if it is undefined."""
    return "–" if np.isnan(value) else format(value, form)
