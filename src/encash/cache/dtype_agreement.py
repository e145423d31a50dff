"""Agreement of a narrower storage dtype with the original vectors, measured on the user's own data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64
from encash.cache.identity import AGREEMENT
from encash.cache.plan import Plan, State
from encash.cache.task import Cells, join_entries, read_tasks, run_whole_task
from encash.cache.window_digests import window_digests
from encash.encoders.base import Encoder
from encash.errors import InputError, MismatchError
from encash.metrics import ranks
from encash.panel.panel import Panel
from encash.panel.windows import Reason
from encash.progress import Progress
from encash.store.base import Entries, StoreSnapshot, StoreSpec
from encash.store.codec import round_vectors

LEAST_AGREEMENT = 0.99
"""Fraction that a dtype must keep unless a different one is requested."""
SAMPLE = 256
"""Vectors compared."""
FEWEST = 50
"""Minimum number of vectors on which a dtype is measured."""
_SOME_TICKERS = 64
"""Tickers searched for windows before all are."""
_DAYS, _CANDIDATES, _TOP = 200, 32, 5
"""Days on which picks are compared, candidates per day, and picks per day."""


@dataclass(frozen=True, kw_only=True)
class DtypeAgreement:
    """Agreement of rounded vectors with those that the model gave."""

    dtype: str
    vectors: int
    """Number of vectors compared."""
    clusters: float
    """Fraction of vectors whose nearest centroid stays the same."""
    distances: float
    """Spearman's rank correlation of all distances to the centroids, before and after."""
    cosine: float
    """Smallest cosine between a vector and its rounded self."""
    picks: float | None = None
    """Fraction of picks that stay the same if candidates are filtered by cluster and ranked by forecast × confidence;
    None for a model without forecasts."""

    def check(self, least: float) -> None:
        """Refuse a dtype that changes too much.

        Raises:
            MismatchError: clusters, distances or picks agree less than required.
            InputError: the required agreement is not a fraction.
        """
        check_share(least)
        kept = {"of the cluster assignments": self.clusters, "of the picks": self.picks}
        shares = " and ".join(f"{share:.2%} {what}" for what, share in kept.items() if share is not None)
        if min(self.clusters, self.distances, 1.0 if self.picks is None else self.picks) < least:
            raise MismatchError(
                f"{self.dtype} keeps {shares}, and a rank correlation of {self.distances:.4f} of the distances, on "
                f"{self.vectors} of your vectors; required was at least {least:.2%}: use a wider dtype, or require "
                "less (--least-agreement)"
            )


def check_share(least: float) -> None:
    """Refuse an invalid fraction.

    Raises:
        InputError: below 0, above 1, or not a number.
    """
    if not 0 <= least <= 1:
        raise InputError(f"invalid least agreement {least}: expected a fraction from 0 to 1")


def measure_agreement(
    vectors: Float32,
    dtype: str,
    centroids: Float32 | None = None,
    *,
    scores: Float32 | None = None,
    seed: int = 0,
) -> DtypeAgreement:
    """Compare vectors with what a dtype would make of them.

    Args:
        vectors: as the model gave them, shape (n, D), n ≥ 2.
        dtype: float32, float16 or int8.
        centroids: shape (k, D); None draws some of the vectors.
        scores: forecast × confidence of each vector and horizon, shape (n, H); None without forecasts.
        seed: seed of the draw.

    Raises:
        InputError: fewer than two vectors, or a dtype that cannot hold them.

    >>> two = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> measure_agreement(two, "float16").clusters
    1.0
    """
    if len(vectors) < 2:
        raise InputError(f"{len(vectors)} vectors came; agreement needs two or more")
    random = np.random.default_rng(seed)
    if centroids is None:
        centroids = vectors[random.choice(len(vectors), size=min(50, max(2, len(vectors) // 4)), replace=False)]
    rounded = round_vectors(vectors, dtype)
    before, after = _distances(vectors, centroids), _distances(rounded, centroids)
    ours, theirs = before.argmin(axis=1), after.argmin(axis=1)
    return DtypeAgreement(
        dtype=dtype,
        vectors=len(vectors),
        clusters=float((ours == theirs).mean()),
        distances=_rank_correlation(before.reshape(-1), after.reshape(-1)),
        cosine=_smallest_cosine(vectors.astype(np.float64), rounded.astype(np.float64)),
        picks=None if scores is None or not scores.shape[1] else _equal_picks(ours, theirs, scores, random),
    )


def sample_agreement(
    panel: Panel, encoder: Encoder, plan: Plan, dtype: str, *, progress: Progress | None = None
) -> DtypeAgreement | None:
    """Measure a dtype on windows spread over what a plan selects, or over the whole panel if these are too few.

    Args:
        panel: the data.
        encoder: the model.
        plan: what will be encoded.
        dtype: the requested dtype.
        progress: called with (done, total) windows as they are encoded.

    Returns:
        The agreement; None for float32, which changes nothing.

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


def stored_agreement(snapshot: StoreSnapshot, dtype: str) -> DtypeAgreement | None:
    """Measure a dtype on entries of a store that holds them in a wider one; None if it does not.

    Args:
        snapshot: the entries.
        dtype: the requested dtype.

    Raises:
        InputError: the store has too few entries.
    """
    if dtype == snapshot.spec.dtype:
        return None
    rows = np.sort(snapshot.index().rows())
    _check_enough(len(rows), dtype, f"{snapshot.location} has")
    chosen = np.random.default_rng(0).choice(rows, size=min(SAMPLE, len(rows)), replace=False)
    return _of_entries(snapshot.read_sound(np.sort(chosen)), dtype)


def note_agreement(spec: StoreSpec, agreement: DtypeAgreement | None, least: float) -> StoreSpec:
    """Return the spec of a new store with its measured agreement, if any.

    Raises:
        MismatchError: it is less than required.
    """
    if agreement is None:
        return spec
    agreement.check(least)
    return replace(spec, notes={**(spec.notes or {}), AGREEMENT: asdict(agreement)})


def _of_entries(entries: Entries, dtype: str) -> DtypeAgreement:
    return measure_agreement(entries.embedding, dtype, scores=entries.forecast * entries.confidence)


def _check_enough(count: int, dtype: str, who: str) -> None:
    if count < FEWEST:
        raise InputError(
            f"measuring whether {dtype} is enough needs {FEWEST} vectors or more, and {who} {count}; keep float32"
        )


def _choose(days: Days, tickers: tuple[str, ...], there: Bool, random: np.random.Generator) -> Cells:
    """Draw some of the cells that have a window."""
    day, ticker = np.nonzero(there)
    chosen = np.sort(random.choice(len(day), size=min(SAMPLE, len(day)), replace=False))
    return Cells(days=days[day[chosen]], tickers=np.asarray(tickers, dtype=np.str_)[ticker[chosen]])


def _equal_picks(ours: Int64, theirs: Int64, scores: Float32, random: np.random.Generator) -> float:
    """Draw candidates for many days, keep those of the better half of the clusters, and pick the best by score.

    Returns:
        The fraction of picks on which the clusters of both sides agree, over all days and horizons.
    """
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
    """Return Euclidean distances, shape (n, k)."""
    return np.stack(
        [np.sqrt(((vectors.astype(np.float64) - centroid) ** 2).sum(axis=1)) for centroid in centroids], axis=1
    )


def _rank_correlation(ours: Float64, theirs: Float64) -> float:
    """Return Spearman's correlation; 1 if no rank changes, 0 if one side is constant.

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
