"""Text files from outside, read strictly: UTF-8 with or without a byte order mark, as text, JSON, CSV or TOML.

What cannot be read in one way only is refused with the file and the line: other encodings, duplicate keys, NaN and
infinity in JSON, numbers beyond 64 bits, unclosed quotes, invisible characters.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encash.errors import FormatError, InputError, MissingFileError, reason, unreadable
from encash.remote_files import local_copy

MOST_BYTES = 64 << 20
"""Longest text file that is read."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_WHOLE_RANGE = range(-(2**63), 2**64)


def read_text(path: str | Path, *, kind: str, expected: str) -> str:
    """Read a text file; a byte order mark is not part of the text.

    Args:
        path: a file, a link to one, a pipe, or a URL as text.
        kind: the file in an error message, such as ``"membership file"``.
        expected: the content in an error message, such as ``"a CSV with the columns ticker,from,until"``.

    Raises:
        MissingFileError: no such file.
        AccessError: no permission to read it.
        FormatError: a folder, longer than `MOST_BYTES`, or not UTF-8.
    """
    place = local_copy(path)
    try:
        content = _read_bytes(place)
    except FileNotFoundError:
        raise MissingFileError(f"no {kind} {path}; expected {expected}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise unreadable(path, error, f"{path} cannot be read ({why}); expected {expected}") from None
    if len(content) > MOST_BYTES:
        raise FormatError(f"{path} is longer than {MOST_BYTES >> 20} MiB, so it is not a {kind}; expected {expected}")
    if content.startswith(_UTF_16):
        raise FormatError(f"{path} is UTF-16, not UTF-8; expected {expected}: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FormatError(f"{path}, line {line}: not UTF-8; expected {expected}: save it as UTF-8") from None


def read_lines(path: str | Path, *, kind: str, expected: str) -> list[str]:
    """Read the lines of a text file, without their line breaks; the errors are those of `read_text`."""
    return _LINE_BREAK.split(read_text(path, kind=kind, expected=expected))


def read_json(path: str | Path, *, kind: str, fix: str, finite: bool = True) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: the file.
        kind: the file in an error message.
        fix: how to fix it, for the error message.
        finite: refuse NaN and infinity.

    Raises:
        MissingFileError, AccessError: as `read_text`.
        FormatError: not JSON, or not an object.
    """
    value = parse_json(read_text(path, kind=kind, expected=f"a JSON object; {fix}"), path, fix=fix, finite=finite)
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a JSON {type(value).__name__}, expected an object; {fix}")
    return value


def parse_json(text: str | bytes, what: object, *, fix: str, finite: bool = True) -> Any:
    """Parse JSON that has one meaning only.

    Args:
        text: JSON.
        what: its source, for the error message.
        fix: how to fix it, for the error message.
        finite: refuse NaN and infinity, which JSON does not have.

    Raises:
        FormatError: not JSON, a key given twice, a number beyond 64 bits, half a character, or too deep.

    >>> parse_json('{"a": 1, "a": 2}', "a.json", fix="make it again")
    Traceback (most recent call last):
        ...
    encash.errors.FormatError: a.json is not JSON (the key 'a' is given twice); make it again
    """
    hooks: dict[str, Any] = {"parse_float": _finite, "parse_constant": _no_constant} if finite else {}
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_int=_whole, **hooks)
        json.dumps(value, ensure_ascii=False).encode()  # half a character (\ud800) cannot be written anywhere
    except UnicodeError:
        raise FormatError(f"{what} is not JSON (an incomplete character); {fix}") from None
    except ValueError as error:
        raise FormatError(f"{what} is not JSON{reason(error)}; {fix}") from None
    except RecursionError:
        raise FormatError(f"{what} is not JSON (nested too deeply); {fix}") from None
    return value


def read_toml(path: str | Path, *, kind: str, expected: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        MissingFileError, AccessError: as `read_text`.
        FormatError: not TOML, or a whole number beyond 64 bits.
    """
    text = read_text(path, kind=kind, expected=expected)
    try:
        document = tomllib.loads(text)
        _check_whole(document)
        return document
    except ValueError as error:  # a number of thousands of digits is not a TOMLDecodeError
        raise FormatError(f"{path} is not TOML{reason(error)}; expected {expected}") from None
    except RecursionError:
        raise FormatError(f"{path} is not TOML (nested too deeply); expected {expected}") from None


def read_csv(
    path: str | Path, columns: Sequence[str], *, kind: str, free: int = 0
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a small CSV file with a header; cells are stripped, empty lines are skipped.

    Args:
        path: the file.
        columns: names of the columns, in lower case and in their order.
        kind: the file in an error message.
        free: number of the last columns that may have any name.

    Returns:
        The header as it is written, and for each line its number, counted from 1, and its cells.

    Raises:
        MissingFileError, AccessError: as `read_text`.
        FormatError: not UTF-8, different columns, an unclosed quote, or an invisible character.
    """
    names = ",".join(columns)
    text = read_text(path, kind=kind, expected=f"a CSV with the columns {names}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if strange := [cell for cell in cells if not cell.isprintable()]:
                raise FormatError(f"{path}, line {reader.line_num}: an invisible character in {strange[0][:40]!r}")
            if any(cells):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num}: not CSV ({error}); expected {names}") from None
    number, header = lines[0] if lines else (1, [])
    fixed = len(columns) - free
    if len(header) != len(columns) or [cell.lower() for cell in header[:fixed]] != list(columns[:fixed]):
        commas = " separated by commas" if len(header) == 1 and len(columns) > 1 else ""
        raise FormatError(
            f"{path}, line {number}: the columns are {','.join(header)[:80]!r}; expected the columns {names}{commas}"
        )
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise FormatError(f"{path}, line {number}: {','.join(cells)[:80]!r}; expected {names}")
    return header, lines[1:]


def to_number(text: str) -> float:
    """Return the finite number that a text writes in plain digits.

    Raises:
        InputError: anything else, such as 1_000, 1,5, nan or inf.

    >>> to_number("-1.5e3")
    -1500.0
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"invalid number {text[:40]!r}: expected digits, such as 12.5")
    return value


def to_whole(text: str) -> int:
    """Return the whole number of at most 18 digits that a text writes in plain digits.

    Raises:
        InputError: anything else.

    >>> to_whole("12")
    12
    """
    if not _WHOLE.fullmatch(text):
        raise InputError(f"invalid whole number {text[:40]!r}: expected digits, such as 12")
    return int(text)


def _read_bytes(path: Path) -> bytes:
    """Read at most one byte more than `MOST_BYTES`; a pipe without a writer is empty instead of waiting for one."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        os.set_blocking(handle, True)
        return file.read(MOST_BYTES + 1)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs.

    Raises:
        ValueError: a key given twice.
    """
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return made


def _whole(text: str) -> int:
    value = int(text)
    if value not in _WHOLE_RANGE:
        raise ValueError(f"the number {text[:20]}… has more than 64 bits")
    return value


def _check_whole(value: Any) -> None:
    """Refuse whole numbers beyond 64 bits in nested tables and lists."""
    if isinstance(value, int) and value not in _WHOLE_RANGE:
        raise ValueError("a whole number has more than 64 bits")
    if isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            _check_whole(one)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is beyond the range of float64")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
