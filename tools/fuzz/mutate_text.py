"""Mutations of text: numbers, dates, fields, lines, encodings, and the values of JSON documents."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from tools.fuzz.mutate_bytes import Mutation

NUMBERS = (
    "0", "-1", "1e308", "-1e-308", "1e400", "nan", "NaN", "inf", "-Infinity", "", " ", "1,5", "0x10", "1_000", "true",
    "9" * 400, "9223372036854775808", "1e-5000", "١٢", "3.0000000000000001", "null", "-0.0", "+5", "5.", "'7'",
)  # fmt: skip
DATES = (
    "2020-02-30", "2020-13-01", "0000-00-00", "0001-01-01", "9999-12-31", "99999-01-01", "2020-1-1", "01/02/2020",
    "2020-05-06T00:00:00Z", "20200506", "1588723200", "", "NaT", "2020-05-06 ", "2262-04-12", "1677-01-01",
    "-2020-05-06",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**400, 2**63, 1e308, float("nan"), float("inf"), "", "text", "\0", "\ud800",
    "../../x", [], {}, [[]], [None], {"a": {}}, [1] * 1000, "x" * 100_000, "2020-02-30", "9999-12-31",
)  # fmt: skip
WORDS = ("", "\0", "A" * 300, "../../etc", "a\nb", '"', '""', "ticker", "T0001", "\u202e", "é", "=1+1", "#", "é" * 200)


def _draw(random: np.random.Generator, choices: Any) -> Any:
    return choices[int(random.integers(len(choices)))]


def _replace(pattern: str, choices: tuple[str, ...], what: str) -> Mutation:
    """Return the mutation that replaces one match of a pattern."""

    def mutate(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
        text = data.decode("utf-8", "surrogateescape")
        found = list(re.finditer(pattern, text))
        if not found:
            return data + _draw(random, choices).encode("utf-8", "surrogateescape"), f"{what} appended"
        hit, value = _draw(random, found), _draw(random, choices)
        new = text[: hit.start()] + value + text[hit.end() :]
        story = f"{what} {hit.group()[:40]!r} at {hit.start()} became {value[:40]!r}"
        return new.encode("utf-8", "surrogateescape"), story

    return mutate


change_number = _replace(r"(?<![\w-])-?\d+(\.\d+)?([eE][-+]?\d+)?", NUMBERS, "number")
change_date = _replace(r"\d{4}-?\d{2}-?\d{2}", DATES, "date")
change_word = _replace(r"[A-Za-z_][\w.]*", WORDS, "word")


def change_digit(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Change one digit, so that the text stays valid."""
    at = [hit.start() for hit in re.finditer(rb"\d", data)]
    if not at:
        return data + b"7", "a digit appended"
    place, digit = _draw(random, at), str(random.integers(10)).encode()
    return data[:place] + digit + data[place + 1 :], f"digit {data[place : place + 1]!r} at {place} became {digit!r}"


def change_lines(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Remove, repeat, move or cut a line."""
    lines = data.splitlines(keepends=True) or [b""]
    at, to = (int(random.integers(len(lines))) for _ in range(2))
    line = lines[at]
    match _draw(random, ("removed", "repeated", "moved", "cut", "emptied")):
        case "removed":
            return b"".join(lines[:at] + lines[at + 1 :]), f"line {at} removed"
        case "repeated":
            return b"".join([*lines[:to], line, *lines[to:]]), f"line {at} repeated at {to}"
        case "moved":
            lines[at], lines[to] = lines[to], line
            return b"".join(lines), f"lines {at} and {to} swapped"
        case "cut":
            return b"".join([*lines[:at], line[: len(line) // 2] + b"\n", *lines[at + 1 :]]), f"line {at} cut"
    return b"".join([*lines[:at], b"\n", *lines[at + 1 :]]), f"line {at} emptied"


def change_field(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Add, remove or swap a field of a line, or quote it."""
    lines = data.split(b"\n")
    at = 0 if random.integers(3) == 0 else int(random.integers(len(lines)))
    fields = lines[at].split(b",")
    place = int(random.integers(len(fields)))
    match _draw(random, ("added", "removed", "doubled", "quoted", "reversed")):
        case "added":
            fields.insert(place, b"7")
        case "removed":
            del fields[place]
        case "doubled":
            fields[place] = fields[0]
        case "quoted":
            fields[place] = b'"' + fields[place]
        case "reversed":
            fields.reverse()
    lines[at] = b",".join(fields)
    return b"\n".join(lines), f"fields of line {at} changed to {lines[at][:60]!r}"


def change_encoding(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Write the text in a different encoding, with a byte order mark, other line ends, or a byte that is no text."""
    text = data.decode("utf-8", "replace")
    at = int(random.integers(len(data) + 1))
    changes = {
        "a byte order mark": b"\xef\xbb\xbf" + data,
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "CRLF": data.replace(b"\n", b"\r\n"),
        "CR": data.replace(b"\n", b"\r"),
        "no line ends": data.replace(b"\n", b""),
        "a NUL byte": data[:at] + b"\0" + data[at:],
        "a byte of Latin-1": data[:at] + b"\xe9" + data[at:],
        "a byte that is no text": data[:at] + b"\xff" + data[at:],
        "blanks around lines": b"\n".join(b" " + line + b" \t" for line in data.split(b"\n")),
        "white space only": b" \n\n \t\n",
        "nesting": b"[" * 100_000,
        "a long line": data + b"x" * 200_000 + b"\n",
    }
    story = _draw(random, sorted(changes))
    return changes[story], f"{story} at {at}"


def change_json(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Replace, remove or rename one value of a JSON document, or of a line of JSON."""
    lines = data.split(b"\n") if _json(data) is None else [data]
    at = int(random.integers(len(lines)))
    document = _json(lines[at])
    if document is None:
        return change_number(data, other, random)
    places = list(_places(document))
    if not places:
        return json.dumps(_draw(random, VALUES)).encode(), "the document replaced"
    parent, key = _draw(random, places)
    story = _change_value(parent, key, random)
    lines[at] = json.dumps(document).encode("utf-8", "surrogateescape")
    return b"\n".join(lines), story


def _change_value(parent: Any, key: Any, random: np.random.Generator) -> str:
    old = parent[key]
    match _draw(random, ("value", "value", "nudge", "nudge", "removed", "renamed")):
        case "nudge" if isinstance(old, int | float) and not isinstance(old, bool):
            parent[key] = old + (1 if isinstance(old, int) else 0.5 * old + 1e-3)
            return f"{key!r}: {old!r} became {parent[key]!r}"
        case "removed":
            del parent[key]
            return f"{key!r} removed"
        case "renamed" if isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
            return f"{key!r} renamed"
    parent[key] = _draw(random, VALUES)
    return f"{key!r}: {str(old)[:40]} became {str(parent[key])[:40]!r}"


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> Any:
    """Yield each container with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(items):
        yield value, key
        yield from _places(one)


TEXT: tuple[Mutation, ...] = (
    change_number, change_number, change_date, change_date, change_word, change_digit, change_digit, change_lines,
    change_lines, change_field, change_encoding, change_encoding,
)  # fmt: skip
"""Mutations of text; those that are listed more often are drawn more often."""
