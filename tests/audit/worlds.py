"""A small market with features of its past, and the audit of what a test plants in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from encash.audit import Subject
from encash.backtest import BacktestConfig
from encash.panel import ArraySource, Bars, Panel, PriceTable
from encash.testing import MeanEncoder

NUM_SESSIONS, NUM_TICKERS, LOOKBACK = 420, 24, 8
NAMES = ("return_1", "return_5", "momentum_60", "volatility_20", "reversal_5")
WARM_UP = 60
TEST_START = 250
"""Number of the first session of the test period."""
Rows = dict[str, tuple[np.ndarray, np.ndarray]]


def closes(seed: int = 3, num_sessions: int = NUM_SESSIONS, num_tickers: int = NUM_TICKERS) -> PriceTable:
    """Random walks with a market, four sectors and a little momentum."""
    random = np.random.default_rng(seed)
    days = np.busday_offset("2020-01-01", np.arange(num_sessions), roll="forward").astype("datetime64[D]")
    sector = np.arange(num_tickers) % 4
    shocks = 0.015 * random.standard_normal((num_sessions, num_tickers))
    shocks += (
        0.008 * random.standard_normal((num_sessions, 1)) + 0.008 * random.standard_normal((num_sessions, 4))[:, sector]
    )
    for row in range(1, num_sessions):
        shocks[row] += 0.05 * shocks[row - 1]
    tickers = tuple(f"S{number:02d}" for number in range(num_tickers))
    return PriceTable(days=days, tickers=tickers, close=50 * np.exp(np.cumsum(shocks, axis=0)))


def honest(bars: Mapping[str, Bars]) -> Rows:
    """Features of a ticker's own past, none for a history that is too short."""
    made = {}
    for ticker, own in bars.items():
        if len(own.days) > WARM_UP:
            price = np.log(own.close)
            step = np.concatenate([[0.0], np.diff(price)])
            columns = [_change(price, 1), _change(price, 5), _change(price, 60)]
            volatility = np.sqrt(_sum(step**2, 20) / 20)
            columns += [volatility, -columns[1] / np.maximum(volatility, 1e-6)]
            made[ticker] = own.days[WARM_UP:], np.stack(columns, axis=1)[WARM_UP:].astype(np.float32)
    return made


def bars_of(prices: PriceTable) -> dict[str, Bars]:
    traded = np.isfinite(prices.close)
    return {
        ticker: Bars(days=prices.days[traded[:, column]], close=prices.close[traded[:, column], column])
        for column, ticker in enumerate(prices.tickers)
    }


def subject_of(rows: Rows, prices: PriceTable, **changes: object) -> Subject:
    """An audit of these features, whose maker is not known unless a test gives one."""
    width = next(iter(rows.values()))[1].shape[1]
    names = NAMES if width == len(NAMES) else (*NAMES, *(f"extra_{number}" for number in range(width - len(NAMES))))
    panel = Panel(ArraySource(rows, feature_names=names), prices)
    encoder = MeanEncoder(num_features=width, lookback=LOOKBACK, dim=6)
    config = BacktestConfig(start=prices.days[TEST_START], top_k=2, horizon=5)
    return replace(Subject(panel=panel, encoder=encoder, config=config, days=2), **changes)  # type: ignore[arg-type]  # fields by name


def with_column(rows: Rows, prices: PriceTable, column: np.ndarray) -> Rows:
    """Add a feature, given on the grid of the prices."""
    place = {ticker: number for number, ticker in enumerate(prices.tickers)}
    return {
        ticker: (
            days,
            np.column_stack([values, column[np.searchsorted(prices.days, days), place[ticker]]]).astype("f4"),
        )
        for ticker, (days, values) in rows.items()
    }


def later_returns(prices: PriceTable, sessions: int = 1) -> np.ndarray:
    """The standardized return of the session N sessions later, 0 at the end."""
    steps = np.diff(np.log(prices.close), axis=0)
    steps = (steps - np.nanmean(steps)) / np.nanstd(steps)
    result = np.zeros(prices.close.shape)
    result[: len(result) - sessions] = np.nan_to_num(steps[sessions - 1 :])
    return result


def leaky(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Mapping[str, Bars]], Rows]:
    """The honest features and one of all closes, the later ones too."""

    def make(bars: Mapping[str, Bars]) -> Rows:
        return {
            ticker: (days, np.column_stack([values, change(bars[ticker].close)[WARM_UP:]]).astype("f4"))
            for ticker, (days, values) in honest(bars).items()
        }

    return make


def _change(price: np.ndarray, span: int) -> np.ndarray:
    return price - np.concatenate([np.full(min(span, len(price)), price[0]), price[:-span]])


def _sum(values: np.ndarray, span: int) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(1, len(total)) - span, 0)
    return total[1:] - total[first]


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path
