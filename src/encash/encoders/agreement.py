"""Agreement of the embeddings of a model in a faster precision or engine with those in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32, Float64, Int64

LEAST_COSINE = 0.999
LEAST_NEIGHBORS = 1.0


@dataclass(frozen=True, kw_only=True)
class EncodingAgreement:
    """Similarity of embeddings to those in float32."""

    cosine: float
    """Smallest cosine over the windows, of the embeddings minus their mean. (The embeddings of all windows have a large
    common part: with it, a cosine is near 1 even if everything that distinguishes windows is lost.)"""
    neighbors: float
    """Share of the windows whose nearest other window is the same; a smaller share would change clusters."""

    @property
    def sufficient(self) -> bool:
        """True if the embeddings may replace those in float32."""
        return self.cosine >= LEAST_COSINE and self.neighbors >= LEAST_NEIGHBORS


def compare_embeddings(reference: Float32, other: Float32) -> EncodingAgreement:
    """Compare embeddings of the same windows; if any is not finite, they do not agree at all.

    Args:
        reference: shape (n, D), n ≥ 3.
        other: shape (n, D).

    >>> e = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.5], [-0.9, 0.4]], dtype=np.float32)
    >>> compare_embeddings(e, e).sufficient, compare_embeddings(e, -e).sufficient
    (True, False)
    """
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        return EncodingAgreement(cosine=-1.0, neighbors=0.0)
    ours, theirs = _centered(reference), _centered(other)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = (ours * theirs).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    same = _nearest_other(ours) == _nearest_other(theirs)
    return EncodingAgreement(cosine=float(cosine.min()), neighbors=float(same.mean()))


def _centered(embedding: Float32) -> Float64:
    values = embedding.astype(np.float64)
    centered: Float64 = values - values.mean(axis=0)
    return centered


def _nearest_other(values: Float64) -> Int64:
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest: Int64 = distances.argmin(axis=1)
    return nearest
