"""What the pictures of clusters show, as plain arrays. Knows models, assignments, rankings and walks; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int32, Int64
from encash.clusters.assignments import Assignments
from encash.clusters.model import ClusterModel
from encash.clusters.rank import Ranking, Rule, stability
from encash.clusters.walk import WalkModel


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterMap:
    """A plane through the clusters."""

    centroids: Float64
    """shape (k, 2)."""
    entries: Float64
    """shape (n, 2)."""
    cluster: Int32
    """Of each entry, shape (n,)."""
    explained: float
    """Share of the entries' variance that the plane shows."""


def cluster_map(model: ClusterModel, vectors: Float32) -> ClusterMap:
    """Entries and centroids projected on the plane in which the centroids, weighted by their size, spread most.

    Principal components of the centroids; the sign of each axis makes its largest weight positive.

    Args:
        model: the clusters.
        vectors: some entries' embeddings, shape (n, d).
    """
    centroids, space = model.centroids.astype(np.float64), model.project(vectors).astype(np.float64)
    weights = model.counts / model.counts.sum()
    centre = weights @ centroids
    _, _, axes = np.linalg.svd(np.sqrt(weights)[:, None] * (centroids - centre), full_matrices=False)
    plane = np.zeros((2, centroids.shape[1]))
    plane[: len(axes[:2])] = axes[:2]
    largest = np.take_along_axis(plane, np.abs(plane).argmax(axis=1)[:, None], axis=1)
    plane *= np.where(largest < 0, -1.0, 1.0)
    shown, whole = (space - centre) @ plane.T, space - space.mean(axis=0)
    total = float(np.square(whole).sum())
    return ClusterMap(
        centroids=(centroids - centre) @ plane.T,
        entries=shown,
        cluster=model.assign(vectors)[0],
        explained=float(np.square(whole @ plane.T).sum()) / total if total else 1.0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Occupancy:
    """How entries spread over clusters, month by month."""

    months: Days
    """First day of each month, ascending; shape (M,)."""
    share: Float64
    """Share of the month's entries in each cluster, shape (M, k); rows sum to 1."""
    entries: Int64
    """shape (M,)."""


def occupancy(assignments: Assignments) -> Occupancy:
    """The share of entries in each cluster by month; months without entries are left out."""
    months, month = np.unique(assignments.days.astype("datetime64[M]"), return_inverse=True)
    row, column = np.nonzero(assignments.cluster >= 0)
    cell = month[row] * assignments.k + assignments.cluster[row, column]
    counts = np.bincount(cell, minlength=len(months) * assignments.k).reshape(len(months), assignments.k)
    entries = counts.sum(axis=1)
    there = entries > 0
    return Occupancy(
        months=months[there].astype("datetime64[D]"),
        share=counts[there] / entries[there, None],
        entries=entries[there],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterReturns:
    """What each cluster earned next, with the error bars that overlapping horizons call for; best cluster first."""

    cluster: Int32
    mean_return: Float64
    mean_error: Float64
    """Standard error of the mean."""
    win_rate: Float64
    win_error: Float64
    num_samples: Int64
    best: Bool
    selected_share: Float64
    """Share of bootstrap draws in which the cluster is among the best; NaN without draws."""


def cluster_returns(ranking: Ranking, best: Int32, rule: Rule) -> ClusterReturns:
    """Means and errors in the order of the ranking, each of shape (k,)."""
    table, order = ranking.table, ranking.order
    return ClusterReturns(
        cluster=order,
        mean_return=table.mean_return[order],
        mean_error=table.mean_error[order],
        win_rate=table.win_rate[order],
        win_error=table.win_error[order],
        num_samples=table.num_samples[order],
        best=np.isin(order, best),
        selected_share=stability(ranking, rule)[order],
    )


def staying(assignments: Assignments, sessions_later: int = 1) -> Float64:
    """How often an entry's ticker is in each cluster some rows of days later, shape (k, k); rows sum to 1, or are NaN.

    Counts pairs of entries of one ticker that lie so many of the assignments' days apart.
    """
    now, later = assignments.cluster[:-sessions_later], assignments.cluster[sessions_later:]
    both = (now >= 0) & (later >= 0)
    k = assignments.k
    counts = np.bincount(now[both].astype(np.int64) * k + later[both], minlength=k * k).reshape(k, k)
    with np.errstate(invalid="ignore"):
        shares: Float64 = counts / counts.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkDrift:
    """How clusters and their order change from refit to refit; R refits."""

    first_days: Days
    """shape (R,)."""
    drift: Float64
    """How far each centroid moved, in deviations a dimension; NaN in the first refit. Shape (R, k)."""
    agreement: Float64
    """Share of entries that keep their id from the model before; NaN in the first refit. Shape (R,)."""
    best: Bool
    """Which clusters are among the best, shape (R, k)."""
    best_kept: Float64
    """Share of the best clusters before that are still among the best; NaN in the first refit. Shape (R,)."""
    mean_return: Float64
    """What the ranking saw, shape (R, k)."""


def walk_drift(walk: WalkModel) -> WalkDrift:
    """Drift and persistence between the refits of a walk."""
    best = np.zeros((len(walk.refits), walk.k), dtype=np.bool_)
    for number, term in enumerate(walk.terms):
        best[number, term.best] = True
    kept = np.full(len(best), np.nan)
    kept[1:] = (best[1:] & best[:-1]).sum(axis=1) / best[:-1].sum(axis=1)
    return WalkDrift(
        first_days=np.array([term.first_day for term in walk.terms], dtype="datetime64[D]"),
        drift=np.stack([refit.drift for refit in walk.refits]),
        agreement=np.array([refit.agreement for refit in walk.refits]),
        best=best,
        best_kept=kept,
        mean_return=np.stack([refit.ranking.table.mean_return for refit in walk.refits]),
    )
