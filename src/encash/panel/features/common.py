"""Features of closes and bars that several sets share."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64
from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import (
    LEAST_VOLATILITY,
    USUAL_VOLATILITY,
    Feature,
    History,
    Needs,
    Spans,
    ratio,
)
from encash.panel.features.rolling_windows import rolling

SCALES = "usual moves (s)"
RATIO = "ratio, −1 to 1"
LOG_RATIO = "log of a ratio"


def span_closes(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by returns over a span."""
    return span + 1


def scaled(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by a span of prices in units of the usual move."""
    return max(span, config.scale_span) + 1


def longest_closes(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by returns over the longest span."""
    return config.longest + 1


def one_session(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by a feature of one bar."""
    return 1


def span_sessions(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by a span of volumes."""
    return span


def longest_sessions(span: int, config: FeatureConfig) -> int:
    """Return the sessions read by the longest span of volumes."""
    return config.longest


def _volatility(past: History, span: int) -> Float64:
    return np.log(past.volatility(span) / past.volatility(past.config.longest))


def _drawdown(past: History, span: int) -> Float64:
    return past.in_units(past.tail(past.price) - past.tail(rolling_max(past.price, span)), span)


def _rise(past: History, span: int) -> Float64:
    return past.in_units(past.tail(past.price) + past.tail(rolling_max(-past.price, span)), span)


def _autocorrelation(past: History, span: int) -> Float64:
    pairs = past.total(past.step[1:] * past.step[:-1], span - 1)
    return ratio(pairs, past.total(past.step * past.step, span))


def _close_in_range(past: History, span: int) -> Float64:
    return past.tail(ratio(2 * past.price - past.high - past.low, past.high - past.low))


def _parkinson(past: History, span: int) -> Float64:
    height = past.high - past.low
    volatility = np.sqrt(past.mean(height * height, span) / (4 * np.log(2)))
    against_closes: Float64 = np.log(np.maximum(volatility, LEAST_VOLATILITY) / past.volatility(span))
    return against_closes


def rolling_max(values: Float64, span: int) -> Float64:
    """Return the maximum of the last `span` values; shape (n − span + 1,)."""
    return rolling(values, span, np.maximum)


CLOSES = (
    Feature(
        name="return_{n}",
        formula="log(C_t / C_{t−n}) / (s √n)",
        unit=SCALES,
        spans=Spans(1),
        sessions=scaled,
        compute=lambda past, span: past.in_units(past.change(span), span),
    ),
    Feature(
        name="volatility_{n}",
        formula="log(σ_n / σ_N)",
        unit=LOG_RATIO,
        spans=Spans(5, shorter=True),
        sessions=longest_closes,
        compute=_volatility,
    ),
    Feature(
        name="volatility_level",
        formula="log(σ_N / 0.02)",
        unit="log of a ratio to 2% per session",
        sessions=longest_closes,
        compute=lambda past, _: np.log(past.volatility(past.config.longest) / USUAL_VOLATILITY),
    ),
    Feature(
        name="distance_{n}",
        formula="(log C_t − mean_n log C) / (s √n)",
        unit=SCALES,
        spans=Spans(5),
        sessions=scaled,
        compute=lambda past, span: past.in_units(past.above_mean(span), span),
    ),
    Feature(
        name="strength_{n}",
        formula="sum_n r / sum_n |r|",
        unit=RATIO,
        spans=Spans(5),
        sessions=span_closes,
        source="relative strength with plain sums (Wilder 1978)",
        compute=lambda past, span: ratio(past.change(span), past.total(np.abs(past.step), span)),
    ),
    Feature(
        name="drawdown_{n}",
        formula="(log C_t − max_n log C) / (s √n)",
        unit=SCALES,
        spans=Spans(20),
        sessions=scaled,
        compute=_drawdown,
    ),
    Feature(
        name="rise_{n}",
        formula="(log C_t − min_n log C) / (s √n)",
        unit=SCALES,
        spans=Spans(20),
        sessions=scaled,
        compute=_rise,
    ),
    Feature(
        name="skew_{n}",
        formula="mean_n r³ / σ_n³",
        unit="standardized moment",
        spans=Spans(20),
        sessions=span_closes,
        source="realized skewness (Amaya, Christoffersen, Jacobs & Vasquez 2015)",
        compute=lambda past, span: past.mean_cube(span) / past.volatility(span) ** 3,
    ),
    Feature(
        name="autocorrelation_{n}",
        formula="sum of r_i r_{i−1} over the n − 1 pairs / sum_n r²",
        unit=RATIO,
        spans=Spans(20),
        sessions=span_closes,
        compute=_autocorrelation,
    ),
)
"""Features of closes."""

BARS = (
    Feature(
        name="gap_1",
        formula="log(O_t / C_{t−1}) / s",
        unit=SCALES,
        sessions=scaled,
        needs=Needs.BAR,
        compute=lambda past, _: past.in_units(past.tail(past.opened[1:] - past.price[:-1])),
    ),
    Feature(
        name="intraday_1",
        formula="log(C_t / O_t) / s",
        unit=SCALES,
        sessions=scaled,
        needs=Needs.BAR,
        compute=lambda past, _: past.in_units(past.tail(past.price - past.opened)),
    ),
    Feature(
        name="close_in_range_1",
        formula="(2 log C_t − log H_t − log L_t) / log(H_t / L_t)",
        unit=RATIO,
        sessions=one_session,
        needs=Needs.BAR,
        compute=_close_in_range,
    ),
    Feature(
        name="range_1",
        formula="log(H_t / L_t) / s",
        unit=SCALES,
        sessions=scaled,
        needs=Needs.BAR,
        compute=lambda past, _: past.in_units(past.tail(past.high - past.low)),
    ),
    Feature(
        name="range_{n}",
        formula="mean_n log(H / L) / s",
        unit=SCALES,
        spans=Spans(5, shorter=True),
        sessions=scaled,
        needs=Needs.BAR,
        compute=lambda past, span: past.in_units(past.mean(past.high - past.low, span)),
    ),
    Feature(
        name="parkinson_{n}",
        formula="log(√(mean_n log²(H / L) / (4 log 2)) / σ_n)",
        unit=LOG_RATIO,
        spans=Spans(20),
        sessions=span_closes,
        needs=Needs.BAR,
        source="volatility from ranges (Parkinson 1980)",
        compute=_parkinson,
    ),
)
"""Features of open, high and low, in units of the closes."""

IDLE_SHARE = Feature(
    name="idle_share",
    formula="share of the last N sessions with V = 0",
    unit="fraction, 0 to 1",
    sessions=longest_sessions,
    needs=Needs.VOLUME,
    compute=lambda past, _: past.mean((past.shares == 0).astype(np.float64), past.config.longest),
)
DOLLAR_VOLUME_LEVEL = Feature(
    name="dollar_volume_level",
    formula="log10(1 + mean of the traded value over `scale_span` sessions) − 7",
    unit="powers of ten; 0 is ten million per session",
    sessions=lambda _, config: config.scale_span,
    needs=Needs.DOLLARS,
    compute=lambda past, _: np.log10(1 + past.mean(past.dollars, past.config.scale_span)) - 7,
)
