"""Settings of one backtest: a field declares its default, limits and command-line flag in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from encash.arrays import DayLike, day_text, to_day
from encash.backtest.inputs.weight_functions import identified
from encash.backtest.simulation.costs.base import CostModel
from encash.backtest.simulation.costs.registry import COSTS, make_costs
from encash.errors import InputError, shown
from encash.metrics import Delisting
from encash.serialization import added_in, restated_in

Kind = Literal["count", "number", "switch", "text", "choice", "day"]
Group = Literal["stocks", "money", "checks"]
Scope = Literal["sessions", "rebalances", "trades"]

_LARGEST = 1.7976931348623157e308
"""Largest float64; an integer beyond it, or infinity, is not a number of a backtest."""
_COST_SETTINGS = ("buy_fee", "sell_fee", "slippage", "fixed_fee")
"""Settings whose values the fields of these names of a cost model take."""
_KINDS: dict[Any, Kind] = {int: "count", float: "number", bool: "switch", str: "text"}


@dataclass(frozen=True)
class Setting:
    """Limits and command-line flag of a field of `BacktestConfig`."""

    help: str
    group: Group = "money"
    """Section of the flag in the help of a command."""
    scope: Scope = "trades"
    """First step that reads the field: `open_sessions`, `set_up_run`, or what follows. Runs of a sweep that agree in
    the fields of a step share its work."""
    metavar: str | None = None
    least: float = 0.0
    most: float = math.inf
    bare: str | None = None
    """Value of the flag if it is given without one; None requires one."""
    expected: str = ""
    """Valid values, in the words of an error."""
    kind: Kind = "count"
    """Kind of value; from the type of the field."""
    choices: tuple[str, ...] = ()
    """Valid words of a choice, the default first; from the type of the field, or stated for one that is open."""
    open: bool = False
    """A choice may also be ``module:attribute``."""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value outside the limits.

        Raises:
            InputError: names the value and what was expected.
        """
        if self.kind in ("count", "number"):
            types = int if self.kind == "count" else (int, float)
            valid = isinstance(value, types) and not isinstance(value, bool) and self.least <= value <= self.most
            valid = valid and abs(value) <= _LARGEST
        elif self.kind == "choice":
            valid = isinstance(value, str) and (value in self.choices or (self.open and ":" in value))
        elif self.kind == "switch":
            valid = isinstance(value, bool | np.bool_)
        else:
            valid = isinstance(value, str) and bool(value.strip())
        if not valid:
            raise InputError(f"{name} is {shown(value)}; expected {self._expected()}")

    def _expected(self) -> str:
        """Describe the valid values."""
        if self.expected or self.choices:
            return self.expected or f"one of {', '.join(self.choices)}{', or module:attribute' if self.open else ''}"
        if self.kind == "switch":
            return "true or false"
        limit = "" if self.most == math.inf else f" and at most {self.most:,}"
        return f"a whole number of {self.least} or more{limit}"


def _count(
    help: str,
    group: Group = "money",
    scope: Scope = "trades",
    *,
    least: int = 1,
    most: int = 2**31 - 1,
    metavar: str = "N",
) -> Setting:
    return Setting(help, group, scope, metavar=metavar, least=least, most=most)


def _fraction(help: str) -> Setting:
    return Setting(help, metavar="FRACTION", most=math.nextafter(1.0, 0.0), expected="a fraction in [0, 1)")


def _share(help: str, group: Group = "money") -> Setting:
    expected = "a fraction above 0 and at most 1"
    return Setting(help, group, metavar="FRACTION", least=1e-9, most=1.0, expected=expected)


@dataclass(frozen=True, kw_only=True)
class BacktestConfig:
    """Settings of a backtest; its data and its filter are `BacktestInputs`.

    **Time.** Sessions are those of the prices from `start` to `end`, both included. A signal is taken at the close of
    session `phase`, `phase + horizon`, …; it is filled `lag` sessions later and held for `horizon` sessions, until
    the next one is filled. With ``last_period="full"`` a signal whose holding period does not end within the sessions
    is not taken: everything is sold at the last exit and the capital stays idle until `end`. With ``"partial"`` the
    last, shorter period is held and sold at the last session.

    **Capital.** All capital of a tranche is invested in the picks by their weights, fees included; a remainder is left
    only with whole shares. Without a pick the capital stays idle, without interest. With `tranches` the capital is
    divided into `horizon` accounts that start one session apart, each with the same rules and its own cash.

    **Constraints.** Group and position limits apply to the weights of each rebalance, volume limits to each fill.
    With `short` as many tickers are sold short, for `short_weight` of the capital; `simulation.lots` states the rules
    of their proceeds, borrow fees and margin. docs/books.md describes all of it.

    **Confidence.** Of the n candidates that the filter kept, those are ranked whose confidence is at least that at
    position ``int(n · confidence_percentile)`` in ascending order, counted from 0. Up to format 2 it was a percentage.

    Days may be given as text, date or datetime64; they are kept as datetime64[D].

    To add a setting, add a field: its annotation declares limits and flag, and its default is an
    `encash.serialization.added_in`, so that the identity of earlier runs stays.

    Raises:
        InputError: an invalid value or combination; the message names it and what was expected.

    >>> BacktestConfig(horizon=5, top_k=10).costs()
    Costs(buy_fee=0.0005, sell_fee=0.0005, slippage=0.0, fixed_fee=0.0)
    """

    start: Annotated[DayLike | None, Setting("first session (the first of the prices)", scope="sessions")] = None
    end: Annotated[
        DayLike | None, Setting("last session; no later price is read (the last of the prices)", scope="sessions")
    ] = None
    test_sessions: Annotated[int | None, _count("instead of --start: the last N sessions", scope="sessions")] = None
    horizon: Annotated[int, _count("sessions held, and forecast ahead", "stocks", "rebalances", metavar="H")] = 5
    forecast_horizon: Annotated[int | None, _count("rank by forecasts of this horizon", "stocks", metavar="H")] = None
    top_k: Annotated[int, _count("maximum number of tickers held per tranche", "stocks", "sessions", metavar="K")] = 5
    num_test_stocks: Annotated[
        int | None, _count("universe: the last N tickers by name (all)", "stocks", "sessions")
    ] = None
    subset_size: Annotated[
        int | None, _count("number of candidates to draw each day, by seed and day only (all)", "stocks", "sessions")
    ] = None
    confidence_percentile: Annotated[
        float,
        Setting(
            "rank only kept candidates at or above this percentile of confidence, as a fraction: 0.6 keeps the top 40%",
            "stocks",
            metavar="FRACTION",
            most=math.nextafter(1.0, 0.0),
            expected="a fraction in [0, 1); 60 percent is 0.6, which keeps the top 40%",
        ),
    ] = restated_in(3, default=0.0)
    weights: Annotated[
        str,
        Setting(
            "equal, proportional to positive scores (forecast) or to 1 / volatility (inverse_vol), or your own "
            "module:function of (picks, past returns)",
            "stocks",
            choices=("equal", "forecast", "inverse_vol"),
            open=True,
            metavar="NAME",
        ),
    ] = "equal"
    volatility_sessions: Annotated[
        int,
        _count("sessions up to the signal that inverse_vol or module:function sees", "stocks", least=2, most=10_000),
    ] = 60
    seed: Annotated[int, _count("seed of daily subsets and random filters", "stocks", least=0, most=2**63 - 1)] = 42
    initial_capital: Annotated[
        float,
        Setting("currency units", metavar="AMOUNT", least=1e-9, most=1e15, expected="more than 0 and at most 1e15"),
    ] = 100_000.0
    buy_fee: Annotated[float, _fraction("fraction of the amount bought")] = 0.0005
    sell_fee: Annotated[float, _fraction("fraction of the proceeds")] = 0.0005
    slippage: Annotated[float, _fraction("fraction of the price lost at each fill")] = 0.0
    fixed_fee: Annotated[float, Setting("currency units per trade", metavar="AMOUNT", expected="0 or more")] = 0.0
    whole_shares: Annotated[bool, Setting("buy whole shares only")] = False
    rebalance: Annotated[
        Literal["liquidate", "net"], Setting("sell everything and buy again, or trade differences")
    ] = "liquidate"
    tranches: Annotated[bool, Setting("H overlapping portfolios, one started each session", scope="rebalances")] = False
    lag: Annotated[int, _count("sessions between signal and fill", scope="rebalances", least=0)] = 0
    fill: Annotated[
        Literal["close", "open"], Setting("price of a fill; open needs --lag 1 and opens", scope="sessions")
    ] = "close"
    phase: Annotated[int, _count("sessions before the first signal", scope="rebalances", least=0)] = 0
    last_period: Annotated[
        Literal["full", "partial"],
        Setting("leave out a last holding period shorter than the horizon, or include it", scope="rebalances"),
    ] = "full"
    delisting: Annotated[
        Delisting, Setting("last, -30%, zero or flat: price of a ticker that stopped trading", metavar="POLICY")
    ] = "last"
    max_missing: Annotated[
        float,
        Setting(
            "maximum fraction of candidates without an entry",
            "checks",
            metavar="FRACTION",
            most=1.0,
            expected="a fraction in [0, 1]",
        ),
    ] = 0.05
    allow_lookahead: Annotated[
        str | None,
        Setting(
            "run despite possible look-ahead bias; the report shows the reason",
            "checks",
            metavar="REASON",
            bare="allowed on the command line",
            expected="the reason, which the report will show",
        ),
    ] = None
    cost_model: Annotated[
        str, Setting(f"{', '.join(COSTS)} or module:attribute; …?field=value", metavar="NAME", expected="a name")
    ] = added_in(2, default="proportional")
    sessions_per_year: Annotated[int | None, _count("used to annualize (measured from the data)", most=366)] = added_in(
        3, default=None
    )
    group_neutral: Annotated[bool, Setting("spread picks and weights evenly over the groups of --groups", "stocks")] = (
        added_in(4, default=False)
    )
    max_per_group: Annotated[int | None, _count("maximum picks per group of --groups (no limit)", "stocks")] = added_in(
        4, default=None
    )
    max_weight: Annotated[
        float | None,
        _share("maximum weight of a ticker; the excess goes to the other picks, the rest stays in cash", "stocks"),
    ] = added_in(4, default=None)
    min_dollar_volume: Annotated[
        float | None,
        Setting(
            "minimum mean dollar volume of a candidate up to the signal (no limit)",
            "stocks",
            "rebalances",
            metavar="AMOUNT",
            least=1e-9,
            expected="more than 0",
        ),
    ] = added_in(4, default=None)
    volume_sessions: Annotated[
        int,
        _count("sessions averaged by --min-dollar-volume and --max-volume-share", "stocks", "rebalances", most=1_000),
    ] = added_in(4, default=20)
    max_volume_share: Annotated[
        float | None,
        _share("maximum fill, as a fraction of the mean dollar volume before it and, at a close, of its session's"),
    ] = added_in(4, default=None)
    short: Annotated[
        Literal["none", "bottom", "worst-clusters"],
        Setting(
            "also sell K names short: the lowest-ranked kept candidates, or the lowest-ranked in the worst clusters",
            "stocks",
            bare="bottom",
        ),
    ] = added_in(4, default="none")
    short_weight: Annotated[float, _share("short exposure, as a fraction of the capital", "stocks")] = added_in(
        4, default=1.0
    )
    borrow_rate: Annotated[
        float, _fraction("yearly rate on the value of shares sold short, accrued per calendar day / 365")
    ] = added_in(4, default=0.0)
    margin: Annotated[
        float, _share("minimum equity / value of long and short positions at a close; below it all are closed")
    ] = added_in(4, default=0.25)

    def __post_init__(self) -> None:
        for name, declared in settings().items():
            value = getattr(self, name)
            if value is None and getattr(type(self), name) is None:
                continue
            if declared.kind == "day":
                object.__setattr__(self, name, to_day(value))
            else:
                declared.check(name, value)
        if self.weights not in settings()["weights"].choices:
            object.__setattr__(self, "weights", identified(self.weights))
        self._check_combinations()
        self._check_book()
        self.costs()

    def costs(self) -> CostModel:
        """Return the cost model; refuse values of its fields outside the limits, and settings that it would ignore."""
        costs = make_costs(self.cost_model, {name: getattr(self, name) for name in _COST_SETTINGS})
        for name in _COST_SETTINGS:
            if hasattr(costs, name):
                settings()[name].check(name, getattr(costs, name))
            elif getattr(self, name) != getattr(type(self), name):
                raise InputError(f"{name} is not a field of the cost model {self.cost_model}; leave it out")
        return costs

    @property
    def needs_groups(self) -> bool:
        """True if picks depend on the groups of the tickers."""
        return self.group_neutral or self.max_per_group is not None

    @property
    def needs_dollars(self) -> bool:
        """True if candidates or fills depend on the dollar volume."""
        return self.min_dollar_volume is not None or self.max_volume_share is not None

    @property
    def signal_horizon(self) -> int:
        """Sessions ahead of the forecasts that rank."""
        return self.horizon if self.forecast_horizon is None else self.forecast_horizon

    def values_of(self, scope: Scope) -> tuple[Any, ...]:
        """Return the values of the settings of a scope, hashable."""
        return tuple(getattr(self, name) for name, declared in settings().items() if declared.scope == scope)

    def _check_combinations(self) -> None:
        if self.start is not None and self.test_sessions is not None:
            raise InputError("start and test_sessions both say where to begin; give one of them")
        if self.start is not None and self.end is not None and to_day(self.start) > to_day(self.end):
            raise InputError(f"start {day_text(self.start)} is after end {day_text(self.end)}; swap them")
        if self.phase >= self.horizon:
            raise InputError(f"phase is {self.phase}; expected 0 to {self.horizon - 1}, below the horizon")
        if self.tranches and self.phase:
            raise InputError("tranches begin on every session of the horizon; give phase 0 with tranches")
        if self.fill == "open" and self.lag == 0:
            raise InputError(
                "a signal of the close cannot be filled at the open of the same session; give lag 1 or more"
            )

    def _check_book(self) -> None:
        """Refuse limits that no portfolio can keep, and settings of shorts without any."""
        sides = max(1.0, self.short_weight) if self.short != "none" else 1.0
        if self.max_weight is not None and self.max_weight * self.top_k < sides - 1e-9:
            raise InputError(
                f"max_weight {self.max_weight:g} and top_k {self.top_k} invest {self.max_weight * self.top_k:.0%} at "
                f"most; give a max_weight of {sides / self.top_k:.4g} or more, or a larger top_k"
            )
        if self.short == "none":
            self._check_no_short()
        elif self.margin * (1.0 + self.short_weight) > 1.0:
            raise InputError(
                f"margin is {self.margin:g}, but a book that is 100% long and {self.short_weight:.0%} short begins "
                f"with equity of {1.0 / (1.0 + self.short_weight):.2f} of its positions; reduce one of them"
            )
        limited = {"short": self.short != "none", "max_volume_share": self.max_volume_share is not None}
        if self.rebalance == "net" and any(limited.values()):
            name = next(name for name, given in limited.items() if given)
            raise InputError(f"rebalance net does not know {name}; leave {name} out, or rebalance by liquidate")

    def _check_no_short(self) -> None:
        """Refuse settings that only portfolios with shorts have."""
        for name in ("short_weight", "borrow_rate", "margin"):
            if getattr(self, name) != getattr(BacktestConfig, name):
                raise InputError(f"{name} needs short positions; also give short (bottom or worst-clusters)")


@cache
def settings() -> dict[str, Setting]:
    """Return the declaration of each field of `BacktestConfig`, in their order.

    >>> settings()["top_k"].kind, settings()["weights"].choices
    ('count', ('equal', 'forecast', 'inverse_vol'))
    """
    found = {}
    for name, hint in get_type_hints(BacktestConfig, include_extras=True).items():
        value, declared = get_args(hint)
        options = set(get_args(value) or (value,)) - {NoneType}
        if get_origin(value) is Literal:
            found[name] = replace(declared, kind="choice", choices=get_args(value))
        elif declared.choices:
            found[name] = replace(declared, kind="choice")
        else:
            found[name] = replace(declared, kind=_KINDS[options.pop()] if len(options) == 1 else "day")
    return found
