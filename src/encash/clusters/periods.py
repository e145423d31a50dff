"""Cluster models with the days on which they may be used: one model, or those of a walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from encash.arrays import DayLike, Days, Float32, Int32, Int64, day_text, to_day
from encash.clusters.assignments import Assignments
from encash.clusters.model import ClusterModel
from encash.clusters.rank import Ranking, price_fingerprint
from encash.clusters.ranking_files import check_ids
from encash.errors import InputError, MismatchError
from encash.fingerprint import fingerprint
from encash.panel.panel import PriceTable


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPeriod:
    """A cluster model, its best clusters, and the first day on which they may be used."""

    model: ClusterModel
    best: Int32
    """Ids of the best clusters, shape (b,)."""
    first_day: np.datetime64 | None
    """The session `embargo` sessions after `rank_end`, and after `fit_end`; None if the data on which the best clusters
    were chosen are not recorded."""
    rank_end: str = ""
    """Last session that the ranking used; empty if unknown."""
    embargo: int = 0
    rank_start: str = ""
    """First day of an entry that the ranking used; empty if unknown."""
    prices: str = ""
    """`price_fingerprint` of the prices that it used, from `rank_start` to `rank_end`; empty if unknown."""
    static: Assignments | None = None
    """The cluster of each ticker at the end of the fit, from `static_clusters`; for filters that need it."""
    worst: Int32 | None = None
    """Ids of as many clusters from the end of the ranking, none of them among the best; None without a ranking."""


def make_period(
    model: ClusterModel, best: Int32, ranking: Ranking | None, sessions: Days, *, static: Assignments | None = None
) -> ModelPeriod:
    """Combine a model and its best clusters, with the first day that the ranking and its embargo allow.

    Args:
        model: the clusters.
        best: ids of the best ones, shape (b,).
        ranking: says when they may be used; None if the data that they were chosen on are unknown. A ranking with
            different best clusters does not say how these were chosen, and counts as None.
        sessions: trading days, ascending, for counting the embargo.
        static: from `static_clusters`.

    Raises:
        UnknownKeyError: a best cluster that the model does not have.
        MismatchError: the ranking belongs to a different model.
    """
    check_ids(best, model.k)
    if ranking is None or (ranking.best is not None and set(ranking.best) != set(best.tolist())):
        return ModelPeriod(model=model, best=best, first_day=None, static=static)
    if ranking.model and ranking.model != model.fingerprint:
        raise MismatchError(
            f"the ranking belongs to clusters {ranking.model[:12]}, the model is {model.fingerprint[:12]}; rank again"
        )
    first_day = first_allowed_day(sessions, ranking.rank_end, ranking.embargo, fit_end=model.fit_end)
    return ModelPeriod(
        model=model,
        best=best,
        first_day=first_day,
        rank_end=ranking.rank_end,
        embargo=ranking.embargo,
        rank_start=ranking.rank_start,
        prices=ranking.prices,
        static=static,
        worst=worst_clusters(ranking, best),
    )


def worst_clusters(ranking: Ranking, best: Int32) -> Int32:
    """Return the ids of as many clusters as are the best, from the end of a ranking: the worst first.

    Clusters without entries have no rank and are left out, and so are the best: there may be fewer.
    """
    ranked = ranking.order[np.isfinite(getattr(ranking.table, ranking.metric)[ranking.order])]
    others = ranked[~np.isin(ranked, best)]
    worst: Int32 = others[::-1][: len(best)].astype(np.int32)
    return worst


def first_allowed_day(sessions: Days, rank_end: DayLike, embargo: int, *, fit_end: DayLike) -> np.datetime64:
    """Find the session `embargo` sessions after `rank_end` and after `fit_end`; past the last, the day after it.

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


def ranking_prices(periods: Sequence[ModelPeriod], prices: PriceTable) -> Literal["same", "other", "unknown"]:
    """Compare prices with those that the first and the last of some periods were ranked on."""
    recorded = [period for period in dict.fromkeys((*periods[:1], *periods[-1:])) if period.prices]
    if not recorded:
        return "unknown"
    same = all(price_fingerprint(prices, one.rank_start, one.rank_end) == one.prices for one in recorded)
    return "same" if same else "other"


def static_clusters(assignments: Assignments, fit_end: DayLike) -> Assignments:
    """Take the last cluster of each ticker on or before `fit_end`, as assignments of that one day.

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


def active_period(periods: Sequence[ModelPeriod], days: Days) -> Int64:
    """Find the period of each day: the last one that has begun, or the first one if none has; shape (n,)."""
    first_days = np.array([period.first_day for period in periods[1:]], dtype="datetime64[D]")
    return np.searchsorted(first_days, days, side="right").astype(np.int64)


def by_period(periods: Sequence[ModelPeriod], days: Days) -> Iterator[tuple[ModelPeriod, Int64]]:
    """Yield each period that is active on some of the days, with the places of those days."""
    active = active_period(periods, days)
    for number in np.unique(active):
        yield periods[number], np.flatnonzero(active == number)


def models_fingerprint(periods: Sequence[ModelPeriod]) -> str:
    """Identify one model, or the models of a walk in their order (64 hexadecimal digits)."""
    return fingerprint([period.model.fingerprint for period in periods])


@dataclass(frozen=True, kw_only=True)
class Assigner:
    """The assignment of entries to clusters by the model that is active on their day."""

    periods: tuple[ModelPeriod, ...]
    fingerprint: str
    """Identity of the model, or of the walk."""

    @classmethod
    def of_model(cls, model: ClusterModel) -> Assigner:
        """Use one model on all days."""
        period = ModelPeriod(model=model, best=np.empty(0, dtype=np.int32), first_day=None)
        return cls(periods=(period,), fingerprint=model.fingerprint)

    @property
    def k(self) -> int:
        """Number of clusters."""
        return self.periods[0].model.k

    def assign(self, days: Days, vectors: Float32) -> tuple[Int32, Float32]:
        """Find the nearest cluster of each entry.

        Args:
            days: shape (n,).
            vectors: embeddings, shape (n, d).

        Returns:
            clusters (n,) and the distances to their centroids (n,).

        Raises:
            MismatchError: vectors of a length that the models do not take.
        """
        cluster, distance = np.empty(len(days), dtype=np.int32), np.empty(len(days), dtype=np.float32)
        for period, rows in by_period(self.periods, days):
            cluster[rows], distance[rows] = period.model.assign(vectors[rows])
        return cluster, distance

    def distances(self, days: Days, vectors: Float32) -> Float32:
        """Measure the distance of each entry to every centroid, shape (n, k).

        Raises:
            MismatchError: vectors of a length that the models do not take.
        """
        distances = np.empty((len(days), self.k), dtype=np.float32)
        for period, rows in by_period(self.periods, days):
            distances[rows] = period.model.distances(vectors[rows])
        return distances

    def check_encoder(self, encoder: str) -> None:
        """Refuse embeddings of a different encoder, like `ClusterModel.check_encoder`."""
        self.periods[0].model.check_encoder(encoder)
