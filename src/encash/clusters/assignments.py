"""The cluster of every entry of a cache under one model, kept so that nobody reads vectors twice. Knows days, tickers
and ids; nothing of prices, and nothing of where vectors come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import DayLike, Days, Float32, Int32, Int64, Text, UInt64, positions, to_day
from encash.clusters.draw import ticker_codes
from encash.clusters.files import array_folder, read_array_folder
from encash.errors import FormatError, InputError

_REMAKE = "encash clusters assign --clusters … --cache …"
_ARRAYS = ("days", "tickers", "cluster", "distance")
_OPTIONAL = ("digest", "distances")
_FACTS = ("k", "model", "cache", "version")


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignments:
    """Cluster and distance of entries, on a grid of days × tickers.

    `of_rows` makes it from one row per entry; `lookup` reads it back by row.
    """

    days: Days
    """Ascending, distinct; shape (T,)."""
    tickers: Text
    """Ascending, distinct; shape (N,)."""
    cluster: Int32
    """Nearest cluster of each entry, −1 where there is none; shape (T, N)."""
    distance: Float32
    """Distance to that cluster's centroid, NaN where there is no entry; shape (T, N)."""
    k: int
    """Number of clusters of the model."""
    digest: UInt64 | None = None
    """Digest of the window that each entry was made from, 0 where it is unknown; shape (T, N). None: nobody kept it."""
    distances: Float32 | None = None
    """Distance to every centroid, shape (T, N, k); None where they were not kept."""
    model: str = ""
    """Fingerprint of the cluster model, or of the walk."""
    cache: str = ""
    """Fingerprint of the cache's embeddings."""
    version: int = 0
    """Version of the cache that was read."""

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
        """Assignments from one row per entry, in any order.

        Args:
            days: shape (n,).
            tickers: shape (n,).
            cluster: shape (n,).
            distance: shape (n,).
            k: number of clusters of the model.
            origin: `model`, `cache` and `version`.

        Raises:
            InputError: two rows of one (day, ticker), or a cluster that is none of the k.

        >>> made = Assignments.of_rows(np.array(["2024-01-02"] * 2, "M8[D]"), np.array(["B", "A"]),
        ...                            np.int32([1, 0]), np.float32([0.5, 0.25]), k=2)
        >>> made.tickers.tolist(), made.cluster.tolist()
        (['A', 'B'], [[0, 1]])
        """
        grid_days, day_at = np.unique(days, return_inverse=True)
        codes, names = ticker_codes(tickers)
        cell = day_at * len(names) + codes
        if len(np.unique(cell)) != len(cell):
            raise InputError("some (day, ticker) is given twice; an entry has one cluster")
        if len(cluster) and not 0 <= cluster.min() <= cluster.max() < k:
            raise InputError(f"cluster ids run from {cluster.min()} to {cluster.max()}, expected 0 to {k - 1}")
        shape = (len(grid_days), len(names))
        return cls(
            days=grid_days,
            tickers=names,
            cluster=_spread(cell, shape, cluster.astype(np.int32), -1),
            distance=_spread(cell, shape, distance.astype(np.float32), np.nan),
            k=k,
            **origin,
        )

    def lookup(self, days: Days, tickers: Text) -> tuple[Int32, Float32]:
        """Cluster and distance of some entries; −1 and NaN where there is none.

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
        """Those of a range of days, both included, as views; None leaves a side open."""
        first = 0 if start is None else int(np.searchsorted(self.days, to_day(start)))
        stop = len(self.days) if end is None else int(np.searchsorted(self.days, to_day(end), side="right"))
        part = {name: getattr(self, name)[first:stop] for name in ("days", "cluster", "distance")}
        for name in ("digest", "distances"):
            kept = getattr(self, name)
            part[name] = None if kept is None else kept[first:stop]
        return replace(self, **part)

    def save(self, folder: str | Path) -> None:
        """Write a folder of plain .npy files and `facts.json`; it appears whole and replaces what was there."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_OPTIONAL)}
        with array_folder(Path(folder), {name: getattr(self, name) for name in _FACTS}) as new_array:
            for name, array in arrays.items():
                if array is not None:
                    new_array(name, array.shape, array.dtype)[...] = array


def load_assignments(folder: str | Path, *, distances: bool = False, mend: str = _REMAKE) -> Assignments:
    """What `Assignments.save` wrote, mapped into memory.

    Args:
        folder: where it was written.
        distances: the distances to every centroid are needed too.
        mend: the command that makes it again, for an error to name.

    Raises:
        MissingFileError: no such folder.
        FormatError: damaged, or without what is asked.
    """
    needed = (*_ARRAYS, "distances") if distances else _ARRAYS
    facts, arrays = read_array_folder(Path(folder), needed, ("digest",), mend=mend)
    try:
        return Assignments(**{name: facts[name] for name in _FACTS}, **arrays)
    except KeyError as missing:
        raise FormatError(f"{folder} lacks {missing}; assign again: {mend}") from None


def assign_batches(
    batches: Iterable[tuple[Days, Text, Float32]],
    assign: Callable[[Float32], tuple[Int32, Float32]],
    *,
    k: int,
    **origin: Any,
) -> Assignments:
    """Assign a stream of entries; only ids and distances stay in memory.

    Args:
        batches: days (n,), tickers (n,) and vectors (n, d) of some entries.
        assign: clusters (n,) and distances (n,) of vectors: a model's `assign`.
        k: number of clusters.
        origin: `model`, `cache` and `version`.

    Raises:
        InputError: no entries, or two of one (day, ticker).
    """
    rows = [(days, tickers, *assign(vectors)) for days, tickers, vectors in batches]
    if not rows:
        raise InputError("no entries to assign; give a range of days that the cache covers")
    return Assignments.of_rows(*(np.concatenate(column) for column in zip(*rows, strict=True)), k=k, **origin)


def _spread(cell: Int64, shape: tuple[int, int], values: Any, empty: float) -> Any:
    """Rows laid out on the grid, `empty` elsewhere."""
    grid = np.full(shape[0] * shape[1], empty, dtype=values.dtype)
    grid[cell] = values
    return grid.reshape(shape)
