"""The filter `nearest`: a fraction of the candidates, by distance to the best clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32, Int64, Text, positions
from encash.clusters.assignments import Assignments
from encash.clusters.filters.base import CandidateFilter, keep_lowest
from encash.clusters.periods import by_period
from encash.errors import InputError
from encash.serialization import added_in


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest(CandidateFilter):
    """The fraction `keep_share` of the candidates that is nearest to the centroid of any best cluster."""

    name = "nearest"
    takes_share = True
    default_share = 0.3
    needs_distances = True

    rounding: Literal["up", "down"] = added_in(2, default="up")
    """Rounding of ``keep_share · n`` for n candidates: up, or down but to at least 1."""

    def __post_init__(self) -> None:
        """Refuse a missing fraction.

        Raises:
            InputError: no fraction, or an unknown rounding; else as for every filter.
        """
        super().__post_init__()
        if self.rounding not in ("up", "down"):
            raise InputError(f"invalid rounding {self.rounding!r}: expected up or down")
        if self.keep_share is None:
            raise InputError("the filter nearest keeps a fraction of the candidates; give it, such as --keep 0.3")

    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Keep the nearest candidates of each day."""
        eligible = candidates & (cluster >= 0) & ~np.isnan(distance)
        return keep_lowest(distance, eligible, self.quota(eligible), tickers)

    def quota(self, eligible: Bool) -> Int64:
        """Count how many of each row's eligible cells are kept, shape (R,)."""
        if self.rounding == "up":
            return super().quota(eligible)
        assert self.keep_share is not None
        counts = eligible.sum(axis=1)
        quota: Int64 = np.maximum(1, (counts * self.keep_share).astype(np.int64))
        return quota

    def assign(self, days: Days, vectors: Float32) -> tuple[Int32, Float32]:
        """Find the cluster of each entry (n,), and its distance to the nearest best centroid (n,)."""
        cluster, distance = super().assign(days, vectors)
        for period, rows in by_period(self.periods, days):
            distance[rows] = period.model.distances_to(period.best, vectors[rows])
        return cluster, distance

    def _stored(self, assignments: Assignments, days: Days, tickers: Text) -> tuple[Int32, Float32]:
        """Read cluster (n,) and distance to the nearest best centroid (n,) of some cells."""
        if assignments.distances is None:
            raise InputError(
                "the cached assignments lack the distances to all centroids; assign again: encash clusters assign …"
            )
        row, column = positions(assignments.days, days), positions(assignments.tickers, tickers)
        cells = np.flatnonzero((row >= 0) & (column >= 0))
        distance = np.full(len(days), np.nan, dtype=np.float32)
        for period, some in by_period(self.periods, days[cells]):
            at = cells[some]
            distance[at] = assignments.distances[row[at], column[at]][:, period.best].min(axis=1)
        return super()._stored(assignments, days, tickers)[0], distance
