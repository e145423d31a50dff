"""What is written down of each run of a folder, as it ends: there after a crash, and never half. Knows rows and their
files; nothing of what a run is.

`runs.jsonl` holds a line a run, `returns.f8` its daily returns in the same order.
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is written down of one run."""

    key: str
    values: dict[str, Any]
    returns: Float64
    """Daily net returns, shape (sessions − 1,)."""


class Journal:
    """The runs of a folder as they came. A line without its returns, or half a line, is forgotten.

    Two writers of one folder need a lock.
    """

    def __init__(self, folder: Path, data: str):
        """Open or begin the journal of a folder.

        Raises:
            MismatchError: it belongs to other data.
            FormatError: its lines are damaged.
            WorkError: it cannot be written.
        """
        self.folder = folder
        self._lines, self._returns = folder / "runs.jsonl", folder / "returns.f8"
        self.rows: list[dict[str, Any]] = []
        with writing(folder):
            self._load(data)
        self.keys = {row["key"] for row in self.rows}

    def append(self, row: Row) -> None:
        """Keep one run: its returns first, then its line."""
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
        """Daily returns of some rows, shape (n, sessions − 1); None where they are not of the same sessions."""
        spans = {(row["first_session"], row["last_session"], row["sessions"]) for row in rows}
        if len(spans) != 1:
            return None
        ((_, _, width),) = spans
        stored = np.memmap(self._returns, dtype="<f8", mode="r")
        starts = np.array([row["offset"] // 8 for row in rows])
        return np.asarray(stored[starts[:, None] + np.arange(width)], dtype=np.float64)

    def _load(self, data: str) -> None:
        """The whole rows of an earlier sweep; begins the folder where there is none. What is whole is not written
        again: whoever is killed here loses nothing."""
        content = self._lines.read_bytes() if self._lines.is_file() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if not lines:
            self._lines.write_text(json.dumps({"data": data}) + "\n")
            self._returns.write_bytes(b"")
            return
        try:
            head, *rows = [json.loads(line) for line in lines]
        except ValueError:
            raise FormatError(f"{self._lines} is damaged; give another folder, or remove this one") from None
        if head.get("data") != data:
            raise MismatchError(
                f"{self.folder} holds a sweep of other prices, candidates or another encoder; give another folder, "
                "so that its trials are counted apart"
            )
        ends = [row["offset"] + 8 * row["sessions"] for row in rows]
        size = self._returns.stat().st_size if self._returns.is_file() else 0
        whole = bisect_right(ends, size)
        self.rows = rows[:whole]
        os.truncate(self._lines, sum(map(len, lines[: whole + 1])))
        with open(self._returns, "ab") as returns:
            returns.truncate(ends[whole - 1] if whole else 0)
