"""Choose the number of clusters: fit several k and score how well they separate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Float64
from encash.clusters.fit import FitConfig, FitSample, fit_sample
from encash.clusters.model import ClusterModel
from encash.errors import InputError
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class KSelection:
    """The models that were tried, and their scores."""

    models: tuple[ClusterModel, ...]
    """In the order of the candidates."""
    scores: Float64
    """Calinski–Harabasz index of each, shape (candidates,); higher is better."""

    @property
    def best(self) -> ClusterModel:
        """The model with the highest score; among equals, the one with the fewest clusters."""
        order = sorted(range(len(self.models)), key=lambda place: (-self.scores[place], self.models[place].k))
        return self.models[order[0]]

    def rows(self) -> list[dict[str, float]]:
        """Return k, score and inertia of each candidate, as plain values."""
        return [
            {"k": model.k, "score": float(score), "inertia": model.inertia}
            for model, score in zip(self.models, self.scores, strict=True)
        ]


def choose_k(
    sample: FitSample,
    candidates: Sequence[int],
    *,
    config: FitConfig,
    encoder: str,
    progress: Progress | None = None,
) -> KSelection:
    """Fit each k, and score it by Calinski and Harabasz (1974): variance between clusters over variance within.

    ``((S − W) / (k − 1)) / (W / (n − k))`` with W the summed squared distances to the centroids and S those to the
    common mean, in the space of the clusters. The criterion does not use returns.

    Args:
        sample: entries, from `sample_vectors`.
        candidates: numbers of clusters to try, each from 2 to entries − 1.
        config: everything except k.
        encoder: fingerprint of the encoder; empty if unknown.
        progress: called with candidates done and their total.

    Raises:
        InputError: no candidates, or one that cannot be fitted.
    """
    if not candidates or max(candidates) >= len(sample.days):
        raise InputError(f"candidates for k are {list(candidates)}; expected numbers below {len(sample.days)} entries")
    models, scores = [], []
    for done, k in enumerate(candidates, 1):
        model = fit_sample(sample, config=replace(config, k=k), encoder=encoder)
        models.append(model)
        scores.append(_separation(model))
        if progress is not None:
            progress(done, len(candidates))
    return KSelection(models=tuple(models), scores=np.array(scores))


def _separation(model: ClusterModel) -> float:
    """Compute the index from the model: S − W is the weighted spread of the centroids around their mean."""
    weights, entries = model.counts.astype(np.float64), int(model.counts.sum())
    centroids = model.centroids.astype(np.float64)
    spread = float((weights * np.square(centroids - weights @ centroids / entries).sum(axis=1)).sum())
    within = model.inertia * entries
    if within == 0:
        return float("inf")
    return (spread / (model.k - 1)) / (within / (entries - model.k))
