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
        "adjusted",
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
        "schlusskurs",
        "settle",
    ),
    "open": ("open", "open price", "opening price", "openprice", "px open", "openprc"),
    "high": ("high", "high price", "highprice", "px high"),
    "low": ("low", "low price", "lowprice", "px low"),
    "volume": ("volume", "vol", "px volume", "shares traded", "total volume", "traded volume"),
    "adj_open": ("adj open", "adjopen", "adjusted open"),
    "adj_high": ("adj high", "adjhigh", "adjusted high"),
    "adj_low": ("adj low", "adjlow", "adjusted low"),
    "adj_volume": ("adj volume", "adjvolume", "adjusted volume"),
}
"""Names of columns by role."""

STATED_ROLES = (*SYNONYMS, "raw_close", "raw_volume", "dividend", "split", "factor")
"""Roles that a user may assign to a column."""

_FIELD_ROLES = ("close", "adj_close", "volume", "adj_open", "adj_high", "adj_low", "adj_volume")
_OTHER_FIELDS = frozenset(
    (
        "ask", "askhi", "bidlo", "vwap", "turnover", "amount", "change", "pct change", "change pct", "change percent",
        "pct chg", "chg", "return", "returns", "ret", "retx", "trades", "transactions", "count", "openint",
        "open interest", "dividends", "dividend", "stock splits", "split", "split factor", "factor", "market cap",
        "marketcap", "shrout", "previous close", "prev close", "pre close", "adj factor", "cfacpr", "cfacshr",
        "number of trades", "quote volume", "settlement", "mid", "average", "capital gains", "value", "oi",
    )
)  # fmt: skip
_CONTEXT = ("open", "high", "low", "bid", "oi", "o", "h", "l", "c", "v", "t")
"""Words that are fields beside others, and tickers in any other company (LOW, OPEN, BID, OI, C, T, V)."""
_INDICATOR = re.compile(
    r"(sma|ema|rsi|macd|atr|obv|log ret|log return|simple return|daily return|volatility)s?( ?\d+)?"
)
_DROPPED = ("capital gains", "repaired", "dividends", "stock splits")
_FIELD = (
    r"(?P<field>(?:adj(?:usted)?[ _.]?)?(?:open|high|low|close|volume|price|vol|last)|adjusted|px[ _]last"
    r"|dividends|stock splits|capital gains)"
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
    """Say if a name is that of a field of a price table, never of a ticker, whatever the other names are.

    >>> [is_field(name) for name in ("close", "SMA_20", "LOW", "AAPL")]
    [True, True, False, False]
    """
    word = plain(name)
    if word in _CONTEXT:
        return False
    return role_of(name) in _FIELD_ROLES or word in _OTHER_FIELDS or _INDICATOR.fullmatch(word) is not None


def is_context_field(name: str) -> bool:
    """Say if a name is either a field or a ticker, depending on the names beside it (open, high, low, bid)."""
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
        roles = {name: role_of(field) for name, (field, _) in halves.items()}
        dropped = [name for name, (field, _) in halves.items() if plain(field) in _DROPPED]
        if all(roles[name] or name in dropped for name in names) and {"close", "adj_close"} & set(roles.values()):
            return {name: (role, halves[name][1]) for name, role in roles.items() if role is not None}
    return None


def holds_field(name: str) -> bool:
    """Say if a part of a name is a field that no ticker contains (Close_AAPL, AAPL_volume, a tuple as text)."""
    if as_pair(name) is not None:
        return True
    halves = [found["field"] for form in (_PREFIX, _SUFFIX) if (found := form.fullmatch(name))]
    return any(is_field(half) for half in halves)


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
