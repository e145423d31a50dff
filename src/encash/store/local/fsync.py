"""Make files durable with fsync."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

from encash.atomic_write import sync

_POLL_SECONDS = 0.005


def sync_files(root: Path, names: Iterable[str]) -> None:
    """Call fsync on these files below a folder, and on the folders that they are in."""
    paths = [root / name for name in names]
    for path in [*paths, *sorted({path.parent for path in paths})]:
        sync(path)


@contextmanager
def syncing(folder: Path) -> Iterator[None]:
    """Flush new files of a folder to the disk while they are written, so that a later `sync` has little to wait for.

    Raises:
        OSError: a flush failed. The system reports that only once: a later `sync` might succeed.
    """
    known, done = _names(folder), Event()
    with ThreadPoolExecutor(1, thread_name_prefix="encash-sync") as pool:
        flushing = pool.submit(_flush_new, folder, known, done)
        try:
            yield
        finally:
            done.set()
        flushing.result()


def _flush_new(folder: Path, known: set[str], done: Event) -> None:
    """Flush the files of a folder that were not known, repeatedly until done."""
    with ExitStack() as closing:
        handles: list[int] = []
        while not done.wait(_POLL_SECONDS):
            for name in _names(folder) - known:
                known.add(name)
                with suppress(FileNotFoundError):  # just renamed: it appears under its new name
                    handles.append(os.open(folder / name, os.O_RDONLY))
                    closing.callback(os.close, handles[-1])
            for handle in handles:
                os.fdatasync(handle)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
