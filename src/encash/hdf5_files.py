"""HDF5 files from outside: opened, listed and checked in one place, with one line for each error.

A file is read as it is, never through to different files: external and soft links, external storage and virtual
datasets are refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
from h5py import h5d, h5l

from encash.errors import EncashError, FormatError, MissingFileError, reason, unreadable
from encash.input_files import check_declared, check_regular
from encash.remote_files import local_copy

_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError)
"""The errors that h5py raises for damaged files; numpy raises the last three for types and shapes that it lacks."""


def open_hdf5(path: str | os.PathLike[str], *, expected: str, remake: str) -> h5py.File:
    """Open a file for reading.

    Args:
        path: the file, or its URL as text.
        expected: what it should hold, for the error message.
        remake: how to make it again, for the error message.

    Raises:
        MissingFileError: no such file.
        AccessError: no permission, or a different process has it open for writing.
        FormatError: not HDF5, or damaged.
    """
    place = local_copy(path)
    check_regular(place)
    if not place.exists():
        raise MissingFileError(f"{path} does not exist; expected {expected}: {remake}")
    if place.is_dir():
        raise FormatError(f"{path} is a folder, not an HDF5 file; expected {expected}: {remake}")
    try:
        return h5py.File(place, "r")
    except (*_DAMAGE, UnicodeError) as error:
        if os.path.getsize(place) == 0 or "signature not found" in str(error):
            why = "it is not an HDF5 file"
        else:
            why = "it was cut short" if "truncated" in str(error) else f"it is damaged{reason(error)}"
        raise unreadable(path, error, f"{path} cannot be read: {why}; expected {expected}: {remake}") from None


@contextmanager
def reading(path: str | os.PathLike[str], remake: str, *, opening: h5py.File | None = None) -> Iterator[None]:
    """Turn the errors of HDF5 in a block that reads a file into one line.

    Args:
        path: the file.
        remake: how to make it again, for the error message.
        opening: closed after an error, so that an open file does not outlive the object that could not be made from it.

    Raises:
        FormatError: the file is damaged.
        AccessError: it cannot be read now.
    """
    try:
        yield
    except BaseException as error:
        if opening is not None:
            opening.close()
        if isinstance(error, EncashError) or not isinstance(error, _DAMAGE):
            raise
        raise unreadable(path, error, f"{path} cannot be read: it is damaged{reason(error)}; {remake}") from None


def link_names(group: Any, path: str | os.PathLike[str]) -> list[bytes]:
    """Return the names in a group, given its low-level identifier.

    Raises:
        FormatError: one of them is a link to a different place.
    """
    names: list[bytes] = []
    links: list[bytes] = []

    def look(name: bytes, info: Any) -> None:
        (names if info.type == h5l.TYPE_HARD else links).append(name)

    group.links.iterate(look, info=True)
    if links:
        _refuse_link(links[0], path)
    return names


def check_link(group: Any, name: bytes, path: str | os.PathLike[str]) -> None:
    """Refuse a name in a group that is a link to a different place.

    Raises:
        KeyError: no such name.
        FormatError: it is a link.
    """
    if group.links.get_info(name).type != h5l.TYPE_HARD:
        _refuse_link(name, path)


def check_storage(dataset: Any, what: str, present: int) -> None:
    """Refuse a dataset whose values are in a different file, or whose chunks are larger than its file can hold.

    Args:
        dataset: its low-level identifier.
        what: the file and the dataset, for the error message.
        present: bytes of the file.

    Raises:
        FormatError: values elsewhere, or chunks too large.
    """
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.CHUNKED:
        size = math.prod(properties.get_chunk()) * dataset.get_type().get_size()
        check_declared(f"a chunk of {what}", size, present)
    elif layout == h5d.VIRTUAL or properties.get_external_count():
        raise FormatError(f"the values of {what} are in a different file, which is not read; copy them into this one")


def declared_bytes(dataset: Any) -> int:
    """Return the bytes that all values of a dataset or an attribute take, given its low-level identifier."""
    return int(math.prod(dataset.shape) * dataset.get_type().get_size())


def _refuse_link(name: bytes, path: str | os.PathLike[str]) -> None:
    shown = name.decode(errors="replace")
    raise FormatError(f"{shown} in {path} is a link to a different place, which is not followed; copy the data there")
