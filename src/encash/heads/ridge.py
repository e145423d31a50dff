"""Ridge regression on embeddings, from moments that are accumulated in one pass over the entries.

The moments of each block of sessions are kept apart, so that every penalty is judged on blocks that did not take part
in the fit, without reading the entries again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Float32, Float64
from encash.errors import InputError
from encash.heads.config import HeadConfig
from encash.heads.samples import BLOCKS, EntryReader, Sample, Targets, no_entries, samples
from encash.heads.skill import HeldOut

PENALTIES: Float64 = 10.0 ** np.arange(-4.0, 2.5, 0.5)
"""Candidates for the ridge penalty, if every dimension has a variance of 1."""
CONSTANT = 1e-7
"""A dimension whose standard deviation is at most this fraction of its magnitude is constant; its coefficient is 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """A linear forecast of excess returns."""

    center: Float64
    """Mean of each dimension over the fit, shape (d,)."""
    coefficients: Float64
    """shape (d, H)."""

    def predict(self, vectors: Float32) -> Float64:
        """Return forecasts of shape (n, H) for vectors of shape (n, d); a row's bits do not depend on the others."""
        away = vectors.astype(np.float64) - self.center
        forecasts: Float64 = np.einsum("nd,dh->nh", away, self.coefficients)  # a matrix product rounds by row count
        return forecasts

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that `from_arrays` takes."""
        return {"center": self.center, "coefficients": self.coefficients}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Ridge:
        """Return the forecast with some arrays."""
        return cls(center=arrays["center"], coefficients=arrays["coefficients"])

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return len(self.center)


@dataclass(kw_only=True, eq=False)
class _Moments:
    """Sums over the entries of one block: of vectors (less an origin), their products, and those with the returns."""

    count: int
    vectors: Float64
    products: Float64
    returns: Float64

    @classmethod
    def zeros(cls, dim: int, horizons: int) -> _Moments:
        return cls(count=0, vectors=np.zeros(dim), products=np.zeros((dim, dim)), returns=np.zeros((dim, horizons)))

    def add(self, vectors: Float32, excess: Float64) -> None:
        self.count += len(vectors)
        self.vectors += vectors.sum(axis=0, dtype=np.float64)
        self.products += vectors.T @ vectors
        self.returns += vectors.T.astype(np.float64) @ excess

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(
            count=self.count + other.count,
            vectors=self.vectors + other.vectors,
            products=self.products + other.products,
            returns=self.returns + other.returns,
        )

    def standardized(self, center: Float64, scale: Float64) -> tuple[Float64, Float64]:
        """Return covariances (d, d) and those with the returns (d, H), per entry. Excess returns have a mean of 0."""
        cross = np.outer(self.vectors, center)
        products = self.products - cross - cross.T + self.count * np.outer(center, center)
        return products / np.outer(scale, scale) / self.count, self.returns / scale[:, None] / self.count


def fit_ridge(read: EntryReader, targets: Targets, config: HeadConfig) -> tuple[Ridge, list[HeldOut]]:
    """Fit a ridge regression for each horizon, with the penalty that fits later blocks best.

    Every entry takes part, and nothing is drawn.

    Args:
        read: reads entries.
        targets: their returns.
        config: not needed beyond the targets.

    Returns:
        The fit on all entries; and the entries of every block but the first two, forecast by a fit on the
        earlier blocks.

    Raises:
        InputError: no entries with known returns.
    """
    origin, moments = _accumulate(samples(read, targets), len(targets.level), no_entries(targets))
    total = sum(moments[1:], start=moments[0])
    center = total.vectors / total.count
    variance = np.diag(total.products) / total.count - center**2
    spread = np.sqrt(np.maximum(variance, 0.0))
    moving = spread > CONSTANT * np.maximum(np.abs(center + origin), np.finfo(np.float64).tiny)
    scale = np.where(moving, spread, np.inf)
    parts = [one.standardized(center, scale) if one.count else None for one in moments]
    filled = [number for number in range(BLOCKS) if moments[number].count]
    folds = filled[2:] or filled[1:]  # each by a fit on the blocks before: fits on later ones are not independent
    paths = {fold: _path(moments, parts, [number for number in filled if number < fold]) for fold in folds}
    losses = sum(moments[fold].count * _losses(paths[fold], parts[fold]) for fold in folds)
    chosen = np.argmin(losses, axis=0)
    whole = _path(moments, parts, [number for number, one in enumerate(moments) if one.count])

    def ridge(path: Float64) -> Ridge:
        coefficients = np.stack([path[at, :, horizon] for horizon, at in enumerate(chosen)], axis=1)
        return Ridge(center=center + origin, coefficients=coefficients / scale[:, None])

    by_fold = {fold: ridge(path) for fold, path in paths.items()}
    held_out = []
    for sample in samples(read, targets):
        for fold in sorted(set(sample.block.tolist()) & by_fold.keys()):
            part = sample.take(sample.block == fold)
            held_out.append(HeldOut(part, by_fold[fold].predict(part.vectors)))
    return ridge(whole), held_out


def _accumulate(parts: Iterable[Sample], horizons: int, nothing: str) -> tuple[Float64, list[_Moments]]:
    """Return the origin and the moments of each block, those between the blocks last."""
    origin = np.empty(0)
    moments: list[_Moments] = []
    for sample in parts:
        if not moments:
            origin = sample.vectors.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
            moments = [_Moments.zeros(len(origin), horizons) for _ in range(BLOCKS + 1)]
        away = sample.vectors - origin.astype(np.float32)
        for block in np.unique(sample.block).tolist():
            rows = sample.block == block
            moments[block].add(away[rows], sample.excess[rows])
    if not moments or sum(bool(one.count) for one in moments[:BLOCKS]) < 2:
        raise InputError(nothing)
    return origin, moments


def _path(moments: list[_Moments], parts: list[Any], blocks: list[int]) -> Float64:
    """Return the coefficients for every penalty, shape (P, d, H), from the covariances of some blocks."""
    count = sum(moments[block].count for block in blocks)
    covariance = sum(moments[block].count / count * parts[block][0] for block in blocks)
    returns = sum(moments[block].count / count * parts[block][1] for block in blocks)
    values, axes = np.linalg.eigh(covariance)
    along = axes.T @ returns
    return np.stack([axes @ (along / (np.maximum(values, 0.0) + penalty)[:, None]) for penalty in PENALTIES])


def _losses(path: Float64, part: Any) -> Float64:
    """Return the mean squared error on a block, less that of no forecast, shape (P, H)."""
    products, returns = part
    square = np.einsum("pdh,de,peh->ph", path, products, path, optimize=True)
    loss: Float64 = square - 2.0 * np.einsum("pdh,dh->ph", path, returns)
    return loss
