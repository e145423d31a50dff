"""One backtest as a pure function of signals, filter and prices; sweeps and comparisons call it by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int64
from encash.backtest.allocation import Allocation, allocate
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.simulation.costs.base import CostModel
from encash.backtest.simulation.costs.proportional import NO_COSTS
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulate import SimulationResult, simulate, value_of
from encash.backtest.simulation.simulation_types import Holdings, Rules, Targets
from encash.clusters.filters.base import CandidateFilter


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
        """Sessions per year, for annualizing: the setting, or measured from the data."""
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
        """Return the figures that only portfolios with shorts or volume limits have."""
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
        InputError: no forecasts for the horizon, or constraints that the data or the filter do not allow.
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
