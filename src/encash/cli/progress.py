"""Progress on stderr: a live bar on a terminal, plain lines elsewhere. Knows units and clocks, not what is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def clock(seconds: float) -> str:
    """A duration as people write it.

    >>> clock(75), clock(3.2), clock(7500)
    ('1:15', '3 s', '2:05:00')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bytes_below(path: str) -> int:
    """What lies in a folder; 0 where there is none."""
    return sum(os.path.getsize(entry) for entry in Path(path).rglob("*") if entry.is_file())


class Bar:
    """One line of progress: share done, rate, remaining time, bytes written. Nothing in the first half second.

    On a terminal the line is drawn anew; elsewhere a plain line is written about every ten seconds.
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
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        """Report `done` of `total` units; counting that begins again is another piece of work."""
        now = time.monotonic()
        if done < self._done:
            self._began = now
        self._done = done
        pause = 0.1 if self._live else 10.0
        if self._quiet or now - self._began < 0.5 or (now - self._drawn < pause and (self._shown or not self._live)):
            return
        self._drawn, self._shown = now, True
        rate = done / (now - self._began)
        left = clock((total - done) / rate) if rate else "?"
        text = f"{self._title}  {done:,} of {total:,} {self._unit}  {rate:,.0f}/s  {left} left"
        if self._written is not None:
            text += f"  {self._written() / 2**20:,.1f} MiB written"
        self._stream.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clear the live line."""
        if self._shown and self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
