"""One backtest as a pure function of signals, filter and prices: who is kept, who is picked, what becomes of the money.
Knows no lookup, no file and no clock; sweeps and comparisons call it by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int64
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import Frame
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.simulation.costs import FREE
from encash.backtest.simulation.market import DELISTING_POLICIES, Cause, Market
from encash.backtest.simulation.portfolio import (
    Picks,
    equal_weights,
    forecast_weights,
    inverse_volatility_weights,
    past_deviation,
    pick,
)
from encash.backtest.simulation.simulate import Simulation, simulate
from encash.backtest.simulation.simulation_types import Rules, Targets
from encash.clusters.filters.base import CandidateFilter


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Who is held from each rebalance, before any money moves."""

    frame: Frame
    signals: SignalGrid
    """Of the rebalances and the universe of the frame."""
    kept: Bool
    """shape (R, N)."""
    picks: Picks
    weight: Float64
    """Of each pick, shape (R, k)."""

    @property
    def keep_rate(self) -> float:
        """The share of candidates with an entry that the filter kept."""
        candidates = int((self.frame.asked & self.signals.found).sum())
        return float(self.kept.sum() / candidates) if candidates else float("nan")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that one configuration does on one set of signals."""

    config: BacktestConfig
    allocation: Allocation
    simulation: Simulation
    targets: Targets
    """Columns are those of the market below."""
    market: Market
    columns: Int64
    """The tickers of the market by their place in the universe."""

    @property
    def frame(self) -> Frame:
        """Sessions and candidates."""
        return self.allocation.frame

    @property
    def signals(self) -> SignalGrid:
        """Of the rebalances and the universe of the frame."""
        return self.allocation.signals

    @property
    def kept(self) -> Bool:
        """Who passed the filter, shape (R, N)."""
        return self.allocation.kept

    @property
    def picks(self) -> Picks:
        """The names of each rebalance."""
        return self.allocation.picks

    @property
    def days(self) -> Days:
        """The sessions, shape (S,)."""
        return self.frame.sessions.days

    @property
    def net(self) -> Float64:
        """Equity after costs at the close of each session."""
        return self.simulation.equity

    @cached_property
    def gross(self) -> Float64:
        """Equity of the same picks traded for nothing: no fees, no slippage."""
        free = self.config.costs() == FREE
        return self.net if free else self.simulate_with(costs=FREE).equity

    @cached_property
    def benchmark(self) -> Float64:
        """The universe in equal weights, rebalanced every session, without costs; begins with the same capital."""
        return self.config.initial_capital * self.frame.sessions.benchmark(self.config.delisting)

    @property
    def path(self) -> Float64:
        """Equity with the initial capital in the first place: what the first buys cost counts in the first return."""
        path = self.net.copy()
        path[0] = self.config.initial_capital
        return path

    def simulate_with(self, **changes: Any) -> Simulation:
        """The same picks under other rules: other costs, another delisting policy."""
        return simulate(self.market, self.targets, replace(_rules(self.config), **changes))

    def final_by_delisting(self) -> dict[str, float]:
        """The final capital under each delisting policy."""
        if not self.simulation.count(Cause.DELISTED):
            return {policy: float(self.net[-1]) for policy in DELISTING_POLICIES}
        return {policy: float(self.simulate_with(delisting=policy).equity[-1]) for policy in DELISTING_POLICIES}

    def summary(self) -> dict[str, float | int]:
        """The figures of the run; conventions as in `encash.metrics`.

        `win_rate` is the share of holdings that earned after slippage and proportional fees, `trades` the number of
        orders in the ledger.
        """
        returns, benchmark = metrics.simple_returns(self.path), metrics.simple_returns(self.benchmark)
        trades, holdings, config = self.simulation.trades, self.simulation.holdings, self.config
        paid = holdings.entry * (1.0 + config.buy_fee)
        got = holdings.exit * (1.0 - config.sell_fee)
        return {
            "final_capital": float(self.net[-1]),
            "total_return": metrics.total_return(self.path),
            "gross_return": float(self.gross[-1] / config.initial_capital - 1.0),
            "benchmark_return": metrics.total_return(self.benchmark),
            "cagr": metrics.cagr(self.path),
            "volatility": metrics.volatility(returns),
            "sharpe": metrics.sharpe(returns),
            "sortino": metrics.sortino(returns),
            "max_drawdown": metrics.max_drawdown(self.path),
            "information_ratio": metrics.information_ratio(returns, benchmark),
            "turnover": metrics.turnover(float(trades.value().sum()), self.path),
            "trades": len(trades.row),
            "fees": float(trades.fee.sum()),
            "win_rate": metrics.win_rate(got / paid - 1.0),
            "rebalances": len(self.frame.schedule.signal),
            "idle_rebalances": int((self.picks.column < 0).all(axis=1).sum()),
            "keep_rate": self.allocation.keep_rate,
            "delistings": self.simulation.count(Cause.DELISTED),
            "deferred_sales": self.simulation.count(Cause.DEFERRED),
            "unfilled": self.simulation.unfilled,
        }


def evaluate(
    config: BacktestConfig,
    frame: Frame,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
) -> Outcome:
    """Filter, rank, pick and trade.

    Args:
        config: the settings.
        frame: sessions and candidates, made for these settings.
        signals: at least the days and tickers of the frame.
        filter: None keeps everybody.
        kept: instead of a filter, who goes on; shape (R, N).

    Raises:
        InputError: no forecasts for the horizon.
        MismatchError: signals that do not cover the frame.
    """
    allocation = allocate(config, frame, signals, filter, kept)
    picked = allocation.picks.column
    columns = np.unique(np.maximum(picked, 0)).astype(np.int64)  # one at least, where nobody is picked
    targets = _targets(allocation, columns)
    market = frame.sessions.market(columns, fill=config.fill)
    return Outcome(
        config=config,
        allocation=allocation,
        simulation=simulate(market, targets, _rules(config)),
        targets=targets,
        market=market,
        columns=columns,
    )


def allocate(
    config: BacktestConfig,
    frame: Frame,
    signals: SignalGrid,
    filter: CandidateFilter | None = None,
    kept: Bool | None = None,
) -> Allocation:
    """Filter, rank and pick; arguments and errors as for `evaluate`."""
    signals = signals.select(frame.signal_days, frame.sessions.tickers)
    candidates = frame.asked & signals.found
    if kept is None:
        kept = candidates if filter is None else keep(filter, frame, signals, candidates)
    kept = kept & candidates
    forecast, confidence = signals.of_horizon(config.signal_horizon)
    picks = pick(forecast, confidence, kept, top_k=config.top_k, percentile=config.confidence_percentile)
    return Allocation(frame=frame, signals=signals, kept=kept, picks=picks, weight=_weights(config, frame, picks))


def keep(filter: CandidateFilter, frame: Frame, signals: SignalGrid, candidates: Bool) -> Bool:
    """Ask a filter who goes on, shape (R, N)."""
    return filter.keep(frame.signal_days, frame.sessions.tickers, candidates, signals.cluster, signals.distance)


def _weights(config: BacktestConfig, frame: Frame, picks: Picks) -> Float64:
    """The share of each pick, shape (R, k)."""
    if config.weights == "forecast":
        return forecast_weights(picks.column, picks.score)
    if config.weights == "inverse_vol":
        sessions = frame.sessions
        rows = frame.schedule.signal + sessions.first
        past = past_deviation(sessions.history.close, rows, picks.column, config.volatility_sessions)
        return inverse_volatility_weights(picks.column, past)
    return equal_weights(picks.column)


def _targets(allocation: Allocation, columns: Int64) -> Targets:
    """The picks as targets, with the places of the market."""
    plan, picked = allocation.frame.schedule, allocation.picks.column
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
    """The rules of the money."""
    return Rules(
        capital=config.initial_capital,
        costs=config.costs(),
        delisting=config.delisting,
        whole_shares=config.whole_shares,
        net=config.rebalance == "net",
    )
