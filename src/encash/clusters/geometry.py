"""Nearest centroids and distances, exact in float64 at the price of a float32 matrix product. Knows arrays alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from encash.arrays import Float32, Float64, Int32, Int64
from encash.errors import InputError

_BLOCK_ROWS = 1024
_PAIR_ROWS = 128  # 128 × 1,024 float64 stay in the second-level cache


class Geometry:
    """Centroids in a standardised, perhaps projected space.

    The distance of x to centroid c is ``‖components · ((x − mean) / scale) − c‖``: every operation in float64, the
    result rounded to float32. Work is done in blocks of rows on all cores; no result depends on the blocks.
    """

    def __init__(self, centroids: Float32, mean: Float32, scale: Float32, components: Float32 | None):
        self._mean32 = mean
        self._mean, self._scale = mean.astype(np.float64), scale.astype(np.float64)
        self._components = None if components is None else components.astype(np.float64)
        self._centroids = centroids.astype(np.float64)
        # ‖y(x) − c‖² = ‖y(x)‖² + score(x, c), and the score is affine in x: one product instead of three steps.
        whole = self._centroids if self._components is None else self._centroids @ self._components
        self._weights = np.ascontiguousarray((-2.0 * whole / self._scale).T)
        self._offset = np.einsum("kp,kp->k", self._centroids, self._centroids)
        self._weights32, self._offset32 = self._weights.astype(np.float32), self._offset.astype(np.float32)
        # |float32 score − score| ≤ slope · ‖x − mean‖ + constant, in whatever order a dot product is summed
        # (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
        unit = (len(mean) + 16) * float(np.finfo(np.float32).eps)
        self._slope = unit * float(np.linalg.norm(self._weights, axis=0).max())
        self._constant = 4 * float(np.finfo(np.float32).eps) * float(self._offset.max())

    def assign(self, vectors: Float32) -> tuple[Int32, Float32]:
        """Nearest centroid (ties to the lowest id) and its distance, each of shape (n,)."""
        ids = np.empty(len(vectors), dtype=np.int32)
        distances = np.empty(len(vectors), dtype=np.float32)

        def fill(first: int, stop: int) -> None:
            ids[first:stop], distances[first:stop] = self._assign(vectors[first:stop], first)

        _each_block(len(vectors), fill)
        return ids, distances

    def distances(self, vectors: Float32) -> Float32:
        """The distance to every centroid, shape (n, k)."""
        distances = np.empty((len(vectors), len(self._centroids)), dtype=np.float32)

        def fill(first: int, stop: int) -> None:
            distances[first:stop] = self._distances(vectors[first:stop], first)

        _each_block(len(vectors), fill)
        return distances

    def project(self, vectors: Float32) -> Float64:
        """Vectors in the space of the centroids, shape (n, p)."""
        space = (vectors - self._mean) / self._scale
        # einsum without BLAS sums each row in its own fixed order, whatever rows stand beside it.
        return space if self._components is None else np.einsum("nd,pd->np", space, self._components)

    def _assign(self, vectors: Float32, first: int) -> tuple[Int32, Float32]:
        """Every centroid within the error of the float32 product is measured in float64; mostly there is one a row."""
        centred = vectors - self._mean32
        error = self._slope * _norms(centred, first) + self._constant
        scores = centred @ self._weights32
        scores += self._offset32
        rows, ids = np.nonzero(scores <= (scores.min(axis=1) + 2 * error)[:, None])
        squares = self._squares(vectors, rows, ids)
        every = np.arange(len(vectors))
        least = np.minimum.reduceat(squares, np.searchsorted(rows, every))
        nearest = np.flatnonzero(squares == least[rows])
        lowest = nearest[np.searchsorted(rows[nearest], every)]
        return ids[lowest].astype(np.int32), np.sqrt(least).astype(np.float32)

    def _distances(self, vectors: Float32, first: int) -> Float32:
        """A float64 product, and again one by one where its error could change how a distance is rounded."""
        centred = vectors - self._mean
        space = self.project(vectors)
        squares = centred @ self._weights + self._offset + np.einsum("np,np->n", space, space)[:, None]
        size = _norms(centred, first)[:, None] * np.linalg.norm(self._weights, axis=0) + self._offset
        error = (len(self._mean) + 16) * 4 * float(np.finfo(np.float64).eps) * (size + np.abs(squares))
        low, high = (np.sqrt(np.maximum(bound, 0)).astype(np.float32) for bound in (squares - error, squares + error))
        rows, ids = np.nonzero(low != high)
        low[rows, ids] = np.sqrt(self._squares(vectors, rows, ids))
        result: Float32 = low
        return result

    def _squares(self, vectors: Float32, rows: Int64, ids: Int64) -> Float64:
        """Squared distances of pairs (row, centroid) as they are defined, shape (pairs,)."""
        squares = np.empty(len(rows))
        for first in range(0, len(rows), _PAIR_ROWS):
            pairs = slice(first, first + _PAIR_ROWS)
            gap = self.project(vectors[rows[pairs]])
            gap -= self._centroids[ids[pairs]]
            squares[pairs] = np.einsum("np,np->n", gap, gap)
        return squares


def _norms(centred: Float32 | Float64, first: int) -> Float64:
    """The length of each row.

    Raises:
        InputError: a row holds NaN, infinity or what overflows when squared.
    """
    squares = np.einsum("nd,nd->n", centred, centred)
    if not np.isfinite(squares).all():
        row = first + int(np.flatnonzero(~np.isfinite(squares))[0])
        raise InputError(
            f"vector {row} holds NaN or infinity; an entry of a cache is finite: run `encash cache verify`"
        )
    norms: Float64 = np.sqrt(squares.astype(np.float64))
    return norms


def _each_block(num_rows: int, fill: Callable[[int, int], None]) -> None:
    """Call `fill(first, stop)` for blocks of rows, on all cores where there is more than one block."""
    starts = range(0, num_rows, _BLOCK_ROWS)
    if len(starts) <= 1:
        for first in starts:
            fill(first, num_rows)
        return
    with ThreadPoolExecutor(max_workers=min(len(starts), len(os.sched_getaffinity(0)))) as pool:
        for _ in pool.map(lambda first: fill(first, min(first + _BLOCK_ROWS, num_rows)), starts):
            pass
