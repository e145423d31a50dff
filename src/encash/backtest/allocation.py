"""Picks and weights of a run before any trade: sides, ranking, limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from encash.arrays import Bool, Float64, Int32
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.inputs.weight_functions import PastPrices, function_weights
from encash.backtest.simulation.book_picks import GroupRules, disjoint_sides, pick_by_group
from encash.backtest.simulation.portfolio import (
    RankedPicks,
    equal_weights,
    forecast_weights,
    inverse_volatility_weights,
    past_deviation,
    pick,
    ranked_scores,
)
from encash.backtest.simulation.weight_limits import limited_weights, neutral_weights
from encash.clusters.filters.base import CandidateFilter
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Candidates of the long and the short side; masks have shape (R, N)."""

    kept: Bool
    """May be bought."""
    shorted: Bool | None = None
    """May be sold short; None without shorts."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Picks and weights of the rebalances of a run, before any trade."""

    setup: RunSetup
    signals: SignalGrid
    """Signals of the rebalances and the universe of the setup."""
    kept: Bool
    """Candidates that passed the filter, shape (R, N)."""
    picks: RankedPicks
    """With shorts: k columns to buy, then k to sell short."""
    weight: Float64
    """Weight of each pick, negative if sold short; shape (R, k), or (R, 2k) with shorts."""
    shorted: Bool | None = None
    """Candidates that may be sold short, shape (R, N); None without shorts."""

    def weights_by_ticker(self) -> Float64:
        """Return the weight of each ticker, shape (R, N)."""
        weights = np.zeros(self.setup.candidates.shape)
        row, rank = np.nonzero(self.picks.column >= 0)
        weights[row, self.picks.column[row, rank]] = self.weight[row, rank]
        return weights


def allocate(
    config: BacktestConfig,
    setup: RunSetup,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
    shorted: Bool | None = None,
) -> Allocation:
    """Filter, rank and pick.

    Args:
        config: the settings.
        setup: sessions and candidates, made for these settings.
        signals: signals of at least the days and tickers of the setup.
        filter: None keeps every candidate.
        kept: candidates to keep, instead of a filter; shape (R, N).
        shorted: with `kept`, those that may be sold short, if the settings have shorts; shape (R, N).

    Raises:
        InputError: no forecasts for the horizon, or constraints that the data or the filter do not allow.
        MismatchError: the signals do not cover the setup.
    """
    signals = signals.select(setup.signal_days, setup.sessions.tickers)
    candidates = setup.candidates & signals.found
    if kept is None:
        sides = sides_of(config, setup, signals, filter)
        kept, shorted = sides.kept, sides.shorted
    kept = kept & candidates
    shorted = None if shorted is None else shorted & candidates
    forecast, confidence = signals.of_horizon(config.signal_horizon)
    groups = _group_rules(config, setup)
    if groups is None and shorted is None:
        picks = pick(forecast, confidence, kept, top_k=config.top_k, percentile=config.confidence_percentile)
        return Allocation(setup=setup, signals=signals, kept=kept, picks=picks, weight=_weights(config, setup, picks))
    ranks = partial(ranked_scores, forecast, confidence, percentile=config.confidence_percentile)
    score = ranks(kept)
    if shorted is None:
        column = pick_by_group(score, config.top_k, groups)
    else:
        down = ranks(shorted)
        long, short = ~np.isnan(score), ~np.isnan(down)
        score = np.where(long, score, down)
        long, short = disjoint_sides(score, long, short, groups)
        signed = np.where(long, score, np.nan), np.where(short, -score, np.nan)
        column = np.hstack([pick_by_group(side, config.top_k, groups) for side in signed])
    picks = RankedPicks(column=column, score=score)
    weight = _weights(config, setup, picks)
    return Allocation(setup=setup, signals=signals, kept=kept, picks=picks, weight=weight, shorted=shorted)


def sides_of(
    config: BacktestConfig,
    setup: RunSetup,
    signals: SignalGrid,
    filter: CandidateFilter | None,
    cluster: Int32 | None = None,
) -> Sides:
    """Return the candidates that a filter keeps, and those to sell short.

    Args:
        config: says if and what to sell short.
        setup: the candidates.
        signals: of the rebalances and the universe of the setup.
        filter: None keeps every candidate.
        cluster: clusters of the candidates instead of those of the signals, shape (R, N).

    Raises:
        InputError: shorts of the worst clusters without a filter that knows them.
    """
    candidates = setup.candidates & signals.found
    if filter is None and config.short == "worst-clusters":
        raise InputError("short worst-clusters needs a filter by cluster; give --clusters, or --short bottom")
    cluster = signals.cluster if cluster is None else cluster
    asked = setup.signal_days, setup.sessions.tickers, candidates, cluster, signals.distance
    kept = candidates if filter is None else filter.keep(*asked)
    if config.short == "none":
        return Sides(kept=kept)
    worst = filter is not None and config.short == "worst-clusters"
    return Sides(kept=kept, shorted=filter.reversed().keep(*asked) if filter is not None and worst else kept)


def _group_rules(config: BacktestConfig, setup: RunSetup) -> GroupRules | None:
    """Return the limits by group; None without any.

    Raises:
        InputError: no groups, or limits that leave places empty.
    """
    if not config.needs_groups:
        return None
    if (code := setup.sessions.groups) is None:
        raise InputError("group_neutral and max_per_group need the group of each ticker; give --groups FILE")
    count, top_k, most = len(np.unique(code)), config.top_k, config.max_per_group
    if config.group_neutral and top_k < count:
        raise InputError(f"group_neutral spreads top_k {top_k} over {count} groups; give a top_k of {count} or more")
    if most is not None and most * count < top_k:
        raise InputError(
            f"max_per_group {most} of {count} groups allows {most * count} picks; give a max_per_group of "
            f"{-(-top_k // count)} or more, or a smaller top_k"
        )
    return GroupRules(code=code, neutral=config.group_neutral, most=most)


def _weights(config: BacktestConfig, setup: RunSetup, picks: RankedPicks) -> Float64:
    """Return the weight of each pick, negative for those after the first `top_k`; shape (R, k) or (R, 2k)."""
    k = config.top_k
    long = _side_weights(config, setup, RankedPicks(column=picks.column[:, :k], score=picks.score))
    if config.short == "none":
        return long
    short = _side_weights(config, setup, RankedPicks(column=picks.column[:, k:], score=-picks.score), short=True)
    return np.hstack([long, -short])


def _side_weights(config: BacktestConfig, setup: RunSetup, picks: RankedPicks, *, short: bool = False) -> Float64:
    """Return the weights of the picks of one side within the limits, 0 or more; shape (R, k)."""
    size = config.short_weight if short else 1.0
    weight, groups = _chosen_weights(config, setup, picks, short=short), setup.sessions.groups
    weight = weight if size == 1.0 else weight * size
    if config.group_neutral and groups is not None:
        group = np.where(picks.column >= 0, groups[np.maximum(picks.column, 0)], -1)
        return neutral_weights(weight, group, config.max_weight)
    return limited_weights(weight, config.max_weight)


def _chosen_weights(config: BacktestConfig, setup: RunSetup, picks: RankedPicks, *, short: bool) -> Float64:
    """Return the weight of each pick by the rule of the settings, shape (R, k)."""
    if config.weights == "equal":
        return equal_weights(picks.column)
    if config.weights == "forecast":
        return forecast_weights(picks.column, picks.score)
    sessions = setup.sessions
    history, rows = sessions.history, setup.schedule.signal + sessions.first
    if config.weights == "inverse_vol":
        deviation = past_deviation(history.close, rows, picks.column, config.volatility_sessions)
        return inverse_volatility_weights(picks.column, deviation)
    past = PastPrices(table=history, rows=rows)
    return function_weights(config.weights, past, picks.column, sessions=config.volatility_sessions, short=short)
