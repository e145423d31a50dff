"""The filter `random`: a draw, as a control for the filters by cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32
from encash.clusters.draw import draw_scores, ticker_keys
from encash.clusters.filters.base import CandidateFilter, keep_lowest


@dataclass(frozen=True, kw_only=True, eq=False)
class Random(CandidateFilter):
    """As many candidates as `hard` would keep, or the share `keep_share`, drawn by (seed, day, ticker)."""

    name = "random"
    takes_share = True

    @property
    def needs_model(self) -> bool:
        """False with a share: then the number to keep does not depend on clusters."""
        return self.keep_share is None

    def keep(self, days: Days, tickers: tuple[str, ...], candidates: Bool, cluster: Int32, distance: Float32) -> Bool:
        """Keep the candidates of each day with the lowest draws."""
        cells = np.repeat(days, len(tickers)), np.tile(ticker_keys(tickers), len(days))
        scores = draw_scores(self.seed, *cells).reshape(candidates.shape)
        if self.keep_share is not None:
            return keep_lowest(scores, candidates, self.quota(candidates), tickers)
        eligible = candidates & (cluster >= 0)
        return keep_lowest(scores, eligible, (eligible & self.in_best(days, cluster)).sum(axis=1), tickers)
