"""Agreement of the output of a model in a faster precision or engine with that in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32, Float64, Int64
from encash.encoders.base import Encoded

LEAST_COSINE = 0.999
LEAST_NEIGHBORS = 0.95
LEAST_CLUSTERS = 0.99
MOST_CHANGED_PICKS = 0.01
"""Fraction of the picks that may change. One may always: among few windows, a near tie is a large fraction."""
MOST_CLUSTERS, ROUNDS = 50, 10
"""Clusters that are fitted on the embeddings in float32, at least 8 windows each, and rounds of the fit."""
PICKED = 20
"""One window of 20 is picked, by the forecast of a horizon."""


@dataclass(frozen=True, kw_only=True)
class EncodingAgreement:
    """Similarity of embeddings and forecasts to those in float32."""

    cosine: float
    """Smallest cosine over the windows, of the embeddings minus their mean. (The embeddings of all windows have a large
    common part: with it, a cosine is near 1 even if everything that distinguishes windows is lost.)"""
    neighbors: float
    """Fraction of the windows whose nearest other window is the same."""
    clusters: float = 1.0
    """Fraction of the windows that stay in their cluster, of clusters that are fitted on the embeddings in float32."""
    picks: float = 1.0
    """Fraction of the windows with the highest forecasts that stay among them, all horizons; 1 without forecasts."""
    changed_picks: int = 0
    """Number of windows with the highest forecasts that do not stay among them."""
    windows: int = 0
    """Number of windows compared."""

    @property
    def sufficient(self) -> bool:
        """True if the output may replace that in float32."""
        return (
            self.cosine >= LEAST_COSINE
            and self.neighbors >= LEAST_NEIGHBORS
            and self.clusters >= LEAST_CLUSTERS
            and (self.picks >= 1 - MOST_CHANGED_PICKS or self.changed_picks == 1)
        )

    def line(self) -> str:
        """Return the figures: ``cosine to float32 0.99998, neighbors 99.1%, clusters 99.8%, picks 100.0% of 2,048
        windows``."""
        shares = f"neighbors {self.neighbors:.1%}, clusters {self.clusters:.1%}, picks {self.picks:.1%}"
        return f"cosine to float32 {self.cosine:.5f}, {shares} of {self.windows:,} windows"


def compare_encodings(reference: Encoded, other: Encoded) -> EncodingAgreement:
    """Compare the outputs for the same windows (n ≥ 3); if any is not finite, they do not agree at all."""
    outputs = (one for side in (reference, other) for one in (side.embedding, side.forecast))
    if not all(np.isfinite(output).all() for output in outputs):
        return EncodingAgreement(cosine=-1.0, neighbors=0.0, clusters=0.0, picks=0.0, windows=len(reference.embedding))
    ours, theirs = _centered(reference.embedding), _centered(other.embedding)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = (ours * theirs).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    picks, changed = _equal_picks(reference.forecast, other.forecast)
    same = _nearest_other(ours) == _nearest_other(theirs)
    centroids = _fit_centroids(ours)
    stayed = _assign(ours, centroids) == _assign(theirs, centroids)
    return EncodingAgreement(
        cosine=float(cosine.min()),
        neighbors=float(same.mean()),
        clusters=float(stayed.mean()),
        picks=picks,
        changed_picks=changed,
        windows=len(ours),
    )


def compare_embeddings(reference: Float32, other: Float32) -> EncodingAgreement:
    """Compare only embeddings of the same windows; see `compare_encodings`.

    Args:
        reference: shape (n, D), n ≥ 3.
        other: shape (n, D).

    >>> e = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.5], [-0.9, 0.4]], dtype=np.float32)
    >>> compare_embeddings(e, e).sufficient, compare_embeddings(e, -e).sufficient
    (True, False)
    """
    nothing = np.empty((len(reference), 0), dtype=np.float32)
    sides = (Encoded(embedding=side, forecast=nothing, confidence=nothing) for side in (reference, other))
    return compare_encodings(*sides)


def _centered(embedding: Float32) -> Float64:
    values = embedding.astype(np.float64)
    centered: Float64 = values - values.mean(axis=0)
    return centered


def _squared_distances(values: Float64, others: Float64) -> Float64:
    """Return (n, m) squared distances; by products, because differences of all pairs would not fit into memory."""
    lengths, other_lengths = (values**2).sum(axis=1), (others**2).sum(axis=1)
    distances: Float64 = lengths[:, None] - 2 * values @ others.T + other_lengths
    return distances


def _nearest_other(values: Float64) -> Int64:
    distances = _squared_distances(values, values)
    np.fill_diagonal(distances, np.inf)
    nearest: Int64 = distances.argmin(axis=1)
    return nearest


def _fit_centroids(values: Float64) -> Float64:
    """Return the centroids of a small k-means (Lloyd 1982)."""
    count = min(MOST_CLUSTERS, max(2, len(values) // 8))
    centroids = values[np.random.default_rng(0).choice(len(values), size=count, replace=False)]
    for _ in range(ROUNDS):
        cluster = _assign(values, centroids)
        for number in np.unique(cluster):
            centroids[number] = values[cluster == number].mean(axis=0)
    return centroids


def _assign(values: Float64, centroids: Float64) -> Int64:
    cluster: Int64 = _squared_distances(values, centroids).argmin(axis=1)
    return cluster


def _equal_picks(reference: Float32, other: Float32) -> tuple[float, int]:
    """Return the share of the highest values of each column that stay among the highest, and how many do not.

    >>> low = np.arange(40, dtype=np.float32)[:, None]
    >>> _equal_picks(low, low), _equal_picks(low, -low)
    ((1.0, 0), (0.0, 2))
    """
    count = max(1, len(reference) // PICKED)
    kept = [
        len(np.intersect1d(_highest(ours, count), _highest(theirs, count)))
        for ours, theirs in zip(reference.T, other.T, strict=True)
    ]
    picked = count * len(kept)
    return (sum(kept) / picked if picked else 1.0), picked - sum(kept)


def _highest(values: Float32, count: int) -> Int64:
    highest: Int64 = np.argsort(-values, kind="stable")[:count]
    return highest
