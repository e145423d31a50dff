"""Allow one writer at a time on one machine, with a lock file.

The kernel releases the lock (`flock`) when its process ends, even if killed, so a dead writer never blocks another.
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
        timeout_seconds: how long to wait for it; 0 tries once.
        work: kind of work in one word, for the message.

    Raises:
        ConflictError: a different process held it for the whole timeout; the message names its process id.
        WorkError: the lock file cannot be created, in a read-only folder for example, or the file system has no locks.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise WorkError(f"{path.parent} cannot be written ({error.strerror}); nothing was changed") from None
    try:
        with writing(path):
            _wait(handle, path, timeout_seconds, work)
        if not path.exists() or not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise ConflictError(f"a {work or 'process'} that wrote to {path.parent} has just ended; run this again")
        with suppress(OSError):  # the process id is only for messages; a full disk is not an error here
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def file_writer(target: Path, work: str) -> Iterator[None]:
    """Lock one file for one kind of work with a lock file beside it, which is deleted in the end.

    Raises:
        ConflictError: a different process does this work; the message names its process id.
        WorkError: the folder cannot be created or written.
    """
    lock = make_folder(target.absolute().parent) / f".{target.name}.lock"
    with writer_lock(lock, timeout_seconds=0.0, work=work):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def sole_writer(folder: Path, work: str) -> Iterator[None]:
    """Make a folder and lock it for one kind of work; a second process that tries is refused at once.

    For long work that must not run twice at the same time: the results would be the same, or overwrite each other.

    Args:
        folder: where the work writes.
        work: its kind in one word, such as sweep.

    Raises:
        ConflictError: a different process does this work there; the message names its process id.
        WorkError: the folder cannot be created or written.
    """
    with writer_lock(make_folder(folder) / f".{work}.lock", timeout_seconds=0.0, work=work):
        yield


def _wait(handle: int, path: Path, timeout_seconds: float, work: str) -> None:
    """Poll until the lock is acquired or the timeout is over."""
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
