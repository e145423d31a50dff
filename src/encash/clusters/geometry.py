"""Nearest centroids and distances: exact in float64, at nearly the cost of a float32 matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from encash.arrays import Float32, Float64, Int32, Int64
from encash.errors import InputError

_BLOCK_ROWS = 1024  # 1,024 × 1,024 float32 stay in the processor's cache between the product and the rest
_PAIR_ROWS = 64  # 64 × 1,024 float64 stay in the second-level cache


class Geometry:
    """Centroids in a standardized, optionally projected space.

    The distance of x to centroid c is ``‖components · ((x − mean) / scale) − c‖``: every operation in float64, the
    result rounded to float32. Work is done in blocks of rows; no result depends on the blocks.
    """

    def __init__(self, centroids: Float32, mean: Float32, scale: Float32, components: Float32 | None):
        self._mean, self._inverse = mean.astype(np.float64), 1 / scale.astype(np.float64)
        self._components = None if components is None else components.astype(np.float64)
        self._centroids = centroids.astype(np.float64)
        # Without a projection, x / scale − (mean / scale + c) is (x − (mean + scale · c)) / scale: one pass less.
        self._places = None if components is not None else self._mean + self._centroids / self._inverse
        # ‖y(x) − c‖² = ‖y(x)‖² + score(x, c), and the score is affine in x: one product instead of three steps.
        whole = self._centroids if self._components is None else self._centroids @ self._components
        self._weights = np.ascontiguousarray((-2.0 * whole * self._inverse).T)
        self._constants = np.vecdot(self._centroids, self._centroids) - self._mean @ self._weights
        self._weights32, self._constants32 = self._weights.astype(np.float32), self._constants.astype(np.float32)
        self._slopes = np.linalg.norm(self._weights, axis=0)

    def assign(self, vectors: Float32) -> tuple[Int32, Float32]:
        """Find the nearest centroid (ties go to the lowest id) and its distance, each of shape (n,)."""
        ids = np.empty(len(vectors), dtype=np.int32)
        distances = np.empty(len(vectors), dtype=np.float32)
        for first in range(0, len(vectors), _BLOCK_ROWS):
            rows = slice(first, first + _BLOCK_ROWS)
            ids[rows], distances[rows] = self._assign(vectors[rows], first)
        return ids, distances

    def distances(self, vectors: Float32) -> Float32:
        """Measure the distance to every centroid, shape (n, k)."""
        distances = np.empty((len(vectors), len(self._centroids)), dtype=np.float32)
        for first in range(0, len(vectors), _BLOCK_ROWS):
            rows = slice(first, first + _BLOCK_ROWS)
            distances[rows] = self._distances(vectors[rows], first)
        return distances

    def project(self, vectors: Float32) -> Float64:
        """Map vectors into the space of the centroids, shape (n, p)."""
        space = vectors.astype(np.float64)
        space -= self._mean
        space *= self._inverse
        # einsum without BLAS sums each row in the same fixed order, whatever the other rows are.
        return space if self._components is None else np.einsum("nd,pd->np", space, self._components)

    def _assign(self, vectors: Float32, first: int) -> tuple[Int32, Float32]:
        """Measure every centroid within the error of the float32 product in float64; usually one per row."""
        error = self._score_error(_norms(vectors, first), np.float32)
        scores = vectors @ self._weights32
        scores += self._constants32
        every = np.arange(len(vectors))
        ids = scores.argmin(axis=1)
        near = scores <= (scores[every, ids] + 2 * error)[:, None]
        near[every, ids] = False
        squares = self._squares(vectors, ids)
        rows, rivals = np.nonzero(near)
        rival_squares = self._squares(vectors[rows], rivals)
        order = np.lexsort((rivals, rival_squares, rows))
        contested, start = np.unique(rows[order], return_index=True)
        rival, square = rivals[order[start]], rival_squares[order[start]]
        closer = (square < squares[contested]) | ((square == squares[contested]) & (rival < ids[contested]))
        ids[contested[closer]], squares[contested[closer]] = rival[closer], square[closer]
        return ids.astype(np.int32), np.sqrt(squares).astype(np.float32)

    def _distances(self, vectors: Float32, first: int) -> Float32:
        """Use a float64 product, and single pairs if its error could change how a distance is rounded to float32."""
        norms = _norms(vectors, first)
        space = self.project(vectors)
        own = np.vecdot(space, space)[:, None]
        squares = vectors.astype(np.float64) @ self._weights + self._constants + own
        error = (self._score_error(norms, np.float64) + len(self._mean) * 1e-15 * own[:, 0])[:, None]
        low, high = (np.sqrt(np.maximum(bound, 0)).astype(np.float32) for bound in (squares - error, squares + error))
        rows, ids = np.nonzero(low != high)
        low[rows, ids] = np.sqrt(self._squares(vectors[rows], ids))
        distances: Float32 = low
        return distances

    def _score_error(self, norms: Float64, precision: type[np.floating[Any]]) -> Float64:
        """Bound the error of a row's scores for any order of summation, shape (n,).

        Higham, Accuracy and Stability of Numerical Algorithms (2nd ed.), section 3.1: n·u·‖x‖·‖w‖ for a dot product.
        """
        unit = float(np.finfo(precision).eps)
        constant = float(np.abs(self._constants).max())
        return (len(self._mean) + 16) * unit * (norms * float(self._slopes.max()) + constant)

    def _squares(self, vectors: Float32, ids: Int64) -> Float64:
        """Compute the squared distance of each vector to its centroid by the definition; shape (n,)."""
        squares = np.empty(len(vectors))
        buffer = np.empty((min(_PAIR_ROWS, len(vectors)), vectors.shape[1]))
        for first in range(0, len(vectors), _PAIR_ROWS):
            some, their_ids = vectors[first : first + _PAIR_ROWS], ids[first : first + _PAIR_ROWS]
            gap = self._gaps(some, their_ids, buffer[: len(some)])
            np.vecdot(gap, gap, out=squares[first : first + len(some)])
        return squares

    def _gaps(self, vectors: Float32, ids: Int64, out: Float64) -> Float64:
        """Compute the differences of vectors and centroids in their space; in `out` if there is no projection."""
        if self._places is None:
            return self.project(vectors) - self._centroids[ids]
        np.take(self._places, ids, axis=0, out=out, mode="clip")
        np.subtract(vectors, out, out=out)
        out *= self._inverse
        return out


def check_finite(vectors: Float32) -> None:
    """Refuse vectors that hold NaN, infinity, or values that overflow when squared.

    Raises:
        InputError: names the first row.
    """
    _norms(vectors, 0)


def _norms(vectors: Float32, first: int) -> Float64:
    """Compute the norm of each row.

    Raises:
        InputError: a row holds NaN, infinity, or a value that overflows when squared.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(vectors, vectors)
    if not np.isfinite(squares).all():
        row = first + int(np.flatnonzero(~np.isfinite(squares))[0])
        raise InputError(
            f"vector {row} holds NaN or infinity; entries of a cache must be finite: run `encash cache verify`"
        )
    norms: Float64 = np.sqrt(squares.astype(np.float64))
    return norms
