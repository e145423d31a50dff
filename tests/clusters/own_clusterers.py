"""Clusterers of a user."""

from dataclasses import dataclass

import numpy as np

from encash.clusters import Clusterer, NearestPoint, Partition


@dataclass(frozen=True, kw_only=True)
class Quantiles(Clusterer):
    """Groups by the direction of the largest coordinate, kept as the mean of each group."""

    name = "quantiles"

    shrink: float = 1.0
    """Factor of the means."""

    def fit(self, space, *, k, seed, progress=None):
        means = space.mean(axis=0)
        lead = np.argsort(-np.abs(np.linalg.eigh(np.cov((space - means).T))[1][:, -k:]).sum(axis=1))[:k]
        label = space[:, np.sort(lead)].argmax(axis=1)
        tiny = np.random.default_rng(seed).normal(scale=1e-6, size=(k, space.shape[1]))
        centers = self.shrink * np.stack([space[label == number].mean(axis=0) for number in range(k)]) + tiny
        return Partition.of(space, centers.astype(np.float32), NearestPoint(points=centers[:, None].astype(np.float32)))


class NoClusterer:
    """Something else."""
