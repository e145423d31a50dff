"""The configuration of one backtest. Knows which values make sense together; knows no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from encash.arrays import DayLike, day_text
from encash.backtest.simulation.costs import Costs
from encash.backtest.simulation.market import DELISTING_POLICIES, Delisting
from encash.errors import InputError

Weights = Literal["equal", "forecast", "inverse_vol"]


@dataclass(frozen=True, kw_only=True)
class BacktestConfig:
    """Everything that decides a backtest beside its data and its filter.

    **Time.** Sessions are those of the prices from `start` to `end`, both included. A signal is taken at the close of
    session `phase`, `phase + horizon`, …; it is filled `lag` sessions later and held for `horizon` sessions, until
    the next one is filled. With ``last_period="full"`` a signal whose holding period does not end within the sessions
    is not taken: everything is sold at the last exit and the capital lies idle until `end`. With ``"partial"`` a last
    shorter period is held and sold at the last session.

    **Money.** All capital of a tranche goes into the picks by their weights, fees included: the cash is used to the
    end (but for whole shares). Without a pick the capital lies idle, without interest. With `tranches` the capital is
    divided into `horizon` accounts that start one session after the other, each with the same rules and its own cash.

    Raises:
        InputError: a value that makes no sense; the message names it, and what was expected.

    >>> BacktestConfig(horizon=5, top_k=10).costs().sell_fee
    0.0005
    """

    start: DayLike | None = None
    """First session, None for the first of the prices."""
    end: DayLike | None = None
    """Last session; no later price is looked at."""
    test_sessions: int | None = None
    """Instead of `start`: the last so many sessions up to `end`."""
    horizon: int = 5
    """Sessions between two rebalances, and of the forecast that ranks."""
    forecast_horizon: int | None = None
    """Another horizon of the forecasts than `horizon`."""
    top_k: int = 5
    """Names held at most in each tranche."""
    num_test_stocks: int | None = None
    """Universe: the last so many tickers by name; None for all."""
    subset_size: int | None = None
    """Candidates drawn anew from the universe on each day, a function of (seed, day) alone; None for all."""
    confidence_percentile: float = 0.0
    """Of those that the filter kept, only those at or above this percentile of confidence are ranked; 0 to 100."""
    weights: Weights = "equal"
    """equal; forecast: in proportion to the score above 0; inverse_vol: to 1 / volatility of the past sessions."""
    volatility_sessions: int = 60
    """Sessions up to and including the signal that `inverse_vol` looks at."""
    seed: int = 42
    initial_capital: float = 100_000.0
    buy_fee: float = 0.0005
    sell_fee: float = 0.0005
    slippage: float = 0.0
    fixed_fee: float = 0.0
    whole_shares: bool = False
    rebalance: Literal["liquidate", "net"] = "liquidate"
    """liquidate: sell all, then buy; net: trade the differences alone."""
    tranches: bool = False
    """Overlapping: one account a session of the horizon, each with an equal share of the capital."""
    lag: int = 0
    """Sessions between signal and fill."""
    fill: Literal["close", "open"] = "close"
    """At the close or at the open of the session of the fill; the open needs a lag of at least 1."""
    phase: int = 0
    """Sessions after `start` of the first signal, below `horizon`."""
    last_period: Literal["full", "partial"] = "full"
    delisting: Delisting = "last"
    """Price at which a position is sold whose ticker stops trading, one session after its last price."""
    max_missing: float = 0.05
    """Largest share of candidates with a price that may lack an entry."""
    allow_lookahead: str | None = None
    """Why a run may know its future; None refuses such a run."""

    def __post_init__(self) -> None:
        self._check_days()
        self._check_counts()
        self._check_fractions()
        self._check_choices()

    def costs(self) -> Costs:
        """What a trade costs."""
        return Costs(buy_fee=self.buy_fee, sell_fee=self.sell_fee, slippage=self.slippage, fixed_fee=self.fixed_fee)

    @property
    def signal_horizon(self) -> int:
        """Sessions ahead of the forecasts that rank."""
        return self.horizon if self.forecast_horizon is None else self.forecast_horizon

    def describe(self) -> dict[str, Any]:
        """All fields as plain JSON values, days as YYYY-MM-DD."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("start", "end"):
            plain[name] = None if plain[name] is None else day_text(plain[name])
        return plain

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> BacktestConfig:
        """The configuration that `describe` described.

        Raises:
            InputError: a key that is no field.
        """
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(description) - names):
            raise InputError(f"{unknown[0]!r} is no setting of a backtest; expected one of {', '.join(sorted(names))}")
        return cls(**description)

    def _check_days(self) -> None:
        for name in ("start", "end"):
            if (day := getattr(self, name)) is not None:
                day_text(day)
        if self.start is not None and self.test_sessions is not None:
            raise InputError("start and test_sessions both say where to begin; give one of them")
        if self.start is not None and self.end is not None and day_text(self.start) > day_text(self.end):
            raise InputError(f"start {day_text(self.start)} lies behind end {day_text(self.end)}")

    def _check_counts(self) -> None:
        at_least_one = ("horizon", "top_k", "forecast_horizon", "num_test_stocks", "subset_size", "test_sessions")
        for name in at_least_one:
            _check_count(name, getattr(self, name), least=1)
        _check_count("volatility_sessions", self.volatility_sessions, least=2)
        for name in ("lag", "phase", "seed"):
            _check_count(name, getattr(self, name), least=0)
        if self.phase >= self.horizon:
            raise InputError(f"phase is {self.phase}; expected 0 to {self.horizon - 1}, below the horizon")
        if self.tranches and self.phase:
            raise InputError("tranches begin on every session of the horizon; give phase 0 with tranches")

    def _check_fractions(self) -> None:
        for name in ("buy_fee", "sell_fee", "slippage"):
            _check_number(name, getattr(self, name), "a fraction in [0, 1)", low=0.0, below=1.0)
        _check_number("fixed_fee", self.fixed_fee, "0 or more", low=0.0)
        _check_number("max_missing", self.max_missing, "a share in [0, 1]", low=0.0, high=1.0)
        _check_number("confidence_percentile", self.confidence_percentile, "0 to 100", low=0.0, high=100.0)
        _check_number("initial_capital", self.initial_capital, "more than 0", low=math.nextafter(0.0, 1.0))

    def _check_choices(self) -> None:
        choices = {
            "weights": ("equal", "forecast", "inverse_vol"),
            "rebalance": ("liquidate", "net"),
            "fill": ("close", "open"),
            "last_period": ("full", "partial"),
            "delisting": DELISTING_POLICIES,
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
        if self.fill == "open" and self.lag == 0:
            raise InputError(
                "a signal of the close cannot be filled at the open of the same session; give lag 1 or more"
            )
        if self.allow_lookahead is not None and not self.allow_lookahead.strip():
            raise InputError("allow_lookahead is empty; expected the reason, which the report will show")


def _check_count(name: str, value: int | None, *, least: int) -> None:
    """Refuse what is no whole number of at least so much; None is nobody's choice and passes."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InputError(f"{name} is {value!r}; expected a whole number of {least} or more")


def _check_number(
    name: str, value: float, expected: str, *, low: float, high: float = math.inf, below: float = math.inf
) -> None:
    """Refuse what is not finite or outside [low, high] and below `below`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high or value >= below:
        raise InputError(f"{name} is {value!r}; expected {expected}")
