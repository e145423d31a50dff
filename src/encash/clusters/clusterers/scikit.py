"""Clusterers of scikit-learn: mixtures of normal distributions, and HDBSCAN. Its objects are not stored."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from encash.arrays import Float32, Float64, Int64
from encash.clusters.clusterers.base import Clusterer, Partition
from encash.clusters.rules import Mixture, NearestPoint
from encash.errors import InputError
from encash.extras import import_optional
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Clusterer):
    """A mixture of normal distributions (expectation–maximization); a vector belongs to the most probable one."""

    name = "mixture"
    extra = "clusterers"

    covariance: Literal["diag", "spherical", "tied", "full"] = "diag"
    """Covariance of a component; full and tied take p² numbers, so project first (`--pca-components`)."""
    starts: int = 1
    """Runs from different k-means; the most likely one is kept."""
    iterations: int = 200
    """Maximum number of iterations."""
    floor: float = 1e-6
    """Added to each variance."""

    def fit(self, space: Float32, *, k: int, seed: int, progress: Progress | None = None) -> Partition:
        """Fit a mixture of k components."""
        mixture: Any = _import("sklearn.mixture")
        model = mixture.GaussianMixture(
            k,
            covariance_type=self.covariance,
            n_init=self.starts,
            max_iter=self.iterations,
            reg_covar=self.floor,
            random_state=seed % 2**32,
        )
        with _quiet_and_single():
            try:
                model.fit(space.astype(np.float64))
            except ValueError as error:
                raise InputError(f"no mixture of {k} components fits: {error}") from None
        if not model.converged_:
            raise InputError(
                f"the mixture did not converge in {self.iterations} iterations; give more (mixture?iterations=…), "
                "fewer clusters, or fewer dimensions (--pca-components)"
            )
        _report(progress, len(space))
        factors = _factors(model.precisions_cholesky_, self.covariance, model.means_)
        rule = Mixture(weights=model.weights_, means=model.means_, factors=factors)
        return Partition.of(space, model.means_.astype(np.float32), rule)


@dataclass(frozen=True, kw_only=True)
class Hdbscan(Clusterer):
    """The k largest dense regions (Campello et al., "Density-based clustering based on hierarchical density estimates",
    2013); a vector belongs to that of the nearest of some of their points, so that none is noise."""

    name = "hdbscan"
    extra = "clusterers"

    min_cluster_size: int = 25
    """Vectors of the smallest region."""
    min_samples: int | None = None
    """Neighbors that make a vector dense; None takes `min_cluster_size`."""
    entries: int = 10_000
    """Vectors that are clustered, drawn by the seed: the time grows with their square."""
    points: int = 32
    """Points of each region that are kept for new vectors, drawn by the seed; as many for each as the smallest has."""

    def fit(self, space: Float32, *, k: int, seed: int, progress: Progress | None = None) -> Partition:
        """Find dense regions, and keep some points of the k largest."""
        cluster: Any = _import("sklearn.cluster")
        random, some = np.random.default_rng(seed), space
        if len(space) > self.entries:
            some = space[np.sort(random.choice(len(space), self.entries, replace=False))]
        model = cluster.HDBSCAN(min_cluster_size=self.min_cluster_size, min_samples=self.min_samples, copy=True)
        with _quiet_and_single():
            labels: Int64 = model.fit_predict(some.astype(np.float64))
        _report(progress, len(space))
        counts = np.bincount(labels[labels >= 0])
        if len(counts) < k:
            raise InputError(
                f"k is {k}, but {len(some):,} entries have only {len(counts)} dense regions of {self.min_cluster_size} "
                f"or more; give k {max(2, len(counts))} or less, or a smaller one: hdbscan?min_cluster_size=…"
            )
        largest = np.argsort(-counts, kind="stable")[:k]
        each = min(self.points, int(counts[largest].min()))
        members = [np.flatnonzero(labels == label) for label in largest]
        drawn = [np.sort(random.choice(rows, each, replace=False)) for rows in members]
        rule = NearestPoint(points=np.stack([some[rows] for rows in drawn]))
        centroids = np.stack([some[rows].mean(axis=0, dtype=np.float64) for rows in members])
        return Partition.of(space, centroids.astype(np.float32), rule)


def _import(module: str) -> Any:
    return import_optional(module, package="sklearn", extra="clusterers")


def _factors(found: Float64, covariance: str, means: Float64) -> Float64:
    """Return one factor per component, as `Mixture` takes it."""
    k, dim = means.shape
    if covariance == "spherical":
        return np.repeat(found[:, None], dim, axis=1)
    return np.repeat(found[None], k, axis=0) if covariance == "tied" else found


def _report(progress: Progress | None, total: int) -> None:
    """Report the end: scikit-learn reports nothing in between."""
    if progress is not None:
        progress(total, total)


@contextmanager
def _quiet_and_single() -> Iterator[None]:
    """Limit matrix products to one thread, because their number changes the last bits."""
    limits: Any = _import("threadpoolctl")
    with limits.threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
