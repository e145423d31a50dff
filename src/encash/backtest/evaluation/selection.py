"""Daily returns of what a run selects, before costs and trades: kept candidates, ranks of forecasts, picks, group bets.

Every series is a weighted sum of the candidates' returns, rebalanced every session, with the weights of the latest
signal. Unlike the run, which holds a few tickers, it averages over all candidates, so that it is less noisy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash import metrics
from encash.arrays import Bool, Float64, Int64
from encash.backtest.outcome import Outcome
from encash.backtest.simulation.market import Market


@dataclass(frozen=True, kw_only=True)
class CandidateReturns:
    """Returns of the candidates of a run, and the signal that is in force on each session."""

    returns: Float64
    """Of the N tickers on each session from the second on, 0 without a price; shape (S − 1, N)."""
    candidates: Bool
    """shape (R, N)."""
    signal: Int64
    """Row of the signal in force, −1 before the first and after the last holding period; shape (S − 1,)."""

    def of(self, weights: Float64) -> Float64:
        """Return the daily returns of weights that change with the signals, shape (R, N); 0 without a signal."""
        in_force = np.where(self.signal[:, None] >= 0, weights[self.signal], 0.0)
        daily: Float64 = (self.returns * in_force).sum(axis=1)
        return daily

    def excess(self, weights: Float64) -> Float64:
        """Return the weights less equal weights of all candidates; 0 in rows without a weight. Shape (R, N)."""
        invested = weights.sum(axis=1, keepdims=True)
        excess: Float64 = weights - invested * equal(self.candidates)
        return excess


def candidate_returns(outcome: Outcome) -> CandidateReturns:
    """Return the candidates of a run and their daily returns, delistings settled by the policy of the run."""
    sessions, schedule = outcome.setup.sessions, outcome.setup.schedule
    market = Market(close=sessions.close, fill=sessions.close)
    begin = np.arange(len(sessions.days) - 1)
    signal = np.searchsorted(schedule.signal, begin, side="right") - 1
    return CandidateReturns(
        returns=np.nan_to_num(market.session_returns(outcome.config.delisting)),
        candidates=outcome.candidates,
        signal=np.where(begin < schedule.exit.max() - outcome.config.lag, signal, -1),
    )


def equal(chosen: Bool) -> Float64:
    """Return equal weights of the chosen tickers of each row, 0 in rows without any; shape (R, N)."""
    weights: Float64 = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    return weights


def rank_weights(score: Float64) -> Float64:
    """Return weights in proportion to the rank of each score less the mean rank: +1 of the upper half, −1 of the lower.

    Args:
        score: shape (R, N); NaN for no weight.

    >>> rank_weights(np.array([[0.3, np.nan, 0.1, 0.2]])).tolist()
    [[1.0, 0.0, -1.0, 0.0]]
    """
    ranks = metrics.ranks(score)
    known = ~np.isnan(ranks)
    count = known.sum(axis=1, keepdims=True)
    centered = np.where(known, ranks - (count + 1.0) / 2.0, 0.0)
    size = np.abs(centered).sum(axis=1, keepdims=True) / 2.0
    weights: Float64 = centered / np.where(size > 0, size, 1.0)
    return weights


def group_weights(weights: Float64, candidates: Bool, groups: Int64) -> Float64:
    """Return weights with each group's total spread evenly over its candidates: only the group bets; shape (R, N).

    Args:
        weights: shape (R, N).
        candidates: shape (R, N).
        groups: group of each ticker, from 0; shape (N,).

    >>> group_weights(np.array([[0.6, 0.0, 0.4]]), np.ones((1, 3), bool), np.array([0, 0, 1])).tolist()
    [[0.3, 0.3, 0.4]]
    """
    member = np.eye(int(groups.max()) + 1)[groups]
    share = (weights @ member) / np.maximum(candidates @ member, 1.0)
    spread: Float64 = np.where(candidates, share[:, groups], 0.0)
    return spread
