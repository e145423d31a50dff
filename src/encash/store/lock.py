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

from encash.errors import ConflictError, WorkError

_POLL_SECONDS = 0.01


@contextmanager
def writer_lock(path: Path, *, timeout_seconds: float = 120.0) -> Iterator[None]:
    """Hold the lock file for the length of a block.

    Raises:
        ConflictError: another process held it for the whole timeout; the message names its process id.
        WorkError: the lock file cannot be made, in a read-only folder for instance.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise WorkError(f"{path.parent} cannot be written ({error.strerror}); nothing was changed") from None
    try:
        _wait(handle, path, timeout_seconds)
        with suppress(OSError):  # who holds it is a courtesy to those who wait; on a full disk they do without
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, timeout_seconds: float) -> None:
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
        raise ConflictError(
            f"{path.parent} is being written by process {holder} for more than {timeout_seconds:g} s; "
            "wait for it to end, then run this again"
        )
