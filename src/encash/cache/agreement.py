"""Does a smaller storage type change what is done with the vectors? Measured on the user's own. Knows arrays, and
how to get a sample of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32, Float64
from encash.cache.plan import Plan, State
from encash.cache.task import Cells, read_tasks, run_task
from encash.encoders.base import Encoder
from encash.errors import InputError, MismatchError
from encash.panel.panel import Panel
from encash.panel.windows import gather_windows, window_grid
from encash.store.codec import round_vectors

LEAST_AGREEMENT = 0.99
"""What a storage type must keep unless another share is asked for."""
SAMPLE = 256
"""Windows encoded to find out."""
TASK_BYTES = 32 * 2**20
MODEL_SAMPLE = 16
"""Windows on which an encoder's precisions are compared, and the tickers that they are taken from."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far rounded vectors say the same as those that the model gave."""

    dtype: str
    vectors: int
    """How many were compared."""
    clusters: float
    """Share of vectors whose nearest centroid stays the same."""
    distances: float
    """Spearman's rank correlation of all distances to the centroids, before and after."""
    cosine: float
    """Smallest cosine between a vector and its rounded self."""

    def check(self, least: float) -> None:
        """Refuse a type that changes too much.

        Raises:
            MismatchError: clusters or distances agree less than asked.
        """
        if min(self.clusters, self.distances) < least:
            raise MismatchError(
                f"{self.dtype} keeps {self.clusters:.2%} of the cluster assignments and a rank correlation of "
                f"{self.distances:.4f} of the distances on {self.vectors} of your vectors; at least {least:.2%} was "
                "asked: take a wider type, or ask for less agreement"
            )


def measure_agreement(vectors: Float32, dtype: str, centroids: Float32 | None = None, *, seed: int = 0) -> Agreement:
    """Compare vectors with what a storage type would make of them.

    Args:
        vectors: as the model gave them, shape (n, D), n ≥ 2.
        dtype: float32, float16 or int8.
        centroids: shape (k, D); None takes some of the vectors, drawn by the seed.
        seed: of that draw.

    Raises:
        InputError: fewer than two vectors, or a type that cannot hold them.

    >>> two = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> measure_agreement(two, "float16").clusters
    1.0
    """
    if len(vectors) < 2:
        raise InputError(f"{len(vectors)} vectors came; agreement is measured on two or more")
    if centroids is None:
        random = np.random.default_rng(seed)
        centroids = vectors[random.choice(len(vectors), size=min(50, max(2, len(vectors) // 4)), replace=False)]
    rounded = round_vectors(vectors, dtype)
    before, after = _distances(vectors, centroids), _distances(rounded, centroids)
    return Agreement(
        dtype=dtype,
        vectors=len(vectors),
        clusters=float((before.argmin(axis=1) == after.argmin(axis=1)).mean()),
        distances=_rank_correlation(before.reshape(-1), after.reshape(-1)),
        cosine=_smallest_cosine(vectors.astype(np.float64), rounded.astype(np.float64)),
    )


def sample_agreement(panel: Panel, encoder: Encoder, plan: Plan, dtype: str, *, seed: int = 0) -> Agreement | None:
    """Measure a storage type on some of the windows that a plan will encode; None for float32, which changes nothing.

    Args:
        panel: the data.
        encoder: the model.
        plan: what will be encoded.
        dtype: the storage type that is asked for.
        seed: which windows.
    """
    day, ticker = np.nonzero((plan.state == State.MISSING) | (plan.state == State.STALE))
    if dtype == "float32" or len(day) < 2:
        return None
    chosen = np.sort(np.random.default_rng(seed).choice(len(day), size=min(SAMPLE, len(day)), replace=False))
    cells = Cells(days=plan.days[day[chosen]], tickers=np.asarray(plan.tickers)[ticker[chosen]])
    tasks = read_tasks(panel, cells, encoder.spec, "float32", TASK_BYTES)
    vectors = [run_task(task, encoder).entries.embedding for task in tasks]
    return measure_agreement(np.concatenate(vectors), dtype, seed=seed)


def sample_windows(panel: Panel, lookback: int, *, seed: int = 0) -> Float32:
    """Windows of several tickers and days, for measuring how an encoder runs; shape (n, lookback, F), n may be 0.

    Args:
        panel: the data.
        lookback: sessions in a window.
        seed: which windows.
    """
    random = np.random.default_rng(seed)
    names = random.choice(np.asarray(panel.tickers), size=min(MODEL_SAMPLE, len(panel.tickers)), replace=False)
    rows = panel.rows(tuple(np.sort(names).tolist()), lookback=lookback)
    ends = window_grid(rows, panel.sessions, lookback).end_row
    ends = ends[ends >= 0]
    chosen = random.choice(ends, size=min(MODEL_SAMPLE, len(ends)), replace=False)
    return gather_windows(rows, chosen, lookback)


def _distances(vectors: Float32, centroids: Float32) -> Float64:
    """Euclidean distances, shape (n, k)."""
    return np.stack(
        [np.sqrt(((vectors.astype(np.float64) - centroid) ** 2).sum(axis=1)) for centroid in centroids], axis=1
    )


def _rank_correlation(ours: Float64, theirs: Float64) -> float:
    """Pearson's correlation of the ranks; 1 where no rank changes, 0 where one side has none."""
    ranks = [np.unique(values, return_inverse=True)[1].astype(np.float64) for values in (ours, theirs)]
    if np.array_equal(ranks[0], ranks[1]):
        return 1.0
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _smallest_cosine(ours: Float64, theirs: Float64) -> float:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    return float(np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 1.0).min())
