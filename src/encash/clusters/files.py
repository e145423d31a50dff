"""Small files of arrays and of JSON, written atomically and read with care. Knows nothing of what is in them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encash.errors import FormatError, MissingFileError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file for people, atomically; NaN and infinity become null."""
    write_text(path, json.dumps(_plain(content), indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz file without pickles, atomically; the same arrays give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    with open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(part, path)


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
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is damaged ({error}); make it again: {mend}") from None


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


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
