"""Who goes on to the picking on each day: the filters by cluster. Knows cluster models, best clusters and the days on
which they may be used; nothing of prices, forecasts or money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Int32, Int64, Text, day_text, positions, to_day
from encash.clusters.assignments import Assignments
from encash.clusters.draw import draw_scores, ticker_keys
from encash.clusters.model import ClusterModel
from encash.clusters.rank import Ranking
from encash.clusters.ranking_files import check_ids
from encash.errors import InputError, LookaheadError, MismatchError
from encash.fingerprint import fingerprint

KINDS = ("hard", "nearest", "static", "random", "none")
"""What a filter keeps of a day's candidates:

hard     those whose nearest cluster is one of the best
nearest  the share `keep` that is nearest to any best cluster's centroid
static   those whose ticker was in a best cluster at the end of the fit, whatever it does later
random   as many as hard would keep (or the share `keep`), drawn by (seed, day, ticker)
none     all
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """A cluster model, its best clusters, and the first day on which they may be used."""

    model: ClusterModel
    best: Int32
    """Ids of the best clusters, shape (b,)."""
    first_day: np.datetime64 | None
    """The session `embargo` sessions after `rank_end`, and after `fit_end`; None where nobody wrote down what the
    ranking knew."""
    rank_end: str = ""
    """Last session that the ranking knew; empty where it is unknown."""
    embargo: int = 0
    static: Assignments | None = None
    """The cluster of each ticker at the end of the fit, for the static filter: from `static_clusters`."""

    @cached_property
    def best_alone(self) -> ClusterModel:
        """The best centroids alone, in the same space."""
        model = self.model
        return replace(model, centroids=model.centroids[self.best], counts=model.counts[self.best])


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterModel:
    """A filter for many days: the term in force on a day is the last one whose first day has come."""

    kind: str
    terms: tuple[Term, ...] = ()
    """In order of their first days; one for a single model, several for a walk, none for the filter `none`."""
    keep_share: float | None = None
    """Share of the day's candidates that `nearest` and `random` keep, rounded up."""
    seed: int = 0
    """Of the random filter."""
    assignments: Assignments | None = None
    """Clusters assigned before, so that no embeddings are needed; of the same model or walk."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def needs_clusters(self) -> bool:
        """Whether `keep` looks at the cluster of a candidate on the day."""
        return self.kind in ("hard", "nearest") or (self.kind == "random" and self.keep_share is None)

    @property
    def needs_embeddings(self) -> bool:
        """Whether clusters must be assigned from embeddings, for want of kept assignments."""
        return self.needs_clusters and self.assignments is None

    @cached_property
    def fingerprint(self) -> str:
        """Identity: kind, share, seed, and the terms' models, best clusters and first days."""
        terms = [[term.model.fingerprint, term.best.tolist(), str(term.first_day)] for term in self.terms]
        return fingerprint([self.kind, self.keep_share, self.seed, terms])

    @property
    def clusters(self) -> str:
        """Identity of the models alone, whatever is kept of them; empty without models."""
        return models_fingerprint([term.model for term in self.terms]) if self.terms else ""

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder of the first model; empty without models or where it is unknown."""
        return self.terms[0].model.encoder if self.terms else ""

    @property
    def first_day(self) -> np.datetime64 | None:
        """The first day of a run that knows nothing of its future; None where any day is, or nobody wrote it down."""
        return None if self._blind else self.terms[0].first_day

    @property
    def _blind(self) -> bool:
        """Whether nothing of any period is in it: no clusters, or a random share."""
        return not self.terms or (self.kind == "random" and self.keep_share is not None)

    def check_start(self, start: DayLike) -> None:
        """Refuse a run that starts before its first model and ranking may be used.

        Raises:
            LookaheadError: the ranking, with its embargo, reaches into the run, or nobody wrote down what it knew.
        """
        if (reason := self.lookahead(start)) is not None:
            raise LookaheadError(f"{reason}; start later, rank on an earlier end, or say --allow-lookahead")

    def lookahead(self, start: DayLike) -> str | None:
        """Why a run from this day would know its future; None where it would not."""
        if self._blind:
            return None
        term = self.terms[0]
        if term.first_day is None:
            return "nobody wrote down what the best clusters knew: they may have been chosen with the test period"
        if to_day(start) >= term.first_day:
            return None
        return (
            f"the clusters, fitted to {term.model.fit_end} and ranked on returns known by {term.rank_end} with an "
            f"embargo of {term.embargo} sessions, may be used from {day_text(term.first_day)} on, not on "
            f"{day_text(start)}"
        )

    def in_force(self, days: Days) -> Int64:
        """The place of the term in force on each day, shape (n,); the first term on days before it."""
        firsts = np.array([term.first_day for term in self.terms[1:]], dtype="datetime64[D]")
        return np.searchsorted(firsts, days, side="right").astype(np.int64)

    def assign(self, days: Days, vectors: Float32) -> tuple[Int32, Float32]:
        """The cluster of each entry under the term in force on its day, and the distance that the filter goes by.

        Args:
            days: shape (n,).
            vectors: embeddings, shape (n, d).

        Returns:
            clusters (n,), and distances (n,): to the nearest best centroid for `nearest`, else to the cluster's own.

        Raises:
            MismatchError: vectors of another length than the models'.
        """
        cluster = np.empty(len(days), dtype=np.int32)
        distance = np.empty(len(days), dtype=np.float32)
        place = self.in_force(days)
        for number in np.unique(place):
            term, rows = self.terms[number], place == number
            cluster[rows], distance[rows] = term.model.assign(vectors[rows])
            if self.kind == "nearest":
                distance[rows] = term.best_alone.assign(vectors[rows])[1]
        return cluster, distance

    def stored(self, days: Days, tickers: tuple[str, ...]) -> tuple[Int32, Float32]:
        """Cluster and distance of each cell, as `assign` gives them, from the kept assignments; −1 and NaN without one.

        Args:
            days: shape (R,).
            tickers: N of them.

        Returns:
            clusters (R, N) and distances (R, N).

        Raises:
            InputError: no assignments, or `nearest` without the distances to all centroids.
        """
        kept = self.assignments
        if kept is None:
            raise InputError("this filter has no kept assignments; give them, or assign embeddings")
        row = np.repeat(days, len(tickers))
        column = np.tile(np.asarray(tickers), len(days))
        cluster, distance = kept.lookup(row, column)
        if self.kind == "nearest":
            distance = self._nearest_stored(row, column)
        shape = (len(days), len(tickers))
        return cluster.reshape(shape), distance.reshape(shape)

    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Which candidates go on, shape (R, N).

        A candidate without a cluster is not kept by a filter that needs clusters. Ties in distance go to the first
        ticker in alphabetical order. No row depends on another, nor on the order of the tickers.

        Args:
            days: shape (R,).
            tickers: N of them.
            candidates: shape (R, N).
            cluster: from `assign` or `stored`, −1 where there is none; shape (R, N).
            distance: likewise, shape (R, N).
        """
        match self.kind:
            case "none":
                return candidates.copy()
            case "hard":
                return candidates & self._in_best(days, cluster)
            case "static":
                return candidates & self._static(days, tickers)
            case "nearest":
                eligible = candidates & (cluster >= 0) & ~np.isnan(distance)
                return _lowest(distance, eligible, self._quota(eligible), tickers)
        eligible = candidates & (cluster >= 0) if self.keep_share is None else candidates
        return _lowest(self._lots(days, tickers), eligible, self._random_quota(days, eligible, cluster), tickers)

    def _in_best(self, days: Days, cluster: Int32) -> Bool:
        """True for cells whose cluster is among the best of the term in force, shape (R, N)."""
        best = np.zeros((len(self.terms), 1 + max(term.model.k for term in self.terms)), dtype=np.bool_)
        for number, term in enumerate(self.terms):
            best[number, term.best] = True
        kept: Bool = best[self.in_force(days)[:, None], cluster]  # −1 finds the last column, which is no cluster's
        return kept

    def _static(self, days: Days, tickers: tuple[str, ...]) -> Bool:
        """True for tickers that were in a best cluster at the end of the fit in force, shape (R, N)."""
        then = np.empty((len(self.terms), len(tickers)), dtype=np.int32)
        for number, term in enumerate(self.terms):
            assert term.static is not None
            place = positions(term.static.tickers, np.asarray(tickers))
            then[number] = np.where(place >= 0, term.static.cluster[0, place], -1)
        return self._in_best(days, then[self.in_force(days)])

    def _lots(self, days: Days, tickers: tuple[str, ...]) -> np.ndarray:
        keys = ticker_keys(tickers)
        row, column = np.repeat(days, len(tickers)), np.tile(keys, len(days))
        return draw_scores(self.seed, row, column).reshape(len(days), len(tickers))

    def _quota(self, eligible: Bool) -> Int64:
        assert self.keep_share is not None
        quota: Int64 = np.ceil(self.keep_share * eligible.sum(axis=1) - 1e-9).astype(np.int64)
        return quota

    def _random_quota(self, days: Days, eligible: Bool, cluster: Int32) -> Int64:
        if self.keep_share is not None:
            return self._quota(eligible)
        quota: Int64 = (eligible & self._in_best(days, cluster)).sum(axis=1)
        return quota

    def _nearest_stored(self, days: Days, tickers: Text) -> Float32:
        kept = self.assignments
        if kept is None or kept.distances is None:
            raise InputError("the kept assignments lack the distances to all centroids; assign again and keep them")
        row, column = positions(kept.days, days), positions(kept.tickers, tickers)
        there, place = (row >= 0) & (column >= 0), self.in_force(days)
        distance = np.full(len(days), np.nan, dtype=np.float32)
        for number, term in enumerate(self.terms):
            cells = np.flatnonzero(there & (place == number))
            distance[cells] = kept.distances[row[cells], column[cells]][:, term.best].min(axis=1)
        return distance


def models_fingerprint(models: Sequence[ClusterModel]) -> str:
    """Identity of one model, or of those of a walk in their order (64 hexadecimal digits)."""
    return fingerprint([model.fingerprint for model in models])


def single_term(
    model: ClusterModel, best: Int32, ranking: Ranking | None, sessions: Days, *, static: Assignments | None = None
) -> Term:
    """The term of one model and ranking.

    Args:
        model: the clusters.
        best: ids of the best ones.
        ranking: what chose them; None where nobody knows, which a run then has to allow. A ranking that was written
            with other best clusters knows nothing of how these were chosen.
        sessions: trading days, ascending, for counting the embargo.
        static: from `static_clusters`, for the static filter.

    Raises:
        UnknownKeyError: a best cluster that the model does not have.
        MismatchError: the ranking is of another model.
    """
    check_ids(best, model.k)
    if ranking is None or (ranking.best is not None and set(ranking.best) != set(best.tolist())):
        return Term(model=model, best=best, first_day=None, static=static)
    if ranking.model and ranking.model != model.fingerprint:
        raise MismatchError(
            f"the ranking is of clusters {ranking.model[:12]}, the model is {model.fingerprint[:12]}; rank again"
        )
    first_day = first_allowed_day(sessions, ranking.rank_end, ranking.embargo, fit_end=model.fit_end)
    return Term(
        model=model, best=best, first_day=first_day, rank_end=ranking.rank_end, embargo=ranking.embargo, static=static
    )


def first_allowed_day(sessions: Days, rank_end: DayLike, embargo: int, *, fit_end: DayLike) -> np.datetime64:
    """The session `embargo` sessions after `rank_end` and after `fit_end`; the day after the last where there is none.

    >>> sessions = np.arange("2024-01-01", "2024-01-10", dtype="datetime64[D]")
    >>> first_allowed_day(sessions, "2024-01-03", 2, fit_end="2024-01-02")
    np.datetime64('2024-01-05')
    """
    ranked = int(np.searchsorted(sessions, to_day(rank_end), side="right")) - 1 + embargo
    fitted = int(np.searchsorted(sessions, to_day(fit_end), side="right"))
    place = max(ranked, fitted)
    if place < len(sessions):
        day: np.datetime64 = sessions[place]
        return day
    beyond: np.datetime64 = max(sessions[-1], to_day(rank_end), to_day(fit_end)) + np.timedelta64(1, "D")
    return beyond


def static_clusters(assignments: Assignments, fit_end: DayLike) -> Assignments:
    """The last cluster of each ticker on or before `fit_end`, as assignments of that one day.

    Raises:
        InputError: no entry that early.
    """
    until = int(np.searchsorted(assignments.days, to_day(fit_end), side="right"))
    there = assignments.cluster[:until] >= 0
    if not there.any():
        raise InputError(f"no entry on or before {day_text(fit_end)} to take a ticker's cluster from")
    last = until - 1 - there[::-1].argmax(axis=0)
    column, had = np.arange(len(assignments.tickers)), there.any(axis=0)
    return Assignments(
        days=np.array([to_day(fit_end)]),
        tickers=assignments.tickers,
        cluster=np.where(had, assignments.cluster[last, column], np.int32(-1))[None],
        distance=np.where(had, assignments.distance[last, column], np.float32(np.nan))[None],
        k=assignments.k,
        model=assignments.model,
    )


def _lowest(score: np.ndarray, eligible: Bool, quota: Int64, tickers: tuple[str, ...]) -> Bool:
    """The `quota` eligible cells with the lowest score of each row, ties to the first ticker by name; shape (R, N)."""
    by_name = np.argsort(np.asarray(tickers), kind="stable")
    order = by_name[np.argsort(score[:, by_name], axis=1, kind="stable")]
    chosen = np.take_along_axis(eligible, order, axis=1)
    chosen &= np.cumsum(chosen, axis=1) <= quota[:, None]
    kept = np.zeros_like(eligible)
    np.put_along_axis(kept, order, chosen, axis=1)
    return kept


def _check(chosen: FilterModel) -> None:
    if chosen.kind not in KINDS:
        raise InputError(f"the filter is {chosen.kind!r}; expected one of {', '.join(KINDS)}")
    if chosen.seed < 0:
        raise InputError(f"seed is {chosen.seed}; expected 0 or more")
    needs_terms = chosen.needs_clusters or chosen.kind == "static"
    if needs_terms and not chosen.terms:
        share = "; or the share that it keeps: --keep 0.3" if chosen.kind == "random" else ""
        raise InputError(f"the filter {chosen.kind} needs clusters and their ranking; give --clusters DIR{share}")
    if chosen.kind == "nearest" and chosen.keep_share is None:
        raise InputError("the filter nearest keeps a share of the candidates; give it, such as --keep 0.3")
    if chosen.keep_share is not None and not 0 < chosen.keep_share <= 1:
        raise InputError(f"the share to keep is {chosen.keep_share}; expected more than 0 and at most 1")
    if chosen.kind == "static" and any(term.static is None for term in chosen.terms):
        raise InputError("the filter static needs each ticker's cluster at the end of the fit; give static_clusters")
    if len(chosen.terms) > 1 and any(
        later.first_day is None or earlier.first_day is None or later.first_day <= earlier.first_day
        for earlier, later in zip(chosen.terms, chosen.terms[1:], strict=False)
    ):
        raise InputError("the terms of a walk must have rising first days")
