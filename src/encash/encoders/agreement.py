"""Do two ways of running one model say the same? Knows arrays alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32, Float64, Int64

ENOUGH_COSINE = 0.999
ENOUGH_NEIGHBOURS = 1.0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far embeddings agree with those of float32."""

    cosine: float
    """Smallest cosine over the windows, of the embeddings less their mean. (Embeddings of any two windows have much in
    common; with it a cosine is near 1 even where all that tells windows apart is lost.)"""
    neighbours: float
    """Share of the windows whose nearest other window is the same: what a clustering would notice."""

    @property
    def enough(self) -> bool:
        """Whether the faster way may stand for float32."""
        return self.cosine >= ENOUGH_COSINE and self.neighbours >= ENOUGH_NEIGHBOURS


def agreement(reference: Float32, other: Float32) -> Agreement:
    """Compare embeddings of the same windows; where one is not finite, they agree in nothing.

    Args:
        reference: shape (n, D), n ≥ 3.
        other: shape (n, D).

    >>> e = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.5], [-0.9, 0.4]], dtype=np.float32)
    >>> agreement(e, e).enough, agreement(e, -e).enough
    (True, False)
    """
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        return Agreement(cosine=-1.0, neighbours=0.0)
    ours, theirs = _centred(reference), _centred(other)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = (ours * theirs).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    same = _nearest_other(ours) == _nearest_other(theirs)
    return Agreement(cosine=float(cosine.min()), neighbours=float(same.mean()))


def _centred(embedding: Float32) -> Float64:
    values = embedding.astype(np.float64)
    centred: Float64 = values - values.mean(axis=0)
    return centred


def _nearest_other(values: Float64) -> Int64:
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest: Int64 = distances.argmin(axis=1)
    return nearest
