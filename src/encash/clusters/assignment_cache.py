"""Cached assignments of a whole cache, in the folder of the clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import DayLike, Days, Float32, Text, positions, to_day
from encash.clusters.assignments import REASSIGN, Assignments, load_assignments
from encash.clusters.entry_values import CacheEntries, ValueArray, load_values, select_cells, update_values
from encash.clusters.periods import Assigner
from encash.progress import Progress
from encash.store.index import EntryIndex

FOLDER = "assignments"
_LOCK = ".assignments.lock"
_DISTANCES = "distances"


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """The clusters of a model or a walk, as values of entries; without an assigner its values can only be loaded."""

    fingerprint: str
    assigner: Assigner | None = None
    remake: str = REASSIGN

    @property
    def arrays(self) -> tuple[ValueArray, ...]:
        """Nearest cluster, distance to it, and distances to all centroids."""
        return (
            ValueArray(name="cluster", dtype=np.int32, empty=-1),
            ValueArray(name="distance", dtype=np.float32),
            ValueArray(name=_DISTANCES, dtype=np.float32, shape=() if self.assigner is None else (self.assigner.k,)),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Number of clusters."""
        return {} if self.assigner is None else {"k": self.assigner.k}

    def make(self, days: Days, tickers: Text, vectors: Float32) -> tuple[np.ndarray, ...]:
        """Assign n entries."""
        assert self.assigner is not None
        return (*self.assigner.assign(days, vectors), self.assigner.distances(days, vectors))


def update_assignment_cache(
    folder: Path, assigner: Assigner, entries: CacheEntries, *, progress: Progress | None = None
) -> Assignments:
    """Return the cluster of every entry and its distance to every centroid; only new and changed entries are assigned.

    Args:
        folder: the folder of the clusters.
        assigner: of the model, or of the walk.
        entries: what to assign.
        progress: called with entries done and their total.

    Raises:
        InputError: an empty cache.
        ConflictError: a different process has been assigning for an hour.
    """
    maker = _Maker(fingerprint=assigner.fingerprint, assigner=assigner)
    return load_assignments(update_values(folder / FOLDER, _LOCK, maker, entries, progress), distances=True)


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
    names = ("cluster", "distance", *((_DISTANCES,) if distances else ()))
    stored = load_values(folder / FOLDER, _Maker(fingerprint=model), entries, names)
    if stored is None:
        return None
    arrays: dict[str, Any] = {**stored.arrays}
    arrays["cluster"] = np.where(stored.valid, arrays["cluster"], np.int32(-1))
    facts = {name: stored.facts[name] for name in ("k", "model", "cache", "version")}
    found = Assignments(days=stored.days, tickers=stored.tickers, digest=stored.digest, **facts, **arrays)
    return found.as_stored()


def covers(assignments: Assignments, index: EntryIndex, start: DayLike, end: DayLike) -> bool:
    """Return whether every entry of a range of days is assigned."""
    rows, columns = positions(assignments.days, index.days), positions(assignments.tickers, index.tickers)
    clusters = select_cells(assignments.cluster, rows, columns, np.int32(-1))
    days = (index.days >= to_day(start)) & (index.days <= to_day(end))
    return not ((index.row >= 0) & (clusters < 0))[days].any()
