"""The subject of an audit, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encash.arrays import DayLike, Days, Float32, to_day
from encash.backtest import BacktestConfig, Groups, Membership
from encash.cache import Cache, ForecastSource
from encash.clusters import CandidateFilter
from encash.encoders import Encoder
from encash.errors import InputError
from encash.panel import Bars, Panel, PriceTable

Features = Mapping[str, tuple[Days, Float32]]
"""Feature rows by ticker: days (n,) and values (n, F)."""
FeatureMaker = Callable[[Mapping[str, Bars]], Features]
"""A function that computes features from prices; called with truncated or corrupted prices."""


Status = Literal["passed", "failed", "not_tried", "not_applicable"]
"""Outcome of a check: not_tried if its inputs are missing, not_applicable if there is nothing to check."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check."""

    name: str
    status: Status
    detail: str
    """The finding; for a check that was not tried, the reason and how to try it."""
    warning: str = ""
    """A finding that does not prove a mistake: reported, and it does not change the exit code."""

    @classmethod
    def judged(cls, name: str, passed: bool, detail: str, *, warning: str = "") -> Check:
        """Return the outcome of a check that was tried."""
        return cls(name=name, status="passed" if passed else "failed", detail=detail, warning=warning)

    @classmethod
    def not_tried(cls, name: str, detail: str) -> Check:
        """Return a check whose inputs are missing."""
        return cls(name=name, status="not_tried", detail=detail)

    @classmethod
    def not_applicable(cls, name: str, detail: str) -> Check:
        """Return a check that does not apply."""
        return cls(name=name, status="not_applicable", detail=detail)

    @property
    def passed(self) -> bool | None:
        """None if it was not tried, or does not apply."""
        return {"passed": True, "failed": False}.get(self.status)

    def to_json(self) -> dict[str, Any]:
        """Return the keys of one check of ``encash audit --json``."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The outcomes of all checks."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True if no check failed; see `untried` for those that were not tried."""
        return all(check.passed is not False for check in self.checks)

    @property
    def untried(self) -> int:
        """Number of checks that were not tried."""
        return sum(check.status == "not_tried" for check in self.checks)

    @property
    def warnings(self) -> list[str]:
        """Reported findings that do not prove a mistake."""
        return [f"{check.name}: {check.warning}" for check in self.checks if check.warning]

    def to_json(self) -> dict[str, Any]:
        """Return the keys of ``encash audit --json``."""
        return {
            "passed": self.passed,
            "untried": self.untried,
            "warnings": self.warnings,
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Data, encoder and settings to audit."""

    panel: Panel
    """With prices."""
    encoder: Encoder
    config: BacktestConfig
    filter: CandidateFilter | None = None
    universe: tuple[str, ...] | Membership | None = None
    """Tickers that may be picked, or their membership by day; None for all. Features are tested of all tickers."""
    groups: Groups | None = None
    """Group of each ticker, for a configuration that picks by group."""
    cache: Cache | None = None
    forecasts: ForecastSource | None = None
    """A head or scores that rank, in place of the forecasts of the encoder."""
    clusters: Path | None = None
    """The folder of the filter's clusters and ranking."""
    days: int = 5
    """Number of random days after which the future is cut off."""
    sample: int = 256
    """Number of entries to encode again."""
    seed: int = 0
    bars: Mapping[str, Bars] | None = None
    """The prices from which the features were computed; None for the closes of the panel."""
    adjusted: bool = False
    """True if these prices are known to be adjusted for later splits or dividends."""
    make_features: FeatureMaker | None = None
    """The function that computed the features; None for ``encash prepare``, if the panel has its features."""

    def __post_init__(self) -> None:
        """Check the seed.

        Raises:
            InputError: the seed is below 0.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")

    def candidates(self, panel: Panel) -> tuple[str, ...] | Membership:
        """Return the universe, so far as a panel (whole, cut off or poisoned) has features and prices of it."""
        if isinstance(self.universe, Membership):
            return self.universe
        known = set(self.panel.tickers) & set(panel.tickers) & set((panel.prices or self.prices).tickers)
        return tuple(sorted(known if self.universe is None else known.intersection(self.universe)))

    @property
    def prices(self) -> PriceTable:
        """The prices of the panel.

        Raises:
            InputError: it has none.
        """
        if self.panel.prices is None:
            raise InputError("an audit needs prices; give --prices P")
        return self.panel.prices

    @property
    def first_day(self) -> DayLike | None:
        """First day of the test period: of the configuration, or else the first on which the filter may be used."""
        if self.config.start is None and self.filter is not None and self.config.allow_lookahead is None:
            return self.filter.first_day
        return self.config.start

    def cut_days(self) -> Days:
        """Draw sessions of the test period after which the future is cut off, ascending; a function of the seed.

        If the configuration has no start, the period starts on the first day on which the filter may be used.

        Raises:
            InputError: the period has no session.
        """
        first, days = self.first_day, self.prices.days
        inside = days[:-1] if first is None else days[:-1][days[:-1] >= to_day(first)]
        if len(inside) == 0:
            raise InputError("no session after which the data could be cut; give an earlier --start")
        random = np.random.default_rng(self.seed)
        chosen: Days = np.sort(random.choice(inside, size=min(self.days, len(inside)), replace=False))
        return chosen
