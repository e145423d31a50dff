"""Panels made of dice, for examples and tests: random walks, odd histories, and planted signals and regimes whose truth
is known. Knows no file and no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import DayLike, Days, Float32, Float64, Int8, to_day
from encash.errors import InputError
from encash.panel.features import Bars, FeatureConfig, feature_names, panel_features
from encash.panel.load import ArraySource
from encash.panel.panel import Panel, PriceTable

TOY_FEATURES = FeatureConfig(spans=(1, 2, 5, 10, 20), scale_span=20)
"""Few and short, so that a hundred sessions are a panel."""
ODD_TICKERS = ("GONE", "HOLE", "LATE", "NANS")
"""Ends early; misses sessions in the middle; is listed late; has NaN among its features."""
REGIME_DRIFTS = (-0.004, 0.0, 0.004)
"""Mean log return of one session in each planted regime."""


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
    """Random walks on business days, and the features that `prepare` would make of them.

    Args:
        seed: same seed, same panel.
        num_tickers: tickers, the odd ones among them.
        num_sessions: sessions with prices; features begin `config.longest` sessions later.
        start: no session is before this day.
        odd: make the last four tickers `ODD_TICKERS`.
        signal_ic: add a last feature ``signal`` whose correlation with the next session's log return is this.
        config: which features.

    Raises:
        InputError: too few sessions for one row of features, or too few tickers for the odd ones.
    """
    if num_sessions <= config.longest:
        raise InputError(f"{num_sessions} sessions give no features; expected more than {config.longest}")
    if odd and num_tickers < len(ODD_TICKERS):
        raise InputError(f"{num_tickers} tickers cannot hold the {len(ODD_TICKERS)} odd ones")
    random = np.random.default_rng(seed)
    days = business_days(start, num_sessions)
    names = [f"T{number:04d}" for number in range(num_tickers)]
    if odd:
        names[-len(ODD_TICKERS) :] = ODD_TICKERS
    signal = random.normal(size=(num_sessions, num_tickers))
    close = _walks(random, signal, signal_ic or 0.0)
    for place, name in enumerate(names):
        close[_untraded(name, num_sessions), place] = np.nan
    tickers = tuple(sorted(names))
    close, signal = (grid[:, np.argsort(names)] for grid in (close, signal))
    rows, columns = _feature_rows(tickers, days, close, config)
    if signal_ic is not None:
        columns = (*columns, "signal")
        rows = {ticker: _with_signal(*rows[ticker], days, signal[:, tickers.index(ticker)]) for ticker in tickers}
    if odd:
        rows["NANS"][1][10::25, 1] = np.nan
    return Panel(ArraySource(rows, columns), PriceTable(days=days, tickers=tickers, close=close))


@dataclass(frozen=True, kw_only=True)
class RegimePanel:
    """A panel with planted regimes, and the truth."""

    panel: Panel
    regime: Int8
    """The regime (0, 1, 2) that drives the return from each session to the next; shape (T, N) on the panel's grid."""
    drift: tuple[float, ...] = REGIME_DRIFTS
    """Mean log return of one session in each regime."""


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
    """Random walks that change between three regimes of known drift; the features show the regime noisily.

    Each ticker stays in its regime with probability `persistence` a session and else draws one of the three. Its
    features are the regime's own direction (orthogonal, of length 1) plus normal noise.

    Raises:
        InputError: fewer features than regimes.
    """
    if num_features < len(REGIME_DRIFTS):
        raise InputError(f"{num_features} features cannot tell 3 regimes apart; expected at least 3")
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


def business_days(start: DayLike, count: int) -> Days:
    """So many Mondays to Fridays from a day on.

    >>> business_days("2024-01-05", 2)
    array(['2024-01-05', '2024-01-08'], dtype='datetime64[D]')
    """
    days: Days = np.busday_offset(to_day(start), np.arange(count), roll="forward")
    return days


def _walks(random: np.random.Generator, signal: Float64, signal_ic: float) -> Float64:
    """Closing prices, shape (T, N): each session's shock is in part the market's, or in part foretold by the signal."""
    num_sessions, num_tickers = signal.shape
    volatility = random.uniform(0.01, 0.03, size=num_tickers)
    foretold = np.vstack([np.zeros(num_tickers), signal[:-1]])
    other = random.normal(size=signal.shape)
    if not signal_ic:
        other = 0.4 * random.normal(size=(num_sessions, 1)) + np.sqrt(1 - 0.4**2) * other
    step = volatility * (signal_ic * foretold + np.sqrt(1 - signal_ic**2) * other)
    step[0] = 0
    close: Float64 = random.uniform(20, 200, size=num_tickers) * np.exp(np.cumsum(step, axis=0))
    return close


def _untraded(name: str, num_sessions: int) -> slice:
    """The sessions on which a ticker has no price."""
    spans = {"GONE": (0.7, 1.0), "HOLE": (0.5, 0.6), "LATE": (0.0, 0.4)}
    first, stop = spans.get(name, (0.0, 0.0))
    return slice(int(first * num_sessions), int(stop * num_sessions))


def _feature_rows(
    tickers: tuple[str, ...], days: Days, close: Float64, config: FeatureConfig
) -> tuple[dict[str, tuple[Days, Float32]], tuple[str, ...]]:
    traded = ~np.isnan(close)
    bars = {ticker: Bars(days=days[traded[:, n]], close=close[traded[:, n], n]) for n, ticker in enumerate(tickers)}
    rows = {ticker: (own_days, values) for ticker, own_days, values in panel_features(bars, config)}
    return rows, feature_names(bars[tickers[0]], config)


def _with_signal(own_days: Days, values: Float32, days: Days, signal: Float64) -> tuple[Days, Float32]:
    own_signal = signal[np.searchsorted(days, own_days)].astype(np.float32)
    return own_days, np.column_stack([values, own_signal])


def _regimes(random: np.random.Generator, shape: tuple[int, int], persistence: float) -> Int8:
    drawn = random.integers(0, len(REGIME_DRIFTS), size=shape)
    fresh = random.random(shape) >= persistence
    fresh[0] = True
    since = np.maximum.accumulate(np.where(fresh, np.arange(shape[0])[:, None], 0), axis=0)
    return np.take_along_axis(drawn, since, axis=0).astype(np.int8)
