"""Journal of the runs of a folder, written as each run ends: complete after a crash, and never half a run.

`runs.jsonl` holds a line per run, `returns.f8` its daily returns in the same order.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64
from encash.atomic_write import writing
from encash.errors import FormatError, MismatchError
from encash.input_files import check_regular


@dataclass(frozen=True, kw_only=True)
class Row:
    """Settings, figures and returns of one run."""

    key: str
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
        with writing(folder):
            self._load(data)
        self.keys = {row["key"] for row in self.rows}

    def append(self, row: Row) -> None:
        """Append one run: its returns first, then its line."""
        with writing(self.folder):
            with open(self._returns, "ab") as returns:
                start = returns.tell()
                returns.write(np.ascontiguousarray(row.returns, dtype="<f8").tobytes())
            line = {"key": row.key, "offset": start, "sessions": len(row.returns), **row.values}
            with open(self._lines, "a") as lines:
                lines.write(json.dumps(line) + "\n")
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
        """Load the complete rows of an earlier sweep, or start the folder; a head without rows binds no later sweep.

        Complete rows are not written again, so that a crash here loses nothing.
        """
        content = self._lines.read_bytes() if self._lines.is_file() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if len(lines) < 2:
            self._lines.write_text(json.dumps({"data": data}) + "\n")
            self._returns.write_bytes(b"")
            return
        try:
            head, *rows = [json.loads(line) for line in lines]
        except ValueError:
            raise FormatError(f"{self._lines} is damaged; give a different folder, or remove this one") from None
        if head.get("data") != data:
            raise MismatchError(
                f"{self.folder} holds a sweep of other prices, candidates or a different encoder; give a different "
                "folder, so that its trials are counted separately"
            )
        ends = [row["offset"] + 8 * row["sessions"] for row in rows]
        size = self._returns.stat().st_size if self._returns.is_file() else 0
        complete = bisect_right(ends, size)
        self.rows = rows[:complete]
        os.truncate(self._lines, sum(map(len, lines[: complete + 1])))
        with open(self._returns, "ab") as returns:
            returns.truncate(ends[complete - 1] if complete else 0)
