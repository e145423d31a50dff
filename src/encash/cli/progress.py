"""Progress on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from encash.progress import rate_text


def clock(seconds: float) -> str:
    """Format a duration.

    >>> clock(75), clock(3.2), clock(7500)
    ('1:15', '3 s', '2:05:00')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bytes_below(path: str) -> int:
    """Return the size of all files in a folder; 0 if it does not exist."""
    return sum(os.path.getsize(entry) for entry in Path(path).rglob("*") if entry.is_file())


class Bar:
    """One line of progress: fraction done, rate, remaining time, bytes written.

    Nothing is shown in the first half second, nor of work that by its rate takes less than two. On a terminal the line
    is redrawn; elsewhere a plain line is written about every ten seconds.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        written: Callable[[], int] | None = None,
    ):
        self._title, self._unit, self._quiet, self._written = title, unit, quiet, written
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._began = self._drawn = time.monotonic()
        self._shown = False
        self._done = 1  # above 0: a first report of 0, after loading a model for example, starts the clock

    def __call__(self, done: int, total: int) -> None:
        """Report `done` of `total` units; a smaller `done` than before starts a new piece of work."""
        now = time.monotonic()
        if done < self._done:
            self._began = now
        self._done = done
        elapsed = now - self._began
        left = (total - done) * elapsed / done if done else math.inf
        if self._quiet or self._too_soon(now, elapsed, left):
            return
        self._drawn, self._shown = now, True
        rate, remaining = rate_text(done / elapsed), clock(left) if done else "?"
        text = f"{self._title}  {done:,} of {total:,} {self._unit}  {rate}/s  {remaining} left"
        if self._written is not None:
            text += f"  {self._written() / 2**20:,.1f} MiB written"
        self._stream.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def _too_soon(self, now: float, elapsed: float, left: float) -> bool:
        """Return True if the work is too short for a line, or the last line too recent for a new one."""
        if elapsed < 0.5 or (not self._shown and elapsed + left < 2.0):
            return True
        pause = 0.1 if self._live else 10.0
        return now - self._drawn < pause and (self._shown or not self._live)

    def close(self) -> None:
        """Clear the live line."""
        if self._shown and self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
