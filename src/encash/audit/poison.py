"""Data whose future is cut off or replaced by noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from encash.arrays import Bool, Float64
from encash.panel import ArraySource, Bars, Panel, PriceTable

POISON = 1e3
"""Scale of the noise that replaces the future."""
PRICES = ("open", "high", "low", "close")
"""Columns of bars that one adjustment rescales together."""


def cut_bars(bars: Mapping[str, Bars], day: np.datetime64) -> dict[str, Bars]:
    """Return the bars up to a day."""
    cut = {}
    for ticker, own in bars.items():
        known = own.days <= day
        if known.any():
            cut[ticker] = own.only(known)
    return cut


def poisoned_bars(
    bars: Mapping[str, Bars], day: np.datetime64 | Mapping[str, np.datetime64], seed: int
) -> dict[str, Bars]:
    """Return the bars with random numbers on each one after a day, or after a day of each ticker: one for its prices,
    one for each other column."""
    random, wrong = np.random.default_rng(seed), {}
    for ticker, own in bars.items():
        last = day if isinstance(day, np.datetime64) else day[ticker]
        late, ones = own.days > last, np.ones(len(own.days))
        factor, columns = _noisy(ones, late, random), _columns(own)
        noise = {name: factor if name in PRICES else _noisy(ones, late, random) for name in columns}
        wrong[ticker] = Bars(days=own.days, **{name: column * noise[name] for name, column in columns.items()})
    return wrong


def rescaled_bars(bars: Mapping[str, Bars]) -> dict[str, Bars]:
    """Return the bars with the prices of every second ticker divided by 2, as a later split rescales adjusted ones."""
    scaled = {}
    for number, (ticker, own) in enumerate(bars.items()):
        factor = 0.5 if number % 2 == 0 else 1.0
        columns = {name: column * factor if name in PRICES else column for name, column in _columns(own).items()}
        scaled[ticker] = Bars(days=own.days, **columns)
    return scaled


def poisoned_prices(prices: PriceTable, day: np.datetime64, seed: int) -> PriceTable:
    """Return the prices with noise on those after a day."""
    random = np.random.default_rng(seed)
    late = np.broadcast_to((prices.days > day)[:, None], prices.close.shape)
    wrong: dict[str, Any] = {name: _noisy(grid, late, random) for name, grid in prices.grids().items()}
    return replace(prices, **wrong)


def poisoned_panel(panel: Panel, prices: PriceTable, day: np.datetime64, *, lookback: int, seed: int) -> Panel:
    """Return a panel with noise in place of all features and prices after a day; days and tickers stay the same, and so
    does a ticker that has prices before it has features."""
    rows = panel.rows(start=day, end=day + np.timedelta64(60, "D"), lookback=lookback)
    values, late = rows.values.copy(), rows.days > day
    random = np.random.default_rng(seed)
    values[late] = (random.standard_normal((int(late.sum()), values.shape[1])) * POISON).astype(np.float32)
    by_ticker = {
        ticker: (rows.days[start:stop], values[start:stop])
        for ticker, start, stop in zip(rows.tickers, rows.offsets[:-1], rows.offsets[1:], strict=True)
    }
    return Panel(ArraySource(by_ticker, feature_names=panel.feature_names), poisoned_prices(prices, day, seed))


def _columns(bars: Bars) -> dict[str, Float64]:
    """Return the prices and volumes that are given."""
    columns = {field.name: getattr(bars, field.name) for field in fields(bars) if field.name != "days"}
    return {name: column for name, column in columns.items() if column is not None}


def _noisy(prices: Float64, late: Bool, random: np.random.Generator) -> Float64:
    """Multiply late prices by a random factor from 1/1000 to 1000."""
    noise = np.exp(random.uniform(-np.log(POISON), np.log(POISON), size=prices.shape))
    return np.where(late, prices * noise, prices)
