"""Recognition of a table from the names of its columns: its layout, and the role or ticker of each column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from encash.errors import FormatError
from encash.panel.formats.comma import is_data_row, is_date_text, is_number_text
from encash.panel.tables.layouts import LAYOUTS, YAHOO_BLOCKS, Layout, find_layout, plain
from encash.panel.tables.options import ReadOptions
from encash.panel.tables.roles import (
    STATED_ROLES,
    SYNONYMS,
    all_hold_fields,
    as_pair,
    holds_field,
    is_context_field,
    is_field,
    role_of,
    split_names,
)

_SHOWN_NAMES = 20
_COUNTERS = ("", "unnamed 0", "index", "level 0", "index level 0")
_OTHER_DATES = ("time", "index", "index level 0")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One column of values."""

    column: str
    role: str
    ticker: str | None
    """None if the row says it, or the file."""


@dataclass(frozen=True, kw_only=True)
class Recognized:
    """Meaning of the columns of a table."""

    layout: str
    """``long`` or ``wide``."""
    vendor: Layout | None
    header: list[str]
    """Names of all columns; numbers if the file has none."""
    date: str
    ticker: str | None
    """Column of the tickers."""
    cells: tuple[Cell, ...]
    currency: str | None = None
    """Column of the currency of each row."""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """Column by role, as far as it is one."""
        return {cell.role: cell.column for cell in self.cells if cell.ticker is None}


def recognize(shown: str, names: list[str], options: ReadOptions, *, partitions: Mapping[str, str]) -> Recognized:
    """Return the meaning of the columns of a table.

    Args:
        shown: the name of the file, for messages.
        names: of all columns, or the cells of the first row of a file without a header.
        options: what the user states.
        partitions: columns that the folders of the file name, with their values.

    Raises:
        FormatError: the names have several meanings, or none; the message names them and the flag that states one.
    """
    header = _header(shown, names)
    _check_distinct(shown, header)
    if len(header) < 2:
        raise FormatError(
            f"{shown} has {len(header)} columns{_seen(header)}; expected at least 2; state the separator with --sep"
        )
    vendor = find_layout(header)
    columns = [*header, *(name for name in partitions if plain(name) in (*SYNONYMS["date"], *SYNONYMS["ticker"]))]
    roles, notes = _roles(shown, columns, vendor, options)
    if "ticker" in roles or {"close", "adj_close"} & roles.keys():
        return _rows(shown, header, roles, vendor, notes)
    return _matrix(shown, header, roles, options)


def _seen(header: list[str]) -> str:
    """Return the names of the columns for a message, at most a dozen."""
    if not header:
        return ""
    more = f" … ({len(header)} columns)" if len(header) > _SHOWN_NAMES else ""
    return f" ({', '.join(header[:_SHOWN_NAMES])}{more})"


def _header(shown: str, names: list[str]) -> list[str]:
    """Return the names; those of a vendor, or numbers, if they are a row of data."""
    if not names or not is_data_row(names):
        return [_flat(name) for name in names]
    for layout in LAYOUTS:
        if (
            len(layout.headerless) == len(names)
            and is_date_text(names[6])
            and names[0].isdigit()
            and names[6].isdigit()
        ):
            return list(layout.headerless)
    return [str(number + 1) for number in range(len(names))]


def _flat(name: str) -> str:
    """Return the name of an index that became a column: ``('Date', '')`` is ``Date``."""
    pair = as_pair(name)
    return pair[0] if pair is not None and pair[1] == "" else name


def _check_distinct(shown: str, header: list[str]) -> None:
    if duplicate := sorted({name for name in header if header.count(name) > 1}):
        raise FormatError(
            f"{shown} has two columns {duplicate[0]!r}{_seen(header)}; give each its own name, in one row as a header"
        )


def _roles(
    shown: str, header: list[str], vendor: Layout | None, options: ReadOptions
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the column of each role: as stated, or else of the vendor, or else by its usual names."""
    stated = _stated(shown, header, options.columns)
    by_word: dict[str, list[str]] = {}
    for name in header:
        by_word.setdefault(plain(name), []).append(name)
    if vendor is None:
        _check_synonyms(shown, by_word, stated)
    usual = {
        role: word
        for role, words in SYNONYMS.items()
        for word in reversed(words)
        if word in by_word and (vendor is None or role in ("date", "ticker"))
    }
    if vendor is not None and vendor.lower_case:
        by_word = {name: [name] for name in header}
    if vendor is not None:
        usual |= {role: word for role, form in vendor.columns.items() for word in by_word if re.fullmatch(form, word)}
    stated, usual = _adjusted_close(stated, usual, by_word)
    taken = set(stated.values())
    found: dict[str, str] = {}
    for role, word in usual.items():
        same = [name for name in by_word[word] if name not in taken]
        if role not in stated and len(same) > 1:
            raise FormatError(
                f"{shown} has {same[0]!r} and {same[1]!r}, which mean the same; state one: --columns {role}={same[0]}"
            )
        if role not in stated and same:
            found[role] = same[0]
    roles = found | stated
    known = vendor is not None and "date" in vendor.columns
    note = None if known or "date" in stated else _date_note(shown, header, roles)
    return roles, () if note is None else (note,)


def _adjusted_close(
    stated: dict[str, str], usual: dict[str, str], by_word: Mapping[str, list[str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return both, where a stated close is the adjusted close beside a close, which adjusts open, high and low too."""
    if "adj_close" in stated or not {"close", "adj_close"} <= usual.keys():
        return stated, usual
    if stated.get("close") in by_word[usual["adj_close"]]:
        return {role: name for role, name in stated.items() if role != "close"}, usual
    return stated, usual


def _check_synonyms(shown: str, by_word: Mapping[str, list[str]], stated: Mapping[str, str]) -> None:
    """Refuse two columns for one price or volume, of which neither is the usual name of a close."""
    for role, words in SYNONYMS.items():
        found = [name for word in words for name in by_word.get(word, ()) if name not in stated.values()]
        if role in ("date", "ticker", *stated) or len(found) < 2 or (role == "close" and "close" in by_word):
            continue
        raise FormatError(
            f"{shown} has {found[0]!r} and {found[1]!r}, which may both be the {role}; state one with --columns "
            f"{role}={found[0]}"
        )


def _stated(shown: str, header: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the stated column of each role, as the table spells it."""
    stated = {}
    for role, column in columns.items():
        if role not in STATED_ROLES:
            raise FormatError(f"--columns: unknown role {role!r}; expected one of {', '.join(STATED_ROLES)}")
        found = [name for name in header if name == column] or [name for name in header if plain(name) == plain(column)]
        if len(found) != 1:
            raise FormatError(
                f"{shown} has no column {column!r}{_seen(header)}; name one of them with --columns {role}=COLUMN"
            )
        stated[role] = found[0]
    return stated


def _date_note(shown: str, header: list[str], roles: Mapping[str, str]) -> str | None:
    """Return a note on a second column of dates; refuse two of which neither is named date."""
    if "date" not in roles:
        return None
    words = [word for word in SYNONYMS["date"] if word not in _OTHER_DATES]
    others = [name for name in header if plain(name) in words and name != roles["date"]]
    others = [name for name in others if name not in roles.values()]
    if not others:
        return None
    if plain(roles["date"]) != "date":
        raise FormatError(
            f"{shown} has two columns of dates, {roles['date']!r} and {others[0]!r}; "
            f"state the trading day with --columns date={roles['date']}"
        )
    return f"days are read from {roles['date']!r}, not from {others[0]!r}"


def _rows(
    shown: str, header: list[str], roles: dict[str, str], vendor: Layout | None, notes: tuple[str, ...]
) -> Recognized:
    """Return the meaning of a table with a close per row, of many tickers or of one."""
    if "date" not in roles and plain(header[0]) in _COUNTERS:
        roles = {**roles, "date": header[0]}
    if "date" not in roles:
        raise FormatError(
            f"{shown} has no date column among {', '.join(header[:_SHOWN_NAMES])}; name it with --columns date=COLUMN"
        )
    if not {"close", "adj_close"} & roles.keys():
        raise FormatError(_no_close(shown, header))
    bars = [role for role in ("open", "high", "low") if role in roles and f"adj_{role}" not in roles]
    if bars and "close" not in roles:
        raise FormatError(
            f"{shown} has {bars[0]} and an adjusted close only; add the close, so that both are adjusted, or name it "
            "with --columns close=COLUMN"
        )
    adjusted = [role for role in ("adj_open", "adj_high", "adj_low") if role in roles]
    if adjusted and "adj_close" not in roles:
        raise FormatError(
            f"{shown} has {roles[adjusted[0]]!r} and no adjusted close{_seen(header)}; name it with --columns "
            f"adj_close=COLUMN, or the price as traded with --columns {adjusted[0].removeprefix('adj_')}=COLUMN"
        )
    cells = tuple(
        Cell(column=name, role=role, ticker=None)
        for name in header
        for role, column in roles.items()
        if column == name and role not in ("date", "ticker")
    )
    return Recognized(
        layout="long",
        vendor=vendor,
        header=header,
        date=roles["date"],
        ticker=roles.get("ticker"),
        currency=next((name for name in header if plain(name) in ("currency", "ccy")), None),
        cells=cells,
        notes=notes,
    )


def _no_close(shown: str, header: list[str]) -> str:
    words = {plain(name) for name in header}
    if {"value"} & words and {"field", "variable", "metric", "item", "attribute", "price"} & words:
        return (
            f"{shown} has one row per ticker and field{_seen(header)}; expected one row per ticker and day with a "
            "column of closes: pivot it"
        )
    if sum(map(is_date_text, header)) > 1:
        return f"{shown} has one column per day{_seen(header)}; expected one row per day: transpose it"
    return f"{shown} has no close among {', '.join(header[:_SHOWN_NAMES])}; name it with --columns close=COLUMN"


def _matrix(shown: str, header: list[str], roles: Mapping[str, str], options: ReadOptions) -> Recognized:
    """Return the meaning of a table with a column of closes per ticker, or a column per ticker and field."""
    date = roles.get("date", header[0])
    names = [name for name in header if name != date]
    if plain(header[0]) in _COUNTERS and header[0] != date:
        names.remove(header[0])  # numbers the rows
    if (pairs := split_names(names)) is not None:
        if options.ticker is not None and {ticker for _, ticker in pairs.values()} != {options.ticker}:
            raise FormatError(
                f"{shown} names its columns by field and ticker{_seen(header)}; leave out --ticker, or name the "
                "columns with --columns date=COLUMN,close=COLUMN"
            )
        return _blocks(shown, header, date, pairs)
    _check_tickers(shown, header, names)
    if options.ticker is not None and len(names) > 1:
        raise FormatError(
            f"{shown} has a column per ticker{_seen(header)}; leave out --ticker, or name the close with "
            "--columns close=COLUMN"
        )
    tickers = [options.ticker or names[0]] if len(names) == 1 else names
    cells = tuple(Cell(column=name, role="close", ticker=ticker) for name, ticker in zip(names, tickers, strict=True))
    taken = [name for name in names if is_context_field(name)]
    notes = (f"{', '.join(map(repr, taken[:3]))} are taken as tickers, not as fields",) if taken else ()
    return Recognized(layout="wide", vendor=None, header=header, date=date, ticker=None, cells=cells, notes=notes)


def _blocks(shown: str, header: list[str], date: str, pairs: Mapping[str, tuple[str, str]]) -> Recognized:
    """Return the meaning of a table with a column per ticker and field."""
    tickers: dict[str, set[str]] = {}
    for role, ticker in pairs.values():
        if re.fullmatch(r"\d{1,2}", ticker):
            raise FormatError(
                f"{shown} numbers its columns{_seen(header)}; state which is which with --columns close=COLUMN"
            )
        if role in tickers.setdefault(ticker, set()):
            raise FormatError(f"{shown} has two columns for the {role} of {ticker!r}; remove one")
        tickers[ticker].add(role)
    for ticker, own in tickers.items():
        if not {"close", "adj_close"} & own:
            raise FormatError(f"{shown} has {', '.join(sorted(own))} and no close of {ticker!r}{_seen(header)}; add it")
        if own != set.union(*tickers.values()):
            absent = sorted(set.union(*tickers.values()) - own)
            raise FormatError(f"{shown} has no {absent[0]} of {ticker!r}, which other tickers have; add it")
    cells = tuple(Cell(column=column, role=role, ticker=ticker) for column, (role, ticker) in pairs.items())
    roles = {role for role, _ in pairs.values()}
    yahoo = all(as_pair(name) for name in pairs) and {"open", "high", "low", "close", "volume"} <= roles
    adjusted = any("adjusted" in name.lower() for name in pairs) and "adj_close" in roles  # of quantmod, from Yahoo
    vendor = YAHOO_BLOCKS["adj_close" in roles] if yahoo or adjusted else None
    return Recognized(layout="wide", vendor=vendor, header=header, date=date, ticker=None, cells=cells)


def _check_tickers(shown: str, header: list[str], names: list[str]) -> None:
    """Refuse names of columns that may be something else than tickers."""
    if "" in names:
        raise FormatError(f"{shown} has a column without a name; expected one ticker per column")
    if odd := [name for name in names if "\0" in name]:
        raise FormatError(
            f"{shown}: the column {odd[0]!r} has a NUL character; HDF5 cannot name such a ticker; remove it"
        )
    if numbers := [name for name in names if is_number_text(name) or is_date_text(name)]:
        raise FormatError(
            f"{shown} has columns named by numbers{_seen(numbers)}, which may be a row of data; expected a header with "
            "names: write one, or state what they are with --columns date=1,close=2"
        )
    fields = [name for name in names if is_field(name) or holds_field(name)]
    if all_hold_fields(names):
        raise FormatError(
            f"{shown} has {', '.join(map(repr, names[:3]))} and no close{_seen(header)}; add a close of each ticker, "
            "or name the columns by tickers only if they are closes"
        )
    if fields or _reads_as_fields(names):
        listed = fields or [name for name in names if is_context_field(name)]
        raise FormatError(
            f"{shown} has {', '.join(map(repr, listed[:3]))}, which are fields and not tickers{_seen(header)}; name "
            "the close with --columns close=COLUMN, and the stock with --ticker"
        )


def _reads_as_fields(names: list[str]) -> bool:
    """Return whether opens, highs and lows are fields; in capitals, and beside other names, they are tickers."""
    context = [name for name in names if is_context_field(name)]
    if not context:
        return False
    others = [name for name in names if name not in context]
    words = {role_of(name) for name in context} - {None}
    capitals = all(name == name.upper() for name in context)
    if not others:
        return len(context) > 1 or not capitals  # a column LOW and nothing else is that of Lowe's
    if len(words) > 2:
        return True
    return not capitals and not (len(context) == 1 and len(others) > 1 and all(map(str.islower, others)))
