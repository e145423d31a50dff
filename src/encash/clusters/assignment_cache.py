"""Assignments of a whole cache, kept in the folder of its clusters: made once, then brought up to date by what has
changed. Knows models, the keys of a store and a function that reads its vectors; nothing of prices."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

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
"""How long one waits for another that assigns."""
_BLOCK_ROWS = 16_384
_LEFT_BEHIND_SECONDS = 3600.0
"""After so long, what a killed writer left is taken away."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheEntries:
    """The entries of one version of a cache."""

    index: EntryIndex
    vectors: Callable[[Int64], Float32]
    """Reads the embeddings of rows."""
    cache: str
    """Fingerprint of the cache's embeddings."""
    version: int


def keep_assignments(
    folder: Path, assigner: Assigner, entries: CacheEntries, *, progress: Progress | None = None
) -> Assignments:
    """The cluster of every entry and its distance to every centroid, as kept, or from its vector where it is new.

    An assignment holds as long as its entry has the digest that it was made from: after a nightly build only new and
    restated entries are read. Vectors pass by in blocks; the distances lie in a file, not in memory.

    Args:
        folder: the folder of the clusters.
        assigner: the model, or the walk.
        entries: what to assign.
        progress: called with entries done and entries in all.

    Raises:
        InputError: an empty cache.
        ConflictError: another one has been assigning for an hour.
    """
    if not entries.index.entries:
        raise InputError("the cache has no entries to assign; build it first")
    lock = make_folder(folder) / _LOCK
    with writer_lock(lock, timeout_seconds=_LOCK_SECONDS):  # a rival waits, and finds the work done
        return _keep(folder, assigner, entries, progress)


def find_kept(folder: Path, model: str, entries: CacheEntries, *, distances: bool = False) -> Assignments | None:
    """What is kept of a cache under a model, without assignments whose entry has changed since; None where nothing is.

    Args:
        folder: the folder of the clusters.
        model: fingerprint of the model or the walk.
        entries: the cache as it is now; its vectors are not read.
        distances: open the distances to all centroids too.

    Raises:
        FormatError: what is kept is damaged.
    """
    places = (folder / FOLDER).glob(_name(model, entries.cache, "*"))
    numbered = [(int(number), place) for place in places if (number := place.name.rsplit("-", 1)[1]).isdigit()]
    for _, place in sorted(numbered, reverse=True):
        try:
            kept = load_assignments(place, distances=distances)
        except (MissingFileError, FormatError):
            if place.exists():
                raise
            continue  # a newer one has just taken its place
        if (kept.model, kept.cache) == (model, entries.cache):
            return _still_true(kept, entries)
    return None


def _keep(folder: Path, assigner: Assigner, entries: CacheEntries, progress: Progress | None) -> Assignments:
    index = entries.index
    try:
        kept = find_kept(folder, assigner.fingerprint, entries, distances=True)
    except FormatError:  # damaged: all of it is made again
        kept = None
    known = np.full(index.row.shape, -1, dtype=np.int32) if kept is None else _on_grid(kept, index)
    todo = (index.row >= 0) & (known < 0)
    place = folder / FOLDER / _name(assigner.fingerprint, entries.cache, entries.version)
    if kept is None or todo.any() or kept.version != entries.version or not _same_grid(kept, index):
        _write(place, assigner, entries, kept, todo, progress)
    _tidy(place, entries.cache)
    return load_assignments(place, distances=True)


def _still_true(kept: Assignments, entries: CacheEntries) -> Assignments:
    """The same, with −1 where the cache has an entry of another window now, of an unknown one, or none. A version's
    number is no proof: two caches of one encoder, or one that was built again, have the same."""
    index = entries.index
    if kept.digest is None or not index.entries:
        return replace(kept, cluster=np.full_like(kept.cluster, -1))
    now = cell_digests(index)
    if not _same_grid(kept, index):
        at = np.ix_(positions(index.days, kept.days), positions(index.tickers, kept.tickers))
        now = np.where((at[0] >= 0) & (at[1] >= 0), now[at], np.uint64(0))
    true = (kept.digest != 0) & (kept.digest == now)
    return replace(kept, cluster=np.where(true, kept.cluster, np.int32(-1)))


def cell_digests(index: EntryIndex) -> UInt64:
    """The digest of each cell's entry, 0 where there is none; shape (T, N)."""
    return np.where(index.row >= 0, index.digest[index.row], np.uint64(0))


def covers(kept: Assignments, index: EntryIndex, start: DayLike, end: DayLike) -> bool:
    """Whether every entry of a range of days has its cluster among what is kept."""
    days = (index.days >= to_day(start)) & (index.days <= to_day(end))
    return not ((index.row >= 0) & (_on_grid(kept, index) < 0))[days].any()


def _on_grid(kept: Assignments, index: EntryIndex) -> Int32:
    """The kept cluster of each cell of the cache, −1 where there is none; shape (T, N)."""
    at = np.ix_(positions(kept.days, index.days), positions(kept.tickers, index.tickers))
    return np.where((at[0] >= 0) & (at[1] >= 0), kept.cluster[at], np.int32(-1))


def _same_grid(kept: Assignments, index: EntryIndex) -> bool:
    return np.array_equal(kept.days, index.days) and np.array_equal(kept.tickers, index.tickers)


def _write(
    place: Path,
    assigner: Assigner,
    entries: CacheEntries,
    kept: Assignments | None,
    todo: Bool,
    progress: Progress | None,
) -> None:
    """Write all assignments of a version: those that are known and those to do."""
    index, shape = entries.index, todo.shape
    facts = {"k": assigner.k, "model": assigner.fingerprint, "cache": entries.cache, "version": entries.version}
    with array_folder(place, facts) as new_array:
        new_array("days", index.days.shape, index.days.dtype)[...] = index.days
        new_array("tickers", index.tickers.shape, index.tickers.dtype)[...] = index.tickers
        new_array("digest", shape, np.uint64)[...] = cell_digests(index)
        cluster, distance = new_array("cluster", shape, np.int32), new_array("distance", shape, np.float32)
        distances = new_array("distances", (*shape, assigner.k), np.float32)
        cluster[...], distance[...] = -1, np.nan
        if kept is not None:
            _copy(kept, index, cluster, distance, distances)
        done, total = 0, int(todo.sum())
        for day, ticker in _blocks(todo):
            vectors = entries.vectors(index.row[day, ticker].astype(np.int64))
            cluster[day, ticker], distance[day, ticker] = assigner.assign(index.days[day], vectors)
            distances[day, ticker] = assigner.distances(index.days[day], vectors)
            done += len(day)
            if progress is not None:
                progress(done, total)


def _copy(kept: Assignments, index: EntryIndex, cluster: Int32, distance: Float32, distances: Float32) -> None:
    """What is known already, a day at a time."""
    column = positions(kept.tickers, index.tickers)
    for day, row in enumerate(positions(kept.days, index.days).tolist()):
        if row < 0:
            continue
        ticker = np.flatnonzero((column >= 0) & (kept.cluster[row, column] >= 0) & (index.row[day] >= 0))
        from_ = row, column[ticker]
        cluster[day, ticker], distance[day, ticker] = kept.cluster[from_], kept.distance[from_]
        assert kept.distances is not None
        distances[day, ticker] = kept.distances[from_]


def _blocks(cells: Bool) -> Iterator[tuple[Int64, Int64]]:
    """The places of true cells, by day and ticker, many at a time."""
    day, ticker = np.nonzero(cells)
    for first in range(0, len(day), _BLOCK_ROWS):
        yield day[first : first + _BLOCK_ROWS], ticker[first : first + _BLOCK_ROWS]


def _name(model: str, cache: str, version: int | str) -> str:
    return f"{model[:16]}-{cache[:16]}-{version}"


def _tidy(place: Path, cache: str) -> None:
    """Take away what is kept of the same cache under older models and versions, and what killed writers left."""
    for other in list(place.parent.iterdir()):
        older = other.name.split("-")[1:2] == [cache[:16]] and other != place
        try:
            left = other.name.startswith(".") and time.time() - other.stat().st_mtime > _LEFT_BEHIND_SECONDS
        except FileNotFoundError:  # another writer has just finished
            continue
        if (older and not other.name.startswith(".")) or left:
            shutil.rmtree(other, ignore_errors=True)
