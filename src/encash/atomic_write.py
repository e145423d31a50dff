"""Files and folders that are replaced atomically, and operating system errors as one clear error.

A writer fills a hidden file or folder beside the target and then exchanges the two names. The hidden one is locked
while its writer lives, so the next writer removes what a killed one left behind and nothing else. A symbolic link is
kept: what it points to is replaced.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from encash.errors import EncashError, WorkError
from encash.input_files import refuse_url

_ASIDE = ".old"
"""Ends the hidden name of a folder that is being replaced."""


@contextmanager
def whole_file(target: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Give a hidden file beside the target, to be filled in a block; it replaces the target when the block ends.

    If the block raises, or the machine fails, the target keeps its content. Missing folders are made.

    Args:
        target: the file, or a symbolic link to it.
        durable: fsync the file and its folder; False for files that are quickly made again.

    Raises:
        WorkError: the target cannot be written, or the disk is full.
    """

    def new_file(part: Path) -> int:
        if os.path.exists(target) and not os.path.isfile(target):
            raise IsADirectoryError
        return os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    with _hidden_part(target, new_file) as (path, part):
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)


def write_whole(path: str | os.PathLike[str], content: bytes) -> Path:
    """Replace a file by this content atomically, without fsync; missing folders are made.

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
    """Give a hidden folder beside the target, to be filled in a block; it replaces the target when the block ends.

    If the block raises or the process is killed, the target keeps its content. Nothing is fsynced. Two writers of one
    target need a lock.

    On Linux the two names are exchanged in one step (``RENAME_EXCHANGE``). A system or file system without it moves the
    old folder aside first; if the process is killed right then, the target is missing until the next writer, which
    restores it before anything else.

    Args:
        target: the folder, or a symbolic link to it.

    Raises:
        WorkError: the target cannot be written, or the disk is full.
    """

    def new_folder(part: Path) -> int:
        part.mkdir()
        return os.open(part, os.O_RDONLY)

    with _hidden_part(target, new_folder) as (path, part):
        yield part
        if not path.exists():
            part.rename(path)
        elif not path.is_dir():
            raise NotADirectoryError
        elif not _exchange(part, path):
            _replace_by_two_renames(part, path)


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and its missing parents.

    Returns:
        Its path.

    Raises:
        WorkError: it cannot be made, or a file has its name.
    """
    path = Path(folder)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that could not be made or written, before the work whose result goes there; make nothing.

    Raises:
        WorkError: a file has its name, or it is read-only.
    """
    path = Path(folder)
    with writing(path):
        existing = next(one for one in (path, *path.parents) if one.exists())
        if not existing.is_dir():
            raise NotADirectoryError
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{existing} is read-only")


class PatientFile(io.FileIO):
    """A new file for a library that crashes when a write fails: writes always seem to succeed, and `check` raises.

    When a disk is full, HDF5 leaves its own structures half freed and takes the process down with it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Make the file, or empty it.

        Raises:
            OSError: it cannot be made.
        """
        super().__init__(path, "w+")
        self._first_error: OSError | None = None

    def check(self) -> None:
        """Raise the error of the first write that failed.

        Raises:
            OSError: a write failed; the file is incomplete.
        """
        if self._first_error is not None:
            raise self._first_error

    def write(self, content: Any) -> int:
        """Write all of it; an error is kept for `check`."""
        left = memoryview(content).cast("B")
        size = len(left)
        with self._deferred_errors():
            while left:
                left = left[super().write(left) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file; an error is kept for `check`."""
        size = self.tell() if size is None else size
        with self._deferred_errors():
            super().truncate(size)
        return size

    @contextmanager
    def _deferred_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._first_error = self._first_error or error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any `OSError` in a block that writes into one clear error; encash's own errors pass unchanged.

    Raises:
        WorkError: the path that could not be written, the reason, and how to fix it.
    """
    try:
        yield
    except EncashError:
        raise
    except OSError as error:
        raise WorkError(
            f"{os.fspath(path)} could not be written: {_reason(error)}; what was there is kept: free disk "
            "space, or give a path that can be written"
        ) from error


def sync(path: Path) -> None:
    """Call fsync on a file, or on the list of names in a folder."""
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
            return "it is not a regular file"
    return error.strerror or str(error)


@contextmanager
def _hidden_part(target: str | os.PathLike[str], make: Callable[[Path], int]) -> Iterator[tuple[Path, Path]]:
    """Give the real path of a target and a new, locked part beside it; `make` makes the part and opens it."""
    refuse_url(target)
    with writing(target):
        path = Path(os.path.realpath(target))
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean_up(path)
        part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        handle = make(part)
        try:
            with suppress(OSError):  # some file systems have no locks: then leftovers stay
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield path, part
        finally:
            _remove(part)
            os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False if the system or the file system cannot do that."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _replace_by_two_renames(part: Path, path: Path) -> None:
    aside = part.with_suffix(_ASIDE)
    path.rename(aside)
    try:
        part.rename(path)
    except OSError:
        aside.rename(path)
        raise
    _remove(aside)


def _clean_up(path: Path) -> None:
    """Restore a target that a killed writer had moved aside, and remove the parts of killed writers."""
    pattern = f".{glob.escape(path.name)}.*"
    for aside in path.parent.glob(pattern + _ASIDE):
        if path.exists():
            _remove(aside)
        else:
            aside.rename(path)
    for part in path.parent.glob(pattern + ".part"):
        with suppress(OSError):  # a living writer holds the lock, or there are no locks
            handle = os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(part)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    """Remove a file or a folder as far as possible."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
