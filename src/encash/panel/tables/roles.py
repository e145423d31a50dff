"""Words for the columns of a price table, in plain form, in the order in which they are preferred."""

from __future__ import annotations

import re

from encash.panel.tables.layouts import plain

SYNONYMS: dict[str, tuple[str, ...]] = {
    "date": (
        "date",
        "trade date",
        "trading date",
        "trading day",
        "data",
        "fecha",
        "日期",
        "日付",
        "tradedate",
        "session",
        "day",
        "datetime",
        "timestamp",
        "time",
        "dt",
        "datum",
        "price date",
        "open time",
        "index",
        "index level 0",
    ),
    "ticker": (
        "ticker",
        "symbol",
        "asset",
        "instrument",
        "tic",
        "ric",
        "stock",
        "security",
        "code",
        "股票代码",
        "代码",
        "ts code",
        "permno",
        "isin",
        "name",
        "company",
    ),
    "adj_close": (
        "adj close",
        "adjusted close",
        "adjclose",
        "close adj",
        "close adjusted",
        "closeadj",
        "adj close price",
        "adjusted closing price",
        "adj price",
    ),
    "close": (
        "close",
        "close price",
        "closing price",
        "closeprice",
        "close last",
        "price",
        "prices",
        "px last",
        "last price",
        "prc",
        "last",
        "settle",
        "nav",
        "schluss",
        "kurs",
        "schlusskurs",
        "zamkniecie",
        "cierre",
        "cloture",
        "clôture",
        "收盘",
        "收盘价",
        "終値",
    ),
    "open": (
        "open",
        "open price",
        "opening price",
        "openprice",
        "px open",
        "openprc",
        "eröffnung",
        "erster",
        "otwarcie",
        "apertura",
        "ouverture",
        "开盘",
        "开盘价",
        "始値",
    ),
    "high": (
        "high",
        "high price",
        "highprice",
        "px high",
        "hoch",
        "najwyzszy",
        "máximo",
        "haut",
        "最高",
        "最高价",
        "高値",
    ),
    "low": ("low", "low price", "lowprice", "px low", "tief", "najnizszy", "mínimo", "bas", "最低", "最低价", "安値"),
    "volume": (
        "volume",
        "vol",
        "px volume",
        "shares traded",
        "number of shares",
        "total volume",
        "total traded quantity",
        "traded volume",
        "tottrdqty",
        "ttl trd qnty",
        "volumen",
        "wolumen",
        "stuecke",
        "成交量",
        "出来高",
    ),
    "adj_open": ("adj open", "adjopen", "adjusted open"),
    "adj_high": ("adj high", "adjhigh", "adjusted high"),
    "adj_low": ("adj low", "adjlow", "adjusted low"),
    "adj_volume": ("adj volume", "adjvolume", "adjusted volume"),
    "split": ("split", "splits", "stock splits", "split factor", "split ratio", "split coefficient"),
}
"""Names of columns by role."""

STATED_ROLES = (*SYNONYMS, "raw_close", "raw_volume", "dividend", "factor")
"""Roles that a user may assign to a column."""

_FIELD_ROLES = ("close", "adj_close", "volume", "adj_open", "adj_high", "adj_low", "adj_volume")
_OTHER_FIELDS = frozenset(
    (
        "ask", "askhi", "bidlo", "vwap", "turnover", "amount", "change", "pct change", "change pct", "change percent",
        "pct chg", "chg", "return", "returns", "ret", "retx", "trades", "transactions", "count", "openint",
        "open interest", "dividends", "dividend", "stock splits", "split", "split factor", "factor", "market cap",
        "marketcap", "shrout", "previous close", "prev close", "pre close", "adj factor", "cfacpr", "cfacshr",
        "number of trades", "quote volume", "settlement", "mid", "average", "capital gains", "value", "id", "adjusted",
        "year",
        "month", "week", "weekday", "quarter", "day of week", "dayofweek", "row", "unix",
        "成交额", "振幅", "涨跌幅", "涨跌额", "换手率",
    )
)  # fmt: skip
_DATE_WORDS = ("date", "datetime", "timestamp", "datum", "fecha", "日期", "日付", "trade date", "trading day")
_CONTEXT = ("open", "high", "low", "bid", "oi", "o", "h", "l", "c", "v", "t")
"""Words that are fields beside others, and tickers in any other company (LOW, OPEN, BID, OI, C, T, V)."""
_INNER_WORDS = (
    "close", "closing", "adjusted", "adj", "price", "prices", "px", "volume", "vol", "last", "return", "returns", "ret",
    "rets", "sma", "ema", "rsi", "macd", "pct", "change", "chg", "signal", "log", "ln", "rank", "zscore", "vwap",
    "amount",
    "turnover",
)  # fmt: skip
"""Words that no ticker of several parts contains."""
_INDICATOR = re.compile(
    r"(sma|ema|rsi|macd|atr|obv|log ret|log return|simple return|daily return|volatility)s?( ?\d+)?"
)
_DROPPED = ("capital gains", "repaired", "dividends", "stock splits")
_FIELD = (
    r"(?P<field>(?:adj(?:usted)?[ _.]?)?(?:open|high|low|close|volume|price|vol|last)(?:[ _.]price)?|adjusted"
    r"|px[ _]last|dividends|stock splits|capital gains)"
)
_PREFIX = re.compile(rf"{_FIELD}[ _.|:/-]+(?P<ticker>\S+)", re.IGNORECASE)
_SUFFIX = re.compile(rf"(?P<ticker>\S+?)[ _.|:/-]+{_FIELD}", re.IGNORECASE)


def role_of(name: str) -> str | None:
    """Return the role of a price or volume that a name stands for, or None.

    >>> role_of("Close"), role_of("PX_LAST"), role_of("AAPL"), role_of("C")
    ('close', 'close', None, None)
    """
    word = plain(name)
    for role, words in SYNONYMS.items():
        if role not in ("date", "ticker") and word in words:
            return role
    return None


def is_field(name: str) -> bool:
    """Return whether a name is that of a field of a price table, never of a ticker, whatever the other names are.

    >>> [is_field(name) for name in ("close", "SMA_20", "LOW", "AAPL")]
    [True, True, False, False]
    """
    word = plain(re.sub(r"\.\d+$", "", name))
    if word in _CONTEXT:
        return False
    if word in _DATE_WORDS or word.endswith(" date"):
        return True
    return role_of(word) in _FIELD_ROLES or word in _OTHER_FIELDS or _INDICATOR.fullmatch(word) is not None


def is_context_field(name: str) -> bool:
    """Return whether a name is either a field or a ticker, depending on the names beside it (open, high, low, bid)."""
    return plain(name) in _CONTEXT


def as_pair(name: str) -> tuple[str, str] | None:
    """Return the two levels of a name that is a tuple as text, or None.

    >>> as_pair("('Close', 'AAPL')"), as_pair("AAPL")
    (('Close', 'AAPL'), None)
    """
    found = re.fullmatch(r"""\(\s*(['"])(.*?)\1\s*,\s*(['"])(.*?)\3\s*\)""", name)
    return None if found is None else (found[2], found[4])


def split_names(names: list[str]) -> dict[str, tuple[str, str]] | None:
    """Return (role, ticker) of names that hold both, all in the same order; None if they do not.

    Fields without a role (dividends) are left out.

    >>> split_names(["Close_LOW", "Open_LOW"])
    {'Close_LOW': ('close', 'LOW'), 'Open_LOW': ('open', 'LOW')}
    >>> split_names(["LOW.Open", "LOW.Close"])
    {'LOW.Open': ('open', 'LOW'), 'LOW.Close': ('close', 'LOW')}
    >>> split_names(["AAPL", "Close_LOW"]) is None
    True
    """
    for halves in (_levels(names, 0), _levels(names, 1), _affixes(names, _PREFIX), _affixes(names, _SUFFIX)):
        if halves is None:
            continue
        dropped = [name for name, (field, _) in halves.items() if plain(field) in _DROPPED]
        roles = {name: None if name in dropped else _block_role(field) for name, (field, _) in halves.items()}
        if all(roles[name] or name in dropped for name in names) and {"close", "adj_close"} & set(roles.values()):
            return {name: (role, halves[name][1]) for name, role in roles.items() if role is not None}
    return None


def _block_role(field: str) -> str | None:
    """Return the role of a field beside a ticker; quantmod's ``AAPL.Adjusted`` is an adjusted close."""
    return "adj_close" if plain(field) == "adjusted" else role_of(field)


def all_hold_fields(names: list[str]) -> bool:
    """Return whether every name, of two or more, begins or ends with a field, whichever it is (High_AAPL, High_LOW)."""
    return len(names) > 1 and any(
        halves is not None and all(role_of(field) for field, _ in halves.values())
        for halves in (_affixes(names, _PREFIX), _affixes(names, _SUFFIX))
    )


def holds_field(name: str) -> bool:
    """Return whether a part of a name is a field that no ticker contains (Close_AAPL, AAPL_volume, a tuple as text)."""
    if as_pair(name) is not None:
        return True
    words = plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).split()
    return len(words) > 1 and any(word.rstrip("0123456789") in _INNER_WORDS for word in words)


def _levels(names: list[str], level: int) -> dict[str, tuple[str, str]] | None:
    """Return (field, ticker) of tuples as text, with the field in a level."""
    pairs = {name: pair for name in names if (pair := as_pair(name)) is not None}
    if len(pairs) < len(names):
        return None
    return {name: (pair[level], pair[1 - level]) for name, pair in pairs.items()}


def _affixes(names: list[str], form: re.Pattern[str]) -> dict[str, tuple[str, str]] | None:
    """Return (field, ticker) of names that all have one form."""
    found = {name: match for name in names if (match := form.fullmatch(name)) is not None}
    if len(found) < len(names):
        return None
    return {name: (match["field"], match["ticker"]) for name, match in found.items()}
