"""Checks of a file before it is read: where it is, a regular file, no larger in memory than its bytes can hold."""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from encash.errors import FormatError, InputError

ALWAYS_BYTES = 64 << 20
"""Bytes that any file may unpack to."""
LARGEST_RATIO = 256
"""Unpacked bytes per byte of a larger file. Prices and weights compress by a factor of 1 to 20, repeated text by 100.
"""

ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, RuntimeError, ValueError,
)  # fmt: skip
"""The errors that the standard library raises for a damaged archive; ValueError for a name that is not UTF-8."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OWN_STREAMS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_BLOCK_BYTES = 1 << 20
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]+):"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a text is a URL; a `Path`, and the name of a file or folder that exists, is none.

    >>> is_url("s3://bucket/f.h5"), is_url("f.h5"), is_url("chronos:/models/small")
    (True, False, False)
    """
    return isinstance(path, str) and re.match(_SCHEME + "//", path) is not None and not os.path.exists(path)


def path_or_url(path: str | Path) -> str | Path:
    """Return where an input is: a URL as text, or a path.

    >>> path_or_url("https://host/f.h5"), path_or_url("data/f.h5"), path_or_url("file:///data/a%20b.h5")
    ('https://host/f.h5', PosixPath('data/f.h5'), PosixPath('/data/a b.h5'))
    """
    if isinstance(path, str) and path.startswith("file:///"):
        return Path(unquote(path.removeprefix("file://")))
    return path if isinstance(path, Path) or is_url(path) else Path(path)


def without_secrets(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment.

    >>> without_secrets("https://me:pass@host/f.h5?sig=1"), without_secrets("abfss://container@account/f.h5")
    ('https://host/f.h5', 'abfss://container@account/f.h5')
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    user, _, host = authority.rpartition("@")
    if not (scheme.startswith("abfs") and ":" not in user):  # there, the container is written like a user
        authority = host
    return f"{scheme}://{authority}{slash}{path}"


def check_url(url: str) -> None:
    """Refuse a URL with what may be secret, because it would be in messages and in the record of a run.

    A query after the name of a cache passes: Lance takes settings there.

    Raises:
        InputError: a user, a password, a query or a fragment.

    >>> check_url("https://host/f.h5?token=1234")
    Traceback (most recent call last):
    encash.errors.InputError: https://host/f.h5 has a user, a password, a query or a fragment, which may be secret and \
would be recorded; give the plain URL and set credentials in the environment, or fetch the file and give its path
    """
    plain = without_secrets(url)
    if plain != (url.partition("?")[0] if plain.endswith(".lance") else url):
        raise InputError(
            f"{plain} has a user, a password, a query or a fragment, which may be secret and would be recorded; give "
            "the plain URL and set credentials in the environment, or fetch the file and give its path"
        )


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Refuse a URL, also one that lost a slash as a `Path`; a file or folder of this name passes.

    Raises:
        InputError: it is a URL.

    >>> from pathlib import Path
    >>> refuse_url(Path("s3://bucket/k"))
    Traceback (most recent call last):
    encash.errors.InputError: s3://bucket/k is a URL; expected a path. Caches (.lance), and features, prices and \
tables to read, may be at a URL, given as text
    """
    text = os.fspath(path)
    url = re.match(_SCHEME + "/+", text)
    if url and not os.path.exists(path):
        raise InputError(
            f"{without_secrets(f'{url[1]}://{text[url.end() :]}')} is a URL; expected a path. Caches (.lance), "
            "and features, prices and tables to read, may be at a URL, given as text"
        )


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a URL; and a pipe, a socket or a device: reading it could wait forever, or never end.

    A missing path and a folder pass; so does a stream of this process, such as that of ``<(command)``.

    Raises:
        InputError: it is not a regular file.

    >>> check_regular("/dev/zero")
    Traceback (most recent call last):
    encash.errors.InputError: /dev/zero is a device; expected a regular file: save its content to one first
    """
    if os.fspath(path).startswith(_OWN_STREAMS):
        return
    refuse_url(path)
    with suppress(OSError):  # the reader reports it
        mode = os.stat(path).st_mode
        if kind := next((name for is_kind, name in _KINDS if is_kind(mode)), None):
            raise InputError(f"{path} is {kind}; expected a regular file: save its content to one first")


def check_declared(what: str, declared: int, present: int) -> None:
    """Refuse a size that a file of this length cannot hold, before memory is allocated.

    Args:
        what: the file, and the part of it that declares a size, for the message.
        declared: bytes in memory.
        present: bytes of the file.

    Raises:
        FormatError: more than `ALWAYS_BYTES`, and more than `LARGEST_RATIO` times the file; or below 0.

    >>> check_declared("prices of 'A' in p.h5", 5_200_000_000, 96_000)
    Traceback (most recent call last):
    encash.errors.FormatError: prices of 'A' in p.h5 would take 5,200,000,000 bytes, and the file has 96,000; it is \
damaged, or made to exhaust memory: make it again
    """
    if not 0 <= declared <= max(ALWAYS_BYTES, LARGEST_RATIO * present):
        raise FormatError(
            f"{what} would take {declared:,} bytes, and the file has {present:,}; it is damaged, or made to exhaust "
            "memory: make it again"
        )


def check_parquet(path: str | os.PathLike[str], metadata: Any, columns: int) -> None:
    """Refuse a Parquet file whose metadata declare more rows than its bytes can hold.

    Args:
        path: the file.
        metadata: its `pyarrow.parquet.FileMetaData`.
        columns: how many of them will be read.

    Raises:
        FormatError: as `check_declared`; or a negative number of rows.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    unpacked = sum(max(0, group.total_byte_size) for group in groups)
    rows = max([metadata.num_rows, *(group.num_rows for group in groups)])
    if min([metadata.num_rows, *(group.num_rows for group in groups)]) < 0:
        raise FormatError(f"{path} declares a negative number of rows; the file is damaged: make it again")
    check_declared(f"{path}: {rows:,} rows", max(unpacked, 8 * rows * max(columns, 1)), os.path.getsize(path))


def check_members(archive: zipfile.ZipFile, path: str | os.PathLike[str]) -> None:
    """Refuse a ZIP archive that unpacks to more than its bytes can hold, or with a member that is not what was written.

    A checksum of 0 in every member is that of a writer that records none, and is not compared.

    Raises:
        FormatError: as `check_declared`; or the checksum of a member differs.
        Exception: one of `ARCHIVE_ERRORS`, if the archive cannot be read.
    """
    members = archive.infolist()
    check_declared(f"{path}: its members", sum(member.file_size for member in members), os.path.getsize(path))
    if not any(member.CRC for member in members):
        return
    for member in members:
        try:
            with archive.open(member) as file:
                while file.read(_BLOCK_BYTES):
                    pass
        except zipfile.BadZipFile as error:
            raise FormatError(
                f"{path}: {member.filename} is not what was written ({error}); the file is damaged, copy it again"
            ) from None
