"""Checks of a file before it is read: a regular file, no larger in memory than its bytes can hold."""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import Any

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


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Refuse a URL, also one that lost a slash as a `Path`; a file or folder of this name passes.

    Raises:
        InputError: it is a URL.

    >>> from pathlib import Path
    >>> refuse_url(Path("s3://bucket/p.h5"))
    Traceback (most recent call last):
    encash.errors.InputError: s3://bucket/p.h5 is a URL, and only caches (.lance) may be at one; copy the file to a \
disk first, and give its path
    """
    url = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", os.fspath(path))
    if url and not os.path.exists(path):
        whole = f"{url[1]}://{os.fspath(path)[url.end() :]}"
        raise InputError(
            f"{whole} is a URL, and only caches (.lance) may be at one; copy the file to a disk first, and give its "
            "path"
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
