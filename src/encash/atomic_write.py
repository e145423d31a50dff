"""Files and folders that appear whole or not at all, and what the system says against them in our words. Knows names
and bytes; nothing of what is written.

A writer fills a hidden file beside the target and renames it. The hidden file is locked while its writer lives, so the
next one can tell what a killed writer left behind from what a living one is filling, and takes the first away.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from encash.errors import EncashError, WorkError


@contextmanager
def whole_file(target: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A hidden file beside the target, to be filled in a block; it takes the target's place when the block ends well.

    If the block fails, or the machine does, what the target held before is still there. The folder is made.

    Args:
        target: the file.
        durable: wait until it is on the disk; False for what is quickly made again.

    Raises:
        WorkError: the place cannot be written, or the disk refused.
    """
    path = Path(target)
    with writing(path):
        if path.exists() and not path.is_file():
            raise IsADirectoryError
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with suppress(OSError):  # some disks know no locks: what is left behind stays there
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield part
            if durable:
                sync(part)
            part.replace(path)
            if durable:
                sync(path.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            os.close(handle)


def write_whole(path: str | os.PathLike[str], content: bytes) -> Path:
    """Replace a file by this content, whole or not at all; its folder is made if it is not there.

    Returns:
        The path.

    Raises:
        WorkError: as `whole_file`.
    """
    with whole_file(path, durable=False) as part:
        part.write_bytes(content)
    return Path(path)


@contextmanager
def whole_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden folder beside the target, to be filled in a block; it takes the target's place when the block ends well.

    After an error nothing is left of it. Two writers of one place need a lock.

    Raises:
        WorkError: the place cannot be written, or the disk refused.
    """
    path = Path(target)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        part.mkdir()
        try:
            yield part
            shutil.rmtree(path, ignore_errors=True)
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and those above it, where they are not there.

    Returns:
        Its path.

    Raises:
        WorkError: it cannot be made, or a file stands in its place.
    """
    path = Path(folder)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that could not be made or written, before the work whose result is to lie in it; makes nothing.

    Raises:
        WorkError: a file stands in its place, or nobody may write there.
    """
    path = Path(folder)
    with writing(path):
        there = next(one for one in (path, *path.parents) if one.exists())
        if not there.is_dir():
            raise NotADirectoryError
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{there} is read-only")


class PatientFile(io.FileIO):
    """A new file for a library that cannot bear a write that fails: it is told of none, and `check` tells us.

    HDF5 leaves its own structures half freed when a disk is full, and takes the process down with it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Make the file, or empty it.

        Raises:
            OSError: it cannot be made.
        """
        super().__init__(path, "w+")
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise what the system said against the first write that it refused.

        Raises:
            OSError: it refused one; the file is worth nothing.
        """
        if self._refusal is not None:
            raise self._refusal

    def write(self, content: Any) -> int:
        """Write all of it; a refusal is kept for `check`."""
        left = memoryview(content).cast("B")
        size = len(left)
        with self._refusals():
            while left:
                left = left[super().write(left) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file; a refusal is kept for `check`."""
        size = self.tell() if size is None else size
        with self._refusals():
            super().truncate(size)
        return size

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._refusal = self._refusal or error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system says against writing in a block into one clear error; our own errors pass.

    Raises:
        WorkError: what could not be written, why, and how to mend it.
    """
    try:
        yield
    except EncashError:
        raise
    except OSError as error:
        raise WorkError(
            f"{os.fspath(path)} could not be written: {_reason(error)}; what was there is kept: make room, or give "
            "a place that can be written"
        ) from error


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    match error:
        case FileExistsError() | NotADirectoryError():
            return "a file stands where a folder is needed"
        case IsADirectoryError():
            return "what stands there is no plain file"
    return error.strerror or str(error)


def _remove_leftovers(path: Path) -> None:
    """Hidden files of writers that are dead: their locks went with them."""
    for leftover in path.parent.glob(f".{_literal(path.name)}.*.part"):
        with suppress(FileNotFoundError):
            handle = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            except OSError:  # somebody is filling it, or nobody can tell
                continue
            finally:
                os.close(handle)


def _literal(text: str) -> str:
    """The text as a glob pattern that means itself.

    >>> _literal("a[1].h5")
    'a[[]1].h5'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
