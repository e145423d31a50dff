"""Features of prices, as pure functions of arrays that use the past only. Knows no file, no calendar and no model.

A value on a day is made from the last `FeatureConfig.longest` + 1 sessions of that ticker, and, for ranks, from the
other tickers on the same day; sums start anew in every window, so that a restated price moves the features of the
sessions that see it and not a single bit of any later one. All values are clipped to ±5 and mostly near ±1: returns
come in units of the ticker's own recent volatility, because the model gets them without a normaliser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Float32, Float64
from encash.errors import InputError
from encash.metrics import ranks
from encash.panel.panel import distinct_days

LIMIT = 5.0
"""No feature is further from zero."""
LEAST_VOLATILITY = 1e-4
"""A day's volatility counts as at least one basis point, so that a price that does not move has features."""
USUAL_VOLATILITY = 0.02
"""What the level of volatility is measured against: two per cent a session."""

Columns = dict[str, Float64]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The sessions of one ticker: at least their closes; perhaps open, high and low, perhaps volume."""

    days: Days
    """The ticker's own sessions, ascending and distinct; shape (n,)."""
    close: Float64
    """In currency units, above zero; shape (n,)."""
    open: Float64 | None = None
    """shape (n,)."""
    high: Float64 | None = None
    """At or above open, low and close; shape (n,)."""
    low: Float64 | None = None
    """At or below open, high and close; shape (n,)."""
    volume: Float64 | None = None
    """Shares traded, zero or more; shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which features are made."""

    spans: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 60, 120)
    """Sessions that returns, volatilities and the like look back over, ascending."""
    scale_span: int = 60
    """Sessions over which the volatility that scales all the others is measured."""
    ranks: bool = True
    """Whether to add ranks among the tickers of the day."""

    def __post_init__(self) -> None:
        """Refuse spans that cannot be.

        Raises:
            InputError: spans not ascending, below 1, none above 1, or shorter than the scale's.
        """
        if self.spans != tuple(sorted(set(self.spans))) or min(self.spans, default=0) < 1:
            raise InputError(f"spans are {self.spans}; expected ascending numbers of sessions from 1 on")
        if not 2 <= self.scale_span <= self.longest:
            raise InputError(f"scale_span is {self.scale_span}; expected 2 to {self.longest}, the longest span")

    @property
    def longest(self) -> int:
        """The longest span: as many of a ticker's first sessions have no features yet."""
        return self.spans[-1]

    def between(self, least: int, below: int | None = None) -> tuple[int, ...]:
        """The spans of at least so many sessions, and below so many."""
        return tuple(span for span in self.spans if least <= span and (below is None or span < below))

    @property
    def ranked(self) -> tuple[str, ...]:
        """The features whose ranks are added, where the prices have them."""
        returns = [f"return_{span}" for span in dict.fromkeys((1, 5, 20, self.longest)) if span in self.spans]
        return (*returns, "volatility_level", f"drawdown_{self.longest}", "dollar_volume_level") if self.ranks else ()


def own_features(bars: Bars, config: FeatureConfig) -> Columns:
    """What one ticker's own past says, by name, in a fixed order.

    Returns:
        Each of shape (n − longest,), for the sessions from number `longest` on; empty for a shorter history.
    """
    columns = _close_features(bars, config)
    if bars.open is not None and bars.high is not None and bars.low is not None:
        columns |= _bar_features(bars.close, np.log(bars.open), np.log(bars.high), np.log(bars.low), config)
    if bars.volume is not None:
        columns |= _volume_features(bars.close, bars.volume, config)
    return {name: np.clip(column, -LIMIT, LIMIT) for name, column in columns.items()}


def feature_names(bars: Bars, config: FeatureConfig) -> tuple[str, ...]:
    """The names of the features that prices like these give, in their order.

    >>> week = Bars(days=np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]"), close=np.ones(5))
    >>> feature_names(week, FeatureConfig(spans=(1, 2), scale_span=2, ranks=False))
    ('return_1', 'return_2', 'volatility_level')
    """
    own = tuple(own_features(bars, config))
    return own + tuple(f"rank_{name}" for name in config.ranked if name in own)


def panel_features(bars: Mapping[str, Bars], config: FeatureConfig) -> Iterator[tuple[str, Days, Float32]]:
    """The features of many tickers, one ticker after the other, in the order of `feature_names`.

    Two passes over the prices: the first keeps only what is ranked, so memory does not grow with the features.

    Args:
        bars: by ticker; all with the same columns.
        config: which features.

    Yields:
        ticker, days (n − longest,) and values (n − longest, F); no rows for a history that is too short.
    """
    days = distinct_days([own.days[config.longest :] for own in bars.values()])
    grids: dict[str, Float64] = {}
    for column, own in enumerate(bars.values()):
        features = own_features(own, config)
        rows = np.searchsorted(days, own.days[config.longest :])
        for name in config.ranked:
            if name in features:
                if name not in grids:
                    grids[name] = np.full((len(days), len(bars)), np.nan)
                grids[name][rows, column] = features[name]
    ranked = {f"rank_{name}": cross_ranks(grid) for name, grid in grids.items()}
    for column, (ticker, own) in enumerate(bars.items()):
        own_days = own.days[config.longest :]
        rows = np.searchsorted(days, own_days)
        columns = own_features(own, config) | {name: rank[rows, column] for name, rank in ranked.items()}
        yield ticker, own_days, np.stack(list(columns.values()), axis=1).astype(np.float32)


def cross_ranks(values: Float64) -> Float64:
    """The rank of each value in its row, from −1 (lowest) to 1 (highest); equal values share their mean rank.

    Args:
        values: shape (T, N); NaN takes no part and stays NaN.

    >>> cross_ranks(np.array([[3.0, 1.0, np.nan], [5.0, 5.0, 7.0]])).tolist()
    [[1.0, -1.0, nan], [-0.5, -0.5, 1.0]]
    """
    alive = np.sum(~np.isnan(values), axis=1, keepdims=True)
    scaled: Float64 = 2 * (ranks(values) - 1) / np.maximum(alive - 1, 1) - 1
    return np.where(alive == 1, scaled + 1, scaled)


def rolling(values: Float64, span: int, combine: Callable[[Float64, Float64], Float64]) -> Float64:
    """A sum, maximum or minimum of the last `span` values, at each place that has so many.

    Doubles the length of what is combined, so that a span of 120 takes nine steps; each result is combined of its own
    values in a fixed order, and so does not depend on what lies before or after them.

    Args:
        values: shape (n,).
        span: how many values, 1 or more.
        combine: `np.add`, `np.maximum` or `np.minimum`.

    Returns:
        shape (n − span + 1,), or empty.

    >>> rolling(np.array([1.0, 2.0, 3.0, 4.0]), 3, np.add).tolist()
    [6.0, 9.0]
    """
    block, length = values, 1
    result, covered = values, 0
    while True:
        if span & length:
            older = block[: max(0, len(block) - covered)]
            result = combine(result[length:], older) if covered else block
            covered += length
        if 2 * length > span:
            return result
        block = combine(block[length:], block[: max(0, len(block) - length)])
        length *= 2


class _Past:
    """The log prices of one ticker and what several features share; every result holds the rows that have features."""

    def __init__(self, close: Float64, config: FeatureConfig):
        self.rows = max(0, len(close) - config.longest)
        self.log_close = np.log(close)
        self.step = np.diff(self.log_close)
        self.scale = self.volatility(config.scale_span)

    def tail(self, values: Float64) -> Float64:
        """The values of the rows that have features."""
        return values[len(values) - self.rows :]

    def total(self, values: Float64, span: int) -> Float64:
        return self.tail(rolling(values, span, np.add))

    def mean(self, values: Float64, span: int) -> Float64:
        return self.total(values, span) / span

    def change(self, span: int) -> Float64:
        """The log return over a span."""
        change: Float64 = self.log_close[span:] - self.log_close[:-span]
        return self.tail(change)

    def volatility(self, span: int) -> Float64:
        """Root mean square of the log returns; at least a basis point."""
        volatility: Float64 = np.maximum(np.sqrt(self.mean(self.step * self.step, span)), LEAST_VOLATILITY)
        return volatility

    def in_units(self, values: Float64, span: int = 1) -> Float64:
        """A log price difference in units of what the ticker usually moves over a span."""
        scaled: Float64 = values / (self.scale * np.sqrt(span))
        return scaled


def _close_features(bars: Bars, config: FeatureConfig) -> Columns:
    past = _Past(bars.close, config)
    price, step, longest = past.log_close, past.step, config.longest
    level = past.volatility(longest)
    columns: Columns = {f"return_{span}": past.in_units(past.change(span), span) for span in config.spans}
    for span in config.between(5, longest):
        columns[f"volatility_{span}"] = np.log(past.volatility(span) / level)
    columns["volatility_level"] = np.log(level / USUAL_VOLATILITY)
    for span in config.between(5):
        columns[f"distance_{span}"] = past.in_units(past.tail(price) - past.mean(price, span), span)
        # Relative strength (Wilder 1978) with plain sums, from −1 to 1: (gains − losses) / (gains + losses).
        columns[f"strength_{span}"] = _ratio(past.change(span), past.total(np.abs(step), span))
    for span in config.between(20):
        highest, lowest = rolling(price, span, np.maximum), rolling(price, span, np.minimum)
        columns[f"drawdown_{span}"] = past.in_units(past.tail(price) - past.tail(highest), span)
        columns[f"rise_{span}"] = past.in_units(past.tail(price) - past.tail(lowest), span)
        # Realised skewness (Amaya, Christoffersen, Jacobs & Vasquez 2015): mean cube over the cube of the volatility.
        columns[f"skew_{span}"] = past.mean(step**3, span) / past.volatility(span) ** 3
        pairs = past.total(step[1:] * step[:-1], span - 1)
        columns[f"autocorrelation_{span}"] = _ratio(pairs, past.total(step * step, span))
    return columns


def _bar_features(close: Float64, opened: Float64, high: Float64, low: Float64, config: FeatureConfig) -> Columns:
    """From closes and the logarithms of open, high and low."""
    past = _Past(close, config)
    height = high - low
    columns: Columns = {
        "gap_1": past.in_units(past.tail(opened[1:] - past.log_close[:-1])),
        "intraday_1": past.in_units(past.tail(past.log_close - opened)),
        "close_in_range_1": past.tail(_ratio(2 * past.log_close - high - low, height)),
        "range_1": past.in_units(past.tail(height)),
    }
    for span in config.between(5, config.longest):
        columns[f"range_{span}"] = past.in_units(past.mean(height, span))
    for span in config.between(20):
        # Volatility from ranges (Parkinson 1980): mean squared height / (4 ln 2).
        parkinson = np.sqrt(past.mean(height * height, span) / (4 * np.log(2)))
        columns[f"parkinson_{span}"] = np.log(np.maximum(parkinson, LEAST_VOLATILITY) / past.volatility(span))
    return columns


def _volume_features(close: Float64, shares: Float64, config: FeatureConfig) -> Columns:
    past = _Past(close, config)
    volume = np.log1p(shares)
    usual = past.mean(volume, config.longest)
    columns: Columns = {f"volume_{span}": past.tail(volume) - past.mean(volume, span) for span in config.between(5)}
    for span in config.between(5, config.longest):
        columns[f"volume_trend_{span}"] = past.mean(volume, span) - usual
    columns["idle_share"] = past.mean((shares == 0).astype(np.float64), config.longest)
    # Ten million a session is the middle: from a hundred thousand (−2) to a billion (2).
    dollars = past.mean(close * shares, config.scale_span)
    columns["dollar_volume_level"] = np.log10(1 + dollars) - 7
    return columns


def _ratio(part: Float64, whole: Float64) -> Float64:
    """The quotient, and 0 where nothing moved at all."""
    still = whole == 0
    return np.where(still, 0.0, part / np.where(still, 1.0, whole))
