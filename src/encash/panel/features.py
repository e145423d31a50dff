"""Features of prices, as pure functions of arrays that use the past only.

The value on a day depends on the last `FeatureConfig.longest` + 1 sessions of that ticker and, for ranks, on the other
tickers on the same day. Sums are computed afresh in every window, so that a restated price changes the features of the
sessions whose windows contain it and not a single bit of any later one. All values are clipped to ±5 and mostly near
±1: returns are in units of the ticker's own recent volatility, because the model does not normalize them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Float32, Float64
from encash.errors import InputError
from encash.metrics import ranks
from encash.panel.bars import Bars
from encash.panel.panel import distinct_days

LIMIT = 5.0
"""The largest magnitude of a feature."""
LEAST_VOLATILITY = 1e-4
"""The lower bound of a session's volatility, one basis point, so that a price that does not move has features."""
USUAL_VOLATILITY = 0.02
"""The reference of the level of volatility: two percent per session."""

Columns = dict[str, Float64]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Choice of features."""

    spans: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 60, 120)
    """Lookbacks, in sessions, of returns, volatilities and the like; ascending."""
    scale_span: int = 60
    """Sessions over which the volatility that scales the other features is measured."""
    ranks: bool = True
    """Add ranks among the tickers of the day."""

    def __post_init__(self) -> None:
        """Refuse invalid spans.

        Raises:
            InputError: spans that are not ascending, below 1, or all shorter than `scale_span`.
        """
        if self.spans != tuple(sorted(set(self.spans))) or min(self.spans, default=0) < 1:
            raise InputError(f"spans are {self.spans}; expected ascending numbers of sessions, 1 or more")
        if not 2 <= self.scale_span <= self.longest:
            raise InputError(f"scale_span is {self.scale_span}; expected 2 to {self.longest}, the longest span")

    @property
    def longest(self) -> int:
        """The longest span, which is also the number of a ticker's first sessions without features."""
        return self.spans[-1]

    def between(self, least: int, below: int | None = None) -> tuple[int, ...]:
        """Return the spans from `least` to below `below` sessions."""
        return tuple(span for span in self.spans if least <= span and (below is None or span < below))

    @property
    def ranked(self) -> tuple[str, ...]:
        """The features whose ranks are added, if the prices have them."""
        returns = [f"return_{span}" for span in dict.fromkeys((1, 5, 20, self.longest)) if span in self.spans]
        return (*returns, "volatility_level", f"drawdown_{self.longest}", "dollar_volume_level") if self.ranks else ()


def own_features(bars: Bars, config: FeatureConfig) -> Columns:
    """Compute the features of one ticker's own past by name, in a fixed order.

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
    """Return the names of the features that prices with these columns have, in order.

    >>> week = Bars(days=np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]"), close=np.ones(5))
    >>> feature_names(week, FeatureConfig(spans=(1, 2), scale_span=2, ranks=False))
    ('return_1', 'return_2', 'volatility_level')
    """
    own = tuple(own_features(bars, config))
    return own + tuple(f"rank_{name}" for name in config.ranked if name in own)


def panel_features(bars: Mapping[str, Bars], config: FeatureConfig) -> Iterator[tuple[str, Days, Float32]]:
    """Compute the features of many tickers, one ticker after another, in the order of `feature_names`.

    Of two passes over the prices, the first keeps only the features to be ranked, to limit memory.

    Args:
        bars: by ticker; all with the same columns.
        config: the choice of features.

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
    """Return the rank of each value in its row, from −1 (lowest) to 1 (highest); equal values share their mean rank.

    Args:
        values: shape (T, N); NaN is not ranked and stays NaN.

    >>> cross_ranks(np.array([[3.0, 1.0, np.nan], [5.0, 5.0, 7.0]])).tolist()
    [[1.0, -1.0, nan], [-0.5, -0.5, 1.0]]
    """
    alive = np.sum(~np.isnan(values), axis=1, keepdims=True)
    scaled: Float64 = 2 * (ranks(values) - 1) / np.maximum(alive - 1, 1) - 1
    return np.where(alive == 1, scaled + 1, scaled)


def rolling(values: Float64, span: int, combine: Callable[[Float64, Float64], Float64]) -> Float64:
    """Return a sum, maximum or minimum of the last `span` values at each position with that many.

    The combined length doubles in each step, so that a span of 120 takes nine steps. Each result combines its own
    values in a fixed order and does not depend on other values.

    Args:
        values: shape (n,).
        span: number of values, 1 or more.
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
    """The log prices of one ticker and terms shared by features; every result covers the rows with features."""

    def __init__(self, close: Float64, config: FeatureConfig):
        self.rows = max(0, len(close) - config.longest)
        self.log_close = np.log(close)
        self.step = np.diff(self.log_close)
        self.scale = self.volatility(config.scale_span)

    def tail(self, values: Float64) -> Float64:
        """Return the values of the rows with features."""
        return values[len(values) - self.rows :]

    def total(self, values: Float64, span: int) -> Float64:
        return self.tail(rolling(values, span, np.add))

    def mean(self, values: Float64, span: int) -> Float64:
        return self.total(values, span) / span

    def change(self, span: int) -> Float64:
        """Return the log return over a span."""
        change: Float64 = self.log_close[span:] - self.log_close[:-span]
        return self.tail(change)

    def volatility(self, span: int) -> Float64:
        """Return the root mean square of the log returns, at least one basis point."""
        volatility: Float64 = np.maximum(np.sqrt(self.mean(self.step * self.step, span)), LEAST_VOLATILITY)
        return volatility

    def in_units(self, values: Float64, span: int = 1) -> Float64:
        """Return a log price difference in units of the ticker's usual move over a span."""
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
        # Realized skewness (Amaya, Christoffersen, Jacobs & Vasquez 2015): mean cube over the cube of the volatility.
        columns[f"skew_{span}"] = past.mean(step**3, span) / past.volatility(span) ** 3
        pairs = past.total(step[1:] * step[:-1], span - 1)
        columns[f"autocorrelation_{span}"] = _ratio(pairs, past.total(step * step, span))
    return columns


def _bar_features(close: Float64, opened: Float64, high: Float64, low: Float64, config: FeatureConfig) -> Columns:
    """Compute features of closes and the logarithms of open, high and low."""
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
    # Ten million per session is 0; a hundred thousand is −2, a billion 2.
    dollars = past.mean(close * shares, config.scale_span)
    columns["dollar_volume_level"] = np.log10(1 + dollars) - 7
    return columns


def _ratio(part: Float64, whole: Float64) -> Float64:
    """Return the quotient, and 0 if the denominator is 0."""
    zero = whole == 0
    return np.where(zero, 0.0, part / np.where(zero, 1.0, whole))
