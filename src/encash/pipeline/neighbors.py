"""Neighbors of the last picks of a run: similar past windows, and what followed them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash import clusters, report
from encash.pipeline.clusters import find_similar

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.panel import PriceTable

_PICKS, _HITS, _FOUND = 6, 12, 200
"""Picks, episodes per pick, and entries that are searched for them."""
_EMBARGO = 20


def last_neighborhoods(run: report.Run, cache_path: str, prices_path: str | Path) -> tuple[report.Neighborhood, ...]:
    """Find the neighbors of the picks of the last rebalance; a pick without an entry or a past has none.

    Args:
        run: the run.
        cache_path: its cache.
        prices_path: its prices.
    """
    import encash

    cache, prices = encash.open_cache(cache_path), encash.open_prices(prices_path)
    candidates, horizon = run.candidates, run.horizon or 1
    picked = candidates.picked
    if not picked.any():
        return ()
    day = candidates.days[picked].max()
    names = [candidates.names[code] for code in candidates.ticker[picked & (candidates.days == day)].tolist()]
    found = (_neighborhood(cache, prices, name, day, horizon) for name in names[:_PICKS])
    return tuple(one for one in found if one is not None)


def _neighborhood(
    cache: Cache, prices: PriceTable, ticker: str, day: np.datetime64, horizon: int
) -> report.Neighborhood | None:
    if not cache.get(day, [ticker])[1][0]:
        return None
    before = clusters.last_known_day(prices.days, day, max(_EMBARGO, horizon))
    near = clusters.one_per_episode(
        find_similar(cache, ticker, day, before=before, count=_FOUND), prices.days, _EMBARGO
    ).first(_HITS)
    own = clusters.Neighbors(days=np.array([day]), tickers=np.array([ticker]), distance=np.zeros(1))
    return report.Neighborhood(
        ticker=ticker,
        day=str(day),
        days=tuple(map(str, near.days)),
        tickers=tuple(map(str, near.tickers)),
        distance=near.distance,
        returns=clusters.neighbor_returns(near, prices.as_of(day), (horizon,))[:, 0],
        actual=float(clusters.neighbor_returns(own, prices, (horizon,))[0, 0]),
    )
