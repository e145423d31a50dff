"""The clusterer `kmeans`: the best of a few runs on a subsample, refined on all vectors (faiss)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Float32, Int64
from encash.clusters.clusterers.base import Clusterer, Partition, too_many_clusters
from encash.extras import require
from encash.fingerprint import row_digests
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class KMeans(Clusterer):
    """k-means (Lloyd, "Least squares quantization in PCM", 1982); a vector belongs to the nearest centroid."""

    name = "kmeans"
    extra = "clusters"

    starts: int = 4
    """Runs on a subsample; the best one is refined on all vectors."""
    rough_entries: int = 500
    """Vectors of that subsample per cluster."""
    rough_iterations: int = 25
    iterations: int = 15
    """Lloyd iterations of the refinement."""

    def fit(self, space: Float32, *, k: int, seed: int, progress: Progress | None = None) -> Partition:
        """Fit centroids; progress counts vectors that were compared with all of them, over all iterations."""
        run = _Run(settings=self, k=k, seed=seed)
        found = Partition.of(space, run.centroids(space, progress))
        if not _all_used(found, k):
            found = Partition.of(space, run.distinct_start(space))
        if not _all_used(found, k):
            raise too_many_clusters(k, len(np.unique(found.cluster)), len(space))
        return found


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A fit of k clusters with a seed."""

    settings: KMeans
    k: int
    seed: int

    def centroids(self, space: Float32, progress: Progress | None) -> Float32:
        """Compute centroids (k, p): the best start on a subsample, refined on all rows."""
        settings, rough_rows = self.settings, self.k * self.settings.rough_entries
        if len(space) <= 2 * rough_rows:
            iterations = settings.rough_iterations + settings.iterations
            return self.best_start(space, iterations, _Steps(progress, settings.starts * iterations * len(space)))
        rough = settings.starts * settings.rough_iterations * rough_rows
        steps = _Steps(progress, rough + settings.iterations * len(space))
        rows: Int64 = np.sort(np.random.default_rng(self.seed).choice(len(space), rough_rows, replace=False))
        centroids = self.best_start(space[rows], settings.rough_iterations, steps)
        return self.lloyd(space, centroids, settings.iterations, steps)[0]

    def distinct_start(self, space: Float32) -> Float32:
        """Compute the centroids of one run from distinct rows, so that no cluster starts empty.

        Equal rows among the random starts make empty clusters if k is close to the number of distinct rows.
        """
        _, first = np.unique(row_digests(space + np.float32(0)), return_index=True)  # -0.0 becomes 0.0
        first.sort()
        if len(first) < self.k:
            raise too_many_clusters(self.k, len(first), len(space))
        drawn = np.random.default_rng(self.seed).choice(first, self.k, replace=False)
        iterations = self.settings.rough_iterations + self.settings.iterations
        return self.lloyd(space, space[drawn], iterations, _Steps(None, 0))[0]

    def best_start(self, space: Float32, iterations: int, steps: _Steps) -> Float32:
        """Compute the centroids of the best of several random starts; among equals, the first."""
        best: tuple[float, Float32] | None = None
        for start in range(self.settings.starts):
            drawn = np.random.default_rng([self.seed, start]).choice(len(space), self.k, replace=False)
            centroids, inertia = self.lloyd(space, space[drawn], iterations, steps)
            if best is None or inertia < best[0]:
                best = inertia, centroids
        assert best is not None
        return best[1]

    def lloyd(self, space: Float32, centroids: Float32, iterations: int, steps: _Steps) -> tuple[Float32, float]:
        """Compute centroids after some iterations, and the summed squared distances to those before the last.

        Each call of faiss runs one iteration, so that progress can be reported."""
        options = {"min_points_per_centroid": 1, "max_points_per_centroid": len(space), "niter": 1}
        kmeans = _faiss().Kmeans(space.shape[1], self.k, seed=self.seed % 2**31, **options)
        inertia = np.inf
        with _one_thread():
            for _ in range(iterations):
                inertia = float(kmeans.train(space, init_centroids=centroids))
                centroids = np.asarray(kmeans.centroids, dtype=np.float32).reshape(self.k, -1).copy()
                steps.add(len(space))
        return centroids, inertia


@dataclass
class _Steps:
    """The progress of a fit, in vectors compared with all centroids."""

    progress: Progress | None
    total: int
    done: int = 0

    def add(self, entries: int) -> None:
        """Report an iteration over some vectors."""
        self.done += entries
        if self.progress is not None:
            self.progress(self.done, self.total)


def _all_used(found: Partition, k: int) -> bool:
    return bool(np.bincount(found.cluster, minlength=k).all())


def _faiss() -> Any:
    require("clusters", "k-means")
    import faiss  # noqa: PLC0415 - a model that is loaded needs none

    return faiss


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit faiss to one thread: it splits products by the number of threads, which changes the last bits."""
    faiss = _faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
