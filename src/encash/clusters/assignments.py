"""The cluster of every entry of a cache under one model: in memory, and in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import DayLike, Days, Float32, Int32, Int64, Text, UInt64, positions, to_day
from encash.clusters.draw import ticker_codes
from encash.clusters.files import array_folder, check_types, read_array_folder
from encash.clusters.model import ClusterModel
from encash.errors import InputError
from encash.fingerprint import Canonical, fingerprint, row_digests

REASSIGN = "encash clusters assign --clusters … --cache …"
_ARRAYS = ("days", "tickers", "cluster", "distance")
_OPTIONAL = ("digest", "distances")
_FACTS = {"k": int, "model": str, "cache": str, "version": int | str}


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignments:
    """Cluster and distance of entries, on a grid of days × tickers."""

    days: Days
    """Ascending, distinct; shape (T,)."""
    tickers: Text
    """Ascending, distinct; shape (N,)."""
    cluster: Int32
    """Nearest cluster of each entry, −1 for an empty cell; shape (T, N)."""
    distance: Float32
    """Distance to that cluster's centroid, NaN for an empty cell; shape (T, N)."""
    k: int
    """Number of clusters of the model."""
    digest: UInt64 | None = None
    """Digest of the window that each entry was made from, 0 if unknown; shape (T, N). None if not recorded."""
    distances: Float32 | None = None
    """Distance to every centroid, shape (T, N, k); None if not stored."""
    model: str = ""
    """Fingerprint of the cluster model, or of the walk."""
    cache: str = ""
    """Fingerprint of the cache's embeddings."""
    version: int = 0
    """Version of the cache that was read."""
    stored: bool = field(default=False, init=False)
    """True if unchanged since they were loaded from the folder of their clusters, whose checksums prove that they
    belong to `model` and to the windows of `digest`; False for a modified copy."""

    @property
    def entries(self) -> int:
        """Number of assigned entries."""
        return int((self.cluster >= 0).sum())

    @classmethod
    def of_rows(
        cls,
        days: Days,
        tickers: Text,
        cluster: Int32,
        distance: Float32,
        *,
        k: int,
        **origin: Any,
    ) -> Assignments:
        """Arrange one row per entry, in any order, on the grid.

        Args:
            days: shape (n,).
            tickers: shape (n,).
            cluster: shape (n,).
            distance: shape (n,).
            k: number of clusters of the model.
            origin: `model`, `cache` and `version`.

        Raises:
            InputError: two rows of one (day, ticker), or an invalid cluster id.

        >>> made = Assignments.of_rows(np.array(["2024-01-02"] * 2, "M8[D]"), np.array(["B", "A"]),
        ...                            np.int32([1, 0]), np.float32([0.5, 0.25]), k=2)
        >>> made.tickers.tolist(), made.cluster.tolist()
        (['A', 'B'], [[0, 1]])
        """
        grid_days, row = np.unique(days, return_inverse=True)
        column, names = ticker_codes(tickers)
        if len(np.unique(row * len(names) + column)) != len(row):
            raise InputError("a (day, ticker) is given twice; expected one row per entry")
        if len(cluster) and not 0 <= cluster.min() <= cluster.max() < k:
            raise InputError(f"cluster ids run from {cluster.min()} to {cluster.max()}, expected 0 to {k - 1}")
        shape = (len(grid_days), len(names))
        clusters, distances = np.full(shape, -1, dtype=np.int32), np.full(shape, np.nan, dtype=np.float32)
        clusters[row, column], distances[row, column] = cluster, distance
        return cls(days=grid_days, tickers=names, cluster=clusters, distance=distances, k=k, **origin)

    def lookup(self, days: Days, tickers: Text) -> tuple[Int32, Float32]:
        """Look up cluster and distance of some entries; −1 and NaN for those without.

        Args:
            days: shape (n,).
            tickers: shape (n,).

        Returns:
            clusters (n,) and distances (n,).
        """
        row, column = positions(self.days, days), positions(self.tickers, tickers)
        there = (row >= 0) & (column >= 0)
        cluster = np.where(there, self.cluster[row, column], np.int32(-1))
        return cluster, np.where(there, self.distance[row, column], np.float32(np.nan))

    def between(self, start: DayLike | None, end: DayLike | None) -> Assignments:
        """Select a range of days, both ends included, as views; None leaves an end open."""
        first = 0 if start is None else int(np.searchsorted(self.days, to_day(start)))
        stop = len(self.days) if end is None else int(np.searchsorted(self.days, to_day(end), side="right"))
        by_day: dict[str, Any] = {}
        for name in ("days", "cluster", "distance", *_OPTIONAL):
            array = getattr(self, name)
            by_day[name] = None if array is None else array[first:stop]
        return replace(self, **by_day)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the clusters and distances (64 hexadecimal digits); empty days and tickers do not count.

        Distances to all centroids count if they are loaded.
        """
        held = np.flatnonzero((self.cluster >= 0).any(axis=0))
        there = (self.cluster >= 0)[:, held]
        days = np.flatnonzero(there.any(axis=1))
        # a day at a time, because the arrays may be memory-mapped
        content = [self._digests_of(day, held[there[day]]) for day in days.tolist()]
        keys: list[Canonical] = [self.days[days].astype(np.int64), "\n".join(self.tickers[held]), there[days]]
        return fingerprint([*keys, np.array(content, dtype=np.uint64)])

    def _digests_of(self, day: int, columns: Int64) -> list[int]:
        """Return the digest of each array of the assigned cells of a day."""
        arrays = [self.cluster, self.distance, *([] if self.distances is None else [self.distances])]
        return [int(row_digests(array[day, columns].reshape(1, -1))[0]) for array in arrays]

    def as_stored(self) -> Assignments:
        """Return the same assignments, marked as loaded from the folder of their clusters."""
        made = replace(self)
        object.__setattr__(made, "stored", True)
        return made

    def save(self, folder: str | Path) -> None:
        """Write a folder of plain .npy files and `facts.json`, atomically; an existing one is replaced."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_OPTIONAL)}
        with array_folder(Path(folder), {name: getattr(self, name) for name in _FACTS}) as new_array:
            for name, array in arrays.items():
                if array is not None:
                    new_array(name, array.shape, array.dtype)[...] = array


def load_assignments(folder: str | Path, *, distances: bool = False, remake: str = REASSIGN) -> Assignments:
    """Load what `Assignments.save` wrote, as memory-mapped arrays.

    Args:
        folder: the folder that was written.
        distances: load the distances to every centroid too.
        remake: the command that makes it again, for error messages.

    Raises:
        MissingFileError: no such folder.
        FormatError: damaged, or without the requested arrays.
    """
    needed = (*_ARRAYS, "distances") if distances else _ARRAYS
    facts, arrays = read_array_folder(Path(folder), needed, ("digest",), remake=remake)
    check_types(Path(folder), facts, _FACTS, remake=remake)
    return Assignments(**{name: facts[name] for name in _FACTS}, **arrays)


def assign_batches(
    batches: Iterable[tuple[Days, Text, Float32]], model: ClusterModel, *, cache: str = "", version: int = 0
) -> Assignments:
    """Assign a stream of entries; only ids and distances stay in memory.

    Args:
        batches: days (n,), tickers (n,) and vectors (n, d) of some entries.
        model: the clusters.
        cache: fingerprint of the cache's embeddings.
        version: version of the cache.

    Raises:
        InputError: no entries, or two of one (day, ticker).
    """
    rows = [(days, tickers, *model.assign(vectors)) for days, tickers, vectors in batches]
    if not rows:
        raise InputError("no entries to assign; give a range of days that the cache covers")
    columns = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Assignments.of_rows(*columns, k=model.k, model=model.fingerprint, cache=cache, version=version)
