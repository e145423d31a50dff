"""Separated text: encoding, separator and lines of the header are found from the beginning of the file."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.csv as arrow_csv

from encash.panel.formats.base import TableFormat

_BEGINNING_BYTES = 1 << 16
_SAMPLE_LINES = 50
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS = (";", "\t", "|", ",")
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]\w{1,9}[-/. ]\d{2,4}|(19|20)\d{6})(\D.*)?|\d{10,19}")
_NUMBER = re.compile(r"[-+$€£¥]*\d[\d.,' \u00a0\u202f]*(e[-+]?\d+)?[%KMB]?", re.IGNORECASE)
_LEVEL_NAMES = ("", "price", "ticker", "attributes", "symbols", "symbol")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Form of a text file."""

    encoding: str
    separator: str
    skipped: int
    """Lines before the names: titles, comments and blank lines."""
    names: list[str]
    """Of all columns; of several lines, tuples as text; of a file without a header, the cells of its first row."""
    header_lines: int
    """0 if the first row is data."""
    dots_unclear: bool
    """Points may separate thousands: fields are separated by semicolons, and no number shows its decimal mark."""


class Csv(TableFormat):
    """Lines with the names of the columns, then one line per row."""

    expected = "a CSV file in UTF-8 or UTF-16, with numbers or empty cells"
    delimiter: ClassVar[str | None] = None
    """Separator; recognized if None."""

    def __init__(self, *, separator: str | None = None, decimal: str | None = None) -> None:
        """Store the separator and decimal mark that a user states."""
        self._separator = separator or self.delimiter
        self._decimal = decimal

    def with_dialect(self, *, separator: str | None, decimal: str | None) -> TableFormat:
        """Return the format with a different separator and decimal mark."""
        return type(self)(separator=separator, decimal=decimal)

    def header(self, path: Path) -> list[str]:
        """Read the names of the columns; the cells of the first row of a file without a header."""
        return self.dialect(path).names

    def read(self, path: Path, header: list[str], kept: list[str], text: set[str]) -> pa.Table:
        """Read dates and tickers as text, other columns as floats, or all of them as text if one is not a number."""
        dialect = self.dialect(path)
        words = pa.dictionary(pa.int32(), pa.string())
        plain = {name: words if name in text else pa.float64() for name in kept}
        try:
            if self._decimal is not None or not dialect.dots_unclear:
                return self._read(path, dialect, header, plain)
        except pa.ArrowInvalid:
            pass  # numbers with a currency, a unit or thousands; anything else is raised by the second attempt
        return self._read(path, dialect, header, {name: words if name in text else pa.string() for name in kept})

    def _read(self, path: Path, dialect: Dialect, header: list[str], types: dict[str, pa.DataType]) -> pa.Table:
        """Read columns as these types."""
        return arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=header,
                skip_rows=dialect.skipped + dialect.header_lines,
                encoding="utf-8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types, include_columns=list(types), decimal_point=self._decimal or "."
            ),
        )

    def dialect(self, path: Path) -> Dialect:
        """Find encoding, separator and header from the beginning of a file."""
        with path.open("rb") as file:
            start = file.read(_BEGINNING_BYTES)
        encoding = _encoding(start)
        lines = _lines(start, encoding)
        if lines and re.match(r"\s*(<!|<html|<\?|\{|\[)", lines[0], re.IGNORECASE):
            raise pa.ArrowInvalid("it holds HTML, XML or JSON, like the message of a server, and no table")
        separator, skipped = self._separator, 0
        if lines and (stated := re.fullmatch(r"sep=(.)", lines[0])):  # of spreadsheets
            separator, skipped = separator or stated[1], 1
        separator = separator or _separator(lines[skipped:])
        rows = list(csv.reader(lines, delimiter=separator))
        skipped += _preamble(rows[skipped:])
        names, header_lines = _names([[cell.strip() for cell in row] for row in rows[skipped : skipped + 4]])
        return Dialect(
            encoding=encoding,
            separator=separator,
            skipped=skipped,
            names=names,
            header_lines=header_lines,
            dots_unclear=separator == ";" and _has_unclear_dots(rows[skipped + header_lines :]),
        )


def is_date_text(text: str) -> bool:
    """Return whether a text has the form of a date or of an epoch.

    >>> is_date_text("2024-01-02"), is_date_text("02.01.2024"), is_date_text("Open"), is_date_text("10.5")
    (True, True, False, False)
    """
    return _DATE.fullmatch(text.strip()) is not None


def is_number_text(text: str) -> bool:
    """Return whether a text has the form of a number, with separators, a currency sign or a unit.

    >>> is_number_text("1,234.5"), is_number_text("$10"), is_number_text("718.5M"), is_number_text("AAPL")
    (True, True, True, False)
    """
    return _NUMBER.fullmatch(text.strip()) is not None


def is_data_row(cells: list[str]) -> bool:
    """Return whether the cells are data, not names: a date and a number among them, and no words other than tickers.

    >>> is_data_row(["2024-01-02", "AAPL", "10.5"]), is_data_row(["date", "7203", "6758"])
    (True, False)
    """
    dates = [cell for cell in cells if is_date_text(cell)]
    others = [cell for cell in cells if not is_date_text(cell)]
    return (
        bool(dates)
        and (len(dates) > 1 or any(map(is_number_text, others)))
        and is_date_text(cells[0]) | any(map(is_number_text, others))
    )


def _has_unclear_dots(rows: list[list[str]]) -> bool:
    """Return whether numbers have three digits after a point, and none shows that the point is the decimal mark."""
    cells = [cell.strip() for row in rows for cell in row]
    clear = re.compile(r"[-+]?(\d*\.(\d{0,2}|\d{4,})|\d{4,}\.\d+|0\.\d+)")
    return any(re.fullmatch(r"[-+]?\d{1,3}\.\d{3}", cell) for cell in cells) and not any(map(clear.fullmatch, cells))


def _encoding(start: bytes) -> str:
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    even, odd = start[0:400:2].count(0), start[1:400:2].count(0)
    if max(even, odd) > len(start[:400]) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def _lines(start: bytes, encoding: str) -> list[str]:
    """Return the complete lines of the beginning of a file; the names of its columns must be decodable."""
    text = start.decode(encoding, errors="replace")
    lines = text.splitlines()
    if len(start) == _BEGINNING_BYTES and len(lines) > 1:
        lines.pop()
    lines = lines[:_SAMPLE_LINES]
    if lines and "\ufffd" in lines[0]:
        start.decode(encoding)  # raises, and says at which byte
    return lines


def _separator(lines: list[str]) -> str:
    """Return the separator that gives most lines the same number of fields, of two or more."""
    best, score = ",", (0.0, 0)
    for separator in _SEPARATORS:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        width, times = Counter(counts).most_common(1)[0] if counts else (0, 0)
        if width > 1 and (times / len(counts), 0) > score:
            best, score = separator, (times / len(counts), 0)
    return best


def _preamble(rows: list[list[str]]) -> int:
    """Return the number of blank lines, comments and titles (one cell) before the names of the columns."""
    width = Counter(len(row) for row in rows if row).most_common(1)[0][0] if any(rows) else 0
    skipped = 0
    for row in rows:
        filled = sum(cell.strip() != "" for cell in row)
        comment = bool(row) and row[0].lstrip().startswith("#")
        if not (filled == 0 or comment or (filled == 1 and width > 1 and len(row) != width)):
            break
        skipped += 1
    return 0 if skipped == len(rows) else skipped


def _names(rows: list[list[str]]) -> tuple[list[str], int]:
    """Return the names of the columns and the number of their lines; of two or three lines, tuples as text."""
    if not rows:
        return [], 0
    first = rows[0]
    if is_data_row(first):
        return first, 0
    if len(rows) < 2 or first[0].lower() not in _LEVEL_NAMES or not _is_level(rows[1], len(first)):
        return first, 1
    third = len(rows) > 2 and len(rows[2]) <= len(first) and rows[2][0] != "" and not any(rows[2][1:])
    third = third and not is_date_text(rows[2][0])
    pairs = [(re.sub(r"\.\d+$", "", upper), lower) for upper, lower in zip(first[1:], rows[1][1:], strict=True)]
    return [rows[2][0] if third else "Date", *map(str, pairs)], 3 if third else 2


def _is_level(row: list[str], width: int) -> bool:
    """Return whether a line is a second line of names: all of them words, under a first cell that names the level."""
    return (
        len(row) == width
        and row[0].lower() in _LEVEL_NAMES
        and all(cell and not is_date_text(cell) for cell in row[1:])
        and not all(map(is_number_text, row[1:]))
    )
