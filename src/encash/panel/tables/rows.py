"""Rows of one file: coded dates and tickers, and values by role."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encash.arrays import Float64, Int32
from encash.errors import FormatError
from encash.panel.formats.comma import Csv, is_data_row
from encash.panel.tables.numbers import read_numbers, whole_numbers
from encash.panel.tables.options import ReadOptions
from encash.panel.tables.recognize import Recognized, recognize
from encash.panel.tables.sources import Source, readable
from encash.panel.tables.wide_checks import check_closes

_TICKER = re.compile(r"\^?(?=.*[A-Z])[A-Z0-9]{1,10}([.=-][A-Z0-9]{1,6})?")
"""Names of files that name a ticker, even of a single file: AAPL.csv, BRK.B.csv."""
_NO_NAMES = ("nan", "NaN", "None", "<NA>", "NaT", "null")
"""Texts that pandas and others write for a missing ticker; NA, NAN and NULL are tickers."""
_NO_TICKERS = ("DATA", "PRICES", "PRICE", "TABLE", "STOCK", "STOCKS", "EXPORT", "DOWNLOAD", "HISTORY", "QUOTES", "TEST")

_KEYS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_integer,
    pa.types.is_floating, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp, pa.types.is_null,
)  # fmt: skip
"""Types of dates and tickers."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one file, one per ticker and day."""

    source: Source
    meaning: Recognized
    date: Int32
    """Position in `dates`; shape (rows,)."""
    dates: pa.Array
    """Distinct, as the file has them."""
    ticker: Int32
    """Position in `tickers`; shape (rows,)."""
    tickers: list[str]
    """Distinct, without surrounding spaces."""
    values: dict[str, Float64]
    """By role; shape (rows,) each."""
    notes: tuple[str, ...]


def read_rows(source: Source, options: ReadOptions) -> Rows:
    """Read one file.

    Raises:
        FormatError: a file that cannot be read, or that has several meanings.
    """
    format = source.format
    if options.sep is not None or options.decimal is not None:
        format = format.with_dialect(separator=options.sep, decimal=options.decimal)
    with readable(source):
        names = format.header(source.path)
    meaning = recognize(source.shown, names, options, partitions=source.partitions)
    keys = [
        name for name in (meaning.date, meaning.ticker, meaning.currency) if name is not None and name in meaning.header
    ]
    kept = list(dict.fromkeys([*keys, *(cell.column for cell in meaning.cells)]))
    given = meaning.header if is_data_row(names) else names
    as_given = dict(zip(meaning.header, given, strict=True))
    with readable(source):
        wanted = [as_given[name] for name in kept]
        table = format.read(source.path, given, wanted, {as_given[name] for name in keys})
        dots_unclear = isinstance(format, Csv) and format.dialect(source.path).dots_unclear
    return _rows(source, meaning, table.select(wanted).rename_columns(kept), options, dots_unclear=dots_unclear)


def _rows(source: Source, meaning: Recognized, table: pa.Table, options: ReadOptions, *, dots_unclear: bool) -> Rows:
    """Return the rows of a table that is read."""
    dates, date = _coded(_column(source, table, meaning.date))
    if table.num_rows == 0 and not source.one_of_many:
        raise FormatError(f"{source.shown} has no rows ({', '.join(meaning.header[:20])}); expected one bar per row")
    if dates.null_count or len(date) != table.num_rows:
        raise FormatError(f"{source.shown} has rows without a date; write one in each row of {meaning.date!r}")
    columns = {
        cell.column: _ratios(table[cell.column]) if cell.role == "split" else table[cell.column]
        for cell in meaning.cells
    }
    values, notes = read_numbers(source.shown, columns, meaning.header, options.decimal, dots_unclear=dots_unclear)
    if meaning.layout == "wide":
        tickers = list(dict.fromkeys(str(cell.ticker) for cell in meaning.cells))
        found = _stacked(meaning, values)
        if found.keys() == {"close"} and len(date):
            check_closes(source.shown, tickers, found["close"].reshape(len(tickers), len(date)))
        ticker = np.repeat(np.arange(len(tickers), dtype=np.int32), len(date))
        date = np.tile(date, len(tickers))
    else:
        found = {cell.role: values[cell.column] for cell in meaning.cells}
        tickers, ticker = _tickers(source, meaning, options, len(date), table)
        _check_currency(source, meaning, table, tickers, ticker)
    return Rows(
        source=source,
        meaning=meaning,
        date=date,
        dates=dates,
        ticker=ticker,
        tickers=tickers,
        values=found,
        notes=(*meaning.notes, *notes, *_named(source, meaning, options)),
    )


def _ratios(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return splits that are written as ratios of new to old shares (``4:1``) as numbers; other columns unchanged."""
    if not pa.types.is_string(column.type):
        return column
    pattern = r"^\s*(?P<new>\d+(?:\.\d+)?)\s*[:/]\s*(?P<old>[1-9]\d*(?:\.\d+)?)\s*$"
    if not pc.all(pc.match_substring_regex(column, pattern)).as_py():
        return column
    parts = pc.extract_regex(column, pattern)
    new, old = (pc.struct_field(parts, name).cast(pa.float64()) for name in ("new", "old"))
    return pc.divide(new, old)


def _column(source: Source, table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of keys of the file, or one that its folders name, with the same value in each row."""
    if name in table.column_names:
        column = table[name]
        if not _is_key(column.type.value_type if pa.types.is_dictionary(column.type) else column.type):
            raise FormatError(
                f"{source.shown}: the column {name!r} is {column.type}; expected dates, text or numbers; write it as "
                "text"
            )
        return column
    value = pa.array([source.partitions[name]])
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows, np.int32)), value)])


def _is_key(kind: pa.DataType) -> bool:
    """Return whether values of a type may be dates or tickers."""
    return any(is_kind(kind) for is_kind in _KEYS)


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, Int32]:
    """Return the distinct values of a column, and the position of the value of each row that has one."""
    kind = column.type
    if len(column) == 0:
        return pa.array([], kind.value_type if pa.types.is_dictionary(kind) else kind), np.zeros(0, dtype=np.int32)
    if not pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    codes: Int32 = encoded.indices.drop_null().to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return encoded.dictionary, codes


def _tickers(
    source: Source, meaning: Recognized, options: ReadOptions, rows: int, table: pa.Table
) -> tuple[list[str], Int32]:
    """Return the distinct tickers, and the position of the ticker of each row."""
    if meaning.ticker is None:
        return [_one_ticker(source, meaning, options)], np.zeros(rows, dtype=np.int32)
    if options.ticker is not None:
        raise FormatError(
            f"{source.shown} names its tickers in {meaning.ticker!r} ({', '.join(meaning.header[:20])}); leave out "
            "--ticker, or name another column with --columns ticker=COLUMN"
        )
    distinct, codes = _coded(_column(source, table, meaning.ticker))
    if pa.types.is_floating(distinct.type):
        distinct = whole_numbers(distinct)
    with readable(source):
        names = [_plain_ticker(name) for name in distinct.cast(pa.string()).to_pylist() if name is not None]
    if "" in names or len(codes) < rows or len(names) < len(distinct):
        raise FormatError(_no_ticker(source, meaning, table))
    if odd := [number for number, name in enumerate(names) if "\0" in name]:
        row = int(np.argmax(codes == odd[0])) + 1
        raise FormatError(
            f"{source.shown}: the ticker {names[odd[0]]!r} in row {row} has a NUL character; HDF5 cannot name such a "
            "ticker; remove it"
        )
    return names, codes


def _plain_ticker(name: str) -> str:
    """Return a ticker without spaces and without the guard of a spreadsheet (``="000001"``); empty if it is none."""
    name = re.sub(r'^="(.*)"$', r"\1", name.strip())
    return "" if name in _NO_NAMES else name


def _check_currency(source: Source, meaning: Recognized, table: pa.Table, tickers: list[str], ticker: Int32) -> None:
    """Refuse a ticker whose rows are in several currencies."""
    if meaning.currency is None:
        return
    currencies, codes = _coded(table[meaning.currency])
    if len(codes) < len(ticker) or len(currencies) < 2:
        return
    pairs = np.unique(ticker.astype(np.int64) * len(currencies) + codes) // len(currencies)
    if (several := pairs[1:][pairs[1:] == pairs[:-1]]).size:
        raise FormatError(
            f"{source.shown}: {tickers[int(several[0])]!r} has prices in several currencies by the column "
            f"{meaning.currency!r}; convert them to one"
        )


def _no_ticker(source: Source, meaning: Recognized, table: pa.Table) -> str:
    """Return the message about the first row without a ticker."""
    given = _column(source, table, str(meaning.ticker)).to_pylist()
    row = next(number for number, name in enumerate(given) if name is None or not _plain_ticker(str(name)))
    date = _column(source, table, meaning.date)[row].as_py()
    return (
        f"{source.shown} has rows without a ticker, first row {row + 1} ({str(date)!r}); name one in each row of "
        f"{meaning.ticker!r}, and remove totals and footers"
    )


def _one_ticker(source: Source, meaning: Recognized, options: ReadOptions) -> str:
    """Return the ticker of a file that holds one: as stated, or as the file or the vendor names it."""
    if options.ticker is not None:
        return options.ticker
    pattern = None if meaning.vendor is None else meaning.vendor.file_name
    if pattern is not None and (found := re.fullmatch(pattern, source.stem)):
        return found["ticker"]
    if source.one_of_many or (_TICKER.fullmatch(source.stem) and source.stem not in _NO_TICKERS):
        return source.stem
    seen = ", ".join(meaning.header[:20])
    raise FormatError(
        f"{source.shown} has a close and no ticker ({seen}); state it with --ticker, or its column with --columns "
        "ticker=COLUMN"
    )


def _named(source: Source, meaning: Recognized, options: ReadOptions) -> tuple[str, ...]:
    """Return a note if a single file names its ticker."""
    if meaning.layout == "wide" or meaning.ticker is not None or options.ticker is not None or source.one_of_many:
        return ()
    return (f"the ticker {_one_ticker(source, meaning, options)!r} is the name of the file",)


def _stacked(meaning: Recognized, values: dict[str, Float64]) -> dict[str, Float64]:
    """Return the columns of each role one after another, in the order of the tickers; `values` is emptied."""
    columns = {(cell.role, str(cell.ticker)): cell.column for cell in meaning.cells}
    roles = list(dict.fromkeys(cell.role for cell in meaning.cells))
    tickers = list(dict.fromkeys(str(cell.ticker) for cell in meaning.cells))
    return {role: np.concatenate([values.pop(columns[role, ticker]) for ticker in tickers]) for role in roles}
