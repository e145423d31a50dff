"""Setup of a run: its sessions, universe, rebalances and candidates, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from encash.arrays import Bool, Days, Float64, Int64, UInt64, day_text
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.groups import Groups
from encash.backtest.inputs.traded_value import mean_before, refuse_unknown
from encash.backtest.inputs.universe import (
    Candidates,
    Membership,
    Schedule,
    candidate_mask,
    check_width,
    last_by_name,
    make_schedule,
    session_span,
    universe_tickers,
)
from encash.backtest.simulation.market import Market
from encash.clusters.draw import ticker_keys
from encash.errors import InputError
from encash.metrics import Delisting
from encash.panel.calendars import sessions_per_year
from encash.panel.panel import PriceTable


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Prices of the universe of a run up to its last session."""

    days: Days
    """Sessions of the run, shape (S,)."""
    tickers: tuple[str, ...]
    """Universe of N tickers, sorted."""
    history: PriceTable
    """Prices of the universe from the beginning of the file to the last session of the run."""
    first: int
    """Row of the first session in `history`."""
    member: Bool | None
    """Membership of the universe, shape (S, N); None if every ticker is always a member."""
    groups: Int64 | None = None
    """Group of each ticker, from 0, shape (N,); None if no groups are given."""
    _benchmarks: dict[Delisting, Float64] = field(default_factory=dict, repr=False, compare=False)
    _mean_dollars: dict[int, Float64] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def per_year(self) -> int:
        """Sessions per year, measured from the beginning of the file to the last session of the run."""
        return sessions_per_year(self.history.days)

    @cached_property
    def close(self) -> Float64:
        """Closes of the run, shape (S, N)."""
        return self.history.close[self.first :]

    @cached_property
    def keys(self) -> UInt64:
        """Number of each ticker, for draws; shape (N,)."""
        return ticker_keys(self.tickers)

    @cached_property
    def traded(self) -> Bool:
        """True if a ticker has a close, shape (S, N)."""
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

    def market(self, columns: Int64, config: BacktestConfig) -> Market:
        """Return the prices of C tickers, and the limits of their fills, as a simulation needs them.

        Raises:
            InputError: fills at the open, and the prices have no opens; or volume limits without dollar volumes.
        """
        close = self.close[:, columns]
        return Market(
            close=close,
            fill=close if config.fill == "close" else self.open[:, columns],
            capacity=None if config.max_volume_share is None else self._capacity(columns, config),
            years=None if config.short == "none" else np.diff(self.days, prepend=self.days[:1]).astype(np.int64) / 365,
        )

    def _capacity(self, columns: Int64, config: BacktestConfig) -> Float64:
        """Return the maximum fill of C tickers on each session, in currency units; shape (S, C).

        It is a fraction of the mean dollar volume before the session and, at a close, also of the session's own.
        """
        assert config.max_volume_share is not None
        most = self._dollars(config.volume_sessions)[:-1, columns]
        if config.fill == "close" and self.history.dollars is not None:
            most = np.minimum(most, np.nan_to_num(self.history.dollars[self.first :, columns]))
        return config.max_volume_share * most

    def liquid(self, rows: Int64, config: BacktestConfig) -> Bool | None:
        """Return the tickers with enough mean dollar volume up to each signal, shape (R, N); None without a limit.

        Args:
            rows: sessions of the signals, shape (R,).
            config: the limit, and the sessions of the mean.

        Raises:
            InputError: the prices have no dollar volumes.
        """
        if config.min_dollar_volume is None:
            return None
        enough: Bool = self._dollars(config.volume_sessions)[rows + 1] >= config.min_dollar_volume
        return enough

    def _dollars(self, sessions: int) -> Float64:
        """Return the mean dollar volume before each session of the run, and before the one after; shape (S + 1, N)."""
        if sessions not in self._mean_dollars:
            dollars = refuse_unknown(self.history.dollars, self.traded, self.first, self.tickers)
            self._mean_dollars[sessions] = mean_before(dollars, sessions)[self.first :]
        return self._mean_dollars[sessions]

    def benchmark(self, delisting: Delisting) -> Float64:
        """Return the growth of 1 held in the universe in equal weights, rebalanced every session, without costs.

        The return of a session is the mean over the members that had a price before and still trade. A ticker that
        stopped trading counts once more, on the session after its last price, at the price of the policy (``flat``:
        no loss). Without any member the return is 0. Shape (S,).
        """
        if delisting not in self._benchmarks:
            market = Market(close=self.close, fill=self.close)
            returns = market.session_returns(delisting)
            counted = ~np.isnan(returns)
            if self.member is not None:
                counted &= self.member[:-1]
            mean = np.where(counted, returns, 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
            self._benchmarks[delisting] = np.concatenate([[1.0], np.cumprod(1.0 + mean)])
        return self._benchmarks[delisting]


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """Sessions of a run and the candidates of each of its R rebalances."""

    sessions: Sessions
    schedule: Schedule
    candidates: Bool
    """Drawn members with a price on the day of the signal, shape (R, N)."""

    @property
    def signal_days(self) -> Days:
        """Days of the signals, shape (R,)."""
        return self.sessions.days[self.schedule.signal]


def open_sessions(
    config: BacktestConfig, prices: PriceTable, candidates: Candidates, groups: Groups | None = None
) -> Sessions:
    """Open the sessions, the universe and its prices; later prices, and tickers without a price in them, are dropped.

    Raises:
        InputError: no session in range, no candidates, fewer than top_k, an invalid price, or a ticker without a group.
        UnknownKeyError: a listed candidate has no prices.
    """
    span = session_span(config, prices.days)
    history = prices.as_of(prices.days[span.stop - 1])
    tickers = universe_tickers(prices, candidates)
    history = history if tickers == prices.tickers else history.select(tickers)
    days = history.days[span.start :]
    traded = ~np.isnan(history.close[span.start :])
    member = candidates.mask(days, tickers) if isinstance(candidates, Membership) else None
    if config.num_test_stocks is not None:
        member = last_by_name(config.num_test_stocks, traded if member is None else traded & member)
    alive: Bool = np.logical_or.reduce(traded, axis=0)
    if member is not None:
        alive &= member.any(axis=0)
    if not alive.any():
        raise InputError(
            f"no candidates: no ticker of the universe has a price from {day_text(days[0])} to {day_text(days[-1])}; "
            "give other days or tickers"
        )
    if not alive.all():
        tickers = tuple(ticker for ticker, there in zip(tickers, alive, strict=True) if there)
        history = history.select(tickers)
        member = None if member is None else member[:, alive]
    check_width(config, len(tickers))
    _check_prices(history.close[span.start :], days, tickers, "close")
    if config.fill == "open" and history.open is not None:
        _check_prices(history.open[span.start :], days, tickers, "open")
    codes = None if groups is None else groups.codes(tickers)
    return Sessions(days=days, tickers=tickers, history=history, first=span.start, member=member, groups=codes)


def set_up_run(config: BacktestConfig, sessions: Sessions, plan: Schedule | None = None) -> RunSetup:
    """Set up the rebalances of a run and their candidates.

    Args:
        config: the settings.
        sessions: from `open_sessions`.
        plan: the rebalances; None for those of the settings.

    Raises:
        InputError: no holding period fits, or no signal day has a candidate.
    """
    plan = plan or make_schedule(config, len(sessions.days))
    member = None if sessions.member is None else sessions.member[plan.signal]
    if (liquid := sessions.liquid(plan.signal, config)) is not None:
        member = liquid if member is None else member & liquid
    candidates = candidate_mask(config, sessions.days[plan.signal], sessions.keys, sessions.traded[plan.signal], member)
    if not candidates.any():
        traded = "" if config.min_dollar_volume is None else " and the least dollar volume"
        raise InputError(
            f"no candidates: no ticker of the universe has a price{traded} on a signal day; give other days or tickers"
        )
    return RunSetup(sessions=sessions, schedule=plan, candidates=candidates)


def _check_prices(values: Float64, days: Days, tickers: tuple[str, ...], name: str) -> None:
    """Refuse zero, negative and infinite prices."""
    with np.errstate(invalid="ignore"):
        wrong = (values <= 0) | np.isinf(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{name} of {tickers[column]} on {day_text(days[row])} is {values[row, column]:g}; "
            f"expected a price above 0 ({int(wrong.sum())} such values): correct the prices, or remove those rows"
        )
