"""Files that appear whole or not at all. Knows one folder; nothing of what is written.

A writer fills a hidden file beside the target and renames it. The hidden file is locked while its writer lives, so the
next run can tell what a killed one left behind from what a living one is filling, and takes the first away.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encash.errors import WorkError
from encash.store.durable import sync


@contextmanager
def whole_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden file beside the target, to be filled in a block; it takes the target's place when the block ends well.

    If the block fails, or the machine does, what the target held before is still there.

    Raises:
        WorkError: the folder cannot be written.
    """
    path = Path(target)
    prefix = f".{path.name}."
    try:
        _remove_leftovers(path.parent, prefix)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    except OSError as error:
        raise WorkError(f"{path} cannot be written: {error.strerror}; nothing was changed") from None
    part = Path(name)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield part
        sync(part)
        part.chmod(0o666 & ~_umask())
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise WorkError(f"{path} could not be written: {error.strerror or error}; what was there is kept") from None
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _remove_leftovers(folder: Path, prefix: str) -> None:
    """Hidden files of writers that are dead: their locks went with them."""
    for leftover in folder.glob(f"{_literal(prefix)}*.part"):
        with suppress(FileNotFoundError):
            handle = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            except BlockingIOError:
                continue
            finally:
                os.close(handle)


def _literal(text: str) -> str:
    """The text as a glob pattern that means itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
