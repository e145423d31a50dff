"""The cluster of every entry of a cache under one model, kept so that nobody reads vectors twice. Knows days, tickers
and ids; nothing of prices, and nothing of where vectors come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Days, Float32, Int32, Int64, Text, positions
from encash.clusters.draw import ticker_codes
from encash.clusters.files import read_arrays, write_arrays
from encash.errors import FormatError, InputError, MismatchError

_REMAKE = "encash clusters fit --cache …"
_ORIGIN = ("model", "cache", "version")
_FACTS = ("k", *_ORIGIN)


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
        distances: Float32 | None = None,
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
            distances: shape (n, k), optional.
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
            distances=None if distances is None else _spread(cell, shape, distances.astype(np.float32), np.nan),
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

    def check_origin(self, *, model: str, cache: str, version: int) -> None:
        """Refuse assignments that another model, cache or version of it made.

        Raises:
            MismatchError: something differs.
        """
        ours, theirs = (self.model, self.cache, self.version), (model, cache, version)
        for name, ours_is, theirs_is in zip(_ORIGIN, ours, theirs, strict=True):
            if ours_is != theirs_is:
                raise MismatchError(
                    f"these assignments are of {name} {str(ours_is)[:12]}, not {str(theirs_is)[:12]}; assign again"
                )

    def save(self, path: str | Path) -> None:
        """Write one .npz file, atomically."""
        arrays = {name: getattr(self, name) for name in ("days", "tickers", "cluster", "distance", "distances")}
        arrays["days"] = self.days.astype(np.int64)
        kept = {name: array for name, array in arrays.items() if array is not None}
        write_arrays(Path(path), kept | {name: np.array(getattr(self, name)) for name in _FACTS})


def load_assignments(path: str | Path, *, distances: bool = False) -> Assignments:
    """What `Assignments.save` wrote; the distances to every centroid only where asked for.

    Raises:
        MissingFileError: no such file.
        FormatError: damaged, or without what is asked.
    """
    names = ("days", "tickers", "cluster", "distance", *_FACTS, *(("distances",) if distances else ()))
    arrays = read_arrays(Path(path), mend=_REMAKE, names=names)
    if absent := [name for name in names if name not in arrays]:
        raise FormatError(f"{path} lacks {', '.join(absent)}; assign again: {_REMAKE}")
    facts = {name: arrays[name].item() for name in _FACTS}
    return Assignments(**{**arrays, **facts, "days": arrays["days"].astype("datetime64[D]")})


def assign_batches(
    batches: Iterable[tuple[Days, Text, Float32]],
    assign: Callable[[Days, Float32], tuple[Int32, Float32]],
    *,
    k: int,
    distances: Callable[[Days, Float32], Float32] | None = None,
    **origin: Any,
) -> Assignments:
    """Assign a stream of entries; only ids and distances stay in memory.

    Args:
        batches: days (n,), tickers (n,) and vectors (n, d).
        assign: clusters (n,) and distances (n,) of vectors on those days, such as
            ``lambda days, vectors: model.assign(vectors)``.
        k: number of clusters.
        distances: distances (n, k) to every centroid, where they are to be kept too (4·k bytes an entry).
        origin: `model`, `cache` and `version`.

    Raises:
        InputError: no entries, or two of one (day, ticker).
    """
    rows: list[tuple[Any, ...]] = []
    for days, tickers, vectors in batches:
        more = () if distances is None else (distances(days, vectors),)
        rows.append((days, tickers, *assign(days, vectors), *more))
    if not rows:
        raise InputError("no entries to assign; give a range of days that the cache covers")
    return Assignments.of_rows(*(np.concatenate(column) for column in zip(*rows, strict=True)), k=k, **origin)


def _spread(cell: Int64, shape: tuple[int, int], values: Any, empty: float) -> Any:
    """Rows laid out on the grid, `empty` elsewhere."""
    width: Sequence[int] = values.shape[1:]
    grid = np.full((shape[0] * shape[1], *width), empty, dtype=values.dtype)
    grid[cell] = values
    return grid.reshape(*shape, *width)
