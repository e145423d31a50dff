"""The set ``prices-1``: the only one of the first versions, kept so that models trained on it go on.

If the past of a ticker is multiplied by a constant, the last bits of its values change, and so do its level of dollars
and the ranks of all tickers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from encash.arrays import Float64
from encash.panel.bars import Bars
from encash.panel.features.common import (
    BARS,
    CLOSES,
    DOLLAR_VOLUME_LEVEL,
    IDLE_SHARE,
    LOG_RATIO,
    longest_sessions,
    span_sessions,
)
from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import Feature, FeatureSet, History, Needs, Spans


class FloatHistory(History):
    """Plain logarithms of the prices; dollars are adjusted close × volume."""

    def __init__(self, bars: Bars, config: FeatureConfig):
        self.config = config
        self.price = np.log(bars.close)
        self.step = np.diff(self.price)
        if bars.open is not None and bars.high is not None and bars.low is not None:
            self.opened, self.high, self.low = np.log(bars.open), np.log(bars.high), np.log(bars.low)
        if bars.volume is not None:
            self.shares, self.dollars = bars.volume, bars.close * bars.volume
            self.log_volume = np.log1p(bars.volume)

    def above_mean(self, span: int) -> Float64:
        """Return the log price minus its mean over a span."""
        return self.tail(self.price) - self.mean(self.price, span)

    def mean_cube(self, span: int) -> Float64:
        """Return the mean cube of the log returns."""
        return self.mean(self.step**3, span)


def _volume(past: History, span: int) -> Float64:
    assert isinstance(past, FloatHistory)
    return past.tail(past.log_volume) - past.mean(past.log_volume, span)


def _volume_trend(past: History, span: int) -> Float64:
    assert isinstance(past, FloatHistory)
    return past.mean(past.log_volume, span) - past.mean(past.log_volume, past.config.longest)


PRICES_1 = FeatureSet(
    name="prices-1",
    summary="returns, volatilities, ranges, volumes, and ranks among all tickers of the table",
    warning=(
        "prices-1 has look-ahead bias: dollar_volume_level depends on later splits and dividends, and ranks on all "
        "tickers of the table, so that adding or dropping one changes the features of all; use it only with a model "
        "that was trained on it"
    ),
    ranks_among_all=True,
    history=FloatHistory,
    finish=lambda values: values,
    features=(
        *CLOSES,
        *BARS,
        Feature(
            name="volume_{n}",
            formula="log(1 + V_t) − mean_n log(1 + V)",
            unit=LOG_RATIO,
            spans=Spans(5),
            sessions=span_sessions,
            needs=Needs.VOLUME,
            compute=_volume,
        ),
        Feature(
            name="volume_trend_{n}",
            formula="mean_n log(1 + V) − mean_N log(1 + V)",
            unit=LOG_RATIO,
            spans=Spans(5, shorter=True),
            sessions=longest_sessions,
            needs=Needs.VOLUME,
            compute=_volume_trend,
        ),
        IDLE_SHARE,
        replace(
            DOLLAR_VOLUME_LEVEL, formula="log10(1 + mean of C·V over `scale_span` sessions) − 7", needs=Needs.VOLUME
        ),
    ),
)
