"""The filter `static`: by the cluster of each ticker at the end of the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32, positions
from encash.clusters.filters.base import CandidateFilter
from encash.clusters.periods import active_period


@dataclass(frozen=True, kw_only=True, eq=False)
class Static(CandidateFilter):
    """Tickers that were in a best cluster at the end of the fit, regardless of their later clusters."""

    name = "static"
    needs_static = True

    @property
    def needs_clusters(self) -> bool:
        """False: the cluster on the day does not count."""
        return False

    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Keep the candidates that were in a best cluster at the end of the fit."""
        then = np.empty((len(self.periods), len(tickers)), dtype=np.int32)
        for number, period in enumerate(self.periods):
            assert period.static is not None
            place = positions(period.static.tickers, np.asarray(tickers))
            then[number] = np.where(place >= 0, period.static.cluster[0, place], -1)
        return candidates & self.in_best(days, then[active_period(self.periods, days)])
