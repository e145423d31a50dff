"""Known vendor layouts, as data: add one entry, and its test file, for the next vendor.

Names of columns are written in plain form (`plain`): lower case, single spaces between words, ``1. open`` as ``open``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from encash.panel.adjustment import Basis


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The table of one vendor, as it is downloaded."""

    name: str
    columns: Mapping[str, str]
    """Column in plain form, or a regular expression of it, by role; those that a table lacks are left out."""
    required: tuple[str, ...]
    """Columns in plain form by which the table is recognized, beside others."""
    lower_case: bool = False
    """The `required` columns are recognized in lower case only, because they are tickers in capitals."""
    exact: tuple[str, ...] = ()
    """All columns, in order and as written, if nothing else tells the table from those of other vendors."""
    prices: Basis = Basis.UNKNOWN
    """Basis of open, high, low and close."""
    volumes: Basis = Basis.UNKNOWN
    units: Mapping[str, float] = field(default_factory=dict)
    """Multiplier by role (volume in hands: 100 shares)."""
    reciprocal: tuple[str, ...] = ()
    """Roles whose column holds the reciprocal of what the role means."""
    quotes: bool = False
    """A negative price is the average of bid and ask of a day without a trade, and a price of zero is missing."""
    timezone: str | None = None
    """Zone in which an instant is the trading day."""
    date_format: str | None = None
    """Format of dates that the vendor documents, used if the dates themselves allow several."""
    mixed_epochs: bool = False
    """The vendor changed the unit of its epochs, so that each value is read by its own magnitude."""
    file_name: str | None = None
    """Regular expression of a file name without suffixes, with a group ``ticker``."""
    headerless: tuple[str, ...] = ()
    """Columns of a file without a header, in order."""


def plain(name: str) -> str:
    """Return the plain form of the name of a column.

    >>> plain("<TICKER>"), plain("5. adjusted close"), plain("Adj_Close "), plain("Vol.")
    ('ticker', 'adjusted close', 'adj close', 'vol')
    """
    return re.sub(r"[\W_]+", " ", re.sub(r"^\d{1,2}[a-z]?\. ", "", name.lower())).strip()


_OHLCV = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
_BINANCE = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)

LAYOUTS = (
    Layout(
        name="CRSP",
        required=("permno", "prc"),
        columns={
            "date": "date",
            "ticker": "permno",
            "open": "openprc",
            "high": "askhi",
            "low": "bidlo",
            "close": "prc",
            "volume": "vol",
            "factor": "cfacpr",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
        reciprocal=("factor",),
        quotes=True,
    ),
    Layout(
        name="CRSP CIZ",
        required=("permno", "dlyprc"),
        columns={
            "date": "dlycaldt",
            "ticker": "permno",
            "open": "dlyopen",
            "high": "dlyhigh",
            "low": "dlylow",
            "close": "dlyprc",
            "volume": "dlyvol",
            "factor": "dlycumfacpr",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
        reciprocal=("factor",),
        quotes=True,
    ),
    Layout(
        name="Tushare",
        required=("ts code", "trade date", "close"),
        columns={**_OHLCV, "date": "trade date", "ticker": "ts code", "volume": "vol", "factor": "adj factor"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
        units={"volume": 100.0},
    ),
    Layout(
        name="Sharadar",
        required=("ticker", "date", "closeadj"),
        columns={**_OHLCV, "date": "date", "ticker": "ticker", "adj_close": "closeadj", "raw_close": "closeunadj"},
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Tiingo",
        required=("adjclose", "adjopen", "adjvolume"),
        columns={
            **_OHLCV,
            "adj_open": "adjopen",
            "adj_high": "adjhigh",
            "adj_low": "adjlow",
            "adj_close": "adjclose",
            "adj_volume": "adjvolume",
            "dividend": "divcash",
            "split": "splitfactor",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="Quandl WIKI",
        required=("close", "ex dividend", "split ratio", "adj close"),
        columns={
            **_OHLCV,
            "adj_open": "adj open",
            "adj_high": "adj high",
            "adj_low": "adj low",
            "adj_close": "adj close",
            "adj_volume": "adj volume",
            "dividend": "ex dividend",
            "split": "split ratio",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="Alpha Vantage adjusted",
        required=("adjusted close", "dividend amount"),
        columns={
            **_OHLCV,
            "adj_close": "adjusted close",
            "dividend": "dividend amount",
            "split": "split coefficient",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="Alpha Vantage",
        required=(),
        exact=("timestamp", "open", "high", "low", "close", "volume"),
        columns={**_OHLCV, "date": "timestamp"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="EODHD",
        required=("date", "open", "high", "low", "close", "adjusted close", "volume"),
        columns={**_OHLCV, "date": "date", "adj_close": "adjusted close"},
        prices=Basis.RAW,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Polygon flat file",
        required=("ticker", "window start", "close"),
        columns={**_OHLCV, "date": "window start", "ticker": "ticker"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
        timezone="America/New_York",
    ),
    Layout(
        name="Polygon aggregates",  # of Alpaca and Finnhub too, which use the same letters
        required=("t", "o", "h", "l", "c"),
        lower_case=True,
        columns={"date": "t", "ticker": "T", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
        timezone="America/New_York",
    ),
    Layout(
        name="Binance",
        required=("open time", "close time", "open", "high", "low", "close", "volume"),
        columns={**_OHLCV, "date": "open time"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
        timezone="UTC",
        mixed_epochs=True,
        file_name=r"(?P<ticker>[A-Z0-9_]+)-\d+[smhdwM]\w*(-\d{4}(-\d\d){0,2})?",
        headerless=_BINANCE,
    ),
    Layout(
        name="Investing.com",
        required=("date", "price", "open", "high", "low", "change"),
        columns={**_OHLCV, "date": "date", "close": "price", "volume": "vol"},
        date_format="%m/%d/%Y",
        file_name=r"(?P<ticker>.+) Historical Data( ?\(\d+\))?",
    ),
    Layout(
        name="Nasdaq",
        required=("date", "close last", "open", "high", "low"),
        columns={**_OHLCV, "date": "date", "close": "close last"},
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
        date_format="%m/%d/%Y",
    ),
    Layout(
        name="Stooq",
        required=("ticker", "per", "date", "time", "openint"),
        columns={**_OHLCV, "date": "date", "ticker": "ticker", "volume": "vol"},
        prices=Basis.FULL,
    ),
    Layout(
        name="Yahoo history",
        required=("date", "open", "close", "dividends", "stock splits", "adj close"),
        columns={
            **_OHLCV,
            "date": "date",
            "adj_close": "adj close",
            "dividend": "dividends",
            "split": "stock splits",
        },
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Yahoo history, adjusted",
        required=("date", "open", "close", "dividends", "stock splits"),
        columns={**_OHLCV, "date": "date", "split": "stock splits"},
        prices=Basis.FULL,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Yahoo download, adjusted",
        required=(),
        exact=("Date", "Close", "High", "Low", "Open", "Volume"),
        columns={**_OHLCV, "date": "date"},
        prices=Basis.FULL,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Yahoo",
        required=(),
        exact=("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"),
        columns={**_OHLCV, "date": "date", "adj_close": "adj close"},
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Yahoo",
        required=(),
        exact=("Date", "Adj Close", "Close", "High", "Low", "Open", "Volume"),
        columns={**_OHLCV, "date": "date", "adj_close": "adj close"},
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="tidyquant",  # of Yahoo
        required=("symbol", "date", "open", "high", "low", "close", "volume", "adjusted"),
        columns={**_OHLCV, "date": "date", "ticker": "symbol", "adj_close": "adjusted"},
        prices=Basis.SPLIT,
        volumes=Basis.SPLIT,
    ),
    Layout(
        name="Kaggle, five years of the S&P 500",
        required=("date", "open", "high", "low", "close", "volume", "name"),
        columns={**_OHLCV, "date": "date"},
    ),
    Layout(
        name="CryptoDataDownload",
        required=("unix", "date", "symbol", "open", "high", "low", "close"),
        columns={**_OHLCV, "date": "date", "ticker": "symbol", "volume": r"volume (?!usd|eur|gbp|busd)\w+"},
    ),
    Layout(
        name="J-Quants",
        required=("date", "code", "close", "adjustmentclose"),
        columns={
            **_OHLCV,
            "date": "date",
            "ticker": "code",
            "adj_open": "adjustmentopen",
            "adj_high": "adjustmenthigh",
            "adj_low": "adjustmentlow",
            "adj_close": "adjustmentclose",
            "adj_volume": "adjustmentvolume",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="J-Quants V2",
        required=("date", "code", "c", "adjc"),
        columns={
            "date": "date",
            "ticker": "code",
            "open": "o",
            "high": "h",
            "low": "l",
            "close": "c",
            "volume": "vo",
            "adj_open": "adjo",
            "adj_high": "adjh",
            "adj_low": "adjl",
            "adj_close": "adjc",
            "adj_volume": "adjvo",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="NSE and BSE",  # the common format of both since 2024
        required=("traddt", "tckrsymb", "clspric"),
        columns={
            "date": "traddt",
            "ticker": "tckrsymb",
            "open": "opnpric",
            "high": "hghpric",
            "low": "lwpric",
            "close": "clspric",
            "volume": "ttltradgvol",
        },
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="NSE",
        required=("symbol", "series", "prev close", "close", "vwap", "turnover"),
        columns={**_OHLCV, "date": "date", "ticker": "symbol"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="NSE bhavcopy",
        required=("symbol", "series", "close", "prevclose", "tottrdqty", "timestamp"),
        columns={**_OHLCV, "date": "timestamp", "ticker": "symbol", "volume": "tottrdqty"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="AKShare",  # its default, without adjustment
        required=("日期", "开盘", "收盘", "最高", "最低", "成交量", "成交额"),
        columns={
            "date": "日期",
            "ticker": "股票代码|代码",
            "open": "开盘",
            "high": "最高",
            "low": "最低",
            "close": "收盘",
            "volume": "成交量",
        },
        units={"volume": 100.0},
    ),
    Layout(
        name="Zipline csvdir",
        required=(),
        exact=("date", "open", "high", "low", "close", "volume", "dividend", "split"),
        columns={**_OHLCV, "date": "date", "dividend": "dividend", "split": "split"},
        prices=Basis.RAW,
        volumes=Basis.RAW,
    ),
    Layout(
        name="Ariva",
        required=("datum", "erster", "hoch", "tief", "schlusskurs"),
        columns={
            "date": "datum",
            "open": "erster",
            "high": "hoch",
            "low": "tief",
            "close": "schlusskurs",
            "volume": "stuecke",
        },
    ),
)
"""In order: the first that a table matches is the one. A narrower layout comes before a wider one."""

YAHOO_BLOCKS = {
    True: Layout(name="Yahoo download", required=(), columns={}, prices=Basis.SPLIT, volumes=Basis.SPLIT),
    False: Layout(name="Yahoo download, adjusted", required=(), columns={}, prices=Basis.FULL, volumes=Basis.SPLIT),
}
"""A download of several tickers with names of two levels: with an adjusted close, and without."""


def find_layout(names: list[str]) -> Layout | None:
    """Return the first layout that the names of the columns match, or None."""
    known = {plain(name) for name in names}
    for layout in LAYOUTS:
        found = set(names) if layout.lower_case else known
        if layout.exact == tuple(names) or (layout.required and found.issuperset(layout.required)):
            return layout
    return None
