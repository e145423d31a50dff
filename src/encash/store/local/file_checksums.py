"""A checksum file beside each file of a store, so that damage is detected before anything is decoded.

A checksum covers all bytes of a file except those of vectors and forecasts, which have one checksum per row: what a
decoder trusts (lengths, offsets, keys) is verified before it is decoded. A second one covers the
forecasts of all rows, so that they can be verified without reading the vectors. A file without a checksum was
written by a different tool, or its writer was killed before it could write one; it is read unchecked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from encash.atomic_write import sync
from encash.errors import FormatError, MissingFileError
from encash.text_files import read_json

FOLDER = "_seals"
"""Name on disk since format 1."""
_READ_BYTES = 1 << 20

Range = tuple[int, int]
"""First byte, and one past the last."""


def write_checksum(
    root: Path, name: str, open_ranges: Sequence[Range] = (), forecast_ranges: Sequence[Range] = ()
) -> None:
    """Write the checksum of a file, durably.

    Args:
        root: the store's folder.
        name: the file's path below it.
        open_ranges: byte ranges, ascending, to leave out.
        forecast_ranges: byte ranges, ascending, with a checksum of their own.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    path = root / name
    size = path.stat().st_size
    content = {"bytes": size, "open": open_ranges, "xxh3": _digest(path, _gaps(size, open_ranges))}
    if forecast_ranges:
        content["forecasts"] = {"ranges": forecast_ranges, "xxh3": _digest(path, forecast_ranges)}
    text = json.dumps(content)
    part = folder / f".{os.path.basename(name)}.{os.getpid()}"
    part.write_text(text)
    sync(part)
    part.replace(_checksum_path(root, name))
    sync(folder)


def forget_checksum(root: Path, name: str) -> None:
    """Remove a checksum: the file is about to be written again."""
    _checksum_path(root, name).unlink(missing_ok=True)


def check_file(root: Path, name: str) -> None:
    """Refuse a file that does not match its checksum.

    Raises:
        FormatError: the file is gone, cut short, or has other bytes.
    """
    path, expected = root / name, _read_checksum(root, name)
    if expected is None:
        return
    hint, size = _repair_hint(root, name), expected.size
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise FormatError(f"{path} is gone; {hint}") from None
    if found != size:
        raise FormatError(f"{path} has {found:,} bytes, {size:,} were written; {hint}")
    if _digest(path, _gaps(size, expected.open_ranges)) != expected.digest:
        raise FormatError(f"{path} does not have the bytes that were written; {hint}")


def has_sound_forecasts(root: Path, name: str) -> bool:
    """Return whether the forecasts in a file are those that were written; True if they have no checksum.

    Raises:
        FormatError: the checksum itself is damaged.
    """
    expected = _read_checksum(root, name)
    if expected is None or expected.forecasts is None:
        return True
    ranges, digest = expected.forecasts
    return _digest(root / name, ranges) == digest


def missing_files(root: Path, folder: str, suffix: str) -> list[str]:
    """List the files of a folder with this suffix that have a checksum and are gone, by name."""
    checksums = os.listdir(root / FOLDER) if (root / FOLDER).is_dir() else []
    names = sorted(name.removesuffix(".json") for name in checksums if name.endswith(f"{suffix}.json"))
    return [name for name in names if not name.startswith(".") and not (root / folder / name).exists()]


def remove_stale_checksums(root: Path, folders: list[str]) -> None:
    """Remove the checksums of files that are gone."""
    there = {entry.name for folder in folders if (root / folder).is_dir() for entry in os.scandir(root / folder)}
    for entry in list(os.scandir(root / FOLDER)) if (root / FOLDER).is_dir() else ():
        if entry.name.removesuffix(".json") not in there:
            os.unlink(entry.path)


def _checksum_path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{os.path.basename(name)}.json"


@dataclass(frozen=True, kw_only=True)
class _Checksum:
    size: int
    open_ranges: list[Range]
    digest: str
    forecasts: tuple[list[Range], str] | None
    """Byte ranges of the forecasts, and the digest of these; None if not recorded."""


def _read_checksum(root: Path, name: str) -> _Checksum | None:
    """Return the checksum of a file; None if it has none."""
    try:
        stored = read_json(_checksum_path(root, name), kind="checksum", fix=_repair_hint(root, name))
        forecasts = stored.get("forecasts")
        return _Checksum(
            size=int(stored["bytes"]),
            open_ranges=_ranges(stored["open"]),
            digest=stored["xxh3"],
            forecasts=None if forecasts is None else (_ranges(forecasts["ranges"]), forecasts["xxh3"]),
        )
    except MissingFileError:
        return None
    except (FormatError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise FormatError(f"the checksum of {root / name} is damaged; {_repair_hint(root, name)}") from None


def _ranges(stored: Any) -> list[Range]:
    return [(int(first), int(stop)) for first, stop in stored]


def _repair_hint(root: Path, name: str) -> str:
    """Return how to fix it: entries can be removed from a cache that can be opened."""
    if name.startswith("_versions"):
        return "restore it from a copy, or open the version before it (--as-of)"
    return (
        f"restore it from a copy, or let `encash cache verify {root} --drop` remove its entries, and build these again"
    )


def _digest(path: Path, ranges: Iterable[Range]) -> str:
    """Return the XXH3 of the bytes within some ranges."""
    hasher = xxhash.xxh3_64()
    with open(path, "rb") as file:
        for first, stop in ranges:
            file.seek(first)
            for place in range(first, stop, _READ_BYTES):
                hasher.update(file.read(min(_READ_BYTES, stop - place)))
    return hasher.hexdigest()


def _gaps(size: int, ranges: Sequence[Range]) -> Iterator[Range]:
    """Return the gaps between ranges.

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
