"""From a path or URL to a store: the suffix names the engine."""

from __future__ import annotations

import glob
import os
import re
from pathlib import PurePosixPath
from typing import NoReturn

from encash.errors import ConflictError, InputError, MismatchError, MissingFileError
from encash.fingerprint import explain_difference
from encash.input_files import check_regular, check_url, is_url, refuse_url
from encash.progress import Progress
from encash.store.base import EmbeddingStore, Rollback, StoreSnapshot, StoreSpec

LANCE_SUFFIXES = (".lance",)
HDF5_SUFFIXES = (".h5", ".hdf5")
"""Suffixes of interchange files, which are read and exported."""
SUFFIXES = (*LANCE_SUFFIXES, *HDF5_SUFFIXES)
"""Suffixes of store names."""
_EXPORT_ROWS = 16_384


def open_store(location: str | os.PathLike[str], *, version: int | str | None = None) -> EmbeddingStore:
    """Open the store at a path or URL.

    Args:
        location: its suffix names the engine: .lance, or .h5 for interchange files (read-only).
        version: a version number or tag; None for the newest.

    Raises:
        MissingFileError: nothing is there, or no such version.
        FormatError: what is there does not have the format of its suffix.
        InputError: a suffix that names no engine.
    """
    text = _text(location)
    if _suffix(text) in LANCE_SUFFIXES:
        from encash.store.lance import LanceStore  # noqa: PLC0415 - lance takes most of a second to import

        for manifest in glob.glob(f"{glob.escape(text)}/_versions/*"):
            check_regular(manifest)
        return LanceStore.open(text, version)
    from encash.store.hdf5 import Hdf5Store  # noqa: PLC0415 - likewise h5py

    refuse_url(text)
    if version not in (None, 1):
        raise InputError(f"{text} has version 1 only, not {version!r}; leave the version out")
    return Hdf5Store(text)


def create_store(location: str | os.PathLike[str], spec: StoreSpec) -> EmbeddingStore:
    """Create an empty store.

    Raises:
        ConflictError: a store is there already.
        InputError: a suffix that names no engine that can be written.
        WorkError: the place cannot be written.
    """
    text = _text(location)
    if _suffix(text) not in LANCE_SUFFIXES:
        _refuse_writing(text)
    from encash.store.lance import LanceStore  # noqa: PLC0415 - lance takes most of a second to import

    return LanceStore.create(text, spec)


def ensure_store(location: str | os.PathLike[str], spec: StoreSpec) -> EmbeddingStore:
    """Open the store at a path or URL, or create it, also if several builders begin at once.

    Raises:
        MismatchError: the store has a different encoder or dtype; the message lists the fields.
    """
    try:
        store = open_store(location)
    except MissingFileError:
        try:
            return create_store(location, spec)
        except ConflictError:
            store = open_store(location)
    check_same(spec, store.snapshot())
    return store


def find_store(location: str | os.PathLike[str]) -> EmbeddingStore | None:
    """Open the store at a path or URL; None if there is none.

    Raises:
        FormatError: what is there does not have the format of its suffix.
        InputError: a suffix that names no engine that can be written.
    """
    if _suffix(_text(location)) not in LANCE_SUFFIXES:
        _refuse_writing(_text(location))
    try:
        return open_store(location)
    except MissingFileError:
        return None


def rollback(location: str | os.PathLike[str], to: int | None = None) -> Rollback:
    """Make an earlier version of a store the newest: the newest one that is whole, or version `to`.

    Nothing is deleted: damaged manifests are moved to a folder of the store, and an earlier version that is requested
    while newer ones are whole is committed again on top of them.

    Raises:
        InputError: an interchange file, a URL, or a requested version that is damaged.
        MissingFileError: no store there, or no such version.
        FormatError: no version is intact.
        WorkError: the disk refused.
    """
    text = _text(location)
    if _suffix(text) not in LANCE_SUFFIXES:
        raise InputError(f"{text} has one version only; restore the file from a copy")
    from encash.store.lance import LanceStore  # noqa: PLC0415 - lance takes most of a second to import

    return LanceStore.rollback(text, to)


def export_hdf5(snapshot: StoreSnapshot, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
    """Write all entries of a snapshot as an interchange file, atomically.

    Returns:
        Entries written.

    Raises:
        InputError: a path that does not end in .h5.
        WorkError: the disk refused; the file that was there before is kept.
    """
    if _suffix(os.fspath(path)) not in HDF5_SUFFIXES:
        raise InputError(f"{os.fspath(path)} is not the name of an interchange file; end it in .h5")
    from encash.store.hdf5 import write_hdf5  # noqa: PLC0415 - h5py takes a tenth of a second to import

    total = snapshot.index().entries
    return write_hdf5(path, snapshot.spec, snapshot.by_day(_EXPORT_ROWS), progress=progress, total=total)


def check_same(spec: StoreSpec, store: StoreSnapshot) -> None:
    """Refuse a store whose entries cannot be mixed with those of a spec.

    Raises:
        MismatchError: lists the fields that differ.
    """
    if differences := explain_difference(spec.identity(), store.spec.identity()):
        fields = [line for line in differences if not re.match(r"(forecast_)?fingerprint:", line)]
        differences = fields or differences  # a fingerprint says no more than the fields that it is made of
        raise MismatchError(
            f"{store.location} belongs to a different encoder: {'; '.join(differences)}; "
            "use the cache of this encoder, or build a new one beside it"
        )


def _text(location: str | os.PathLike[str]) -> str:
    """Return a location as text; a URL that went through `Path` has lost a slash and would name a local folder."""
    text = os.fspath(location)
    if broken := re.match(r"([a-z][a-z0-9+-]+):/(?!/)", text):
        raise InputError(f"{text} is neither a path nor a URL; give a URL as text: {broken[1]}://…, not as a Path")
    if is_url(text):
        check_url(text)
    return text


def _refuse_writing(text: str) -> NoReturn:
    raise InputError(f"{text} cannot be built in place; build a .lance cache, then export it")


def _suffix(text: str) -> str:
    suffix = PurePosixPath(text.rstrip("/")).suffix.lower()
    if suffix in LANCE_SUFFIXES and not text.isprintable():
        raise InputError(f"{text!r} has a line break or bytes that are not UTF-8; give a path that Lance can name")
    if suffix not in SUFFIXES and os.path.isdir(text):
        raise InputError(f"{text} is a folder, not a cache; `encash cache list {text}` names the caches in it")
    if suffix not in SUFFIXES:
        raise InputError(f"{text} does not say which kind of cache it is; end its name in .lance or .h5")
    return suffix
