"""The set ``prices-2``: a function of point-in-time data, unchanged by later splits, dividends and listings.

Log returns are rounded to multiples of 2⁻²⁰ (0.01 basis points, a hundredth of a cent on a price of 100), and so are
the logarithms of open, high and low over the close of their day. If all prices of a history are multiplied by a
constant, their ratios stay equal up to 2⁻⁵¹, so that a value changes only if it is that close to the midpoint of two
multiples: a probability of 5·10⁻¹⁰ at most. Everything else is computed from these numbers, whose sums are exact.
Volumes enter as ratios. The finished features are rounded to the same grid, so that the last bits of a processor's
logarithm do not count.
"""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64
from encash.panel.bars import Bars
from encash.panel.features.common import (
    BARS,
    CLOSES,
    DOLLAR_VOLUME_LEVEL,
    IDLE_SHARE,
    LOG_RATIO,
    RATIO,
    SCALES,
    longest_sessions,
    rolling_max,
    scaled,
    span_closes,
    span_sessions,
)
from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import Feature, FeatureSet, History, Needs, Spans, log_ratio, ratio

STEPS_PER_UNIT = 2.0**20
"""The grid of log prices and of features. Multiples of it up to ±8 are exact in float32."""


def on_grid(values: Float64) -> Float64:
    """Round to multiples of 2⁻²⁰; zero is positive, so that equal values have equal bytes."""
    return np.round(values * STEPS_PER_UNIT) / STEPS_PER_UNIT + 0.0


class GridHistory(History):
    """Log prices as sums of rounded log returns."""

    def __init__(self, bars: Bars, config: FeatureConfig):
        self.config = config
        self.step = on_grid(np.log(bars.close[1:] / bars.close[:-1]))
        self.price = np.concatenate([np.zeros(min(1, len(bars.close))), np.cumsum(self.step)])
        if bars.open is not None and bars.high is not None and bars.low is not None:
            self.opened, self.high, self.low = (
                self.price + on_grid(np.log(column / bars.close)) for column in (bars.open, bars.high, bars.low)
            )
        if bars.volume is not None:
            self.shares = bars.volume
        if bars.dollars is not None:
            self.dollars = bars.dollars


def _volume_trend(past: History, span: int) -> Float64:
    longest = past.config.longest
    return log_ratio(past.total(past.shares, span) * longest, past.total(past.shares, longest) * span)


def _up_volume(past: History, span: int) -> Float64:
    shares = past.shares[1:]
    return ratio(past.total(np.sign(past.step) * shares, span), past.total(shares, span))


PRICES_2 = FeatureSet(
    name="prices-2",
    summary="returns, volatilities, ranges and volume ratios that no later split, dividend or listing changes",
    history=GridHistory,
    finish=on_grid,
    features=(
        *CLOSES,
        Feature(
            name="max_return_{n}",
            formula="max_n r / (s √n)",
            unit=SCALES,
            spans=Spans(20),
            sessions=scaled,
            source="maximum daily return (Bali, Cakici & Whitelaw 2011)",
            compute=lambda past, span: past.in_units(past.tail(rolling_max(past.step, span)), span),
        ),
        *BARS,
        Feature(
            name="overnight_{n}",
            formula="sum_n log(O_i / C_{i−1}) / (s √n)",
            unit=SCALES,
            spans=Spans(20, shorter=True),
            sessions=scaled,
            needs=Needs.BAR,
            source="overnight returns (Lou, Polk & Skouras 2019)",
            compute=lambda past, span: past.in_units(past.total(past.opened[1:] - past.price[:-1], span), span),
        ),
        Feature(
            name="volume_{n}",
            formula="log(V_t / mean_n V), 0 if all are 0",
            unit=LOG_RATIO,
            spans=Spans(5),
            sessions=span_sessions,
            needs=Needs.VOLUME,
            compute=lambda past, span: log_ratio(past.tail(past.shares) * span, past.total(past.shares, span)),
        ),
        Feature(
            name="volume_trend_{n}",
            formula="log(mean_n V / mean_N V), 0 if all are 0",
            unit=LOG_RATIO,
            spans=Spans(5, shorter=True),
            sessions=longest_sessions,
            needs=Needs.VOLUME,
            compute=_volume_trend,
        ),
        Feature(
            name="up_volume_{n}",
            formula="sum_n sign(r) V / sum_n V",
            unit=RATIO,
            spans=Spans(20),
            sessions=span_closes,
            needs=Needs.VOLUME,
            source="on-balance volume (Granville 1963) over the volume of the span",
            compute=_up_volume,
        ),
        IDLE_SHARE,
        DOLLAR_VOLUME_LEVEL,
    ),
)
