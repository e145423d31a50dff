"""The frame of a run: its sessions, universe, candidates, rebalances and prices, checked. Knows prices and settings;
nothing of forecasts, filters or money."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from encash.arrays import Bool, Days, Float64, Int64, UInt64, day_text
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.universe import (
    Candidates,
    Membership,
    Schedule,
    candidate_mask,
    schedule,
    session_span,
    universe,
)
from encash.backtest.simulation.market import Delisting, Market, settled
from encash.clusters.draw import ticker_keys
from encash.errors import InputError
from encash.panel.panel import PriceTable


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """The prices of a run: those of its universe up to its last session."""

    days: Days
    """The sessions of the run, shape (S,)."""
    tickers: tuple[str, ...]
    """The universe, sorted; N names."""
    history: PriceTable
    """The universe's prices from the beginning of the file to the last session of the run."""
    first: int
    """The row of the first session in the history."""
    member: Bool | None
    """Who belonged to the universe when, shape (S, N); None for everybody always."""
    _benchmarks: dict[Delisting, Float64] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def close(self) -> Float64:
        """Shape (S, N)."""
        return self.history.close[self.first :]

    @cached_property
    def keys(self) -> UInt64:
        """A number for each ticker, for draws; shape (N,)."""
        return ticker_keys(self.tickers)

    @cached_property
    def traded(self) -> Bool:
        """Where there is a close, shape (S, N)."""
        result: Bool = ~np.isnan(self.close)
        return result

    @cached_property
    def open(self) -> Float64:
        """Opens of sessions that also have a close, shape (S, N).

        Raises:
            InputError: the prices have no opens.
        """
        if self.history.open is None:
            raise InputError("fill is open, and the prices have no opens; give OHLC prices, or fill at the close")
        return np.where(self.traded, self.history.open[self.first :], np.nan)

    def market(self, columns: Int64, *, fill: str) -> Market:
        """The prices of some tickers as a simulator needs them.

        Raises:
            InputError: fills at the open without opens.
        """
        close = self.close[:, columns]
        return Market(close=close, fill=close if fill == "close" else self.open[:, columns])

    def benchmark(self, delisting: Delisting) -> Float64:
        """Growth of 1 held in the whole universe in equal weights, rebalanced every session, without costs.

        The return of a session is the mean over the members that had a price before and still trade; one that stopped
        trading counts once more, on the session after its last price, with what the policy pays (``flat``: nothing
        lost). Without anybody the return is 0. Shape (S,).
        """
        if delisting not in self._benchmarks:
            self._benchmarks[delisting] = _benchmark(self, delisting)
        return self._benchmarks[delisting]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Sessions and the candidates of each rebalance."""

    sessions: Sessions
    schedule: Schedule
    asked: Bool
    """Candidates of each rebalance: drawn, members, with a price that day; shape (R, N)."""

    @property
    def signal_days(self) -> Days:
        """Shape (R,)."""
        return self.sessions.days[self.schedule.signal]


def open_sessions(config: BacktestConfig, prices: PriceTable, candidates: Candidates) -> Sessions:
    """The sessions, the universe and its prices; nothing after the last session is kept.

    Raises:
        InputError: no session in range, no candidates, top_k above them, a price that is 0, negative or infinite.
        UnknownKeyError: a listed candidate without prices.
    """
    span = session_span(config, prices.days)
    tickers = universe(config, prices, candidates)
    history = prices if tickers == prices.tickers else prices.select(tickers)
    if span.stop < len(prices.days):
        history = replace(
            history,
            days=history.days[: span.stop],
            close=history.close[: span.stop],
            open=None if history.open is None else history.open[: span.stop],
        )
    days = history.days[span.start :]
    _check_prices(history.close[span.start :], days, tickers, "close")
    if config.fill == "open" and history.open is not None:
        _check_prices(history.open[span.start :], days, tickers, "open")
    member = candidates.mask(days, tickers) if isinstance(candidates, Membership) else None
    return Sessions(days=days, tickers=tickers, history=history, first=span.start, member=member)


def make_frame(config: BacktestConfig, sessions: Sessions, plan: Schedule | None = None) -> Frame:
    """Set up the rebalances of a run and their candidates.

    Args:
        config: the settings.
        sessions: from `open_sessions`.
        plan: the rebalances; None takes those of the settings.

    Raises:
        InputError: not one holding period fits, or no candidate on any signal day.
    """
    plan = plan or schedule(config, len(sessions.days))
    member = None if sessions.member is None else sessions.member[plan.signal]
    asked = candidate_mask(config, sessions.days[plan.signal], sessions.keys, sessions.traded[plan.signal], member)
    if not asked.any():
        raise InputError(
            "no candidates: nobody of the universe has a price on any signal day; give other days or tickers"
        )
    return Frame(sessions=sessions, schedule=plan, asked=asked)


def _benchmark(sessions: Sessions, delisting: Delisting) -> Float64:
    """The growth of the universe, shape (S,)."""
    market = Market(close=sessions.close, fill=sessions.close)
    rows = np.arange(1, len(sessions.days))[:, None]
    before, now = market.mark[:-1], market.mark[1:]
    returns = np.where(rows == market.last_row + 1, settled(before, before, delisting), now) / before - 1.0
    counted = ~np.isnan(before) & (rows <= market.last_row + 1)
    if sessions.member is not None:
        counted &= sessions.member[:-1]
    mean = np.where(counted, returns, 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return np.concatenate([[1.0], np.cumprod(1.0 + mean)])


def _check_prices(values: Float64, days: Days, tickers: tuple[str, ...], name: str) -> None:
    """Refuse what is no price: zero, negative, infinite."""
    with np.errstate(invalid="ignore"):
        wrong = (values <= 0) | np.isinf(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{name} of {tickers[column]} on {day_text(days[row])} is {values[row, column]:g}; "
            f"expected a price above 0 ({int(wrong.sum())} such values); mend the prices, or remove those rows"
        )
