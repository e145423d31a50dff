"""The filter `hard`: by the cluster of the day."""

from __future__ import annotations

from dataclasses import dataclass

from encash.arrays import Bool, Days, Float32, Int32
from encash.clusters.filters.base import CandidateFilter


@dataclass(frozen=True, kw_only=True, eq=False)
class Hard(CandidateFilter):
    """Candidates whose nearest cluster is one of the best."""

    name = "hard"
    decides_by_cluster = True

    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Keep the candidates in the best clusters."""
        return candidates & self.in_best(days, cluster)
