"""The interface of clusterers: vectors in, centroids and a rule of assignment out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from encash.arrays import Float32, Int32
from encash.clusters.geometry import Geometry
from encash.clusters.rules import AssignmentRule
from encash.errors import InputError
from encash.extras import require
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """k clusters of n fitted vectors, and the rule by which new ones are assigned."""

    centroids: Float32
    """A representative of each cluster, used to draw and to match clusters; shape (k, p)."""
    rule: AssignmentRule | None
    """None assigns to the nearest centroid."""
    cluster: Int32
    """Of each fitted vector, under the rule; shape (n,)."""
    distance: Float32
    """Of each fitted vector to the centroid of its cluster, Euclidean; shape (n,)."""

    @classmethod
    def of(cls, space: Float32, centroids: Float32, rule: AssignmentRule | None = None) -> Partition:
        """Assign fitted vectors to clusters.

        Args:
            space: the vectors, shape (n, p).
            centroids: shape (k, p).
            rule: None assigns to the nearest centroid.
        """
        centroids = np.ascontiguousarray(centroids, dtype=np.float32)
        if rule is None:
            zeros, ones = np.zeros(space.shape[1], dtype=np.float32), np.ones(space.shape[1], dtype=np.float32)
            cluster, distance = Geometry(centroids, zeros, ones, None).assign(space)
        else:
            cluster, distance = rule.assign(space)[0], np.empty(len(space), dtype=np.float32)
            for number in range(len(centroids)):
                gap = space[cluster == number].astype(np.float64) - centroids[number]
                distance[cluster == number] = np.sqrt(np.vecdot(gap, gap))
        return cls(centroids=centroids, rule=rule, cluster=cluster, distance=distance)

    def by_size(self) -> Partition:
        """Number the clusters by their fitted vectors, the largest first."""
        order = np.argsort(-np.bincount(self.cluster, minlength=len(self.centroids)), kind="stable")
        return replace(
            self,
            centroids=self.centroids[order],
            rule=None if self.rule is None else self.rule.reordered(order),
            cluster=np.argsort(order)[self.cluster].astype(np.int32),
        )


@dataclass(frozen=True, kw_only=True)
class Clusterer(ABC):
    """A way to fit clusters.

    To add one, write a frozen dataclass that names itself and implements `fit`, and register it in `registry`, or name
    it as ``module:attribute`` or by an entry point. `encash.testing.ClustererContract` checks yours. Users give its
    fields as ``NAME?field=value``; they are a part of the identity of the clusters.
    """

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    """The extra of encash that brings the library of `fit`; None: the core has all it needs."""

    def __post_init__(self) -> None:
        """Refuse numbers that are not above zero.

        Raises:
            InputError: names the first field.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise InputError(f"{one.name} is {value}; expected a number above 0")

    def require_installed(self) -> None:
        """Check that the library of `fit` is installed, before entries are read.

        Raises:
            MissingExtraError: it is not.
        """
        if self.extra is not None:
            require(self.extra, f"the clusterer {self.name}")

    @abstractmethod
    def fit(self, space: Float32, *, k: int, seed: int, progress: Progress | None = None) -> Partition:
        """Fit k clusters; the same vectors and seed give the same bytes.

        Args:
            space: finite vectors, standardized and projected as configured; shape (n, p).
            k: number of clusters, at most the number of distinct vectors.
            seed: of all random choices.
            progress: called with (done, total) steps.

        Returns:
            The clusters, with every fitted vector assigned by the rule for new ones: `Partition.of`.

        Raises:
            InputError: the vectors do not form k clusters.
        """


def too_many_clusters(k: int, distinct: int, entries: int) -> InputError:
    """Return the error for a k above the number of distinct vectors."""
    return InputError(
        f"k is {k}, but the {entries:,} entries have only {distinct:,} distinguishable vectors, and each cluster needs "
        f"at least one; give k {distinct:,} or less, or more entries"
    )
