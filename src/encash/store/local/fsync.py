"""Waiting until files are on the disk and not only in the machine's memory. Knows files; nothing of what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

from encash.atomic_write import sync

_LOOK_SECONDS = 0.005


def sync_files(root: Path, names: Iterable[str]) -> None:
    """Wait until these files below a folder, and their places in it, are on the disk."""
    paths = [root / name for name in names]
    for path in [*paths, *sorted({path.parent for path in paths})]:
        sync(path)


@contextmanager
def syncing(folder: Path) -> Iterator[None]:
    """Send what is being written to new files of a folder to the disk meanwhile, so that `sync` has little to wait for.

    Raises:
        OSError: the disk refused something. The system tells that once: a later `sync` might not hear of it.
    """
    known, done = _names(folder), Event()
    with ThreadPoolExecutor(1, thread_name_prefix="encash-sync") as pool:
        following = pool.submit(_follow, folder, known, done)
        try:
            yield
        finally:
            done.set()
        following.result()


def _follow(folder: Path, known: set[str], done: Event) -> None:
    """Sync the files of a folder that were not known, again and again."""
    with ExitStack() as closing:
        handles: list[int] = []
        while not done.wait(_LOOK_SECONDS):
            for name in _names(folder) - known:
                known.add(name)
                with suppress(FileNotFoundError):  # renamed at this moment: it appears under its other name
                    handles.append(os.open(folder / name, os.O_RDONLY))
                    closing.callback(os.close, handles[-1])
            for handle in handles:
                os.fdatasync(handle)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
