"""Rules that assign new vectors to clusters other than by the nearest centroid, as plain arrays.

A clusterer may be any code; its result is one of these rules, so that a folder of clusters can be used without the code
that made it. Every rule measures a distance to each cluster; a vector belongs to the nearest cluster, ties go to the
lowest id. No result depends on the other vectors of a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from encash.arrays import Float32, Float64, Int32, Int64
from encash.clusters.geometry import Geometry, check_finite
from encash.errors import FormatError

_BLOCK_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class AssignmentRule(ABC):
    """A distance to each of k clusters. The first axis of each field is the cluster."""

    name: ClassVar[str]
    """A description for humans."""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name, as they are stored."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(next(iter(self.arrays.values())))

    def reordered(self, order: Int64) -> Self:
        """Return the same rule with clusters in a different order, shape (k,)."""
        return type(self)(**{name: np.ascontiguousarray(array[order]) for name, array in self.arrays.items()})

    def distances(self, space: Float32) -> Float32:
        """Measure the distance of each vector to each cluster, shape (n, k).

        Args:
            space: vectors in the space of the clusters, shape (n, p).

        Raises:
            InputError: a value that is not finite.
        """
        space = np.ascontiguousarray(space, dtype=np.float32)
        check_finite(space)
        found = np.empty((len(space), self.k), dtype=np.float32)
        for first in range(0, len(space), _BLOCK_ROWS):
            rows = slice(first, first + _BLOCK_ROWS)
            found[rows] = self.measure(space[rows])
        return found

    def assign(self, space: Float32) -> tuple[Int32, Float32]:
        """Find the nearest cluster of each vector, and its distance; each of shape (n,)."""
        distances = self.distances(space)
        nearest = distances.argmin(axis=1)
        return nearest.astype(np.int32), distances[np.arange(len(space)), nearest]

    @abstractmethod
    def measure(self, space: Float32) -> Float32 | Float64:
        """Measure a block of finite vectors, shape (n, k)."""

    def check(self, k: int, dim: int) -> None:
        """Refuse arrays that do not belong to k clusters in a space of `dim` dimensions.

        Raises:
            FormatError: names the first array.
        """
        expected = self._shapes(k, dim)
        for name, array in self.arrays.items():
            if array.shape not in expected[name] or array.dtype.kind != "f" or not np.isfinite(array).all():
                shapes = " or ".join(map(str, expected[name]))
                raise FormatError(f"{name} is {array.dtype} of shape {array.shape}; expected finite numbers, {shapes}")

    @abstractmethod
    def _shapes(self, k: int, dim: int) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Return the shapes that each array may have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestPoint(AssignmentRule):
    """The cluster of the nearest of some points, the same number for each cluster; Euclidean, exact in float64."""

    name = "nearest labeled point"

    points: Float32
    """shape (k, m, p)."""

    def measure(self, space: Float32) -> Float32:
        """Measure the distance to the nearest point of each cluster."""
        distances: Float32 = self._geometry.distances(space).reshape(len(space), *self.points.shape[:2]).min(axis=2)
        return distances

    @cached_property
    def _geometry(self) -> Geometry:
        dim = self.points.shape[2]
        zeros, ones = np.zeros(dim, dtype=np.float32), np.ones(dim, dtype=np.float32)
        return Geometry(self.points.reshape(-1, dim), zeros, ones, None)

    def _shapes(self, k: int, dim: int) -> dict[str, tuple[tuple[int, ...], ...]]:
        return {"points": ((k, self.points.shape[1] if self.points.ndim == 3 and self.points.size else 1, dim),)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture(AssignmentRule):
    """The most probable component of a mixture of normal distributions.

    The distance to a component is −ln of its posterior probability: 0 if it is certain, 0.69 if it is as likely as not.
    """

    name = "most probable component"

    weights: Float64
    """Prior probability of each component, shape (k,)."""
    means: Float64
    """shape (k, p)."""
    factors: Float64
    """Inverse standard deviation of each dimension, shape (k, p); or a Cholesky factor of the inverse of each
    covariance, its columns the directions that are measured, shape (k, p, p)."""

    def measure(self, space: Float32) -> Float64:
        """Measure −ln of the posterior probability of each component."""
        logs = self._log_densities(space)
        nearest = logs.argmax(axis=1)
        most = logs[np.arange(len(logs)), nearest]
        odds = np.exp(logs - most[:, None])
        odds[np.arange(len(logs)), nearest] = 0.0
        others = np.zeros(len(logs))
        for column in np.ascontiguousarray(odds.T):  # in a fixed order, whatever the other rows are
            others += column
        distances: Float64 = (most[:, None] - logs) + np.log1p(others)[:, None]
        return distances

    def _log_densities(self, space: Float32) -> Float64:
        """Return the log density of each vector and component, up to a constant; shape (n, k)."""
        logs = np.empty((len(space), self.k))
        vectors = space.astype(np.float64)
        for component, (constant, mean, factor) in enumerate(
            zip(self._constants, self.means, self.factors, strict=True)
        ):
            gap = vectors - mean
            # einsum without BLAS sums each row in the same fixed order, whatever the other rows are.
            scaled = gap * factor if factor.ndim == 1 else np.einsum("np,pq->nq", gap, factor)
            logs[:, component] = constant - 0.5 * np.vecdot(scaled, scaled)
        return logs

    @cached_property
    def _constants(self) -> Float64:
        """Log of each weight and of the determinant of each factor, shape (k,)."""
        diagonal = self.factors if self.factors.ndim == 2 else np.diagonal(self.factors, axis1=1, axis2=2)
        with np.errstate(divide="ignore", invalid="ignore"):  # `check` refuses what is not finite
            constants: Float64 = np.log(self.weights) + np.log(np.abs(diagonal)).sum(axis=1)
        return constants

    def _shapes(self, k: int, dim: int) -> dict[str, tuple[tuple[int, ...], ...]]:
        return {"weights": ((k,),), "means": ((k, dim),), "factors": ((k, dim), (k, dim, dim))}

    def check(self, k: int, dim: int) -> None:
        """Refuse arrays of an invalid mixture, too.

        Raises:
            FormatError: a weight or the diagonal of a factor is not above zero.
        """
        super().check(k, dim)
        if not ((self.weights > 0).all() and np.isfinite(self._constants).all()):
            raise FormatError("a weight of the mixture is 0, or a covariance is singular; expected positive numbers")


RULES: tuple[type[AssignmentRule], ...] = (NearestPoint, Mixture)
"""Add your rule here; the names of its fields identify it in a file."""


def rule_of(arrays: Mapping[str, Any]) -> AssignmentRule | None:
    """Return the rule whose arrays are among some named arrays; None is the nearest centroid.

    >>> rule_of({"centroids": np.zeros((2, 3))}) is None
    True
    >>> rule_of({"centroids": np.zeros((2, 3)), "points": np.zeros((2, 5, 3))}).name
    'nearest labeled point'
    """
    for kind in RULES:
        names = [one.name for one in fields(kind)]
        if all(name in arrays for name in names):
            return kind(**{name: arrays[name] for name in names})
    return None
