"""Local copies of files at URLs. What reads files reads the copy; messages name the URL.

A copy is in the folder `copies_folder`, below the hash of its URL and the hash of what its server announced, under its
own name. It is put there whole, so what has that name is the file, and a file that changed has a different one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from encash.atomic_write import whole_file, writing
from encash.errors import InputError, MismatchError, WorkError
from encash.input_files import check_url, is_url, path_or_url, refuse_url
from encash.live_progress import progress_bars
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.remote_stores import Announced, RemoteFile

FOLDER = "ENCASH_COPIES"
"""Environment variable that names the folder of copies."""
T = TypeVar("T")
Bars = Callable[[str, str], AbstractContextManager[Progress | None]]
"""Returns a progress bar of a title and a unit."""
_TRIES = 5
"""Requests in a row that fail and bring nothing before a file is given up."""
_PAUSE_SECONDS = 0.1
"""After the first failure; twice as long after each further one."""
_UNKNOWN = "unknown"
"""In place of the hash of a version, if the server names none: such a copy is not used again."""
_OTHER_DAYS, _UNUSED_DAYS = 1, 30
"""A copy is removed that was not used so long: of an earlier version of a file, and of any file."""
_OURS = re.compile("[0-9a-f]{64}")


class PinnedUrl(str):
    """A URL with the version of its file; a process that it is sent to reads the same content, or refuses."""

    version: str


@dataclass
class _Command:
    """Copies that a command has looked up: it reads one version of each file."""

    bars: Bars
    seen: dict[str, tuple[Path, str]] = field(default_factory=dict)


_command: _Command | None = None


@contextmanager
def one_version(bars: Bars) -> Iterator[None]:
    """Ask once for each URL in a block, which is one command, and show progress with these bars."""
    global _command  # noqa: PLW0603 - a command is a process
    before, _command = _command, _Command(bars)
    try:
        yield
    finally:
        _command = before


def copies_folder() -> Path:
    """Return the folder of copies: `ENCASH_COPIES`, else ``encash/copies`` in the user's folder of caches.

    Raises:
        InputError: the user has no home folder.
    """
    if named := os.environ.get(FOLDER):
        return Path(named).absolute()
    caches = os.environ.get("XDG_CACHE_HOME", "")
    caches = caches if os.path.isabs(caches) else os.path.expanduser("~/.cache")
    if not os.path.isabs(caches):
        raise InputError(f"this user has no home folder for copies of files at URLs; set {FOLDER} to a folder")
    return Path(caches, "encash", "copies")


def local_copy(path: str | os.PathLike[str]) -> Path:
    """Return a path as it is, and for a URL the path of a local copy, which is fetched if there is none of its version.

    Raises:
        InputError: a URL with what may be secret, or one that lost a slash as a `Path`.
        MissingFileError, AccessError: the server has no such file, or does not give it.
        MissingExtraError: the package that reads this scheme is not installed.
        MismatchError: a `PinnedUrl` whose file has changed.
        WorkError: it could not be fetched whole.
    """
    where = path_or_url(path if isinstance(path, str) else Path(path))
    if isinstance(where, Path):
        refuse_url(where)
        return where
    return _look_up(where)[0]


def pinned(path: str | Path) -> str | Path:
    """Return a URL with the version that its file has now, and a path as an absolute one."""
    where = path_or_url(path)
    if isinstance(where, Path):
        return where.absolute()
    if isinstance(where, PinnedUrl):
        return where
    found = PinnedUrl(where)
    found.version = _look_up(where)[1]
    return found


def is_there(path: str | Path) -> bool:
    """Return whether a file is there; that of a URL counts as there."""
    return is_url(str(path)) or Path(path).exists()


def _look_up(url: str) -> tuple[Path, str]:
    """Return the path of a copy, and the version that it has."""
    key = str(url)
    version = url.version if isinstance(url, PinnedUrl) else None
    if _command is None:
        return _find(key, version, progress_bars)
    found = _command.seen.get(key)
    if found is None or version not in (None, found[1]):
        found = _command.seen[key] = _find(key, version, _command.bars)
    return found


def _find(url: str, version: str | None, bars: Bars) -> tuple[Path, str]:
    check_url(url)
    folder = copies_folder() / _hash(url)
    if version is not None and (path := folder / version / _name(url)).is_file():
        return _used(path), version
    from encash.remote_stores import open_remote  # noqa: PLC0415 - local files need none of it

    remote = _patiently(url, lambda: open_remote(url))
    announced = _patiently(url, remote.announced)
    known = _hash(f"{announced.size} {announced.version}") if announced.version and announced.settled else _UNKNOWN
    if known != _UNKNOWN and version not in (None, known):
        raise _changed(url)
    path = folder / known / _name(url)
    if known == _UNKNOWN or not path.is_file():
        with _storing(url), _lock(folder):
            if known == _UNKNOWN or not path.is_file():
                _check_space(url, announced.size, folder)
                _fetch(url, remote, announced, path, bars)
                _remove_old(folder)
    if known == _UNKNOWN and version not in (None, known := _digest(path)):
        raise _changed(url)
    return _used(path), known


def _fetch(url: str, remote: RemoteFile, announced: Announced, path: Path, bars: Bars) -> None:
    """Fetch a file to a path, whole or not at all; a request that fails is repeated from the byte that came last.

    Raises:
        WorkError: it fails too often, the file changes meanwhile, or the disk is full.
    """
    from encash.remote_stores import ChangedError, PassingError  # noqa: PLC0415 - local files need none of it

    with bars(f"fetching {url}", "MiB") as progress, whole_file(path) as part, part.open("wb") as file:
        failures = 0
        while True:
            before, why = file.tell(), "it ended early"
            try:
                for block in remote.blocks(before, announced):
                    file.write(block)
                    if progress is not None:
                        progress(-(-file.tell() // 2**20), -(-announced.size // 2**20))
                if file.tell() == announced.size:
                    break
            except ChangedError:
                raise _changed(url) from None
            except PassingError as error:
                why = str(error)
            if file.tell() > announced.size:
                raise _changed(url)
            failures = _failed(url, failures if file.tell() == before else 0, why, file.tell(), announced.size)


def _patiently(url: str, ask: Callable[[], T]) -> T:
    """Repeat a request that fails for a reason that may pass."""
    from encash.remote_stores import ChangedError, PassingError  # noqa: PLC0415 - local files need none of it

    failures = 0
    while True:
        try:
            return ask()
        except ChangedError:
            raise _changed(url) from None
        except PassingError as error:
            failures = _failed(url, failures, str(error))


def _failed(url: str, failures: int, why: str, *came: int) -> int:
    """Wait after a failure, and return the number of failures in a row.

    Raises:
        WorkError: too many.
    """
    if failures + 1 == _TRIES:
        part = " ({:,} of {:,} bytes came)".format(*came) if came else ""
        fix = "" if ";" in why else "; check the network, and try again later"
        raise WorkError(f"{url} could not be fetched{part}: {why}{fix}")
    time.sleep(_PAUSE_SECONDS * 2**failures)
    return failures + 1


def _check_space(url: str, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise WorkError(
            f"{url} has {size:,} bytes, and {folder} has {free:,} free; free disk space, or set {FOLDER} to a "
            "folder of a larger disk"
        )


def _changed(url: str) -> MismatchError:
    return MismatchError(f"{url} changed while it was used; run the same command again for the new content")


@contextmanager
def _storing(url: str) -> Iterator[None]:
    """Name the folder of copies if it cannot be written."""
    try:
        yield
    except WorkError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise WorkError(
            f"{url} is copied to {copies_folder()}, which cannot be written: {error.__cause__.strerror}; free disk "
            f"space, or set {FOLDER} to a folder that can be written"
        ) from None


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the right to fetch one URL; others who need the same file wait and find it."""
    with writing(folder):
        os.makedirs(folder.parent, mode=0o700, exist_ok=True)  # what was readable with credentials stays private
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # some file systems have no locks: then both fetch
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_old(folder: Path) -> None:
    """Remove what was not used for long: other versions of one URL, and all copies of other URLs."""
    versions = [(one, _OTHER_DAYS) for one in folder.iterdir() if one.is_dir()]
    others = [(one, _UNUSED_DAYS) for one in folder.parent.iterdir() if _OURS.fullmatch(one.name)]
    for one, days in versions + others:
        with suppress(OSError):  # somebody else removed it
            if time.time() - one.stat().st_mtime > days * 86_400:
                shutil.rmtree(one)


def _used(path: Path) -> Path:
    for folder in (path.parent, path.parent.parent):
        with suppress(OSError):  # a folder that may only be read
            os.utime(folder)
    return path


def _name(url: str) -> str:
    """Return the name of a copy: that of the file, for its suffixes and the ticker that it may be.

    >>> _name("https://host/data/BRK%20B.csv.gz"), _name("s3://bucket/.."), _name("s3://bucket/")
    ('BRK B.csv.gz', 'file', 'file')
    """
    name = url.rpartition("/")[2]
    name = unquote(name) if url.startswith("http") else name
    name = "".join(letter for letter in name if letter.isprintable() and letter != "/").lstrip(".")
    return name.encode()[-200:].decode(errors="ignore") or "file"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
