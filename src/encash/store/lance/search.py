"""The entries nearest to a vector, by Lance's own search and measured again. Knows one version."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from encash.arrays import Days, Float32, Float64, Int64, Text
from encash.store.lance.errors import lance_errors
from encash.store.lance.snapshot import Snapshot

_SEARCH_ERROR = 1e-4
"""How much a distance may be wrong that Lance sums in single precision, as a share of it."""


def nearest(
    snapshot: Snapshot,
    vector: Float32,
    count: int,
    *,
    last_day: np.datetime64,
    distances_to: Callable[[Float32, Int64], Float64],
) -> tuple[Int64, Float64]:
    """As `EmbeddingStore.nearest`, for vectors without scales. Lance is asked for more until the farthest it gives is
    beyond doubt farther than the last one wanted: so ties are broken as the seam says.

    Args:
        snapshot: the version.
        vector: shape (dim,).
        count: how many.
        last_day: none of a later day is found.
        distances_to: measures rows in float64.
    """
    index, day, ticker = snapshot.index_and_places()
    wanted = 2 * count + 16
    while True:
        days, tickers, least = _search(snapshot, vector, wanted, last_day)
        rows = np.unique(index.locate(days, tickers))
        distance = distances_to(vector, rows)
        order = np.lexsort((ticker[rows], day[rows], distance))[:count]
        all_found = len(days) < wanted or index.entries <= wanted
        if all_found or np.sqrt(least) * (1 - _SEARCH_ERROR) > distance[order[-1]]:
            return rows[order], distance[order]
        wanted *= 4


def _search(snapshot: Snapshot, vector: Float32, count: int, last_day: np.datetime64) -> tuple[Days, Text, float]:
    """Keys of the nearest entries as Lance finds them, and the largest squared distance among them."""
    query = {"column": "embedding", "q": vector.astype(snapshot.spec.dtype), "k": count, "metric": "l2"}
    with lance_errors(snapshot.place, "read"):
        found = snapshot.dataset.to_table(
            columns=["date", "ticker", "_distance"],
            nearest={**query, "use_index": False},
            filter=f"date <= date '{last_day}'",
            prefilter=True,
        )
    days: Days = found["date"].cast(pa.int32()).to_numpy().astype("datetime64[D]")
    tickers = np.array(found["ticker"].to_pylist(), dtype=np.str_)
    return days, tickers, float(found["_distance"].to_numpy().max(initial=0.0))
