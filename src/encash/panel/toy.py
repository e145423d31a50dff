"""Random panels for examples and tests: random walks, irregular histories, and planted signals and regimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from encash.arrays import DayLike, Days, Float64, Int8, to_day
from encash.errors import InputError
from encash.panel.bars import Bars
from encash.panel.features import FeatureConfig, feature_names, panel_features
from encash.panel.load import ArraySource
from encash.panel.panel import Panel, PriceTable

TOY_FEATURES = FeatureConfig(spans=(1, 2, 5, 10, 20), scale_span=20)
"""Few and short lookbacks, so that a hundred sessions suffice."""
ODD_TICKERS = ("GONE", "HOLE", "LATE", "NANS")
"""Tickers that end early, lack sessions within their history, are listed late, and have NaN among their features."""
REGIME_DRIFTS = (-0.004, 0.0, 0.004)
"""Mean log return per session in each planted regime."""
Signal = Literal["last session", "mean", "lagged", "interaction"]
"""Part of the window that predicts the next return: its last session, the mean of the last 20 sessions, the session
five before the last, or the product of two features in the last session with a third feature added."""
SIGNALS: tuple[Signal, ...] = get_args(Signal)


def toy_panel(
    seed: int = 0,
    num_tickers: int = 8,
    num_sessions: int = 120,
    *,
    start: DayLike = "2020-01-01",
    odd: bool = False,
    signal_ic: float | None = None,
    config: FeatureConfig = TOY_FEATURES,
) -> Panel:
    """Return random walks on business days, with the features that `prepare` would compute.

    Args:
        seed: the same seed gives the same panel.
        num_tickers: tickers, including the odd ones.
        num_sessions: sessions with prices; features begin `config.longest` sessions later.
        start: the earliest possible session.
        odd: the last four tickers are `ODD_TICKERS`.
        signal_ic: add a last feature ``signal`` with this correlation with the next session's log return.
        config: the choice of features.

    Raises:
        InputError: too few sessions for one row of features, or too few tickers for the odd ones.
    """
    if num_sessions <= config.longest:
        raise InputError(f"{num_sessions} sessions are too few for features; expected more than {config.longest}")
    if odd and num_tickers < len(ODD_TICKERS):
        raise InputError(f"{num_tickers} tickers are too few for the odd ones; expected {len(ODD_TICKERS)} or more")
    random = np.random.default_rng(seed)
    days = business_days(start, num_sessions)
    names = [f"T{number:04d}" for number in range(num_tickers)]
    if odd:
        names[-len(ODD_TICKERS) :] = ODD_TICKERS
    signal = random.normal(size=(num_sessions, num_tickers))
    close = _walks(random, signal, signal_ic or 0.0)
    for column, name in enumerate(names):
        close[_untraded(name, num_sessions), column] = np.nan
    tickers = tuple(sorted(names))
    close, signal = (grid[:, np.argsort(names)] for grid in (close, signal))
    traded = ~np.isnan(close)
    bars = {ticker: Bars(days=days[traded[:, n]], close=close[traded[:, n], n]) for n, ticker in enumerate(tickers)}
    columns = feature_names(bars[tickers[0]], config)
    rows = {ticker: (own_days, values) for ticker, own_days, values in panel_features(bars, config)}
    recorded: FeatureConfig | None = config
    if signal_ic is not None:
        columns, recorded = (*columns, "signal"), None
        for column, ticker in enumerate(tickers):
            own_days, values = rows[ticker]
            own_signal = signal[np.searchsorted(days, own_days), column].astype(np.float32)
            rows[ticker] = own_days, np.column_stack([values, own_signal])
    if odd:
        rows["NANS"][1][10::25, 1] = np.nan
    return Panel(ArraySource(rows, columns, recorded), PriceTable(days=days, tickers=tickers, close=close))


@dataclass(frozen=True, kw_only=True)
class RegimePanel:
    """A panel with planted regimes, and the regimes."""

    panel: Panel
    regime: Int8
    """The regime (0, 1, 2) of the return from each session to the next; shape (T, N) on the grid of the prices."""
    drift: tuple[float, ...] = REGIME_DRIFTS
    """Mean log return per session in each regime."""


def regime_panel(
    seed: int = 0,
    num_tickers: int = 12,
    num_sessions: int = 240,
    *,
    num_features: int = 6,
    persistence: float = 0.97,
    noise: float = 0.5,
    volatility: float = 0.01,
) -> RegimePanel:
    """Return random walks that change between three regimes of known drift, with noisy features of the regime.

    In each session, a ticker stays in its regime with probability `persistence` and otherwise draws one of the three.
    Its features are the direction of the regime (orthogonal, of length 1) plus normal noise.

    Raises:
        InputError: fewer features than regimes.
    """
    if num_features < len(REGIME_DRIFTS):
        raise InputError(f"{num_features} features cannot distinguish 3 regimes; expected 3 or more")
    random = np.random.default_rng(seed)
    days = business_days("2020-01-01", num_sessions)
    tickers = tuple(f"T{number:04d}" for number in range(num_tickers))
    regime = _regimes(random, (num_sessions, num_tickers), persistence)
    step = np.asarray(REGIME_DRIFTS)[regime] + volatility * random.normal(size=regime.shape)
    close = 100 * np.exp(np.cumsum(np.vstack([np.zeros(num_tickers), step[:-1]]), axis=0))
    directions = np.linalg.qr(random.normal(size=(num_features, len(REGIME_DRIFTS))))[0].T
    values = directions[regime] + noise * random.normal(size=(*regime.shape, num_features))
    source = ArraySource({ticker: (days, values[:, n].astype(np.float32)) for n, ticker in enumerate(tickers)})
    return RegimePanel(panel=Panel(source, PriceTable(days=days, tickers=tickers, close=close)), regime=regime)


def signal_panel(
    signal: Signal,
    seed: int = 0,
    num_tickers: int = 100,
    num_sessions: int = 1500,
    *,
    num_features: int = 64,
    signal_ic: float = 0.1,
) -> Panel:
    """Return random walks whose returns are weakly predicted by a planted signal of eight features.

    Half of the features are white noise, the others are persistent (autoregression of 0.9). Returns have a deviation of
    2% and share a market factor.

    Args:
        signal: the kind of signal.
        seed: the same seed gives the same panel.
        num_tickers: N.
        num_sessions: T.
        num_features: 8 or more.
        signal_ic: correlation of the signal with the next session's log return.

    Raises:
        InputError: fewer than 8 features.
    """
    if num_features < 8:
        raise InputError(f"{num_features} features cannot hold a signal of 8; expected 8 or more")
    random = np.random.default_rng([seed, SIGNALS.index(signal)])
    shape = num_sessions, num_tickers
    persistence = np.where(np.arange(num_features) % 2, 0.9, 0.0)
    values = random.normal(size=(*shape, num_features))
    for session in range(1, num_sessions):
        values[session] = persistence * values[session - 1] + np.sqrt(1 - persistence**2) * values[session]
    strength = _signal(signal, values[:, :, random.choice(num_features, 8, replace=False)], random.normal(size=8))
    noise = 0.4 * random.normal(size=(num_sessions, 1)) + np.sqrt(1 - 0.4**2) * random.normal(size=shape)
    step = 0.02 * (signal_ic * strength / strength.std() + np.sqrt(1 - signal_ic**2) * noise)
    close = 50 * np.exp(np.cumsum(np.vstack([np.zeros(num_tickers), step[:-1]]), axis=0))
    days, tickers = business_days("2010-01-01", num_sessions), tuple(f"T{number:04d}" for number in range(num_tickers))
    source = ArraySource({ticker: (days, values[:, n].astype(np.float32)) for n, ticker in enumerate(tickers)})
    return Panel(source, PriceTable(days=days, tickers=tickers, close=close))


def business_days(start: DayLike, count: int) -> Days:
    """Return the first `count` Mondays to Fridays on or after a day.

    >>> business_days("2024-01-05", 2)
    array(['2024-01-05', '2024-01-08'], dtype='datetime64[D]')
    """
    days: Days = np.busday_offset(to_day(start), np.arange(count), roll="forward")
    return days


def _walks(random: np.random.Generator, signal: Float64, signal_ic: float) -> Float64:
    """Return closing prices, shape (T, N); a shock is partly the market's, or partly predicted by the signal."""
    num_sessions, num_tickers = signal.shape
    volatility = random.uniform(0.01, 0.03, size=num_tickers)
    predicted = np.vstack([np.zeros(num_tickers), signal[:-1]])
    other = random.normal(size=signal.shape)
    if not signal_ic:
        other = 0.4 * random.normal(size=(num_sessions, 1)) + np.sqrt(1 - 0.4**2) * other
    step = volatility * (signal_ic * predicted + np.sqrt(1 - signal_ic**2) * other)
    step[0] = 0
    close: Float64 = random.uniform(20, 200, size=num_tickers) * np.exp(np.cumsum(step, axis=0))
    return close


def _signal(signal: Signal, values: Float64, weights: Float64) -> Float64:
    """Return the signal of some features, shape (T, N)."""
    if signal == "interaction":
        product: Float64 = values[:, :, 0] * values[:, :, 1] + 0.7 * values[:, :, 2]
        return product
    own = values @ weights
    span, delay = (20, 0) if signal == "mean" else (1, 5 if signal == "lagged" else 0)
    total = np.cumsum(np.vstack([np.zeros((span + delay, own.shape[1])), own]), axis=0)
    result: Float64 = total[span : len(own) + span] - total[: len(own)]
    return result


def _untraded(name: str, num_sessions: int) -> slice:
    """Return the sessions on which a ticker has no price."""
    spans = {"GONE": (0.7, 1.0), "HOLE": (0.5, 0.6), "LATE": (0.0, 0.4)}
    first, stop = spans.get(name, (0.0, 0.0))
    return slice(int(first * num_sessions), int(stop * num_sessions))


def _regimes(random: np.random.Generator, shape: tuple[int, int], persistence: float) -> Int8:
    drawn = random.integers(0, len(REGIME_DRIFTS), size=shape)
    fresh = random.random(shape) >= persistence
    fresh[0] = True
    since = np.maximum.accumulate(np.where(fresh, np.arange(shape[0])[:, None], 0), axis=0)
    return np.take_along_axis(drawn, since, axis=0).astype(np.int8)
