"""The panel: features and prices of many tickers, read-only, and nothing later than the requested day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from encash.arguments import typed
from encash.arrays import DayLike, Days, Float32, Float64, Int64, positions, to_day
from encash.errors import InputError, UnknownKeyError

if TYPE_CHECKING:
    from encash.panel.features import FeatureConfig

PRICE_COLUMNS = ("open", "volume", "raw_close", "raw_volume", "dollars")
"""Columns that a prices file may have beside its closes."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FeatureRows:
    """Feature rows of some tickers, one after the other: ticker i owns rows ``offsets[i]:offsets[i + 1]``."""

    tickers: tuple[str, ...]
    offsets: Int64
    """shape (tickers + 1,)."""
    days: Days
    """The day of each row, ascending within a ticker; shape (rows,)."""
    values: Float32
    """shape (rows, F); may hold NaN."""

    def __repr__(self) -> str:
        """Show its size."""
        rows, width = self.values.shape
        return f"FeatureRows: {rows:,} rows of {len(self.tickers):,} tickers × {width} features"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PriceTable:
    """Closing prices on a grid of sessions × tickers; NaN where a ticker did not trade."""

    days: Days
    """The sessions, ascending; shape (T,)."""
    tickers: tuple[str, ...]
    close: Float64
    """In currency units, shape (T, N)."""
    open: Float64 | None = None
    """shape (T, N); None if there are no opens."""
    volume: Float64 | None = None
    """Shares traded, comparable across days; shape (T, N); None if absent or not read."""
    raw_close: Float64 | None = None
    """In currency units of the day, per share of the day; shape (T, N); None if absent or not read."""
    raw_volume: Float64 | None = None
    """Shares of the day; shape (T, N); None if absent or not read."""
    dollars: Float64 | None = None
    """Dollar volume in currency units of the day; shape (T, N); None if absent or not read."""
    health: Mapping[str, Any] | None = None
    """Suspicious data of the whole file as ``encash prepare`` found it, plain JSON values; None if not recorded."""

    def __repr__(self) -> str:
        """Show its size, days and columns."""
        span = f", {self.days[0]} to {self.days[-1]}" if len(self.days) else ""
        return f"Prices: {len(self.tickers):,} tickers × {len(self.days):,} sessions{span}; {', '.join(self.grids())}"

    def grids(self) -> dict[str, Float64]:
        """Return the columns that the table has, by name; each of shape (T, N)."""
        columns = {name: getattr(self, name) for name in ("close", *PRICE_COLUMNS)}
        return {name: grid for name, grid in columns.items() if grid is not None}

    def as_of(self, day: DayLike) -> PriceTable:
        """Return the table as of the close of a day."""
        until = int(np.searchsorted(self.days, to_day(day), side="right"))
        cut: dict[str, Any] = {name: grid[:until] for name, grid in self.grids().items()}
        return replace(self, days=self.days[:until], **cut)

    @typed
    def select(self, tickers: Sequence[str]) -> PriceTable:
        """Return the same sessions for these tickers, in this order.

        Raises:
            UnknownKeyError: a ticker without prices.
        """
        order = np.argsort(self.tickers)
        found = positions(np.asarray(self.tickers)[order], np.asarray(tickers))
        if (missing := np.flatnonzero(found < 0)).size:
            raise UnknownKeyError(
                f"no prices for {tickers[missing[0]]!r} ({len(missing)} of {len(tickers)} tickers have none)"
            )
        columns = order[found]
        selected: dict[str, Any] = {name: grid[:, columns] for name, grid in self.grids().items()}
        return replace(self, tickers=tuple(tickers), **selected)


class FeatureSource(Protocol):
    """The feature rows of a panel: a file or arrays."""

    tickers: tuple[str, ...]
    num_features: int
    feature_names: tuple[str, ...] | None

    def days(self, ticker: str) -> Days:
        """Return the days of one ticker's rows, ascending and distinct."""

    def read_into(self, ticker: str, first: int, out: Float32) -> None:
        """Fill `out`, shape (rows, F), with the rows of one ticker from number `first` on."""

    def close(self) -> None:
        """Release what is open; nothing more is read."""


class Panel:
    """Features and prices of many tickers over many sessions, read-only.

    A row is found by its ticker's own day, never by another ticker's position. `as_of` returns the panel as of the
    close of a day: nothing later can be read from it. A panel is a context manager that closes its file.
    """

    def __init__(self, source: FeatureSource, prices: PriceTable | None = None, *, last_day: DayLike | None = None):
        self._source = source
        self._last = None if last_day is None else to_day(last_day)
        self.prices = prices if prices is None or self._last is None else prices.as_of(self._last)
        self.tickers = source.tickers
        self.num_features = source.num_features
        self.feature_names = source.feature_names
        self.feature_config: FeatureConfig | None = getattr(source, "feature_config", None)
        """The choice of features, None if the source does not record it."""
        self._sessions: Days | None = None

    def __repr__(self) -> str:
        """Show its size."""
        prices = "without prices" if self.prices is None else f"prices of {len(self.prices.tickers):,} tickers"
        return f"Panel: {len(self.tickers):,} tickers, {self.num_features} features, {prices}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the features file of this panel and of every panel made from it by `as_of`."""
        self._source.close()

    @property
    def price_table(self) -> PriceTable:
        """The prices.

        Raises:
            InputError: the panel has none.
        """
        if self.prices is None:
            raise InputError("the panel has no prices; open it with prices=…, or give them by themselves")
        return self.prices

    @property
    def sessions(self) -> Days:
        """Trading days, ascending: those of the prices if there are prices, else all days with any features."""
        if self._sessions is None:
            self._sessions = self.prices.days if self.prices is not None else self.feature_days()
        return self._sessions

    def feature_days(self) -> Days:
        """Return all days on which any ticker has features, ascending."""
        return distinct_days([self.days(ticker) for ticker in self.tickers])

    def days(self, ticker: str) -> Days:
        """Return the days of one ticker's feature rows, ascending."""
        days = self._source.days(ticker)
        return days if self._last is None else days[: int(np.searchsorted(days, self._last, side="right"))]

    def as_of(self, day: DayLike) -> Panel:
        """Return the panel as of the close of a day."""
        last = to_day(day) if self._last is None else min(to_day(day), self._last)
        return Panel(self._source, self.prices, last_day=last)

    @typed
    def with_prices(self, prices: PriceTable) -> Panel:
        """Return the panel with other prices."""
        return Panel(self._source, prices, last_day=self._last)

    @typed
    def rows(
        self,
        tickers: Sequence[str] | None = None,
        *,
        start: DayLike | None = None,
        end: DayLike | None = None,
        lookback: int = 1,
    ) -> FeatureRows:
        """Read the feature rows from start to end, and the lookback − 1 rows of each ticker before start.

        Raises:
            UnknownKeyError: a ticker that the panel does not have.
            InputError: lookback below 1.
        """
        check_lookback(lookback)
        tickers = self.tickers if tickers is None else tuple(tickers)
        first_day = None if start is None else to_day(start)
        last_day = None if end is None else to_day(end)
        firsts: list[int] = []
        days: list[Days] = [np.array([], dtype="datetime64[D]")]
        found: dict[int, tuple[Days, int, Days]] = {}  # most tickers share their days
        for ticker in tickers:
            own = self.days(ticker)
            if id(own) not in found:
                first = 0 if first_day is None else max(0, int(own.searchsorted(first_day)) - lookback + 1)
                stop = len(own) if last_day is None else int(own.searchsorted(last_day, side="right"))
                found[id(own)] = own, first, own[first : max(first, stop)]
            firsts.append(found[id(own)][1])
            days.append(found[id(own)][2])
        offsets = np.cumsum([len(own) for own in days])
        values = np.empty((offsets[-1], self.num_features), dtype=np.float32)
        for ticker, first, begin, stop in zip(tickers, firsts, offsets[:-1], offsets[1:], strict=True):
            self._source.read_into(ticker, first, values[begin:stop])
        return FeatureRows(tickers=tickers, offsets=offsets, days=np.concatenate(days), values=values)


def check_lookback(lookback: int) -> None:
    """Refuse windows of less than one session.

    Raises:
        InputError: lookback below 1.
    """
    if lookback < 1:
        raise InputError(f"lookback is {lookback}; a window has at least 1 session")


def distinct_days(calendars: Sequence[Days]) -> Days:
    """Return the union of some calendars, ascending; an array that is given many times is sorted once."""
    distinct = {id(days): days for days in calendars}
    days: Days = np.unique(np.concatenate([np.array([], dtype="datetime64[D]"), *distinct.values()]))
    return days
