"""One backtest as a pure function of signals, filter and prices; sweeps and comparisons call it by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int32, Int64
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.inputs.weight_functions import PastPrices, function_weights
from encash.backtest.simulation.book_picks import GroupRules, disjoint_sides, pick_by_group
from encash.backtest.simulation.costs.base import CostModel
from encash.backtest.simulation.costs.proportional import NO_COSTS
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.portfolio import (
    RankedPicks,
    equal_weights,
    forecast_weights,
    inverse_volatility_weights,
    past_deviation,
    pick,
    ranked_scores,
)
from encash.backtest.simulation.simulate import SimulationResult, simulate, value_of
from encash.backtest.simulation.simulation_types import Holdings, Rules, Targets
from encash.backtest.simulation.weight_limits import limited_weights, neutral_weights
from encash.clusters.filters.base import CandidateFilter
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Candidates of each side of a book; masks have shape (R, N)."""

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
    """Of a book with shorts: k columns to buy, then k to sell short."""
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


@dataclass(frozen=True, kw_only=True)
class Outcome(Allocation):
    """Outcome of one configuration on one set of signals."""

    config: BacktestConfig
    simulation: SimulationResult
    targets: Targets
    """Columns are those of `market`."""
    market: Market
    columns: Int64
    """Column of each ticker of the market in the universe, shape (C,)."""

    @property
    def candidates(self) -> Bool:
        """Candidates with an entry, shape (R, N)."""
        return self.setup.candidates & self.signals.found

    @property
    def days(self) -> Days:
        """Sessions, shape (S,)."""
        return self.setup.sessions.days

    @property
    def sessions_per_year(self) -> int:
        """Sessions per year that annualize the figures: the setting, or measured from the data."""
        return self.config.sessions_per_year or self.setup.sessions.per_year

    @property
    def net(self) -> Float64:
        """Equity after costs at the close of each session, shape (S,)."""
        return self.simulation.equity

    @cached_property
    def gross(self) -> Float64:
        """Equity of the same picks without fees, slippage and borrow fees, shape (S,)."""
        free = self.config.costs() == NO_COSTS and self.config.borrow_rate == 0.0
        return self.net if free else self.simulate_with(costs=NO_COSTS, borrow_rate=0.0).equity

    @cached_property
    def benchmark(self) -> Float64:
        """Equity of the universe in equal weights, rebalanced every session, without costs; shape (S,)."""
        return self.config.initial_capital * self.setup.sessions.benchmark(self.config.delisting)

    @property
    def path(self) -> Float64:
        """Equity from the initial capital on: the costs of the first buys count in the first return. Shape (S,)."""
        path = self.net.copy()
        path[0] = self.config.initial_capital
        return path

    def simulate_with(self, **changes: Any) -> SimulationResult:
        """Simulate the same picks under different rules, such as other costs or delisting policies."""
        return simulate(self.market, self.targets, replace(_rules(self.config), **changes))

    def final_by_delisting(self) -> dict[str, float]:
        """Return the final capital under each delisting policy."""
        if not self.simulation.count(Cause.DELISTED):
            return {policy: float(self.net[-1]) for policy in metrics.DELISTING_POLICIES}
        return {policy: float(self.simulate_with(delisting=policy).equity[-1]) for policy in metrics.DELISTING_POLICIES}

    def summary(self) -> dict[str, float | int]:
        """Return the figures of the run; conventions as in `encash.metrics`.

        `win_rate` is the fraction of holdings with a `CostModel.gain` (proportional costs: without the fixed fee),
        `trades` the number of orders in the ledger.
        """
        path, benchmark = self.path, self.benchmark
        trades, holdings, config = self.simulation.trades, self.simulation.holdings, self.config
        year = self.sessions_per_year
        candidates = int(self.candidates.sum())
        return {
            "final_capital": float(self.net[-1]),
            "total_return": metrics.total_return(path),
            "gross_return": float(self.gross[-1] / config.initial_capital - 1.0),
            "benchmark_return": metrics.total_return(benchmark),
            **{key: metric.measure(path, benchmark, year) for key, metric in metrics.PATH_METRICS.items()},
            "turnover": metrics.turnover(float(trades.value().sum()), path, year),
            "trades": len(trades.row),
            "fees": float(trades.fee.sum()),
            "win_rate": metrics.win_rate(_gains(holdings, config.costs())),
            "rebalances": len(self.setup.schedule.signal),
            "idle_rebalances": int((self.picks.column < 0).all(axis=1).sum()),
            "keep_rate": float(self.kept.sum() / candidates) if candidates else float("nan"),
            "delistings": self.simulation.count(Cause.DELISTED),
            "deferred_sales": self.simulation.count(Cause.DEFERRED),
            "unfilled": self.simulation.unfilled,
            **self._book_figures(),
        }

    def _book_figures(self) -> dict[str, float | int]:
        """Return the figures that only a book with shorts, or with limits of volume, has."""
        simulation, found = self.simulation, dict[str, float | int]()
        if self.config.short != "none":
            long, short = (_mean_exposure(self, sign) for sign in (1.0, -1.0))
            borrowed = 0.0 if simulation.borrowed is None else float(simulation.borrowed.fee.sum())
            calls = simulation.margin_calls
            found |= {"long_exposure": long, "short_exposure": short, "borrow_fees": borrowed, "margin_calls": calls}
        if self.config.max_volume_share is not None:
            found["limited_by_volume"] = simulation.cut
        return found


def run_strategy(
    config: BacktestConfig,
    setup: RunSetup,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
    shorted: Bool | None = None,
) -> Outcome:
    """Filter, rank, pick and trade.

    Args:
        config: the settings.
        setup: sessions and candidates, made for these settings.
        signals: signals of at least the days and tickers of the setup.
        filter: None keeps every candidate.
        kept: candidates to keep, instead of a filter; shape (R, N).
        shorted: with `kept`, those that may be sold short, if the settings have shorts; shape (R, N).

    Raises:
        InputError: no forecasts for the horizon, or settings of a book that the data or the filter do not allow.
        MismatchError: the signals do not cover the setup.
    """
    allocation = allocate(config, setup, signals, filter, kept, shorted)
    picked = allocation.picks.column
    columns = np.unique(np.maximum(picked, 0)).astype(np.int64)  # at least one, even if nothing is picked
    targets = _targets(allocation, columns)
    market = setup.sessions.market(columns, config)
    return Outcome(
        **vars(allocation),
        config=config,
        simulation=simulate(market, targets, _rules(config)),
        targets=targets,
        market=market,
        columns=columns,
    )


def allocate(
    config: BacktestConfig,
    setup: RunSetup,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
    shorted: Bool | None = None,
) -> Allocation:
    """Filter, rank and pick; arguments and errors as for `run_strategy`."""
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
    scores = [
        ranked_scores(forecast, confidence, side, percentile=config.confidence_percentile)
        for side in (kept, kept if shorted is None else shorted)
    ]
    ranked = np.where(np.isnan(scores[0]), scores[1], scores[0])
    long, short = ~np.isnan(scores[0]), ~np.isnan(scores[1])
    if shorted is None:
        column = pick_by_group(ranked, config.top_k, groups)
    else:
        long, short = disjoint_sides(ranked, long, short, groups)
        down = pick_by_group(np.where(short, -ranked, np.nan), config.top_k, groups)
        column = np.hstack([pick_by_group(np.where(long, ranked, np.nan), config.top_k, groups), down])
    picks = RankedPicks(column=column, score=ranked)
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


def _targets(allocation: Allocation, columns: Int64) -> Targets:
    """Return the picks as targets in the columns of the market."""
    plan, picked = allocation.setup.schedule, allocation.picks.column
    place = np.where(picked >= 0, np.searchsorted(columns, np.maximum(picked, 0)), -1)
    return Targets(
        fill=plan.fill,
        exit=plan.exit,
        tranche=plan.tranche,
        column=place.astype(np.int64),
        weight=allocation.weight,
        num_tranches=plan.num_tranches,
    )


def _rules(config: BacktestConfig) -> Rules:
    """Return the simulation rules of a configuration."""
    return Rules(
        capital=config.initial_capital,
        costs=config.costs(),
        delisting=config.delisting,
        whole_shares=config.whole_shares,
        net=config.rebalance == "net",
        borrow_rate=config.borrow_rate,
        margin=config.margin,
    )


def _gains(holdings: Holdings, costs: CostModel) -> Float64:
    """Return the gain of each holding after costs, shape (n,)."""
    short = holdings.shares < 0
    if not short.any():
        return costs.gain(holdings.shares, holdings.entry, holdings.exit)
    shares = np.abs(holdings.shares)
    bought, sold = (
        costs.gain(shares, holdings.entry, holdings.exit),
        costs.short_gain(shares, holdings.entry, holdings.exit),
    )
    return np.where(short, sold, bought)


def _mean_exposure(outcome: Outcome, sign: float) -> float:
    """Return the mean value of the longs (sign 1) or shorts (−1) at each close over the equity, 0 or more."""
    value = value_of(outcome.simulation.holdings, outcome.market, sign=sign)
    equity = outcome.simulation.equity
    return float(np.mean(sign * value[equity > 0] / equity[equity > 0])) if (equity > 0).any() else float("nan")
