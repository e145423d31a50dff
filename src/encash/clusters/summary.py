"""A 2-D map of clusters and the drift of a walk, as plain arrays for charts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int32
from encash.clusters.files import CHECKSUM, read_arrays, write_arrays
from encash.clusters.model import ClusterModel
from encash.errors import FormatError
from encash.fingerprint import fingerprint

if TYPE_CHECKING:
    from encash.clusters.entry_values import CacheEntries
    from encash.clusters.walk import WalkModel

MAPPED_ENTRIES = 1_500
"""Entries that a map of clusters shows."""
_MAP_FILE = "map.npz"
_REFIT = "encash clusters fit --cache …"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterMap:
    """A 2-D projection of the clusters."""

    centroids: Float64
    """shape (k, 2)."""
    entries: Float64
    """shape (n, 2)."""
    cluster: Int32
    """Of each entry, shape (n,)."""
    explained: float
    """Fraction of the entries' variance in the plane."""

    def _fits(self) -> bool:
        """Return whether each entry has a place in the plane and one of the clusters."""
        known = np.issubdtype(self.cluster.dtype, np.integer) and (
            (self.cluster >= 0) & (self.cluster < len(self.centroids))
        )
        shapes = (self.centroids.shape[1:], self.entries.shape, self.cluster.shape)
        return shapes == ((2,), (len(self.entries), 2), (len(self.entries),)) and bool(np.all(known))

    def save(self, folder: Path) -> None:
        """Write `map.npz` beside the clusters, atomically, with a checksum of its arrays."""
        arrays = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}
        write_arrays(folder / _MAP_FILE, {**arrays, CHECKSUM: np.asarray(fingerprint(arrays))})


def load_map(folder: Path) -> ClusterMap:
    """Load what `ClusterMap.save` wrote.

    Raises:
        MissingFileError: no map in this folder.
        FormatError: damaged. Maps of earlier versions have no checksum; only their shapes are checked.
    """
    arrays = read_arrays(folder / _MAP_FILE, remake=_REFIT)
    checksum = arrays.pop(CHECKSUM, None)
    try:
        found = ClusterMap(**{**arrays, "explained": float(arrays["explained"])})
        fits = found._fits() and (checksum is None or checksum.tolist() == fingerprint(arrays))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{folder / _MAP_FILE} is not a map of clusters ({error!r}); make it again: {_REFIT}"
        ) from None
    if not fits:
        raise FormatError(f"{folder / _MAP_FILE} is damaged: its checksum differs; make it again: {_REFIT}")
    return found


def map_entries(model: ClusterModel, entries: CacheEntries) -> ClusterMap:
    """Map a model with a seeded sample of the entries of the days that it was fitted on."""
    index = entries.index
    fitted = index.row[slice(*index.span(model.fit_start, model.fit_end))]
    rows = fitted[fitted >= 0].astype(np.int64)
    if len(rows) > MAPPED_ENTRIES:
        rows = np.sort(np.random.default_rng(model.seed).choice(rows, MAPPED_ENTRIES, replace=False))
    return cluster_map(model, entries.vectors(rows))


def cluster_map(model: ClusterModel, vectors: Float32) -> ClusterMap:
    """Project entries and centroids on the plane in which the centroids, weighted by their size, spread most.

    The axes are principal components of the centroids; the sign of each axis makes its largest weight positive.

    Args:
        model: the clusters.
        vectors: some entries' embeddings, shape (n, d).
    """
    centroids, space = model.centroids.astype(np.float64), model.project(vectors).astype(np.float64)
    weights = model.counts / model.counts.sum()
    center = weights @ centroids
    _, _, axes = np.linalg.svd(np.sqrt(weights)[:, None] * (centroids - center), full_matrices=False)
    plane = np.zeros((2, centroids.shape[1]))
    plane[: len(axes[:2])] = axes[:2]
    largest = np.take_along_axis(plane, np.abs(plane).argmax(axis=1)[:, None], axis=1)
    plane *= np.where(largest < 0, -1.0, 1.0)
    shown, centered = (space - center) @ plane.T, space - space.mean(axis=0)
    total = float(np.square(centered).sum())
    return ClusterMap(
        centroids=(centroids - center) @ plane.T,
        entries=shown,
        cluster=model.assign(vectors)[0],
        explained=float(np.square(centered @ plane.T).sum()) / total if total else 1.0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkDrift:
    """Changes of clusters and of their order from refit to refit; R refits."""

    first_days: Days
    """shape (R,)."""
    drift: Float64
    """Distance that each centroid moved, in deviations per dimension; NaN in the first refit. Shape (R, k)."""
    agreement: Float64
    """Fraction of entries that keep their id from the model before; NaN in the first refit. Shape (R,)."""
    best: Bool
    """True for the best clusters, shape (R, k)."""
    best_kept: Float64
    """Fraction of the previous best clusters that are still among the best; NaN in the first refit. Shape (R,)."""
    mean_return: Float64
    """Mean return of each cluster in the ranking, shape (R, k)."""


def walk_drift(walk: WalkModel) -> WalkDrift:
    """Measure drift and persistence between the refits of a walk."""
    best = np.zeros((len(walk.refits), walk.k), dtype=np.bool_)
    for number, period in enumerate(walk.periods):
        best[number, period.best] = True
    kept = np.full(len(best), np.nan)
    kept[1:] = (best[1:] & best[:-1]).sum(axis=1) / best[:-1].sum(axis=1)
    return WalkDrift(
        first_days=np.array([period.first_day for period in walk.periods], dtype="datetime64[D]"),
        drift=np.stack([refit.drift for refit in walk.refits]),
        agreement=np.array([refit.agreement for refit in walk.refits]),
        best=best,
        best_kept=kept,
        mean_return=np.stack([refit.ranking.table.mean_return for refit in walk.refits]),
    )
