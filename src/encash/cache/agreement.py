"""Does a smaller storage type change what is done with the vectors? Measured on the user's own. Knows arrays, and
how to get a sample of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64
from encash.cache.identity import AGREEMENT
from encash.cache.plan import Plan, State, window_digests
from encash.cache.task import Cells, join_entries, read_tasks, run_whole_task
from encash.encoders.base import Encoder
from encash.errors import InputError, MismatchError
from encash.metrics import ranks
from encash.panel.panel import Panel
from encash.panel.windows import Reason
from encash.progress import Progress
from encash.store.base import EmbeddingStore, Entries, StoreSpec
from encash.store.codec import round_vectors

LEAST_AGREEMENT = 0.99
"""What a storage type must keep unless another share is asked for."""
SAMPLE = 256
"""Vectors compared to find out."""
FEWEST = 50
"""With fewer vectors nothing is said of a storage type."""
_SOME_TICKERS = 64
"""Tickers that are looked through for windows before all are."""
_DAYS, _CANDIDATES, _TOP = 200, 32, 5
"""Days that picks are compared on, the candidates of each, and how many of them are picked."""


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
    picks: float | None = None
    """Share of picks that stay the same, where candidates are filtered by their cluster and ranked by
    forecast × confidence; None for a model without forecasts."""

    def check(self, least: float) -> None:
        """Refuse a type that changes too much.

        Raises:
            MismatchError: clusters, distances or picks agree less than asked.
            InputError: what was asked is no share.
        """
        check_share(least)
        kept = {"of the cluster assignments": self.clusters, "of the picks": self.picks}
        shares = " and ".join(f"{share:.2%} {what}" for what, share in kept.items() if share is not None)
        if min(self.clusters, self.distances, 1.0 if self.picks is None else self.picks) < least:
            raise MismatchError(
                f"{self.dtype} keeps {shares}, and a rank correlation of {self.distances:.4f} of the distances, on "
                f"{self.vectors} of your vectors; at least {least:.2%} was asked: take a wider type, or ask for less "
                "agreement (--least-agreement)"
            )


def check_share(least: float) -> None:
    """Refuse what is no share.

    Raises:
        InputError: below 0, above 1, or no number.
    """
    if not 0 <= least <= 1:
        raise InputError(f"an agreement of at least {least} was asked; give a share from 0 to 1")


def measure_agreement(
    vectors: Float32,
    dtype: str,
    centroids: Float32 | None = None,
    *,
    scores: Float32 | None = None,
    seed: int = 0,
) -> Agreement:
    """Compare vectors with what a storage type would make of them.

    Args:
        vectors: as the model gave them, shape (n, D), n ≥ 2.
        dtype: float32, float16 or int8.
        centroids: shape (k, D); None takes some of the vectors, drawn by the seed.
        scores: forecast × confidence of each vector and horizon, shape (n, H); None where there are no forecasts.
        seed: of that draw.

    Raises:
        InputError: fewer than two vectors, or a type that cannot hold them.

    >>> two = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> measure_agreement(two, "float16").clusters
    1.0
    """
    if len(vectors) < 2:
        raise InputError(f"{len(vectors)} vectors came; agreement is measured on two or more")
    random = np.random.default_rng(seed)
    if centroids is None:
        centroids = vectors[random.choice(len(vectors), size=min(50, max(2, len(vectors) // 4)), replace=False)]
    rounded = round_vectors(vectors, dtype)
    before, after = _distances(vectors, centroids), _distances(rounded, centroids)
    ours, theirs = before.argmin(axis=1), after.argmin(axis=1)
    return Agreement(
        dtype=dtype,
        vectors=len(vectors),
        clusters=float((ours == theirs).mean()),
        distances=_rank_correlation(before.reshape(-1), after.reshape(-1)),
        cosine=_smallest_cosine(vectors.astype(np.float64), rounded.astype(np.float64)),
        picks=None if scores is None or not scores.shape[1] else _equal_picks(ours, theirs, scores, random),
    )


def sample_agreement(
    panel: Panel, encoder: Encoder, plan: Plan, dtype: str, *, progress: Progress | None = None
) -> Agreement | None:
    """Measure a storage type on windows spread over what a plan selects, or over the whole panel where these are too
    few; None for float32, which changes nothing.

    Args:
        panel: the data.
        encoder: the model.
        plan: what will be encoded.
        dtype: the storage type that is asked for.
        progress: told (done, total) windows as they are encoded.

    Raises:
        InputError: the whole panel has too few windows.
    """
    if dtype == "float32":
        return None
    random = np.random.default_rng(0)
    cells = _choose(plan.days, plan.tickers, plan.state != State.UNAVAILABLE, random)
    names = random.permutation(np.asarray(panel.tickers))
    for count in (_SOME_TICKERS, len(names)):
        if len(cells) < SAMPLE:
            some, days = tuple(np.sort(names[:count]).tolist()), panel.sessions
            there = window_digests(panel, some, days, encoder.spec.lookback).reason == Reason.OK
            cells = _choose(days, some, there, random)
    _check_enough(len(cells), dtype, "the data have windows for")
    done = 0

    def on_batch(windows: int) -> None:
        nonlocal done
        done += windows
        if progress is not None:
            progress(done, len(cells))

    tasks = read_tasks(panel, cells, encoder.spec, "float32")
    return _of_entries(join_entries([run_whole_task(task, encoder, on_batch).entries for task in tasks]), dtype)


def stored_agreement(store: EmbeddingStore, dtype: str) -> Agreement | None:
    """Measure a storage type on entries of a store that keeps them wider; None where it does not.

    Args:
        store: what is to be kept as that type.
        dtype: the storage type that is asked for.

    Raises:
        InputError: the store has too few entries.
    """
    if dtype == store.spec.dtype:
        return None
    rows = store.index().row
    rows = np.sort(rows[rows >= 0].astype(np.int64))
    _check_enough(len(rows), dtype, f"{store.location} has")
    chosen = np.random.default_rng(0).choice(rows, size=min(SAMPLE, len(rows)), replace=False)
    return _of_entries(store.read_sound(np.sort(chosen)), dtype)


def note_agreement(spec: StoreSpec, agreement: Agreement | None, least: float) -> StoreSpec:
    """The spec of a new store with what its type keeps of the vectors, where that was measured.

    Raises:
        MismatchError: it keeps less than asked.
    """
    if agreement is None:
        return spec
    agreement.check(least)
    return replace(spec, notes={**(spec.notes or {}), AGREEMENT: asdict(agreement)})


def _of_entries(entries: Entries, dtype: str) -> Agreement:
    return measure_agreement(entries.embedding, dtype, scores=entries.forecast * entries.confidence)


def _check_enough(count: int, dtype: str, who: str) -> None:
    if count < FEWEST:
        raise InputError(
            f"whether {dtype} is enough is measured on {FEWEST} vectors or more, and {who} {count}; keep float32"
        )


def _choose(days: Days, tickers: tuple[str, ...], there: Bool, random: np.random.Generator) -> Cells:
    """Some of the cells that have a window."""
    day, ticker = np.nonzero(there)
    chosen = np.sort(random.choice(len(day), size=min(SAMPLE, len(day)), replace=False))
    return Cells(days=days[day[chosen]], tickers=np.asarray(tickers, dtype=np.str_)[ticker[chosen]])


def _equal_picks(ours: Int64, theirs: Int64, scores: Float32, random: np.random.Generator) -> float:
    """Draw candidates for many days, keep those of the better half of the clusters, and pick the best by score: the
    share of picks that the clusters of both sides agree on, over all days and horizons."""
    equal = picked = 0
    candidates = min(_CANDIDATES, max(2, len(ours) // 2))
    for score in scores.T:
        members = np.bincount(ours)
        mean = np.bincount(ours, weights=score) / np.maximum(members, 1)
        better = np.flatnonzero(members)[mean[members > 0] >= np.median(mean[members > 0])]
        for _ in range(_DAYS):
            day = random.choice(len(ours), size=candidates, replace=False)
            day = day[np.argsort(-score[day], kind="stable")]
            first, second = (day[np.isin(side[day], better)][:_TOP] for side in (ours, theirs))
            equal += len(np.intersect1d(first, second))
            picked += max(len(first), len(second))
    return equal / picked if picked else 1.0


def _distances(vectors: Float32, centroids: Float32) -> Float64:
    """Euclidean distances, shape (n, k)."""
    return np.stack(
        [np.sqrt(((vectors.astype(np.float64) - centroid) ** 2).sum(axis=1)) for centroid in centroids], axis=1
    )


def _rank_correlation(ours: Float64, theirs: Float64) -> float:
    """Spearman's correlation; 1 where no rank changes, 0 where one side does not vary.

    >>> round(_rank_correlation(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 3.0])), 6)
    0.833333
    """
    both = ranks(np.stack([ours, theirs]))
    if np.array_equal(both[0], both[1]):
        return 1.0
    if 0 in both.std(axis=1):
        return 0.0
    return float(np.corrcoef(both[0], both[1])[0, 1])


def _smallest_cosine(ours: Float64, theirs: Float64) -> float:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    return float(np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 1.0).min())
