"""Seals: a digest beside each file of a store, so that damage is noticed before a reader stumbles over it.
Knows files and byte ranges; nothing of their format.

A seal covers all bytes of a file but those of the vectors and forecasts, which have a checksum a row: what a decoder
trusts blindly (lengths, offsets, keys) is known to be whole before it is decoded. A file without a seal was written by
another tool, or its writer was killed before it could seal it; it is read unchecked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import xxhash

from encash.atomic_write import sync
from encash.errors import FormatError

FOLDER = "_seals"
_READ_BYTES = 1 << 20

Range = tuple[int, int]
"""First byte and the one after the last."""


def seal(root: Path, name: str, open_ranges: list[Range] | None = None) -> None:
    """Seal a file, durably.

    Args:
        root: the store's folder.
        name: the file's path below it.
        open_ranges: byte ranges, ascending, that are left out.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    path, ranges = root / name, open_ranges or []
    size = path.stat().st_size
    text = json.dumps({"bytes": size, "open": ranges, "xxh3": _digest(path, size, ranges)})
    part = folder / f".{os.path.basename(name)}.{os.getpid()}"
    part.write_text(text)
    sync(part)
    part.replace(_seal_path(root, name))
    sync(folder)


def break_seal(root: Path, name: str) -> None:
    """Forget a seal: the file is about to be written anew."""
    _seal_path(root, name).unlink(missing_ok=True)


def check_seal(root: Path, name: str) -> None:
    """Refuse a file that is not what was sealed.

    Raises:
        FormatError: the file is gone, cut short, or has other bytes.
    """
    path, promised = root / name, _read_seal(root, name)
    if promised is None:
        return
    size, ranges, digest = promised
    mend = _mend(root, name)
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise FormatError(f"{path} is gone; {mend}") from None
    if found != size:
        raise FormatError(f"{path} has {found:,} bytes, {size:,} were written; {mend}")
    if _digest(path, size, ranges) != digest:
        raise FormatError(f"{path} has other bytes than were written; {mend}")


def sealed_and_gone(root: Path, folder: str, suffix: str) -> list[str]:
    """The files of a folder with this suffix that were sealed and are no longer there, by name."""
    seals = os.listdir(root / FOLDER) if (root / FOLDER).is_dir() else []
    names = sorted(name.removesuffix(".json") for name in seals if name.endswith(f"{suffix}.json"))
    return [name for name in names if not name.startswith(".") and not (root / folder / name).exists()]


def remove_stale_seals(root: Path, folders: list[str]) -> None:
    """Take away the seals of files that are gone."""
    there = {entry.name for folder in folders if (root / folder).is_dir() for entry in os.scandir(root / folder)}
    for entry in list(os.scandir(root / FOLDER)) if (root / FOLDER).is_dir() else ():
        if entry.name.removesuffix(".json") not in there:
            os.unlink(entry.path)


def _seal_path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{os.path.basename(name)}.json"


def _read_seal(root: Path, name: str) -> tuple[int, list[Range], str] | None:
    """Size, open ranges and digest of a sealed file; None where there is no seal."""
    try:
        promised = json.loads(_seal_path(root, name).read_text())
        return int(promised["bytes"]), [(int(first), int(stop)) for first, stop in promised["open"]], promised["xxh3"]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise FormatError(f"the seal of {root / name} is damaged; {_mend(root, name)}") from None


def _mend(root: Path, name: str) -> str:
    """What helps: entries can be taken out of a cache that can be opened."""
    if name.startswith("_versions"):
        return f"restore it from a copy, or delete {root} and build the cache again"
    return (
        f"restore it from a copy, or let `encash cache verify {root} --drop` take its entries away, "
        "and build these again"
    )


def _digest(path: Path, size: int, open_ranges: list[Range]) -> str:
    """XXH3 of the bytes outside the open ranges."""
    hasher = xxhash.xxh3_64()
    with open(path, "rb") as file:
        for first, stop in _gaps(size, open_ranges):
            file.seek(first)
            for place in range(first, stop, _READ_BYTES):
                hasher.update(file.read(min(_READ_BYTES, stop - place)))
    return hasher.hexdigest()


def _gaps(size: int, ranges: list[Range]) -> Iterator[Range]:
    """What lies between ranges.

    >>> list(_gaps(10, [(2, 4), (4, 7)]))
    [(0, 2), (7, 10)]
    """
    place = 0
    for first, stop in ranges:
        if place < first:
            yield place, first
        place = max(place, stop)
    if place < size:
        yield place, size
