"""Small files of arrays and of JSON: written atomically, checked when they are read."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import msgspec
import numpy as np
import xxhash

from encash.atomic_write import whole_file, whole_folder, write_whole
from encash.errors import EncashError, FormatError, MissingFileError, unreadable
from encash.fingerprint import fingerprint
from encash.input_files import ARCHIVE_ERRORS, check_members, check_regular
from encash.serialization import FORMAT
from encash.text_files import read_json as read_object

_HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_UNREADABLE: tuple[type[Exception], ...] = (TypeError, *ARCHIVE_ERRORS)
_FORMAT = 1
"""Format of the JSON files. A reader refuses a higher one; a file without a format has format 1."""


SEAL, CHECKSUM = "fingerprint", "checksum"
"""Keys of the fingerprint of a file's content; the second if the first is that of a model or a walk."""


def write_json(path: Path, content: Mapping[str, Any], *, seal: str | None = None) -> None:
    """Write a readable JSON object with its format, atomically; NaN and infinity become null.

    A sealed file also holds the fingerprint of its content under the key `seal`, for `check_seal`.
    """
    plain = json.loads(msgspec.json.encode({FORMAT: _FORMAT, **content}, enc_hook=lambda value: value.tolist()))
    if seal is not None:
        plain[seal] = fingerprint(plain)
    write_whole(path, (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file without pickles, atomically; the same arrays give the same bytes."""
    with whole_file(path, durable=False) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_json(path: Path, *, remake: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: the file.
        remake: the command that makes it, for error messages.

    Raises:
        MissingFileError: no such file.
        FormatError: not JSON, not an object, or of a newer format.
    """
    check_regular(path)
    if not path.exists():
        raise MissingFileError(f"no {path.name} in {path.parent}; make it: {remake}")
    content = read_object(path, kind="file", fix=f"make it again: {remake}")
    if (found := content.get(FORMAT, _FORMAT)) != _FORMAT:
        raise FormatError(
            f"{path} has the format {found}; this version of encash reads format {_FORMAT}: update encash, or make it "
            f"again: {remake}"
        )
    return content


def check_seal(path: Path, content: Mapping[str, Any], *, required: bool, remake: str, seal: str = SEAL) -> None:
    """Refuse content that was edited after it was written.

    Args:
        path: the file, for the error message.
        content: from `read_json`.
        required: refuse content without a fingerprint too; otherwise it is not checked.
        remake: the command that makes it, for the error message.
        seal: key of the fingerprint.

    Raises:
        FormatError: the content was changed after it was written.
    """
    written = content.get(seal)
    found = fingerprint({name: content[name] for name in content if name != seal})
    if written != found and (required or written is not None):
        raise FormatError(
            f"{path} was edited after it was written: its content is not that of its fingerprint; make it again: "
            f"{remake}"
        )


def check_types(path: Path, content: Mapping[str, Any], types: Mapping[str, Any], *, remake: str) -> None:
    """Refuse content in which a value is missing or of a different type; files of earlier versions have no seal.

    Args:
        path: the file, for the error message.
        content: from `read_json`.
        types: type of each value by name.
        remake: the command that makes it, for the error message.

    Raises:
        FormatError: names the first such value.
    """
    for name, kind in types.items():
        if name not in content:
            raise FormatError(f"{path} has no {name!r}; make it again: {remake}")
        try:
            msgspec.convert(content[name], kind)
        except msgspec.ValidationError as error:
            shown = repr(content[name])[:40]
            raise FormatError(f"{path}: {name} is {shown} ({error}); make it again: {remake}") from None


def read_arrays(path: Path, *, remake: str) -> dict[str, Any]:
    """Read the arrays of an .npz file. Pickled objects are refused.

    Raises:
        MissingFileError: no such file.
        FormatError: truncated, damaged, or with pickled objects inside.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}
    except EncashError:
        raise
    except FileNotFoundError:
        raise MissingFileError(f"no {path.name} in {path.parent}; make it: {remake}") from None
    except _UNREADABLE as error:
        message = f"{path} is damaged, or not a file of plain arrays; make it again: {remake}"
        raise unreadable(path, error, message) from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read one array; the size that its header declares must be that of the member.

    Raises:
        ValueError: not an array of plain values, or of a different size.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format")
        try:
            shape, in_columns, dtype = _HEADERS[version](file)
        except (TokenError, SyntaxError) as error:  # the header is a Python literal
            raise ValueError("a damaged header") from error
        if dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError("objects, or a negative size")
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - file.tell():
            raise ValueError("its header declares a different size")
        values = np.frombuffer(bytearray(file.read(size)), dtype)
    return values.reshape(shape, order="F" if in_columns else "C")


NewArray = Callable[[str, tuple[int, ...], Any], np.ndarray]
"""Makes a memory-mapped array of a name, shape and type, to be filled."""
_FACTS_FILE = "facts.json"


@contextmanager
def array_folder(path: Path, facts: Mapping[str, Any]) -> Iterator[NewArray]:
    """Write a folder of arrays larger than memory: a memory-mapped .npy file per array, and `facts.json` with the
    checksum of every file.

    The folder takes its place when the block ends; after an error nothing is left. Two writers of one place need a
    lock.

    Args:
        path: the folder; an existing one is replaced.
        facts: plain values for `facts.json`.
    """
    names: list[str] = []
    with whole_folder(path) as part:

        def new_array(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            names.append(name)
            made: np.ndarray = np.lib.format.open_memmap(part / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
            return made

        yield new_array
        digests = {name: _checksum(part / f"{name}.npy") for name in names}
        write_json(part / _FACTS_FILE, {**facts, "digests": digests}, seal=SEAL)


def read_array_folder(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...], *, remake: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read facts and memory-mapped arrays of an `array_folder`; every file is compared with its checksum.

    Raises:
        MissingFileError: no such folder.
        FormatError: an array is missing, damaged, or was changed after it was written.
    """
    facts = read_json(path / _FACTS_FILE, remake=remake)
    check_seal(path / _FACTS_FILE, facts, required=False, remake=remake)
    check_types(path / _FACTS_FILE, facts, {"digests": dict[str, str]}, remake=remake)
    checksums, arrays = facts.get("digests", {}), {}
    for name in (*needed, *(name for name in optional if name in checksums)):
        check_regular(path / f"{name}.npy")
        try:
            if _checksum(path / f"{name}.npy") != checksums[name]:
                raise ValueError("its checksum differs")
            arrays[name] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (KeyError, ValueError, EOFError, OSError) as error:
            message = f"{path} lacks {name}, or it is damaged ({error}); make it again: {remake}"
            raise unreadable(path / f"{name}.npy", error, message) from None
    return facts, arrays


def _checksum(path: Path) -> str:
    """Compute the XXH3 of a file's bytes."""
    hasher = xxhash.xxh3_64()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
