"""Forward returns of similar entries, and the last day on which they may be looked up without look-ahead bias."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float64, Text, day_text, positions, to_day
from encash.errors import InputError
from encash.metrics import Delisting, settled_returns
from encash.panel.panel import PriceTable


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbors:
    """Similar past entries, the nearest first."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    distance: Float64
    """Euclidean, between embeddings; shape (n,)."""

    def __len__(self) -> int:
        return len(self.days)

    def first(self, count: int) -> Neighbors:
        """Return the N nearest."""
        return Neighbors(days=self.days[:count], tickers=self.tickers[:count], distance=self.distance[:count])


def last_known_day(sessions: Days, day: DayLike, embargo: int) -> np.datetime64:
    """Find the session `embargo` sessions before a day; the returns over that many sessions after it are known then.

    The embargo should be at least the horizon of the returns, and the encoder's lookback if windows must not overlap.

    Raises:
        InputError: an embargo below 1, or no session that early.

    >>> sessions = np.arange("2024-01-01", "2024-01-10", dtype="datetime64[D]")
    >>> last_known_day(sessions, "2024-01-09", 5)
    np.datetime64('2024-01-04')
    """
    if embargo < 1:
        raise InputError(f"the embargo is {embargo} sessions; expected 1 or more")
    place = int(np.searchsorted(sessions, to_day(day), side="right")) - 1 - embargo
    if place < 0:
        raise InputError(f"no session is {embargo} sessions before {day_text(day)}; ask about a later day")
    known: np.datetime64 = sessions[place]
    return known


def one_per_episode(found: Neighbors, sessions: Days, gap: int) -> Neighbors:
    """Keep the nearest of the neighbors of one ticker that are fewer than some sessions apart.

    The windows of neighboring days overlap: they are one observation, not many.

    >>> days = np.array(["2024-01-03", "2024-01-02", "2024-01-08"], dtype="datetime64[D]")
    >>> found = Neighbors(days=days, tickers=np.array(["A", "A", "A"]), distance=np.array([0.1, 0.2, 0.3]))
    >>> sessions = np.arange("2024-01-01", "2024-01-10", dtype="datetime64[D]")
    >>> one_per_episode(found, sessions, 4).days.astype(str).tolist()
    ['2024-01-03', '2024-01-08']
    """
    place = np.searchsorted(sessions, found.days)
    kept: list[int] = []
    kept_places = defaultdict[str, list[int]](list)
    for at, (ticker, session) in enumerate(zip(found.tickers.tolist(), place.tolist(), strict=True)):
        if all(abs(other - session) >= gap for other in kept_places[ticker]):
            kept.append(at)
            kept_places[ticker].append(session)
    return Neighbors(days=found.days[kept], tickers=found.tickers[kept], distance=found.distance[kept])


def neighbor_returns(
    found: Neighbors, prices: PriceTable, horizons: Sequence[int], *, delisting: Delisting = "last"
) -> Float64:
    """Compute the return of each neighbor over each horizon from its day's close, as `metrics.settled_returns` does.

    Returns:
        shape (n, H); NaN without prices.
    """
    return np.stack([_following(found, prices, horizon, delisting)[0] for horizon in horizons], axis=1)


def settled_neighbors(found: Neighbors, prices: PriceTable, horizons: Sequence[int]) -> Bool:
    """Mark the neighbors whose ticker stopped trading within a horizon: the delisting policy decides their return.

    Returns:
        shape (n, H).
    """
    return np.stack([_following(found, prices, horizon, "last")[1] for horizon in horizons], axis=1)


def _following(found: Neighbors, prices: PriceTable, horizon: int, delisting: Delisting) -> tuple[Float64, Bool]:
    """Return the return of each neighbor, and a mask of the settled ones; both of shape (n,)."""
    order = np.argsort(prices.tickers)
    place = positions(np.asarray(prices.tickers)[order], found.tickers)
    session = positions(prices.days, found.days)
    priced = (place >= 0) & (session >= 0)
    cells = session[priced], order[place[priced]]
    returns, settled = np.full(len(found), np.nan), np.zeros(len(found), dtype=np.bool_)
    following, stopped = settled_returns(prices.close, horizon, delisting)
    returns[priced], settled[priced] = following[cells], stopped[cells]
    return returns, settled
