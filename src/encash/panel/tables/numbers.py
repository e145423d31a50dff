"""Prices and volumes as floats, from numbers or from text with thousands, units, currencies or a decimal comma."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encash.arrays import Float64
from encash.errors import FormatError

_MISSING = pa.array(
    ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "None", "-", "--", "–", "—", ".", "n.a.", "na"]
)
_CURRENCY = r"(?:US\$|[$€£¥₹₽]|USD|EUR|GBP|JPY|CHF)"
_SPACES = r"[ '’\x{00A0}\x{202F}\x{2009}]"
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def read_numbers(
    shown: str,
    columns: Mapping[str, pa.ChunkedArray],
    header: Sequence[str],
    decimal: str | None,
    *,
    dots_unclear: bool = False,
) -> tuple[dict[str, Float64], tuple[str, ...]]:
    """Return columns as floats, NaN where they are empty, and a note on the decimal mark if it was not the usual one.

    All text of a file has one decimal mark. It is the one that some number shows: the last of two different marks, a
    mark that is not followed by exactly three digits, or a mark other than one that occurs twice in a number.

    Raises:
        FormatError: a column of another type; a text that is not a number; text that reads as numbers with either mark.
    """
    text, floats = {}, {}
    for name, column in columns.items():
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            text[name] = _trimmed(column.cast(pa.string()))
        elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or kind == pa.null():
            floats[name] = _floats(column.cast(pa.float64(), safe=False))  # integers above 2⁵³ are rounded
        else:
            raise FormatError(f"{shown}: the column {name!r} is {kind}; expected numbers")
    if not text:
        return floats, ()
    for name, column in text.items():
        _check_one_unit(shown, name, columns[name], column)
    mark = decimal or _decimal(shown, text, dots_unclear=dots_unclear)
    seen = ", ".join(header[:20])
    for name, column in text.items():
        floats[name] = _parsed(f"{shown} ({seen})", name, columns[name], column, mark)
    return floats, ("numbers have a decimal comma",) if mark == "," and decimal is None else ()


def whole_numbers(column: pa.Array) -> pa.Array:
    """Return floats as integers if all of them are whole, and unchanged otherwise.

    >>> whole_numbers(pa.array([20240117.0])).type, whole_numbers(pa.array([0.5])).type
    (DataType(int64), DataType(double))
    """
    whole = pc.and_(pc.equal(pc.trunc(column), column), pc.less(pc.abs(column), 2.0**53))
    return column.cast(pa.int64()) if pc.all(whole).as_py() else column


def _check_one_unit(shown: str, name: str, given: pa.ChunkedArray, column: pa.ChunkedArray) -> None:
    """Refuse a column of which only some numbers have a currency, or a unit, or of which they have different ones."""
    number = pc.and_(pc.is_valid(column), pc.match_substring_regex(column, "[1-9]"))
    given = given.cast(pa.string())
    currency = pc.replace_substring_regex(given, rf"^.*?({_CURRENCY}).*$", r"\1")
    unit = pc.match_substring_regex(column, "[KMBTkmbt]$")
    has_currency = pc.match_substring_regex(given, _CURRENCY)
    for what, kinds in (
        ("currency", pc.if_else(has_currency, currency, "")),
        ("unit", pc.if_else(unit, "K, M or B", "")),
    ):
        found = pc.value_counts(kinds.filter(pc.fill_null(number, False)))
        if len(found) > 1:
            rare = min(found.to_pylist(), key=lambda pair: pair["counts"])["values"]
            odd = given.filter(pc.fill_null(pc.and_(number, pc.equal(kinds, rare)), False))[0].as_py()
            raise FormatError(
                f"{shown}: {odd!r} in the column {name!r} has a different {what} than other numbers; expected one "
                f"{what}, or none, in all of them"
            )


def _floats(column: pa.ChunkedArray) -> Float64:
    if column.null_count == 0:
        found: Float64 = column.to_numpy()
        return found
    filled: Float64 = pc.fill_null(column, float("nan")).to_numpy()
    return filled


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text without a currency and without spaces between digits; null for words such as N/A."""
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.is_in(text, value_set=_MISSING), pa.scalar(None, pa.string()), text)
    text = pc.replace_substring_regex(text, rf"^([-+]?){_CURRENCY}\s*", r"\1")
    text = pc.replace_substring_regex(text, rf"\s*{_CURRENCY}$", "")
    for _ in range(2):  # the digits of two neighboring groups overlap
        text = pc.replace_substring_regex(text, rf"(\d){_SPACES}(\d\d\d)(\D|$)", r"\1\2\3")
        text = pc.replace_substring_regex(text, rf"(\d){_SPACES}(\d\d\d{_SPACES})", r"\1\2")
    return text


def _decimal(shown: str, columns: Mapping[str, pa.ChunkedArray], *, dots_unclear: bool) -> str:
    """Return the decimal mark that the numbers show."""
    comma, dot = _shows(columns.values(), ",", r"\."), _shows(columns.values(), r"\.", ",")
    if comma is not None and dot is not None:
        raise FormatError(
            f"{shown} has numbers with a decimal comma ({comma!r}) and with a decimal point ({dot!r}); expected one of "
            "them: state it with --decimal"
        )
    if comma is not None:
        return ","
    unclear = _first(columns.values(), r"^[-+]?\d{1,3},\d{3}[KMBT]?$")
    if dot is None and unclear is not None:
        raise FormatError(
            f"{shown} has numbers like {unclear!r}, in which the comma may be a decimal mark or separate thousands; "
            "state --decimal . or --decimal ,"
        )
    unclear = _first(columns.values(), r"^[-+]?\d{1,3}\.\d{3}$")
    if dots_unclear and dot is None and unclear is not None:
        raise FormatError(
            f"{shown} has numbers like {unclear!r}, in which the point may be a decimal mark or separate thousands; "
            "state --decimal . or --decimal ,"
        )
    return "."


def _shows(columns: Iterable[pa.ChunkedArray], mark: str, other: str) -> str | None:
    """Return a number of which `mark` can only be the decimal mark."""
    tail = r"(?:[eE][-+]?\d+)?[KMBTkmbt]?$"
    not_three = rf"^[-+]?\d*{mark}(?:\d{{0,2}}|\d{{4,}}){tail}"
    below_one = rf"^[-+]?0{mark}\d+{tail}"
    too_many_before = rf"^[-+]?\d{{4,}}{mark}\d+{tail}"
    after_other = rf"^[-+]?\d{{1,3}}(?:{other}\d{{2,3}})+{mark}\d*{tail}"
    other_twice = rf"^[-+]?\d{{1,3}}(?:{other}\d{{2,3}}){{2,}}{tail}"
    return _first(columns, f"{not_three}|{below_one}|{too_many_before}|{after_other}|{other_twice}")


def _first(columns: Iterable[pa.ChunkedArray], pattern: str) -> str | None:
    """Return the first text that matches."""
    for column in columns:
        found = column.filter(pc.fill_null(pc.match_substring_regex(column, pattern), False))
        if len(found):
            return str(found[0].as_py())
    return None


def _parsed(shown: str, name: str, given: pa.ChunkedArray, column: pa.ChunkedArray, mark: str) -> Float64:
    """Return text with one decimal mark as floats."""
    group = "," if mark == "." else r"\."
    number = rf"(?:\d+|\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}})?"
    form = rf"^[-+]?{number}(?:[{mark}]\d*)?(?:[eE][-+]?\d+)?[KMBTkmbt]?$"
    good = pc.or_(pc.match_substring_regex(column, form), pc.match_substring_regex(column, r"(?i)^[-+]?inf(inity)?$"))
    bad = np.flatnonzero(~pc.fill_null(good, True).to_numpy())
    if not len(bad):
        unit = pc.utf8_upper(pc.replace_substring_regex(column, r"^.*?([KMBTkmbt]?)$", r"\1"))
        digits = pc.replace_substring_regex(pc.replace_substring(column, group.strip("\\"), ""), "[KMBTkmbt]$", "")
        try:
            return _floats(pc.replace_substring(digits, mark, ".").cast(pa.float64())) * _multipliers(unit)
        except pa.ArrowInvalid:
            bad = np.flatnonzero([text is not None and not re.search(r"\d", text) for text in column.to_pylist()])
    value = given[int(bad[0])].as_py()
    raise FormatError(
        f"{shown}: the column {name!r} is string with the invalid value {value!r} in row {int(bad[0]) + 1}; expected "
        "numbers; name another column with --columns, or the decimal mark with --decimal"
    )


def _multipliers(unit: pa.ChunkedArray) -> Float64:
    encoded = unit.combine_chunks().dictionary_encode()
    factors = np.array([_UNITS.get(name or "", 1.0) for name in encoded.dictionary.to_pylist()] or [1.0])
    return np.asarray(factors[pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)])
