"""Random filters that are as persistent as a filter: its history of each ticker, given to a different ticker."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.arrays import Bool, Float64, Int64

_STRATUM = 20
"""Minimum number of tickers in a volatility stratum."""
_MOST_STRATA = 10


def persistent_filters(kept: Bool, candidates: Bool, strata: Int64, *, draws: int, seed: int) -> Iterator[Bool]:
    """Yield masks that keep as many candidates of each row as a filter, for as long as the filter keeps them.

    A draw permutes the tickers within their strata, and each ticker is kept when the one it stands for is kept. If that
    one is not a candidate on the day, its latest decision counts (its first one before that). If these keep more or
    fewer candidates than the filter on a day, the last ones in an order drawn per ticker are dropped, or added.

    Args:
        kept: candidates that the filter keeps, shape (R, N).
        candidates: shape (R, N).
        strata: stratum of each ticker, shape (N,).
        draws: number of masks.
        seed: same seed, same masks.

    >>> kept = np.array([[True, False, False], [True, False, False]])
    >>> masks = list(persistent_filters(kept, np.ones((2, 3), bool), np.zeros(3, int), draws=20, seed=0))
    >>> all((mask[0] == mask[1]).all() and mask[0].sum() == 1 for mask in masks)
    True
    """
    state, quota = continued(kept.astype(np.float64), candidates) > 0.5, kept.sum(axis=1)
    for draw, tickers in enumerate(permutations(strata, draws=draws, seed=seed)):
        mask = state[:, tickers] & candidates
        order = np.random.Generator(np.random.Philox(key=[seed + 1, draw])).permutation(len(strata))
        for row in np.flatnonzero(mask.sum(axis=1) != quota):
            able = order[candidates[row, order]]
            able = able[np.argsort(~mask[row, able], kind="stable")]
            mask[row] = False
            mask[row, able[: quota[row]]] = True
        yield mask


def continued(values: Float64, known: Bool) -> Float64:
    """Return values with those not known replaced by the latest known of their column, or else by its first.

    >>> continued(np.array([[9.0], [1.0], [9.0], [2.0]]), np.array([[False], [True], [False], [True]])).ravel().tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    rows = np.arange(len(values))[:, None]
    latest = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    place = np.where(latest < 0, known.argmax(axis=0), latest)
    return np.take_along_axis(values, place, axis=0)


def permutations(strata: Int64, *, draws: int, seed: int) -> Iterator[Int64]:
    """Yield permutations that move each ticker only within its stratum, from (seed, draw) only; shape (N,).

    >>> next(permutations(np.array([0, 1, 2]), draws=1, seed=0)).tolist()
    [0, 1, 2]
    """
    by_stratum = np.argsort(strata, kind="stable")
    for draw in range(draws):
        generator = np.random.Generator(np.random.Philox(key=[seed, draw]))
        places = np.empty(len(strata), dtype=np.int64)
        places[by_stratum] = np.lexsort((generator.random(len(strata)), strata))
        yield places


def volatility_strata(returns: Float64, groups: Int64 | None = None) -> Int64:
    """Divide tickers into strata of similar volatility within their groups: at most 10, of at least 20 tickers each.

    Args:
        returns: daily returns, NaN if a ticker has none; shape (S, N).
        groups: group of each ticker, shape (N,); None for one group.

    Returns:
        Stratum of each ticker, shape (N,).

    >>> volatility_strata(np.zeros((5, 3))).tolist(), volatility_strata(np.zeros((5, 3)), np.array([4, 4, 7])).tolist()
    ([0, 0, 0], [0, 0, 10])
    """
    square = np.where(np.isnan(returns), 0.0, returns**2).sum(axis=0)
    volatility = square / np.maximum((~np.isnan(returns)).sum(axis=0), 1)
    groups = np.zeros(returns.shape[1], dtype=np.int64) if groups is None else groups
    strata = np.empty(len(groups), dtype=np.int64)
    for number, group in enumerate(np.unique(groups)):
        members = np.flatnonzero(groups == group)
        count = min(max(len(members) // _STRATUM, 1), _MOST_STRATA)
        members = members[np.argsort(volatility[members], kind="stable")]
        strata[members] = number * _MOST_STRATA + np.arange(len(members)) * count // len(members)
    return strata
