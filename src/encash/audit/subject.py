"""The subject of an audit, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Days, Float32
from encash.backtest import BacktestConfig
from encash.cache import Cache
from encash.clusters import CandidateFilter
from encash.encoders import Encoder
from encash.errors import InputError
from encash.panel import Bars, Panel, PriceTable

Features = Mapping[str, tuple[Days, Float32]]
"""Feature rows by ticker: days (n,) and values (n, F)."""
FeatureMaker = Callable[[Mapping[str, Bars]], Features]
"""A function that computes features from prices; called with prices whose end is missing or wrong."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one proof."""

    name: str
    passed: bool | None
    """None if it could not be tried; `detail` gives the reason."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The outcomes of all proofs."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True if no proof failed; a proof that could not be tried did not fail."""
        return all(check.passed is not False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the keys of ``encash audit --json``."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Data, encoder and settings to audit."""

    panel: Panel
    """With prices."""
    encoder: Encoder
    config: BacktestConfig
    filter: CandidateFilter | None = None
    cache: Cache | None = None
    clusters: Path | None = None
    """The folder of the filter's clusters and ranking."""
    days: int = 5
    """Number of random days after which the future is cut off."""
    sample: int = 256
    """Number of entries to encode again."""
    seed: int = 0
    bars: Mapping[str, Bars] | None = None
    """The prices from which the features were computed; None for the closes of the panel."""
    make_features: FeatureMaker | None = None
    """The function that computed the features; None for ``encash prepare``, if the panel has its features."""

    def __post_init__(self) -> None:
        """Check the seed.

        Raises:
            InputError: the seed is below 0.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")

    @property
    def prices(self) -> PriceTable:
        """The prices of the panel.

        Raises:
            InputError: it has none.
        """
        if self.panel.prices is None:
            raise InputError("an audit needs prices; give --prices P")
        return self.panel.prices

    def cut_days(self) -> Days:
        """Draw sessions of the test period after which the future is cut off, ascending; a function of the seed.

        If the configuration has no start, the period starts on the first day on which the filter may be used.

        Raises:
            InputError: the period has no session.
        """
        first = self.config.start
        if first is None and self.filter is not None and self.config.allow_lookahead is None:
            first = self.filter.first_day
        days = self.prices.days
        inside = days[:-1] if first is None else days[:-1][days[:-1] >= np.datetime64(first)]
        if len(inside) == 0:
            raise InputError("no session after which the data could be cut; give an earlier --start")
        random = np.random.default_rng(self.seed)
        chosen: Days = np.sort(random.choice(inside, size=min(self.days, len(inside)), replace=False))
        return chosen
