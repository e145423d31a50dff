"""Cached assignments of a whole cache, in the folder of the clusters: made once, then updated by what has changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Bool, DayLike, Float32, Int32, Int64, UInt64, positions, to_day
from encash.atomic_write import make_folder
from encash.clusters.assignments import Assignments, load_assignments
from encash.clusters.files import array_folder
from encash.clusters.periods import Assigner
from encash.errors import FormatError, InputError, MissingFileError
from encash.progress import Progress
from encash.store.base import EntryIndex
from encash.store.local.lock import writer_lock

FOLDER = "assignments"
_LOCK = ".assignments.lock"
_LOCK_SECONDS = 3600.0
"""Longest wait for another process that assigns."""
_BLOCK_ROWS = 16_384
_ABANDONED_SECONDS = 3600.0
"""Age at which hidden files of a killed writer are removed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheEntries:
    """The entries of one version of a cache."""

    index: EntryIndex
    vectors: Callable[[Int64], Float32]
    """Reads the embeddings of rows."""
    cache: str
    """Fingerprint of the cache's embeddings."""
    version: int


def update_assignment_cache(
    folder: Path, assigner: Assigner, entries: CacheEntries, *, progress: Progress | None = None
) -> Assignments:
    """Return the cluster of every entry and its distance to every centroid; only new and changed entries are assigned.

    A cached assignment is valid as long as its entry has the digest that it was made from: after a nightly build only
    new and restated entries are read. Vectors are read in blocks; the distances are in a file, not in memory.

    Args:
        folder: the folder of the clusters.
        assigner: of the model, or of the walk.
        entries: what to assign.
        progress: called with entries done and their total.

    Raises:
        InputError: an empty cache.
        ConflictError: another process has been assigning for an hour.
    """
    index = entries.index
    if not index.entries:
        raise InputError("the cache has no entries to assign; build it first")
    with writer_lock(make_folder(folder) / _LOCK, timeout_seconds=_LOCK_SECONDS):  # a rival waits, and finds it done
        try:
            cached = load_cached_assignments(folder, assigner.fingerprint, entries, distances=True)
        except FormatError:  # damaged: all of it is made again
            cached = None
        known = np.full(index.row.shape, -1, dtype=np.int32) if cached is None else _clusters_on_grid(cached, index)
        todo = (index.row >= 0) & (known < 0)
        place = folder / FOLDER / _name(assigner.fingerprint, entries.cache, entries.version)
        if cached is None or todo.any() or cached.version != entries.version or not _same_grid(cached, index):
            _write(place, assigner, entries, cached, todo, progress)
        _remove_outdated(place, entries.cache)
        return load_assignments(place, distances=True)


def load_cached_assignments(
    folder: Path, model: str, entries: CacheEntries, *, distances: bool = False
) -> Assignments | None:
    """Load the cached assignments of a cache under a model, without those whose entry has changed; None without any.

    Args:
        folder: the folder of the clusters.
        model: fingerprint of the model or the walk.
        entries: the cache as it is now; its vectors are not read.
        distances: load the distances to all centroids too.

    Raises:
        FormatError: the cached assignments are damaged.
    """
    places = (folder / FOLDER).glob(_name(model, entries.cache, "*"))
    numbered = [(int(number), place) for place in places if (number := place.name.rsplit("-", 1)[1]).isdigit()]
    for _, place in sorted(numbered, reverse=True):
        try:
            cached = load_assignments(place, distances=distances)
        except (MissingFileError, FormatError):
            if place.exists():
                raise
            continue  # a newer one has just taken its place
        if (cached.model, cached.cache) == (model, entries.cache):
            return _without_changed(cached, entries.index)
    return None


def covers(assignments: Assignments, index: EntryIndex, start: DayLike, end: DayLike) -> bool:
    """Say if every entry of a range of days is assigned."""
    days = (index.days >= to_day(start)) & (index.days <= to_day(end))
    return not ((index.row >= 0) & (_clusters_on_grid(assignments, index) < 0))[days].any()


def cell_digests(index: EntryIndex) -> UInt64:
    """Return the digest of each cell's entry, 0 if there is none; shape (T, N)."""
    return np.where(index.row >= 0, index.digest[index.row], np.uint64(0))


def _without_changed(cached: Assignments, index: EntryIndex) -> Assignments:
    """Set −1 if the cache now has an entry of a different window, of an unknown one, or no entry. A version number
    proves nothing: two caches of one encoder, or one that was built again, may have the same."""
    if cached.digest is None or not index.entries:
        return replace(cached, cluster=np.full_like(cached.cluster, -1))
    now = cell_digests(index)
    if not _same_grid(cached, index):
        rows, columns = positions(index.days, cached.days), positions(index.tickers, cached.tickers)
        now = _select(now, rows, columns, np.uint64(0))
    valid = (cached.digest != 0) & (cached.digest == now)
    return replace(cached, cluster=np.where(valid, cached.cluster, np.int32(-1)))


def _clusters_on_grid(assignments: Assignments, index: EntryIndex) -> Int32:
    """Return the assigned cluster of each cell of the cache, −1 if there is none; shape (T, N)."""
    rows, columns = positions(assignments.days, index.days), positions(assignments.tickers, index.tickers)
    clusters: Int32 = _select(assignments.cluster, rows, columns, np.int32(-1))
    return clusters


def _select(grid: Any, rows: Int64, columns: Int64, empty: Any) -> Any:
    """Return cells of a grid by places in it, `empty` where a place is −1."""
    at = np.ix_(rows, columns)
    return np.where((at[0] >= 0) & (at[1] >= 0), grid[at], empty)


def _same_grid(assignments: Assignments, index: EntryIndex) -> bool:
    return np.array_equal(assignments.days, index.days) and np.array_equal(assignments.tickers, index.tickers)


def _write(
    place: Path,
    assigner: Assigner,
    entries: CacheEntries,
    cached: Assignments | None,
    todo: Bool,
    progress: Progress | None,
) -> None:
    """Write all assignments of a version: copy the cached ones, and assign the others in blocks."""
    index, shape = entries.index, todo.shape
    facts = {"k": assigner.k, "model": assigner.fingerprint, "cache": entries.cache, "version": entries.version}
    with array_folder(place, facts) as new_array:
        new_array("days", index.days.shape, index.days.dtype)[...] = index.days
        new_array("tickers", index.tickers.shape, index.tickers.dtype)[...] = index.tickers
        new_array("digest", shape, np.uint64)[...] = cell_digests(index)
        cluster, distance = new_array("cluster", shape, np.int32), new_array("distance", shape, np.float32)
        distances = new_array("distances", (*shape, assigner.k), np.float32)
        cluster[...], distance[...] = -1, np.nan
        if cached is not None:
            _copy(cached, index, cluster, distance, distances)
        days, tickers = np.nonzero(todo)
        for first in range(0, len(days), _BLOCK_ROWS):
            day, ticker = days[first : first + _BLOCK_ROWS], tickers[first : first + _BLOCK_ROWS]
            vectors = entries.vectors(index.row[day, ticker].astype(np.int64))
            cluster[day, ticker], distance[day, ticker] = assigner.assign(index.days[day], vectors)
            distances[day, ticker] = assigner.distances(index.days[day], vectors)
            if progress is not None:
                progress(first + len(day), len(days))


def _copy(cached: Assignments, index: EntryIndex, cluster: Int32, distance: Float32, distances: Float32) -> None:
    """Copy the cached assignments, one day at a time."""
    assert cached.distances is not None
    column = positions(cached.tickers, index.tickers)
    for day, row in enumerate(positions(cached.days, index.days).tolist()):
        if row < 0:
            continue
        ticker = np.flatnonzero((column >= 0) & (cached.cluster[row, column] >= 0) & (index.row[day] >= 0))
        source = row, column[ticker]
        cluster[day, ticker], distance[day, ticker] = cached.cluster[source], cached.distance[source]
        distances[day, ticker] = cached.distances[source]


def _name(model: str, cache: str, version: int | str) -> str:
    return f"{model[:16]}-{cache[:16]}-{version}"


def _remove_outdated(place: Path, cache: str) -> None:
    """Remove assignments of the same cache under older models and versions, and what killed writers left."""
    for other in list(place.parent.iterdir()):
        older = other.name.split("-")[1:2] == [cache[:16]] and other != place
        try:
            left = other.name.startswith(".") and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # another writer has just finished
            continue
        if (older and not other.name.startswith(".")) or left:
            shutil.rmtree(other, ignore_errors=True)
