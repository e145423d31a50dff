"""Progress on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from encash.progress import Progress, rate_text

_ERASE = "\r\x1b[2K"
_SILENT_SECONDS = 1.0
"""After so long without a new text, a live line shows that time passes."""
_LIVE_PAUSE, _PLAIN_PAUSE = 0.1, 10.0
"""Seconds between two texts on a terminal, and between two lines elsewhere."""
_PACE_SECONDS = 30.0
"""The rate that predicts the remaining time is that of the last seconds."""
_FEWEST_POINTS, _LEAST_PART = 4, 0.2
"""Evidence for a remaining time: that many points in time, or that part of the work."""


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


def cut_to(text: str, columns: int) -> str:
    """Cut a text to a width, in which East Asian characters take two columns and combining ones none.

    >>> cut_to("encoding", 8), cut_to("encoding", 7), cut_to("日本株", 5)
    ('encoding', 'encodi…', '日本…')
    """
    widths = [0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text]
    if sum(widths) <= columns:
        return text
    kept = used = 0
    while used + widths[kept] < columns:
        used += widths[kept]
        kept += 1
    return text[:kept] + "…"


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can redraw a line."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int:
    """Return the width of a terminal; 80 if it does not say, as some that programs simulate."""
    with suppress(OSError, ValueError):
        if columns := os.get_terminal_size(stream.fileno()).columns:
            return columns
    return shutil.get_terminal_size().columns


class LiveLine:
    """The line of a terminal that is redrawn in place, never longer than the terminal is wide.

    While nothing new is drawn, a thread shows the last text, or the title, and how long the line has existed.
    """

    def __init__(self, stream: TextIO, title: str = ""):
        self._stream, self._title = stream, title
        self._text, self._shown = title, False
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._began = self._drawn = time.perf_counter()
        if title:
            threading.Thread(target=self._show_time, name="encash-live", daemon=True).start()

    def draw(self, text: str) -> None:
        """Replace the text."""
        with self._lock:
            self._text = text
            self._write(text)

    def clear(self) -> None:
        """Erase the line, so that something else can be printed there."""
        with self._lock:
            self._erase()
            self._text, self._drawn = self._title, time.perf_counter()

    def close(self) -> None:
        """Erase the line for good."""
        self._closed.set()
        self.clear()

    def _erase(self) -> None:
        if self._shown:
            self._stream.write(_ERASE)
            self._stream.flush()
        self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(_ERASE + cut_to(text, _columns(self._stream) - 1))
        self._stream.flush()
        self._shown, self._drawn = True, time.perf_counter()

    def _show_time(self) -> None:
        while not self._closed.wait(_SILENT_SECONDS / 4):
            with self._lock:
                now = time.perf_counter()
                if now - self._drawn >= _SILENT_SECONDS and not self._closed.is_set():
                    self._write(f"{self._text}  ({clock(now - self._began)})")


class Bar:
    """One line of progress: work done, rate, remaining time, bytes written.

    Nothing is shown in the first half second, nor of work that by its rate takes less than two. The remaining time
    follows from the last 30 seconds, and is shown once there is enough to tell it from.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        *,
        quiet: bool = False,
        line: LiveLine | None = None,
        stream: TextIO,
        written: Callable[[], int] | None = None,
    ):
        self._title, self._unit, self._quiet, self._written = title, unit, quiet, written
        self._stream = stream
        self._line = line or (LiveLine(stream) if is_live(stream) else None)
        self._began = self._drawn = time.monotonic()
        self._shown = False
        self._points = deque([(self._began, 0)])  # when the number of units done changed
        self._is_begun = False
        self.done = 0
        """Units done."""

    def __call__(self, done: int, total: int) -> None:
        """Report `done` of `total` units; a smaller `done` than before, or a first one of 0, starts a piece of work."""
        now = time.monotonic()
        if done < self.done or (not done and len(self._points) == 1 and not self._is_begun):
            self._began = now
            self._points = deque([(now, done)])
        self._is_begun, self.done = True, done
        if done > self._points[-1][1]:
            self._points.append((now, done))
        if self._quiet or self._too_soon(now, done, total):
            return
        self._drawn, self._shown = now, True
        text = self._text(now, done, total)
        if self._line is not None:
            self._line.draw(text)
        else:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def close(self) -> None:
        """Erase the live line."""
        if self._line is not None and self._shown:
            self._line.clear()

    def _text(self, now: float, done: int, total: int) -> str:
        parts = [self._title, f"{done:,} of {total:,} {self._unit}"]
        if done:
            pace, is_known = self._pace(now, done, total)
            parts.append(f"{rate_text(pace)}/s")
            parts += [f"{clock((total - done) / pace)} left"] if is_known else []
        if self._written is not None:
            parts.append(f"{self._written() / 2**20:,.1f} MiB written")
        return "  ".join(parts)

    def _pace(self, now: float, done: int, total: int) -> tuple[float, bool]:
        """Return units per second, and whether the remaining time follows from them.

        The longest pause between two points does not count: a first step may take as long as a hundred later ones.
        """
        while len(self._points) > _FEWEST_POINTS and self._points[1][0] < now - _PACE_SECONDS:
            self._points.popleft()
        steps = [(later[0] - one[0], later[1] - one[1]) for one, later in pairwise([*self._points, (now, done)])]
        longest = max(steps)
        seconds, units = now - self._points[0][0] - longest[0], done - self._points[0][1] - longest[1]
        if len(self._points) >= _FEWEST_POINTS and seconds >= 1.0 and units:
            return units / seconds, True
        return done / max(now - self._began, 1e-9), done >= _LEAST_PART * total

    def _too_soon(self, now: float, done: int, total: int) -> bool:
        """Return True if the work is too short for a line, or the last line too recent for a new one."""
        elapsed = now - self._began
        if elapsed < 0.5 or (not self._shown and elapsed * total < 2.0 * done):
            return True
        pause = _LIVE_PAUSE if self._line is not None else _PLAIN_PAUSE
        return now - self._drawn < pause and (self._shown or self._line is None)


def progress_bars(title: str, unit: str) -> AbstractContextManager[Progress | None]:
    """Show progress on stderr in a terminal or a notebook, and none in a program."""
    if is_live(sys.stderr) or "ipykernel" in sys.modules:
        return closing(Bar(title, unit, stream=sys.stderr))
    return nullcontext()
