"""Attribution of returns to bets on groups of tickers, such as sectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Float64, Int64
from encash.backtest.evaluation.selection import CandidateReturns, group_weights
from encash.backtest.files import json_value
from encash.backtest.inputs.groups import Groups as Groups  # noqa: PLC0414  other code imports it from here
from encash.significance import mean_of, regress


@dataclass(frozen=True, kw_only=True)
class GroupBets:
    """Yearly excess return of the picks over all candidates, before costs, divided into group bets and the rest."""

    count: int
    """Groups of the candidates."""
    excess: float
    explained: float
    """By group weights that differ from those of the candidates (Brinson, Hood and Beebower 1986)."""
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
