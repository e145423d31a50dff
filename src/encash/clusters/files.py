"""Small files of arrays and of JSON, written atomically and read with care. Knows nothing of what is in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from encash.atomic_write import whole_file, whole_folder, write_whole
from encash.errors import FormatError, MissingFileError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; the folder is made."""
    write_whole(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file for people, atomically; NaN and infinity become null."""
    write_text(path, json.dumps(_plain(content), indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file without pickles, atomically; the same arrays give the same bytes."""
    with whole_file(path, durable=False) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_json(path: Path, *, mend: str) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        MissingFileError: no such file.
        FormatError: not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"no {path.name} in {path.parent}; make it: {mend}") from None
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error}); make it again: {mend}") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a JSON {type(content).__name__}, expected an object; make it again: {mend}")
    return content


def read_arrays(path: Path, *, mend: str, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Arrays of an .npz file: all of them, or those of these names that are there. Pickled objects are refused.

    Raises:
        MissingFileError: no such file.
        FormatError: truncated, damaged, or with pickled objects inside.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except FileNotFoundError:
        raise MissingFileError(f"no {path.name} in {path.parent}; make it: {mend}") from None
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile):
        raise FormatError(f"{path} is damaged, or no file of plain arrays; make it again: {mend}") from None


NewArray = Callable[[str, tuple[int, ...], Any], np.ndarray]
"""Makes an array of a name, shape and type that lies in a file; fill it."""
_FACTS_FILE = "facts.json"


@contextmanager
def array_folder(path: Path, facts: Mapping[str, Any]) -> Iterator[NewArray]:
    """A folder of arrays larger than memory: one mapped .npy file each, and `facts.json` with a digest of every file.

    It takes its place when the block ends, whole; after an error nothing is left. Two writers of one place need a lock.

    Args:
        path: the folder; one that is there is replaced.
        facts: plain values that stand in `facts.json`.
    """
    names: list[str] = []
    with whole_folder(path) as part:

        def new_array(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            names.append(name)
            made: np.ndarray = np.lib.format.open_memmap(part / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
            return made

        yield new_array
        digests = {name: _digest(part / f"{name}.npy") for name in names}
        write_json(part / _FACTS_FILE, {**facts, "digests": digests})


def read_array_folder(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...], *, mend: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and arrays of an `array_folder`; the arrays are mapped, and were compared with their digests.

    Raises:
        MissingFileError: no such folder.
        FormatError: an array is missing, damaged, or not what was written.
    """
    facts = read_json(path / _FACTS_FILE, mend=mend)
    digests, arrays = facts.get("digests", {}), {}
    for name in (*needed, *(name for name in optional if name in digests)):
        try:
            if _digest(path / f"{name}.npy") != digests[name]:
                raise ValueError("other bytes than were written")
            arrays[name] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (KeyError, ValueError, EOFError, OSError) as error:
            raise FormatError(f"{path} lacks {name}, or it is damaged ({error}); make it again: {mend}") from None
    return facts, arrays


def _digest(path: Path) -> str:
    """XXH3 of a file's bytes."""
    hasher = xxhash.xxh3_64()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | np.ndarray():
            return [_plain(item) for item in value]
        case np.generic():
            return _plain(value.item())
        case float() if not np.isfinite(value):
            return None
    return value
