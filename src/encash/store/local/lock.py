"""One writer at a time on one machine. Knows a lock file; nothing of what it guards.

The lock is the kernel's (`flock`): it goes when its process goes, however it goes, so a killed writer locks out nobody.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encash.atomic_write import make_folder, writing
from encash.errors import ConflictError, WorkError

_POLL_SECONDS = 0.01


@contextmanager
def writer_lock(path: Path, *, timeout_seconds: float = 120.0, work: str = "") -> Iterator[None]:
    """Hold the lock file for the length of a block.

    Args:
        path: the lock file.
        timeout_seconds: how long to wait for it; 0 asks once.
        work: what it is held for, in a word for the message.

    Raises:
        ConflictError: another process held it for the whole timeout; the message names its process id.
        WorkError: the lock file cannot be made, in a read-only folder for instance, or the disk knows no locks.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise WorkError(f"{path.parent} cannot be written ({error.strerror}); nothing was changed") from None
    try:
        with writing(path):
            _wait(handle, path, timeout_seconds, work)
        with suppress(OSError):  # who holds it is a courtesy to those who wait; on a full disk they do without
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def sole_writer(folder: Path, work: str) -> Iterator[None]:
    """Make a folder and hold it for one piece of work of its kind; whoever comes second is refused at once.

    For work that takes long and would be done twice: its results are the same, or trample on each other.

    Args:
        folder: where the work writes.
        work: its kind in a word, such as sweep.

    Raises:
        ConflictError: another process does such work there; the message names its process id.
        WorkError: the folder cannot be made or written.
    """
    with writer_lock(make_folder(folder) / f".{work}.lock", timeout_seconds=0.0, work=work):
        yield


def _wait(handle: int, path: Path, timeout_seconds: float, work: str) -> None:
    """Try until the lock is ours or the time is over."""
    until = time.monotonic() + timeout_seconds
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
                continue
        holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
        who = f"another {work}, process {holder}" if work else f"process {holder}"
        since = f" for more than {timeout_seconds:g} s" if timeout_seconds else ""
        raise ConflictError(f"{path.parent} is being written by {who}{since}; wait for it to end, then run this again")
