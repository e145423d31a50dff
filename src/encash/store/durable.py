"""Waiting until files are on the disk and not only in the machine's memory. Knows files; nothing of what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(root: Path, names: Iterable[str]) -> None:
    """Wait until these files below a folder, and their places in it, are on the disk."""
    paths = [root / name for name in names]
    for path in [*paths, *sorted({path.parent for path in paths})]:
        sync(path)
