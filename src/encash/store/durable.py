"""Waiting until a commit is on the disk and not only in the memory of the machine: Lance does not.
Knows the folders of a Lance dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; Lance itself does not."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_data(location: str, added: list[Any], deletions: bool) -> None:
    """The new files of a commit on the disk, before the commit names them."""
    for fragment in added:
        for file in fragment.files:
            sync(Path(location, "data", file.path))
    sync(Path(location, "data"))
    if deletions:
        folder = Path(location, "_deletions")
        newest = max(entry.stat().st_mtime_ns for entry in os.scandir(folder))
        for entry in os.scandir(folder):
            if entry.stat().st_mtime_ns >= newest - 60_000_000_000:
                sync(Path(entry.path))
        sync(folder)


def sync_commit(location: str, version: int) -> None:
    """The commit itself on the disk."""
    if "://" in location:
        return
    folder = Path(location, "_versions")
    for name in (f"{(1 << 64) - 1 - version}.manifest", f"{version}.manifest"):
        if (folder / name).exists():
            sync(folder / name)
    sync(folder)
    sync(Path(location))
