"""The line of a stopped command about what it keeps: read from the disk after the stop, so that it is true."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encash import cache


@contextmanager
def entries_kept(*places: str) -> Iterator[None]:
    """Say at Ctrl-C how many entries the first of these caches that exists holds, unless the work has said it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop) or _entries(places)) from None


@contextmanager
def files_kept(*paths: Path) -> Iterator[None]:
    """Say at Ctrl-C which of the files that a command writes it has replaced."""
    before = {path: _state(path) for path in paths}
    try:
        yield
    except KeyboardInterrupt as stop:
        written = [str(path) for path in paths if _state(path) != before[path]]
        left = f"of {len(paths)} files only {', '.join(written)} was written"
        if not written:
            left = "nothing was written"
        elif len(written) == len(paths):
            left = f"{', '.join(written)} is complete"
        raise KeyboardInterrupt(str(stop) or f"{left}: the same command starts again") from None


def _entries(places: tuple[str, ...]) -> str:
    for place in places:
        if (found := cache.open_cache(place)).exists:
            return f"{place} holds {found.index().entries:,} entries: the same command resumes"
    return f"{places[-1]} was not created: the same command starts again"


def _state(path: Path) -> tuple[int, int] | None:
    """Return what differs after a file was replaced or written; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
