"""Reading of price tables, long or wide, as bars by ticker; ambiguous tables are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encash.arrays import Bool, Days, Float64, Int64, Text
from encash.errors import FormatError, MissingFileError
from encash.panel.adjustment import VendorColumns, adjust
from encash.panel.bars import Bars
from encash.panel.formats.base import TableFormat
from encash.panel.formats.registry import FORMATS, format_of
from encash.panel.tables.options import NOTHING_STATED, ReadOptions

_NO_NUL = "HDF5 cannot name such a ticker; remove it"
SYNONYMS = {
    "date": (
        "date",
        "day",
        "session",
        "datetime",
        "timestamp",
        "time",
        "trade date",
        "trading day",
        "index",
        "index level 0",
    ),
    "ticker": ("ticker", "symbol", "asset", "instrument"),
    "adj_close": ("adj close", "adjusted close", "adjclose", "close adj", "close adjusted"),
    "close": ("close", "price", "prices", "close price", "closing price"),
    "open": ("open", "open price"),
    "high": ("high", "high price"),
    "low": ("low", "low price"),
    "volume": ("volume", "vol"),
}
"""Names of columns, in lower case, with single spaces between words."""
VALUES = ("close", "open", "high", "low", "volume")


@dataclass(frozen=True, kw_only=True)
class PriceBars:
    """Content of a price table."""

    layout: str
    """``long`` (one row per ticker and day) or ``wide`` (one row per day, one column of closes per ticker)."""
    columns: dict[str, str]
    """The column of the file for each of close, open, high, low and volume."""
    bars: dict[str, Bars]
    """By ticker, in order of their names, without the days on which it did not trade."""
    never_traded: tuple[str, ...]
    """Tickers of the table without a price on any day."""
    not_traded: int
    """Rows or cells without a close."""
    dropped: dict[str, int]
    """Number of dropped bars by reason; empty unless dropping is allowed."""
    out_of_bounds: int
    """Bars whose open or close was outside of low and high, which were widened."""
    vendor: str | None = None
    """Name of the recognized layout of a vendor."""
    outside: Mapping[str, tuple[Days, Float64]] | None = None
    """Days of the bars that were widened, and how far open or close was outside, as a fraction; by ticker."""
    notes: tuple[str, ...] = ()
    """Decisions that were made by a stated rule, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class _Long:
    """One row per (ticker, day), in the order of the file."""

    days: Days
    ticker: Int64
    """Position in `names`."""
    names: Text
    values: dict[str, Float64]


def read_bars(
    source: str | Path | Sequence[str | Path], options: ReadOptions = NOTHING_STATED, *, drop_bad: bool = False
) -> PriceBars:
    """Read the bars of a price table.

    A long table has columns date, ticker, close and optionally open, high, low, volume (in any order and case, with
    common synonyms). An adjusted close is used as the close, and open, high and low are adjusted by the same factor. In
    a wide table, every column except the date holds the closes of the ticker that it names. An empty or NaN close is a
    day without a trade. The order of the rows does not matter.

    Args:
        source: a file, several, or a folder of them; with a suffix of `FORMATS`, or of an entry point
            ``encash.formats``.
        options: what the user states about the table.
        drop_bad: drop and count bars that are otherwise refused.

    Raises:
        MissingFileError: no such file.
        FormatError: no date column; unreadable dates; a duplicate (date, ticker); values that are not numbers; and,
            unless `drop_bad`, a missing, zero or negative price or a negative volume.
    """
    path = Path(source if isinstance(source, str | Path) else source[0])
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; expected a table of prices ({', '.join(FORMATS)})")
    format = format_of(path)
    with _readable(path, format):
        header = format.header(path)
    roles = _roles(path, header)
    layout = "long" if "ticker" in roles else "wide"
    kept = header if layout == "wide" else list(roles.values())
    text = {roles[role] for role in ("date", "ticker") if role in roles}
    with _readable(path, format):
        table = format.read(path, header, kept, text)
    _check_numbers(path, table, text)
    long = _from_long(path, table, roles) if layout == "long" else _from_wide(path, table, roles["date"])
    columns = _columns(path, long.values, roles)
    return _bars(path, long, layout=layout, columns=columns, drop_bad=drop_bad)


@contextmanager
def _readable(path: Path, format: TableFormat) -> Iterator[None]:
    """Raise FormatError for a file that cannot be read in its format."""
    try:
        yield
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise FormatError(f"{path} cannot be read ({reason}); expected {format.expected}; write it again") from None


def _check_numbers(path: Path, table: pa.Table, text: set[str]) -> None:
    """Refuse a column of prices or volumes that does not hold numbers."""
    for field in table.schema:
        kind = field.type
        number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
        if field.name not in text and not (number or pa.types.is_null(kind)):
            raise FormatError(f"{path}: the column {field.name!r} is {kind}; expected numbers")


def _roles(path: Path, header: list[str]) -> dict[str, str]:
    """Return the column of each role; a wide table has only a date."""
    if len(header) < 2:
        raise FormatError(f"{path} has {len(header)} columns; expected at least 2, separated by commas in a CSV file")
    if duplicate := sorted({name for name in header if header.count(name) > 1}):
        raise FormatError(f"{path} has two columns {duplicate[0]!r}; give each its own name")
    plain = {re.sub(r"[\W_]+", " ", name.lower()).strip(): name for name in reversed(header)}
    roles = {role: plain[word] for role, words in SYNONYMS.items() for word in reversed(words) if word in plain}
    if "ticker" in roles:
        if "date" not in roles:
            raise FormatError(f"{path} has no date column among {', '.join(header)}; name one of them date")
        if not {"close", "adj_close"} & roles.keys():
            raise FormatError(f"{path} has no close among {', '.join(header)}; name the column of prices close")
        return roles
    if "adj_close" in roles or "close" in plain:
        raise FormatError(
            f"{path} has a close and no ticker; expected columns date, ticker, close …, or a date and then "
            "one column of closes per ticker"
        )
    return {"date": roles.get("date", header[0])}


def _from_long(path: Path, table: pa.Table, roles: Mapping[str, str]) -> _Long:
    days = _days(path, table[roles["date"]], roles["date"])
    tickers = table[roles["ticker"]]
    encoded = _as_text(tickers).combine_chunks().dictionary_encode()
    if encoded.null_count or "" in (names := [name.strip() for name in encoded.dictionary.to_pylist()]):
        raise FormatError(f"{path} has rows without a ticker; name one in each row of {roles['ticker']!r}")
    if odd := [number for number, name in enumerate(names) if "\0" in name]:
        row = int(np.argmax(encoded.indices.to_numpy() == odd[0])) + 1
        raise FormatError(f"{path}: the ticker {names[odd[0]]!r} in row {row} has a NUL character; {_NO_NUL}")
    values = {role: _numbers(table[column]) for role, column in roles.items() if role in (*VALUES, "adj_close")}
    distinct, place = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    return _Long(days=days, ticker=place[encoded.indices.to_numpy()], names=distinct, values=values)


def _from_wide(path: Path, table: pa.Table, date: str) -> _Long:
    days = _days(path, table[date], date)
    tickers = sorted(name for name in table.column_names if name != date)
    if "" in tickers:
        raise FormatError(f"{path} has a column without a name; expected one ticker per column")
    if odd := [name for name in tickers if "\0" in name]:
        raise FormatError(f"{path}: the column {odd[0]!r} has a NUL character; {_NO_NUL}")
    return _Long(
        days=np.tile(days, len(tickers)),
        ticker=np.repeat(np.arange(len(tickers)), len(days)),
        names=np.asarray(tickers, dtype=np.str_),
        values={"close": np.concatenate([_numbers(table[name]) for name in tickers])},
    )


def _days(path: Path, column: pa.ChunkedArray, name: str) -> Days:
    """Return the days of dates, of times (the local day) or of text YYYY-MM-DD or YYYYMMDD, with or without a time."""
    if column.null_count:
        raise FormatError(f"{path} has rows without a date; write one in each row of {name!r}")
    if pa.types.is_timestamp(column.type):
        local = column if column.type.tz is None else pc.local_timestamp(column)
        days: Days = local.to_numpy().astype("datetime64[D]")
    elif pa.types.is_date(column.type):
        days = column.cast(pa.date32()).to_numpy().astype("datetime64[D]")
    else:
        encoded = _as_text(column).combine_chunks().dictionary_encode()
        distinct = [_day(path, text, name) for text in encoded.dictionary.to_pylist()]
        days = np.array(distinct, dtype="datetime64[D]")[encoded.indices.to_numpy()]
    return days


def _day(path: Path, text: str, name: str) -> np.datetime64:
    if form := re.fullmatch(r"(\d{4})-?(\d\d)-?(\d\d)([T ].*)?", text.strip()):
        with suppress(ValueError):  # a month 13, a 30th of February
            return np.datetime64("-".join(form.group(1, 2, 3)), "D")
    raise FormatError(f"{path}: {text!r} in {name!r} is not a date; expected YYYY-MM-DD in every row")


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text unchanged, and integers as text (7203, 20240102)."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _numbers(column: pa.ChunkedArray) -> Float64:
    values: Float64 = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    return values


def _columns(path: Path, values: Mapping[str, Float64], roles: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each price; refuse a bar of which only the close is adjusted."""
    columns = {role: roles[role] for role in VALUES if role in values and role in roles}
    if "adj_close" not in values:
        return columns or {"close": "one column per ticker"}
    others: list[str] = [role for role in ("open", "high", "low") if role in values]
    if others and "close" not in values:
        raise FormatError(
            f"{path} has {others[0]} and an adjusted close only; add the close, so that both are adjusted"
        )
    return {**columns, "close": roles["adj_close"]}


def _bars(path: Path, long: _Long, *, layout: str, columns: dict[str, str], drop_bad: bool) -> PriceBars:
    """Return sorted bars by ticker; refuse duplicate days, refuse or drop invalid bars, widen narrow ones."""
    order = np.lexsort((long.days, long.ticker))
    ticker = long.ticker[order]
    sorted_values = {role: column[order] for role, column in long.values.items()}
    long = _Long(
        days=long.days[order],
        ticker=ticker,
        names=long.names,
        values=adjust(VendorColumns(values=sorted_values, ticker=ticker)),
    )
    _check_once(path, long)
    traded = ~np.isnan(long.values["close"])
    good, dropped = _good(path, long, traded, drop_bad=drop_bad)
    kept = {role: column[good] for role, column in long.values.items()}
    excess = _widen(kept)
    outside = np.flatnonzero(excess > 0)
    ticker, days = long.ticker[good][outside], long.days[good][outside]
    bars = _by_ticker(long.names, long.ticker[good], long.days[good], kept)
    return PriceBars(
        layout=layout,
        columns=columns,
        bars=bars,
        never_traded=tuple(str(name) for name in long.names if str(name) not in bars),
        not_traded=int((~traded).sum()),
        dropped=dropped,
        out_of_bounds=len(outside),
        outside={
            str(long.names[one]): (days[ticker == one], excess[outside][ticker == one]) for one in np.unique(ticker)
        },
    )


def _check_once(path: Path, long: _Long) -> None:
    same = (long.days[1:] == long.days[:-1]) & (long.ticker[1:] == long.ticker[:-1])
    if same.any():
        at = int(np.argmax(same))
        raise FormatError(
            f"{path} has {str(long.names[long.ticker[at]])!r} on {long.days[at]} twice ({int(same.sum())} such rows); "
            "keep one of them"
        )


def _good(path: Path, long: _Long, traded: Bool, *, drop_bad: bool) -> tuple[Bool, dict[str, int]]:
    """Return a mask of the valid bars, and the number of dropped ones by the first reason that applies."""
    good, dropped = traded, {}
    for reason, bad in _faults(long.values).items():
        found = good & bad
        if not found.any():
            continue
        if not drop_bad:
            at = int(np.argmax(found))
            raise FormatError(
                f"{path}: {str(long.names[long.ticker[at]])!r} on {long.days[at]}: {reason} ({int(found.sum())} such "
                "bars); correct them, or prepare with --drop-bad to leave them out"
            )
        dropped[reason] = int(found.sum())
        good = good & ~bad
    return good, dropped


def _by_ticker(names: Text, ticker: Int64, days: Days, values: Mapping[str, Float64]) -> dict[str, Bars]:
    """Split rows that are sorted by ticker into bars; leave out tickers without rows."""
    ends = np.searchsorted(ticker, np.arange(len(names) + 1))
    return {
        str(name): Bars(days=days[first:stop], **{role: column[first:stop] for role, column in values.items()})
        for name, first, stop in zip(names, ends[:-1], ends[1:], strict=True)
        if stop > first
    }


def _faults(values: Mapping[str, Float64]) -> dict[str, Bool]:
    """Return a mask of the invalid bars for each reason."""
    faults = {"close not above zero": ~_is_price(values["close"])}
    if others := [values[role] for role in ("open", "high", "low") if role in values]:
        faults["open, high or low absent or not above zero"] = ~np.logical_and.reduce(
            [_is_price(other) for other in others]
        )
    if "volume" in values:
        faults["volume absent or below zero"] = ~((values["volume"] >= 0) & (values["volume"] < np.inf))
    return faults


def _is_price(values: Float64) -> Bool:
    return np.asarray((values > 0) & (values < np.inf))


def _widen(values: dict[str, Float64]) -> Float64:
    """Widen high and low to include open and close; return how far they were outside, as a fraction; 0 for most."""
    if not {"open", "high", "low"} <= values.keys():
        return np.zeros(len(values["close"]))
    high = np.maximum.reduce([values["high"], values["open"], values["close"]])
    low = np.minimum.reduce([values["low"], values["open"], values["close"]])
    excess: Float64 = np.maximum(high / values["high"], values["low"] / low) - 1.0
    values["high"], values["low"] = high, low
    return excess
