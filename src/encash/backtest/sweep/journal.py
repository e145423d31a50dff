"""Journal of the runs of a folder, written as each run ends: complete after a crash, and never half a run.

`runs.jsonl` holds a line per run, `returns.f8` its daily returns in the same order. Each line ends with a checksum of
itself and of its returns: a line that was changed is refused, and the last one, if it was cut short, is dropped.
"""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from encash import metrics
from encash.arrays import Float64
from encash.atomic_write import writing
from encash.errors import FormatError, MismatchError
from encash.input_files import check_regular
from encash.text_files import parse_json

_CHECKSUM = re.compile(rb', "checksum": "([0-9a-f]{16})"\}\n')
_AGAIN = "restore it from a copy, or sweep into a different folder, where every run is computed again"
_FIGURES = ("sharpe", "final_capital", "total_return")
_MOST_RETURN, _MOST_SESSIONS = 1e6, 366
_DAYS = ("first_session", "last_session")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Settings, figures and returns of one run."""

    key: str = ""
    """`Point.key`; a worker, which has no assignments, leaves it to the sweep."""
    values: dict[str, Any]
    returns: Float64
    """Daily net returns, shape (sessions − 1,)."""


class Journal:
    """Runs of a folder in the order in which they ended. A line without its returns, or half a line, is dropped.

    Two writers of one folder need a lock.
    """

    def __init__(self, folder: Path, data: str):
        """Open or start the journal of a folder.

        Raises:
            MismatchError: it was written for other data.
            FormatError: its lines are damaged.
            WorkError: it cannot be written.
        """
        self.folder = folder
        self._lines, self._returns = folder / "runs.jsonl", folder / "returns.f8"
        for path in (self._lines, self._returns):
            check_regular(path)
        self.rows: list[dict[str, Any]] = []
        self.unchecked = 0
        """Number of rows without a checksum, which an earlier version wrote."""
        with writing(folder):
            self._load(data)
        self.keys = {row["key"] for row in self.rows}

    def append(self, row: Row) -> None:
        """Append one run: its returns first, then its line."""
        with writing(self.folder):
            content = np.ascontiguousarray(row.returns, dtype="<f8").tobytes()
            with open(self._returns, "ab") as returns:
                start = returns.tell()
                returns.write(content)
            line = {"key": row.key, "offset": start, "sessions": len(row.returns), **row.values}
            with open(self._lines, "ab") as lines:
                lines.write(_with_checksum(line, content))
        self.rows.append(line)
        self.keys.add(row.key)

    def returns(self, rows: Sequence[Mapping[str, Any]]) -> Float64 | None:
        """Return the daily returns of n rows, shape (n, sessions − 1); None if their sessions differ."""
        spans = {(row["first_session"], row["last_session"], row["sessions"]) for row in rows}
        if len(spans) != 1:
            return None
        ((_, _, width),) = spans
        stored = np.memmap(self._returns, dtype="<f8", mode="r")
        starts = np.array([row["offset"] // 8 for row in rows])
        return np.asarray(stored[starts[:, None] + np.arange(width)], dtype=np.float64)

    def _load(self, data: str) -> None:
        """Load the complete rows of an earlier sweep, or start the folder; a header without rows is replaced.

        Complete rows are not written again, so that a crash here loses nothing.
        """
        content = self._lines.read_bytes() if self._lines.is_file() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if len(lines) < 2:
            self._lines.write_bytes(_with_checksum({"data": data}, b""))
            self._returns.write_bytes(b"")
            return
        head, *rows = [self._parse(line, number) for number, line in enumerate(lines, start=1)]
        ends = self._ends(rows)
        size = self._returns.stat().st_size if self._returns.is_file() else 0
        complete = bisect_right(ends, size)
        self.rows = rows[:complete]
        self._check(lines[: complete + 1])
        if head.get("data") != data:
            raise MismatchError(
                f"{self.folder} holds a sweep of other prices, candidates or a different encoder; give a different "
                "folder, so that its trials are counted separately"
            )
        os.truncate(self._lines, sum(map(len, lines[: complete + 1])))
        with open(self._returns, "ab") as returns:
            returns.truncate(ends[complete - 1] if complete else 0)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        """Parse a line.

        Raises:
            FormatError: not a JSON object.
        """
        where = f"{self._lines}, line {number},"
        row = parse_json(line, where, fix=_AGAIN)
        if not isinstance(row, dict):
            raise FormatError(f"{where} holds a JSON {type(row).__name__}, expected an object; {_AGAIN}")
        row.pop("checksum", None)
        return row

    def _ends(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return where the returns of each row end, in bytes.

        Raises:
            FormatError: an invalid row, or one whose returns do not follow those of the row before.
        """
        ends: list[int] = []
        for number, row in enumerate(rows, start=2):
            if not _is_row(row) or row["offset"] != (ends[-1] if ends else 0):
                raise FormatError(
                    f"{self._lines}, line {number}, is not the run that follows line {number - 1}; {_AGAIN}"
                )
            ends.append(row["offset"] + 8 * row["sessions"])
        return ends

    def _check(self, lines: Sequence[bytes]) -> None:
        """Compare each line and its returns with its checksum; count the first lines, if they have none.

        The return and the Sharpe ratio of a line without a checksum are compared with its returns.

        Raises:
            FormatError: a line that was changed, or one without a checksum after one with a checksum.
        """
        returns = self._returns.read_bytes() if self._returns.is_file() else b""
        checked = False
        for number, (line, row) in enumerate(zip(lines, [None, *self.rows], strict=True), start=1):
            found = _CHECKSUM.search(line)
            checked = checked or found is not None
            start, count = (0, 0) if row is None else (row["offset"], 8 * row["sessions"])
            body, own = line[: found.start()] if found else line, returns[start : start + count]
            if checked and (found is None or found[1] != _checksum(body, own)):
                raise FormatError(
                    f"{self._lines}, line {number}, or its returns were changed: the checksum differs; {_AGAIN}"
                )
            if not checked and row is not None:
                if not _belong_together(row, np.frombuffer(own, dtype="<f8")):
                    raise FormatError(
                        f"{self._lines}, line {number}: its figures are not those of its returns; {_AGAIN}"
                    )
                self.unchecked += 1


def _with_checksum(line: Mapping[str, Any], returns: bytes) -> bytes:
    """Return a line of the journal."""
    body = json.dumps(line).encode()[:-1]
    return body + b', "checksum": "' + _checksum(body, returns) + b'"}\n'


def _checksum(body: bytes, returns: bytes) -> bytes:
    """Return the XXH3 of a line without its end, and of its returns."""
    hasher = xxhash.xxh3_64(body)
    hasher.update(returns)
    return hasher.hexdigest().encode()


def _belong_together(row: Mapping[str, Any], returns: Float64) -> bool:
    """Return whether the return and the Sharpe ratio of a row are those of its daily returns, up to rounding."""
    if not (np.isfinite(returns) & (returns >= -1.0) & (returns < _MOST_RETURN)).all():
        return False
    year = row.get("sessions_per_year", metrics.SESSIONS_PER_YEAR)
    found = {
        "total_return": float(np.prod(1.0 + returns) - 1.0),
        "sharpe": metrics.sharpe(returns, sessions_per_year=year),
    }
    recorded = {name: row[name] for name in found if row.get(name) is not None}
    return all(math.isclose(found[name], value, rel_tol=1e-6, abs_tol=1e-9) for name, value in recorded.items())


def _is_row(row: Mapping[str, Any]) -> bool:
    """Return whether a line has what every row has, with the right types."""
    counts = [row.get(name) for name in ("offset", "sessions")]
    figures = [row.get(name) for name in _FIGURES]
    texts = [row.get(name) for name in ("key", *_DAYS)]
    year = row.get("sessions_per_year", metrics.SESSIONS_PER_YEAR)
    return (
        isinstance(year, int)
        and 0 < year <= _MOST_SESSIONS
        and all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**48 for count in counts)
        and all(
            figure is None or (isinstance(figure, int | float) and not isinstance(figure, bool)) for figure in figures
        )
        and all(isinstance(text, str) for text in texts)
    )
