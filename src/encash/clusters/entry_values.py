"""Values computed from the vectors of a whole cache, in a folder: computed once, then updated incrementally.

A value is valid as long as its entry has the digest that it was computed from: after a nightly build only new and
restated entries are read. Vectors are read in blocks; the values are in files, not in memory.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from encash.arrays import Bool, Days, Float32, Int64, Text, UInt64, positions
from encash.atomic_write import make_folder
from encash.clusters.files import array_folder, check_types, read_array_folder
from encash.errors import FormatError, InputError, MissingFileError
from encash.progress import Progress
from encash.store.index import EntryIndex
from encash.store.local.lock import writer_lock

_LOCK_SECONDS = 3600.0
"""Maximum wait for a different process that computes the same values."""
_BLOCK_ROWS = 16_384
_ABANDONED_SECONDS = 3600.0
"""Age at which hidden files of a killed writer are removed."""
_GRID = ("days", "tickers", "digest")


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheEntries:
    """The entries of one version of a cache."""

    index: EntryIndex
    vectors: Callable[[Int64], Float32]
    """Reads the embeddings of rows."""
    cache: str
    """Fingerprint of the cache's embeddings."""
    version: int


@dataclass(frozen=True, kw_only=True)
class ValueArray:
    """An array of values, one for each entry."""

    name: str
    dtype: Any
    shape: tuple[int, ...] = ()
    """Of the value of one entry."""
    empty: float = np.nan
    """Value of a cell without an entry."""


class ValueMaker(Protocol):
    """Makes values from vectors: the clusters of a model, the forecasts of a head."""

    @property
    def fingerprint(self) -> str:
        """Identity; the same vectors give the same values."""

    @property
    def arrays(self) -> tuple[ValueArray, ...]:
        """Arrays that it makes."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain values to keep beside the arrays."""

    @property
    def remake(self) -> str:
        """Command that makes the values again, for error messages."""

    def make(self, days: Days, tickers: Text, vectors: Float32) -> tuple[np.ndarray, ...]:
        """Return each array for n entries, in the order of `arrays`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredValues:
    """Values of a version of a cache on its grid of T days × N tickers, if still valid."""

    days: Days
    tickers: Text
    digest: UInt64
    """Digest of the window that each entry was made from, 0 if unknown; shape (T, N)."""
    arrays: dict[str, np.ndarray]
    """Memory-mapped, shape (T, N, …)."""
    facts: dict[str, Any]
    valid: Bool
    """True if the cache has an entry of the same window now; shape (T, N)."""


def update_values(folder: Path, lock: str, maker: ValueMaker, entries: CacheEntries, progress: Progress | None) -> Path:
    """Compute the values of all entries that have none, and return their folder.

    Args:
        folder: holds the values of all makers and caches.
        lock: name of a lock file beside the folder.
        maker: computes the values.
        entries: the entries to compute them from.
        progress: called with entries done and their total.

    Raises:
        InputError: an empty cache.
        ConflictError: a different process has been computing values for an hour.
    """
    index = entries.index
    if not index.entries:
        raise InputError("the cache has no entries; build it first")
    with writer_lock(make_folder(folder.parent) / lock, timeout_seconds=_LOCK_SECONDS):  # a rival finds it done
        try:
            stored = load_values(folder, maker, entries)
        except FormatError:  # damaged: all of it is made again
            stored = None
        known = np.zeros(index.row.shape, dtype=np.bool_) if stored is None else _on_grid(stored, index)
        todo = (index.row >= 0) & ~known
        place = folder / _name(maker.fingerprint, entries.cache, entries.version)
        outdated = stored is None or stored.facts["version"] != entries.version or not _same_grid(stored, index)
        if outdated or todo.any():
            _write(place, maker, entries, stored, todo, progress)
        _remove_outdated(place, entries.cache)
        return place


def load_values(
    folder: Path, maker: ValueMaker, entries: CacheEntries, names: tuple[str, ...] | None = None
) -> StoredValues | None:
    """Load the values of a cache that some maker has made; None without any.

    Args:
        folder: holds the values of all makers and caches.
        maker: its values.
        entries: the cache as it is now; its vectors are not read.
        names: arrays to load; None loads all.

    Raises:
        FormatError: the values are damaged.
    """
    names = names or tuple(one.name for one in maker.arrays)
    places = folder.glob(_name(maker.fingerprint, entries.cache, "*"))
    numbered = [(int(number), place) for place in places if (number := place.name.rsplit("-", 1)[1]).isdigit()]
    for _, place in sorted(numbered, reverse=True):
        try:
            facts, arrays = read_array_folder(place, ("days", "tickers", *names), ("digest",), remake=maker.remake)
        except (MissingFileError, FormatError):
            if place.exists():
                raise
            continue  # a newer one has just taken its place
        check_types(place, facts, {"model": str, "cache": str, "version": int}, remake=maker.remake)
        if (facts["model"], facts["cache"]) == (maker.fingerprint, entries.cache) and "digest" in arrays:
            grid = {name: arrays.pop(name) for name in _GRID}
            valid = _still_valid(grid["days"], grid["tickers"], grid["digest"], entries.index)
            return StoredValues(**grid, arrays=arrays, facts=facts, valid=valid)
    return None


def cell_digests(index: EntryIndex) -> UInt64:
    """Return the digest of each cell's entry, 0 if there is none; shape (T, N)."""
    return np.where(index.row >= 0, index.digest[index.row], np.uint64(0))


def select_cells(grid: Any, rows: Int64, columns: Int64, empty: Any) -> Any:
    """Return cells of a grid by places in it, `empty` where a place is −1."""
    at = np.ix_(rows, columns)
    return np.where((at[0] >= 0) & (at[1] >= 0), grid[at], empty)


def _still_valid(days: Days, tickers: Text, digest: UInt64, index: EntryIndex) -> Bool:
    """Mark values whose entry still has the same window. A version number does not suffice: two caches of one encoder,
    or one that was rebuilt, may have the same."""
    if not index.entries:
        return np.zeros(digest.shape, dtype=np.bool_)
    now = cell_digests(index)
    if not (np.array_equal(days, index.days) and np.array_equal(tickers, index.tickers)):
        now = select_cells(now, positions(index.days, days), positions(index.tickers, tickers), np.uint64(0))
    valid: Bool = (digest != 0) & (digest == now)
    return valid


def _on_grid(stored: StoredValues, index: EntryIndex) -> Bool:
    """Return the valid cells on the grid of the cache."""
    rows, columns = positions(stored.days, index.days), positions(stored.tickers, index.tickers)
    valid: Bool = select_cells(stored.valid, rows, columns, False)
    return valid


def _same_grid(stored: StoredValues, index: EntryIndex) -> bool:
    return np.array_equal(stored.days, index.days) and np.array_equal(stored.tickers, index.tickers)


def _write(
    place: Path,
    maker: ValueMaker,
    entries: CacheEntries,
    stored: StoredValues | None,
    todo: Bool,
    progress: Progress | None,
) -> None:
    """Write all values of a version: copy the valid ones, and make the others in blocks."""
    index, shape = entries.index, todo.shape
    facts = {**maker.facts, "model": maker.fingerprint, "cache": entries.cache, "version": entries.version}
    with array_folder(place, facts) as new_array:
        new_array("days", index.days.shape, index.days.dtype)[...] = index.days
        new_array("tickers", index.tickers.shape, index.tickers.dtype)[...] = index.tickers
        new_array("digest", shape, np.uint64)[...] = cell_digests(index)
        arrays = {one.name: new_array(one.name, (*shape, *one.shape), one.dtype) for one in maker.arrays}
        for one in maker.arrays:
            arrays[one.name][...] = one.empty
        if stored is not None:
            _copy(stored, index, arrays)
        rows, columns = np.nonzero(todo)
        for first in range(0, len(rows), _BLOCK_ROWS):
            at = rows[first : first + _BLOCK_ROWS], columns[first : first + _BLOCK_ROWS]
            vectors = entries.vectors(index.row[at].astype(np.int64))
            made = maker.make(index.days[at[0]], index.tickers[at[1]], vectors)
            for one, values in zip(maker.arrays, made, strict=True):
                arrays[one.name][at] = values
            if progress is not None:
                progress(first + len(at[0]), len(rows))


def _copy(stored: StoredValues, index: EntryIndex, arrays: dict[str, np.ndarray]) -> None:
    """Copy the valid values, one day at a time."""
    column = positions(stored.tickers, index.tickers)
    for day, row in enumerate(positions(stored.days, index.days).tolist()):
        if row < 0:
            continue
        ticker = np.flatnonzero((column >= 0) & stored.valid[row, column] & (index.row[day] >= 0))
        for name, array in arrays.items():
            array[day, ticker] = stored.arrays[name][row, column[ticker]]


def _name(model: str, cache: str, version: int | str) -> str:
    return f"{model[:16]}-{cache[:16]}-{version}"


def _remove_outdated(place: Path, cache: str) -> None:
    """Remove values of the same cache by older makers and versions, and files left by killed writers."""
    for other in list(place.parent.iterdir()):
        older = other.name.split("-")[1:2] == [cache[:16]] and other != place
        try:
            left = other.name.startswith(".") and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # another writer has just finished
            continue
        if (older and not other.name.startswith(".")) or left:
            shutil.rmtree(other, ignore_errors=True)
