"""One truth: four tickers over 30 sessions, as traded and on both adjusted bases, from which every vendor's file is written.

The names are awkward on purpose (a dot, a role word, the usual text for a missing value, leading zeros). Inside lie a
month boundary, a holiday, a 4:1 split, two dividends, a missing bar and a bar without volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

TICKERS = ("BRK.B", "LOW", "NA", "000001")
HOLIDAY = date(2024, 2, 19)
DAYS = tuple(
    day for day in (date(2024, 1, 17) + timedelta(days=n) for n in range(43)) if day.weekday() < 5 and day != HOLIDAY
)
SPLITS = {("LOW", date(2024, 2, 7)): 4.0}
DIVIDENDS = {("LOW", date(2024, 1, 24)): 1.12, ("000001", date(2024, 2, 14)): 0.25}
"""Cash per share of the day, by ticker and ex-date."""
MISSING = ("NA", date(2024, 1, 25))
UNTRADED = ("NA", date(2024, 2, 1))
FIRST_CENTS = {"BRK.B": 35_600, "LOW": 22_000, "NA": 523, "000001": 940}
SHARES = {"BRK.B": 3_812_400, "LOW": 2_416_900, "NA": 125_300, "000001": 52_516_000}


class Number(float):
    """A float with the formats of `SPECS`, such as ``de2`` (1.234,50), ``in2`` (12,34,567.00), ``human`` (718.50M)."""

    def __format__(self, spec: str) -> str:
        for name, form in SPECS.items():
            if spec.startswith(name):
                return form(float(self), spec.removeprefix(name))
        return format(float(self), spec)


def _indian(value: float, decimals: str) -> str:
    whole, dot, rest = format(value, f".{decimals}f").partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, tail]) + dot + rest


def _human(value: float, _: str) -> str:
    unit, scale = ("M", 1e6) if value >= 1e6 else ("K", 1e3)
    return f"{value / scale:.2f}{unit}"


SPECS: dict[str, Callable[[float, str], str]] = {
    "de": lambda value, decimals: format(value, f",.{decimals}f").translate(str.maketrans(",.", ".,")),
    "in": _indian,
    "human": _human,
    "nano": lambda value, _: str(round(value * 1e9)),
    "cents": lambda value, _: str(round(value * 100)),
    "lean": lambda value, _: str(round(value * 1e4)),
    "swiss": lambda value, _: format(value, ",.0f").replace(",", "'"),
    "blank": lambda value, _: format(value, ",.0f").replace(",", "\u00a0"),
}
"""Formats by the start of their name; the rest is the number of decimals."""


@dataclass(frozen=True)
class Ohlcv:
    """The values of one bar on one basis."""

    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number

    def times(self, factor: float) -> Ohlcv:
        return _bar((price * factor for price in astuple(self)[:4]), round(self.volume / factor, 4))


def _bar(prices: Iterable[float], volume: float) -> Ohlcv:
    open_, high, low, close = map(Number, prices)
    return Ohlcv(open_, high, low, close, Number(volume))


@dataclass(frozen=True)
class Row:
    """One bar; the attributes are the fields of the templates of `tests.panel.layouts.write`."""

    n: int
    day: date
    ticker: str
    name: str
    """The ticker of the truth where the case renames it."""
    raw: Ohlcv
    split: Ohlcv
    full: Ohlcv
    before: Number
    """The raw close of the session before; the open on the first."""
    dividend: Number
    ratio: Number
    """New shares per old share; 1 without a split."""
    later_split: Number
    """Product of the ratios after this day."""
    full_factor: Number
    """Fully adjusted price / raw price."""

    @property
    def amount(self) -> Number:
        return Number(round(self.raw.volume * (self.raw.high + self.raw.low) / 2, 2))

    @property
    def thousands(self) -> Number:
        """The amount in thousands."""
        return Number(self.amount / 1000)

    @property
    def currency(self) -> str:
        return "EUR" if self.day.month == 1 else "USD"

    @property
    def thousand_shares(self) -> Number:
        return Number(self.raw.volume / 1000)

    @property
    def last_second(self) -> int:
        return self.seconds + 86_399

    @property
    def backward_factor(self) -> Number:
        """A factor that grows from the first day on, as Tushare's; its ratio to the last is `full_factor`."""
        return Number(self.full_factor * 134.4)

    @property
    def lots(self) -> Number:
        return Number(self.raw.volume / 100)

    @property
    def split_dividend(self) -> Number:
        return Number(self.dividend / self.later_split)

    @property
    def event(self) -> Number:
        return Number(0.0 if self.ratio == 1.0 else self.ratio)

    @property
    def day_factor(self) -> Number:
        """0.25 on the ex-date of a 4:1 split, 1 on every other day."""
        return Number(1 / self.ratio)

    @property
    def new_york_seconds(self) -> int:
        return int(self.new_york.timestamp())

    @property
    def tokyo_seconds(self) -> int:
        return int(self.tokyo.timestamp())

    @property
    def day_number(self) -> int:
        return (self.day - date(1970, 1, 1)).days

    @property
    def settled(self) -> date:
        return self.day + timedelta(days=2)

    @property
    def thousand(self) -> Ohlcv:
        """Prices of a currency a thousand times as small."""
        return _bar((round(price * 1000) for price in astuple(self.raw)[:4]), self.raw.volume)

    @property
    def traded(self) -> bool:
        return self.raw.volume > 0

    @property
    def seconds(self) -> int:
        return int(datetime.combine(self.day, time(), UTC).timestamp())

    @property
    def excel(self) -> int:
        return (self.day - date(1899, 12, 30)).days

    def midnight(self, zone: str) -> datetime:
        """Return the instant at which the day begins in a zone, in UTC."""
        return datetime.combine(self.day, time(), ZoneInfo(zone)).astimezone(UTC)

    @property
    def tokyo(self) -> datetime:
        return self.midnight("Asia/Tokyo")

    @property
    def paris(self) -> datetime:
        return self.midnight("Europe/Paris")

    @property
    def new_york(self) -> datetime:
        return self.midnight("America/New_York")


def _bars(ticker: str) -> Iterator[tuple[date, Ohlcv]]:
    """Yield bars as traded; before a split they are multiples of its ratio, so that adjusted prices are whole cents."""
    draw = np.random.default_rng(list(ticker.encode()))
    close, step = FIRST_CENTS[ticker], max(1, FIRST_CENTS[ticker] // 150)
    for day in DAYS:
        unit = 4 if ticker == "LOW" and day < date(2024, 2, 7) else 1
        if (ticker, day) in SPLITS:
            close //= 4
        moves = draw.integers(-step, step, size=2) * unit
        wicks = draw.integers(1, step + 1, size=2) * unit
        opened, closed = close + moves[0], close + moves[0] + moves[1]
        volume = SHARES[ticker] + 100 * int(draw.integers(-SHARES[ticker] // 500, SHARES[ticker] // 300))
        if (ticker, day) == UNTRADED:
            opened = closed = close
            wicks, volume = np.zeros(2, dtype=int), 0
        cents = (opened, max(opened, closed) + wicks[0], min(opened, closed) - wicks[1], closed)
        close = closed
        volume *= 4 if ticker == "LOW" and unit == 1 else 1
        if (ticker, day) != MISSING:
            yield day, _bar((int(cent) / 100 for cent in cents), volume)


def _rows(ticker: str) -> list[Row]:
    bars = list(_bars(ticker))
    split, factor, rows = 1.0, 1.0, []
    befores = [bars[0][1].open, *(bar.close for _, bar in bars[:-1])]
    for n in range(len(bars) - 1, -1, -1):
        day, bar = bars[n]
        ratio, dividend = SPLITS.get((ticker, day), 1.0), DIVIDENDS.get((ticker, day), 0.0)
        row = Row(
            n=n,
            day=day,
            ticker=ticker,
            name=ticker,
            raw=bar,
            split=bar.times(1 / split),
            full=bar.times(factor),
            before=befores[n],
            dividend=Number(dividend),
            ratio=Number(ratio),
            later_split=Number(split),
            full_factor=Number(factor),
        )
        rows.append(row)
        split *= ratio
        factor *= (1 - dividend / befores[n]) / ratio
    return rows[::-1]


@dataclass(frozen=True)
class Truth:
    """Rows by day and then by ticker."""

    rows: tuple[Row, ...]

    @property
    def tickers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.ticker for row in self.rows))

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(sorted({row.day for row in self.rows}))

    @cached_property
    def cells(self) -> dict[tuple[str, date], Row]:
        return {(row.ticker, row.day): row for row in self.rows}

    def of(self, ticker: str) -> list[Row]:
        return [row for row in self.rows if row.ticker == ticker]

    def select(self, tickers: Sequence[str], first: str, last: str, names: Mapping[str, str], *, every: int) -> Truth:
        """Return some tickers and days, renamed as the vendor names them."""
        days = {day for day in self.days[::every] if first <= str(day) <= last}
        kept = (row for row in self.rows if row.ticker in tickers and row.day in days)
        return Truth(tuple(replace(row, ticker=names.get(row.ticker, row.ticker)) for row in kept))


TRUTH = Truth(tuple(sorted((row for ticker in TICKERS for row in _rows(ticker)), key=lambda row: row.day)))
assert all(a <= b for a, b in pairwise(row.day for row in TRUTH.rows))
