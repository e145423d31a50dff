"""A made-up stock with splits and dividends, and its history as vendors of different styles ship it on a day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Days, Float64
from encash.panel.adjustment import Basis, VendorColumns, adjust
from encash.panel.bars import Bars
from encash.panel.toy import business_days


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What happened: raw bars, integer volumes, and the events on their ex-dates."""

    days: Days
    raw: dict[str, Float64]
    """open, high, low, close."""
    volume: Float64
    split: Float64
    """New shares per old share, 1 without a split."""
    dividend: Float64
    """Per share of the day."""

    def until(self, stop: int) -> Stock:
        """The same, as far as it is known after `stop` sessions."""
        return Stock(
            days=self.days[:stop],
            raw={name: column[:stop] for name, column in self.raw.items()},
            volume=self.volume[:stop],
            split=self.split[:stop],
            dividend=self.dividend[:stop],
        )

    def later(self, factors: Float64) -> Float64:
        """Product of the factors after each session."""
        return np.append(np.cumprod(factors[::-1])[::-1][1:], 1.0)

    @property
    def split_factor(self) -> Float64:
        return self.later(1 / self.split)

    @property
    def total_factor(self) -> Float64:
        """Formula of CRSP for dividends: 1 − D / P before, in the shares of the day."""
        before = np.append(np.nan, self.raw["close"][:-1]) / self.split
        return self.later(np.where(np.isnan(before), 1.0, 1 - self.dividend / before) / self.split)


def stock(seed: int, num_sessions: int, events: dict[int, tuple[float, float]] | None = None) -> Stock:
    """A random walk with prices in cents; `events` are split and dividend by session, None for random ones."""
    random = np.random.default_rng(seed)
    split, dividend, paid = np.ones(num_sessions), np.zeros(num_sessions), np.zeros(num_sessions)
    if events is None:
        split[random.random(num_sessions) < 0.02] = random.choice([2.0, 3.0, 20.0, 1.5, 0.1, 0.125])
        paid = random.uniform(0.001, 0.05, size=num_sessions) * (random.random(num_sessions) < 0.03)
    else:
        for at, (new, cash) in events.items():
            split[at], dividend[at] = new, cash
    step = 0.02 * random.normal(size=num_sessions) * (random.random(num_sessions) < 0.9)
    close = 80 * np.exp(np.cumsum(step)) / np.cumprod(split)
    close = np.maximum(np.round(close, 2), 1.0) if (np.cumprod(split) < 8).all() else close
    dividend += paid * close
    opened = close * np.exp(0.01 * random.normal(size=num_sessions))
    spread = np.exp(0.01 * random.random(num_sessions))
    raw = {
        "open": opened,
        "high": np.maximum(opened, close) * spread,
        "low": np.minimum(opened, close) / spread,
        "close": close,
    }
    traded = random.integers(1000, 1_000_000, size=num_sessions) * (random.random(num_sessions) < 0.95)
    volume: Float64 = (8 * np.round(traded * np.cumprod(split))).astype(np.float64)
    return Stock(days=business_days("2015-01-02", num_sessions), raw=raw, volume=volume, split=split, dividend=dividend)


def raw_with_events(known: Stock) -> VendorColumns:
    """Raw bars, cash dividends and splits, nothing adjusted (Polygon, exchange files)."""
    values = {**known.raw, "volume": known.volume, "split": known.split, "dividend": known.dividend}
    return _columns(values, Basis.RAW, Basis.RAW)


def tiingo(known: Stock) -> VendorColumns:
    """Raw and adjusted columns beside each other, with both events."""
    adjusted = {f"adj_{name}": column * known.total_factor for name, column in known.raw.items()}
    volume = {"volume": known.volume, "adj_volume": known.volume / known.split_factor}
    events = {"split": known.split, "dividend": known.dividend}
    return _columns({**known.raw, **adjusted, **volume, **events}, Basis.RAW, Basis.RAW)


def yahoo(known: Stock) -> VendorColumns:
    """Bars, dividends and volume adjusted for splits, and a fully adjusted close."""
    values = {name: column * known.split_factor for name, column in known.raw.items()}
    values |= {"adj_close": known.raw["close"] * known.total_factor, "volume": known.volume / known.split_factor}
    values |= {"dividend": known.dividend * known.split_factor, "split": np.where(known.split == 1, 0, known.split)}
    return _columns(values, Basis.SPLIT, Basis.SPLIT)


def yahoo_auto(known: Stock) -> VendorColumns:
    """Fully adjusted bars, volume adjusted for splits, and both events (auto_adjust)."""
    values = {name: column * known.total_factor for name, column in known.raw.items()}
    values |= {"volume": known.volume / known.split_factor, "dividend": known.dividend, "split": known.split}
    return _columns(values, Basis.FULL, Basis.SPLIT)


def split_with_dividends(known: Stock) -> VendorColumns:
    """Bars, dividends and volume adjusted for splits, and no adjusted close."""
    shipped = yahoo(known)
    return replace(shipped, values={name: one for name, one in shipped.values.items() if name != "adj_close"})


def forward_factor(known: Stock) -> VendorColumns:
    """Raw bars and a factor that is 1 on the first day (Tushare)."""
    factor = known.total_factor / known.total_factor[0]
    return _columns({**known.raw, "volume": known.volume, "factor": factor}, Basis.RAW, Basis.RAW)


def backward_factor(known: Stock) -> VendorColumns:
    """Raw bars and a factor that is 1 on the last day."""
    return _columns({**known.raw, "volume": known.volume, "factor": known.total_factor}, Basis.RAW, Basis.RAW)


def adjusted_only(known: Stock) -> VendorColumns:
    """Fully adjusted bars with a raw volume, and nothing that relates them."""
    values = {name: column * known.total_factor for name, column in known.raw.items()}
    return _columns({**values, "volume": known.volume}, Basis.FULL, Basis.RAW)


def unknown(known: Stock) -> VendorColumns:
    """Fully adjusted bars and split-adjusted volume, on a basis that is not stated."""
    values = {name: column * known.total_factor for name, column in known.raw.items()}
    return _columns({**values, "volume": known.volume / known.split_factor}, Basis.UNKNOWN, Basis.UNKNOWN)


def unknown_raw_with_events(known: Stock) -> VendorColumns:
    """Raw bars and events, on a basis that is not stated."""
    return replace(raw_with_events(known), prices=Basis.UNKNOWN, volumes=Basis.UNKNOWN)


STYLES = {
    style.__name__: style
    for style in (
        raw_with_events,
        tiingo,
        yahoo,
        yahoo_auto,
        split_with_dividends,
        forward_factor,
        backward_factor,
        adjusted_only,
        unknown,
    )
}
"""The styles whose past is multiplied by a constant when something happens."""


def bars_of(columns: VendorColumns, days: Days) -> Bars:
    return Bars(days=days, **adjust(columns))


def rounded(columns: VendorColumns, digits: int) -> VendorColumns:
    """The same with adjusted prices rounded, as vendors do: those of raw bars stay."""
    prices: tuple[str, ...] = ("adj_open", "adj_high", "adj_low", "adj_close")
    if columns.prices is not Basis.RAW:
        prices = (*prices, "open", "high", "low", "close")
    values = {name: np.round(one, digits) if name in prices else one for name, one in columns.values.items()}
    return replace(columns, values=values)


def _columns(values: dict[str, Float64], prices: Basis, volumes: Basis) -> VendorColumns:
    count = len(values["close"])
    return VendorColumns(values=values, ticker=np.zeros(count, dtype=np.int64), prices=prices, volumes=volumes)
