"""The interface of candidate filters, and what all of them share: model periods, look-ahead checks, identity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Int32, Int64, Text, day_text, to_day
from encash.clusters.assignments import Assignments
from encash.clusters.periods import Assigner, ModelPeriod, active_period, models_fingerprint
from encash.errors import InputError
from encash.fingerprint import fingerprint
from encash.serialization import described_fields


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateFilter(ABC):
    """A filter that keeps some of the candidates of each day.

    To add one, write a frozen dataclass that names itself and implements `keep`, and register it in `registry`, or name
    it as ``module:attribute`` or by an entry point. `encash.testing.FilterContract` checks yours. Its own fields become
    part of its identity; give them defaults, and declare one that comes later with `encash.serialization.added_in`.
    """

    name: ClassVar[str]
    """Its name on the command line, in the grid of a sweep, and in results."""
    takes_share: ClassVar[bool] = False
    """`keep_share` decides how many candidates it keeps."""
    default_share: ClassVar[float | None] = None
    """`keep_share` if the command line gives none."""
    decides_by_cluster: ClassVar[bool] = False
    """It keeps exactly the candidates in the best clusters, so shuffled cluster ids are a control for it."""
    needs_distances: ClassVar[bool] = False
    """Cached assignments must hold the distances to all centroids."""
    needs_static: ClassVar[bool] = False
    """Each period must hold the clusters of the tickers at the end of the fit."""

    periods: tuple[ModelPeriod, ...] = ()
    """In order of their first days: one for a single model, several for a walk."""
    keep_share: float | None = None
    """Fraction of the day's candidates to keep, rounded up."""
    seed: int = 0
    """Seed of its random draws; a part of the identity of every filter."""
    assignments: Assignments | None = None
    """Cached assignments of the same model or walk, so that no embeddings are needed."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            InputError: no clusters for a filter that needs them, a share outside 0 to 1, a negative seed, or periods
                whose first days are not ascending.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")
        if self.needs_model and not self.periods:
            share = "; or a share to keep: --keep 0.3" if self.takes_share and self.default_share is None else ""
            raise InputError(f"the filter {self.name} needs clusters and their ranking; give --clusters DIR{share}")
        if self.keep_share is not None and not 0 < self.keep_share <= 1:
            raise InputError(f"the share to keep is {self.keep_share}; expected more than 0 and at most 1")
        if self.needs_static and any(period.static is None for period in self.periods):
            raise InputError(
                f"the filter {self.name} needs the cluster of each ticker at the end of the fit; give static_clusters"
            )
        if any(
            later.first_day is None or earlier.first_day is None or later.first_day <= earlier.first_day
            for earlier, later in pairwise(self.periods)
        ):
            raise InputError("the first days of the periods of a walk must rise")

    @abstractmethod
    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Choose which candidates to keep, shape (R, N).

        A filter that needs clusters keeps no candidate without one. Ties go to the first ticker in alphabetical order.
        No row may depend on another row, or on the order of the tickers.

        Args:
            days: shape (R,).
            tickers: N of them.
            candidates: shape (R, N).
            cluster: from `assign` or `stored`, −1 if there is none; shape (R, N).
            distance: likewise, NaN if there is none; shape (R, N).
        """

    @property
    def needs_model(self) -> bool:
        """True if `keep` uses cluster models."""
        return True

    @property
    def needs_clusters(self) -> bool:
        """True if `keep` uses the cluster of a candidate on the day."""
        return self.needs_model

    @property
    def needs_embeddings(self) -> bool:
        """True if clusters must be assigned from embeddings, because there are no cached assignments."""
        return self.needs_clusters and self.assignments is None

    @cached_property
    def fingerprint(self) -> str:
        """Identity (64 hexadecimal digits): name, share, seed, the model, best clusters and first day of each period,
        and the fields that a subclass adds; assignments of one's own, too. Those that the folder of the clusters holds
        follow from the model, and a filter has the same identity with and without them."""
        periods = [[one.model.fingerprint, one.best.tolist(), str(one.first_day)] for one in self.periods]
        shared = {one.name for one in fields(CandidateFilter)}
        own = {one.name: getattr(self, one.name) for one in described_fields(self) if one.name not in shared}
        given = self.assignments
        other = [] if given is None or given.stored else [{"assignments": given.fingerprint}]
        return fingerprint([self.name, self.keep_share, self.seed, periods, *([own] if own else []), *other])

    @property
    def clusters(self) -> str:
        """Identity of the models, without the settings of the filter; empty without models."""
        return models_fingerprint(self.periods) if self.periods else ""

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder of the first model; empty if unknown or without models."""
        return self.periods[0].model.encoder if self.periods else ""

    @property
    def first_day(self) -> np.datetime64 | None:
        """First day of a run without look-ahead; None if any day is, or if it is not recorded."""
        return self.periods[0].first_day if self.periods and self.needs_model else None

    def lookahead(self, start: DayLike) -> str | None:
        """Return why a run from this day would have look-ahead bias; None if it would not."""
        if not self.periods or not self.needs_model:
            return None
        period = self.periods[0]
        if period.first_day is None:
            return "it is not recorded on which data the best clusters were chosen: these may include the test period"
        if to_day(start) >= period.first_day:
            return None
        return (
            f"the clusters, fitted to {period.model.fit_end} and ranked on returns known by {period.rank_end} with an "
            f"embargo of {period.embargo} sessions, may be used from {day_text(period.first_day)}, not on "
            f"{day_text(start)}"
        )

    def assign(self, days: Days, vectors: Float32) -> tuple[Int32, Float32]:
        """Find the cluster of each entry under the model that is active on its day, and the distance for `keep`.

        Args:
            days: shape (n,).
            vectors: embeddings, shape (n, d).

        Returns:
            clusters (n,) and distances (n,).

        Raises:
            MismatchError: vectors of a length that the models do not take.
        """
        return Assigner(periods=self.periods, fingerprint="").assign(days, vectors)

    def stored(self, days: Days, tickers: tuple[str, ...]) -> tuple[Int32, Float32]:
        """Read cluster and distance of each cell, equal to those of `assign`, from the cached assignments.

        Args:
            days: shape (R,).
            tickers: N of them.

        Returns:
            clusters (R, N) and distances (R, N); −1 and NaN for cells without an assignment.

        Raises:
            InputError: no assignments, or not the distances to all centroids that this filter needs.
        """
        if self.assignments is None:
            raise InputError("this filter has no cached assignments; give them, or assign embeddings")
        cell_days, cell_tickers = np.repeat(days, len(tickers)), np.tile(np.asarray(tickers), len(days))
        cluster, distance = self._stored(self.assignments, cell_days, cell_tickers)
        shape = (len(days), len(tickers))
        return cluster.reshape(shape), distance.reshape(shape)

    def _stored(self, assignments: Assignments, days: Days, tickers: Text) -> tuple[Int32, Float32]:
        """Read cluster (n,) and distance (n,) of some cells."""
        return assignments.lookup(days, tickers)

    def reversed(self) -> Self:
        """Return the same filter with the worst clusters of the ranking in place of the best.

        Raises:
            InputError: a filter that depends on more than which clusters are the best, or clusters without a ranking.
        """
        if not (self.decides_by_cluster or self.needs_static):
            raise InputError(
                f"the filter {self.name} does not choose by cluster, so that it has no worst clusters; give --filter "
                "hard or static, or --short bottom"
            )
        worst = [period.worst for period in self.periods if period.worst is not None and len(period.worst)]
        if len(worst) < len(self.periods):
            raise InputError(
                "it is not recorded which clusters are the worst, or all of them are among the best; rank again, with "
                "fewer best clusters, or give --short bottom"
            )
        periods = tuple(
            replace(period, best=own, worst=period.best) for period, own in zip(self.periods, worst, strict=True)
        )
        return replace(self, periods=periods)

    def in_best(self, days: Days, cluster: Int32) -> Bool:
        """Mark cells whose cluster is among the best of the active period, shape (R, N)."""
        best = np.zeros((len(self.periods), 1 + max(period.model.k for period in self.periods)), dtype=np.bool_)
        for number, period in enumerate(self.periods):
            best[number, period.best] = True
        kept: Bool = best[active_period(self.periods, days)[:, None], cluster]  # −1 is the last column, always False
        return kept

    def quota(self, eligible: Bool) -> Int64:
        """Count how many of each row's eligible cells `keep_share` keeps, shape (R,)."""
        assert self.keep_share is not None
        quota: Int64 = np.ceil(self.keep_share * eligible.sum(axis=1) - 1e-9).astype(np.int64)
        return quota


def keep_lowest(score: np.ndarray, eligible: Bool, quota: Int64, tickers: tuple[str, ...]) -> Bool:
    """Keep the `quota` eligible cells with the lowest score of each row; ties go to the first ticker by name.

    Args:
        score: shape (R, N).
        eligible: shape (R, N).
        quota: shape (R,).
        tickers: N of them.

    Returns:
        shape (R, N).

    >>> keep_lowest(np.array([[2, 1, 1]]), np.ones((1, 3), bool), np.array([1]), ("A", "C", "B")).tolist()
    [[False, False, True]]
    """
    by_name = np.argsort(np.asarray(tickers), kind="stable")
    order = by_name[np.argsort(score[:, by_name], axis=1, kind="stable")]
    chosen = np.take_along_axis(eligible, order, axis=1)
    chosen &= np.cumsum(chosen, axis=1) <= quota[:, None]
    kept = np.zeros_like(eligible)
    np.put_along_axis(kept, order, chosen, axis=1)
    return kept
