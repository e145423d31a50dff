"""One backtest as a pure function of signals, filter and prices; sweeps and comparisons call it by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int64
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.simulation.costs.proportional import NO_COSTS
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.portfolio import (
    RankedPicks,
    equal_weights,
    forecast_weights,
    inverse_volatility_weights,
    past_deviation,
    pick,
)
from encash.backtest.simulation.simulate import SimulationResult, simulate
from encash.backtest.simulation.simulation_types import Rules, Targets
from encash.clusters.filters.base import CandidateFilter


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Picks and weights of the rebalances of a run, before any trade."""

    setup: RunSetup
    signals: SignalGrid
    """Signals of the rebalances and the universe of the setup."""
    kept: Bool
    """Candidates that passed the filter, shape (R, N)."""
    picks: RankedPicks
    weight: Float64
    """Weight of each pick, shape (R, k)."""


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
        """Equity of the same picks without fees and slippage, shape (S,)."""
        free = self.config.costs() == NO_COSTS
        return self.net if free else self.simulate_with(costs=NO_COSTS).equity

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
            "win_rate": metrics.win_rate(config.costs().gain(holdings.shares, holdings.entry, holdings.exit)),
            "rebalances": len(self.setup.schedule.signal),
            "idle_rebalances": int((self.picks.column < 0).all(axis=1).sum()),
            "keep_rate": float(self.kept.sum() / candidates) if candidates else float("nan"),
            "delistings": self.simulation.count(Cause.DELISTED),
            "deferred_sales": self.simulation.count(Cause.DEFERRED),
            "unfilled": self.simulation.unfilled,
        }


def run_strategy(
    config: BacktestConfig,
    setup: RunSetup,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
) -> Outcome:
    """Filter, rank, pick and trade.

    Args:
        config: the settings.
        setup: sessions and candidates, made for these settings.
        signals: signals of at least the days and tickers of the setup.
        filter: None keeps every candidate.
        kept: candidates to keep, instead of a filter; shape (R, N).

    Raises:
        InputError: no forecasts for the horizon.
        MismatchError: the signals do not cover the setup.
    """
    allocation = allocate(config, setup, signals, filter, kept)
    picked = allocation.picks.column
    columns = np.unique(np.maximum(picked, 0)).astype(np.int64)  # at least one, even if nothing is picked
    targets = _targets(allocation, columns)
    market = setup.sessions.market(columns, fill=config.fill)
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
) -> Allocation:
    """Filter, rank and pick; arguments and errors as for `run_strategy`."""
    signals = signals.select(setup.signal_days, setup.sessions.tickers)
    candidates = setup.candidates & signals.found
    if kept is None:
        kept = candidates
        if filter is not None:
            days, tickers = setup.signal_days, setup.sessions.tickers
            kept = filter.keep(days, tickers, candidates, signals.cluster, signals.distance)
    kept = kept & candidates
    forecast, confidence = signals.of_horizon(config.signal_horizon)
    picks = pick(forecast, confidence, kept, top_k=config.top_k, percentile=config.confidence_percentile)
    return Allocation(setup=setup, signals=signals, kept=kept, picks=picks, weight=_weights(config, setup, picks))


def _weights(config: BacktestConfig, setup: RunSetup, picks: RankedPicks) -> Float64:
    """Return the weight of each pick, shape (R, k)."""
    if config.weights == "forecast":
        return forecast_weights(picks.column, picks.score)
    if config.weights == "inverse_vol":
        sessions = setup.sessions
        rows = setup.schedule.signal + sessions.first
        past = past_deviation(sessions.history.close, rows, picks.column, config.volatility_sessions)
        return inverse_volatility_weights(picks.column, past)
    return equal_weights(picks.column)


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
    )
