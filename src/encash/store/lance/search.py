"""Nearest entries to a vector, by Lance's own search, with distances computed again in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Days, Float32, Float64, Int64, Text
from encash.store.base import StoreSnapshot

_SEARCH_ERROR = 1e-4
"""Largest relative error of a distance that Lance sums in single precision."""


def nearest(
    snapshot: StoreSnapshot, dataset: Any, vector: Float32, count: int, *, last_day: np.datetime64
) -> tuple[Int64, Float64]:
    """Find the nearest entries as `StoreSnapshot.nearest` does, for vectors without scales.

    Lance is asked for more until the farthest entry it returns is certainly farther than the last one wanted, so that
    ties are broken by day and ticker.

    Args:
        snapshot: the version.
        dataset: the same version, as Lance opened it.
        vector: shape (dim,).
        count: how many to find.
        last_day: later days are excluded.
    """
    index = snapshot.index()
    wanted = 2 * count + 16
    while True:
        days, tickers, farthest = _search(dataset, vector.astype(snapshot.spec.dtype), wanted, last_day)
        rows = np.unique(index.locate(days, tickers))
        distance = snapshot.distances_to(vector, rows)
        order = np.lexsort((index.ticker[rows], index.day[rows], distance))[:count]
        all_found = len(days) < wanted or index.entries <= wanted
        if all_found or np.sqrt(farthest) * (1 - _SEARCH_ERROR) > distance[order[-1]]:
            return rows[order], distance[order]
        wanted *= 4


def _search(dataset: Any, vector: np.ndarray, count: int, last_day: np.datetime64) -> tuple[Days, Text, float]:
    """Return the keys of the nearest entries as Lance finds them, and the largest squared distance among them."""
    found = dataset.to_table(
        columns=["date", "ticker", "_distance"],
        nearest={"column": "embedding", "q": vector, "k": count, "metric": "l2", "use_index": False},
        filter=f"date <= date '{last_day}'",
        prefilter=True,
    )
    days: Days = found["date"].cast(pa.int32()).to_numpy().astype("datetime64[D]")
    tickers = np.array(found["ticker"].to_pylist(), dtype=np.str_)
    return days, tickers, float(found["_distance"].to_numpy().max(initial=0.0))
