"""What looked like this before, and what came of it: the nearest past entries of an embedding. Knows streams of entries
and prices; nothing of where entries are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import DayLike, Days, Float32, Float64, Text, day_text, positions, to_day
from encash.clusters.model import ClusterModel
from encash.clusters.rank import forward_returns
from encash.errors import InputError, MismatchError
from encash.panel.panel import PriceTable

_BLOCK_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """Past entries, the nearest first."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    distance: Float64
    """Euclidean, in the space asked for; shape (n,)."""

    def __len__(self) -> int:
        return len(self.days)


def find_similar(
    vector: Float32,
    batches: Iterable[tuple[Days, Text, Float32]],
    *,
    before: np.datetime64,
    count: int = 10,
    model: ClusterModel | None = None,
) -> Neighbours:
    """The entries nearest to an embedding, on days up to `before` alone.

    Args:
        vector: an embedding, shape (d,).
        batches: days (n,), tickers (n,) and vectors (n, d), in any order.
        before: the last day that may be found, from `last_known_day`.
        count: entries to find; fewer if there are no more.
        model: measure in the standardised space of these clusters; None measures between embeddings as they are.

    Returns:
        Entries by distance, then day, then ticker.

    Raises:
        MismatchError: vectors of another length.
        InputError: a count below 1, or no entry up to `before`.
    """
    if count < 1:
        raise InputError(f"{count} neighbours asked for; expected 1 or more")
    query = _in_space(vector[None], model)[0]
    found = _empty()
    for days, tickers, vectors in batches:
        past = np.flatnonzero(days <= before)
        if not len(past):
            continue
        if vectors.shape[1] != len(vector):
            raise MismatchError(f"the vector has length {len(vector)}, the entries {vectors.shape[1]}; take one cache")
        distance = np.concatenate(
            [
                _distances(query, vectors[rows], model)
                for rows in np.split(past, range(_BLOCK_ROWS, len(past), _BLOCK_ROWS))
            ]
        )
        found = _nearest(found, Neighbours(days=days[past], tickers=tickers[past], distance=distance), count)
    if not len(found):
        raise InputError(f"no entry on or before {before}; ask about a later day, or build more of the past")
    return found


def last_known_day(sessions: Days, day: DayLike, embargo: int) -> np.datetime64:
    """The session `embargo` sessions before a day: what happened in that many sessions after it is known on the day.

    Give at least the horizon of the returns to look at, and the encoder's lookback if the windows must not overlap.

    Raises:
        InputError: an embargo below 1, or no session that early.

    >>> sessions = np.arange("2024-01-01", "2024-01-10", dtype="datetime64[D]")
    >>> last_known_day(sessions, "2024-01-09", 5)
    np.datetime64('2024-01-04')
    """
    if embargo < 1:
        raise InputError(f"the embargo is {embargo} sessions; expected 1 or more: a day is not its own past")
    place = int(np.searchsorted(sessions, to_day(day), side="right")) - 1 - embargo
    if place < 0:
        raise InputError(f"no session lies {embargo} sessions before {day_text(day)}; ask about a later day")
    known: np.datetime64 = sessions[place]
    return known


def what_followed(found: Neighbours, prices: PriceTable, horizons: Sequence[int]) -> Float64:
    """The return of each neighbour over each horizon from its day's close, shape (n, H); NaN without the prices."""
    order = np.argsort(prices.tickers)
    place = positions(np.asarray(prices.tickers)[order], found.tickers)
    session = positions(prices.days, found.days)
    returns = np.full((len(found), len(horizons)), np.nan)
    for number, horizon in enumerate(horizons):
        rows = np.flatnonzero((place >= 0) & (session >= 0) & (session + horizon < len(prices.days)))
        returns[rows, number] = forward_returns(prices.close, session[rows], order[place[rows]], horizon)
    return returns


def _distances(query: Float64, vectors: Float32, model: ClusterModel | None) -> Float64:
    gap = _in_space(vectors, model) - query
    distances: Float64 = np.sqrt(np.vecdot(gap, gap))
    return distances


def _in_space(vectors: Float32, model: ClusterModel | None) -> Float64:
    return (vectors if model is None else model.project(vectors)).astype(np.float64)


def _empty() -> Neighbours:
    return Neighbours(
        days=np.array([], dtype="datetime64[D]"), tickers=np.array([], dtype=np.str_), distance=np.array([])
    )


def _nearest(found: Neighbours, more: Neighbours, count: int) -> Neighbours:
    days, tickers = np.concatenate([found.days, more.days]), np.concatenate([found.tickers, more.tickers])
    distance = np.concatenate([found.distance, more.distance])
    close = np.flatnonzero(
        distance <= np.partition(distance, min(count, len(distance)) - 1)[min(count, len(distance)) - 1]
    )
    order = close[np.lexsort((tickers[close], days[close], distance[close]))][:count]
    return Neighbours(days=days[order], tickers=tickers[order], distance=distance[order])
