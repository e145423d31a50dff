"""A feature, a set of features, and the history that a feature is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby

import numpy as np

from encash.arrays import Float64
from encash.panel.bars import Bars
from encash.panel.features.config import FeatureConfig
from encash.panel.features.rolling_windows import rolling

LIMIT = 5.0
"""The largest magnitude of a feature."""
LEAST_VOLATILITY = 1e-4
"""The lower bound of a session's volatility, one basis point, so that a price that does not move has features."""
USUAL_VOLATILITY = 0.02
"""The reference of the level of volatility: two percent per session."""

Columns = dict[str, Float64]


class Needs(StrEnum):
    """Columns that a feature is computed from; each value says which ones are missing."""

    CLOSE = "the table has no close"
    BAR = "the table has no open, high and low"
    VOLUME = "the table has no volume that is comparable across days (adjusted for splits like the prices)"
    DOLLARS = "the dollar volume is unknown: it needs close and volume before adjustment, or both adjusted for splits"


@dataclass(frozen=True)
class Spans:
    """The spans of a feature: those of the config from `least` on, perhaps without the longest; none for least 0."""

    least: int = 0
    shorter: bool = False

    def of(self, config: FeatureConfig) -> tuple[int, ...]:
        """Return the spans; a feature without spans is computed once, over one session."""
        return config.between(self.least, config.longest if self.shorter else None) if self.least else (1,)


class History:
    """The logarithms of one ticker's prices and terms shared by features.

    Every result of its methods covers the rows with features: the sessions from number `config.longest` on.
    """

    price: Float64
    """Log close, up to a constant; shape (n,)."""
    opened: Float64
    """Log open, on the same scale; the features of bars need it, `high` and `low`; shape (n,)."""
    high: Float64
    low: Float64
    shares: Float64
    """Volume, comparable across days; shape (n,)."""
    dollars: Float64
    """Traded value in the currency of the day; shape (n,)."""
    step: Float64
    """Log returns, shape (n − 1,)."""
    config: FeatureConfig

    @property
    def rows(self) -> int:
        """The number of rows with features."""
        return max(0, len(self.price) - self.config.longest)

    def tail(self, values: Float64) -> Float64:
        """Return the values of the rows with features."""
        return values[len(values) - self.rows :]

    def total(self, values: Float64, span: int) -> Float64:
        """Return the sum over a span."""
        return self.tail(rolling(values, span, np.add))

    def mean(self, values: Float64, span: int) -> Float64:
        """Return the mean over a span."""
        return self.total(values, span) / span

    def change(self, span: int) -> Float64:
        """Return the log return over a span."""
        change: Float64 = self.price[span:] - self.price[:-span]
        return self.tail(change)

    def volatility(self, span: int) -> Float64:
        """Return the root mean square of the log returns, at least one basis point."""
        if span not in self._volatilities:
            mean = self.mean(self.step * self.step, span)
            self._volatilities[span] = np.maximum(np.sqrt(mean), LEAST_VOLATILITY)
        return self._volatilities[span]

    @cached_property
    def _volatilities(self) -> dict[int, Float64]:
        """By span; several features use each."""
        return {}

    @cached_property
    def scale(self) -> Float64:
        """The ticker's usual move per session."""
        return self.volatility(self.config.scale_span)

    def in_units(self, values: Float64, span: int = 1) -> Float64:
        """Return a log price difference in units of the ticker's usual move over a span."""
        scaled: Float64 = values / (self.scale * np.sqrt(span))
        return scaled

    def above_mean(self, span: int) -> Float64:
        """Return the log price minus its mean over a span."""
        return (span * self.tail(self.price) - self.total(self.price, span)) / span

    def mean_cube(self, span: int) -> Float64:
        """Return the mean cube of the log returns."""
        return self.mean(self.step * self.step * self.step, span)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature, or one per span: its name, its formula and where it comes from."""

    name: str
    """``{n}`` stands for the span."""
    formula: str
    """In the symbols of `SYMBOLS`."""
    unit: str
    compute: Callable[[History, int], Float64]
    """From a history and a span; shape (rows,)."""
    spans: Spans = Spans()
    sessions: Callable[[int, FeatureConfig], int]
    """The sessions that a value reads, counted back from its own day, by span and config."""
    needs: Needs = Needs.CLOSE
    source: str = ""

    def name_of(self, span: int) -> str:
        """Return the name with the span filled in."""
        return self.name.format(n=span)


SYMBOLS = """\
C, O, H, L: close, open, high, low, adjusted for splits and (if the table allows) dividends; V: volume, adjusted for
splits; t: the day; n: the span; r_t = log(C_t / C_{t−1}); σ_n = √(mean of r² over n sessions), at least 0.0001;
s = σ of `scale_span` (60) sessions; N: the longest span (120); mean_n, sum_n, max_n, min_n: over the last n sessions up
to and including t. Every value is limited to ±5."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """A named, immutable list of features."""

    name: str
    summary: str
    """One sentence for the help and the reference."""
    features: tuple[Feature, ...]
    """In order. Neighbors with the same spans alternate: a_5, b_5, a_10, b_10."""
    history: Callable[[Bars, FeatureConfig], History]
    """The terms of one ticker's bars."""
    ranked: tuple[str, ...] = (
        "return_1",
        "return_5",
        "return_20",
        "return_{N}",
        "volatility_level",
        "drawdown_{N}",
        "dollar_volume_level",
    )
    """Names of the features whose ranks are added; ``{N}`` stands for the longest span."""
    ranks_among_all: bool = False
    """Ranks are taken among all tickers of the table, by default."""
    warning: str = ""
    """A line for the users of the set; empty if there is nothing to say."""
    finish: Callable[[Float64], Float64]
    """The last step of every value, after the limit."""

    def pairs(self, config: FeatureConfig) -> Iterator[tuple[Feature, int]]:
        """Yield each feature with each of its spans, in order."""
        for spans, group in groupby(self.features, key=lambda feature: (feature.spans, feature.needs)):
            neighbors = tuple(group)
            for span in spans[0].of(config):
                yield from ((feature, span) for feature in neighbors)

    def ranked_names(self, config: FeatureConfig) -> tuple[str, ...]:
        """Return the features whose ranks are added, if the prices have them."""
        return tuple(dict.fromkeys(name.format(N=config.longest) for name in self.ranked))


def available(bars: Bars) -> set[Needs]:
    """Return the columns that bars have."""
    found = {Needs.CLOSE}
    if bars.open is not None and bars.high is not None and bars.low is not None:
        found.add(Needs.BAR)
    if bars.volume is not None:
        found.add(Needs.VOLUME)
    if bars.dollars is not None:
        found.add(Needs.DOLLARS)
    return found


def ratio(part: Float64, whole: Float64) -> Float64:
    """Return the quotient, and 0 if the denominator is 0."""
    zero = whole == 0
    return np.where(zero, 0.0, part / np.where(zero, 1.0, whole))


def log_ratio(part: Float64, whole: Float64) -> Float64:
    """Return the logarithm of a quotient of numbers from 0 on: −∞ if only the numerator is 0, and 0 if both are."""
    zero = whole == 0
    with np.errstate(divide="ignore"):
        return np.log(np.where(zero, 1.0, part / np.where(zero, 1.0, whole)))
