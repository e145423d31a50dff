"""Ranks among the tickers of a day: among all of them, or within a given universe."""

from __future__ import annotations

import numpy as np

from encash.arrays import Bool, Float64
from encash.metrics import ranks


def cross_ranks(values: Float64) -> Float64:
    """Return the rank of each value in its row, from −1 (lowest) to 1 (highest); equal values share their mean rank.

    Args:
        values: shape (T, N); NaN is not ranked and stays NaN.

    >>> cross_ranks(np.array([[3.0, 1.0, np.nan], [5.0, 5.0, 7.0]])).tolist()
    [[1.0, -1.0, nan], [-0.5, -0.5, 1.0]]
    """
    alive = np.sum(~np.isnan(values), axis=1, keepdims=True)
    scaled: Float64 = 2 * (ranks(values) - 1) / np.maximum(alive - 1, 1) - 1
    return np.where(alive == 1, scaled + 1, scaled)


def member_ranks(values: Float64, member: Bool) -> Float64:
    """Return the fraction of the other members below each value minus the fraction above it, from −1 to 1.

    A value of a non-member is compared with all members and changes no rank but its own. Without other members, the
    rank is 0.

    Args:
        values: shape (T, N); NaN is not ranked and stays NaN.
        member: True for the members of the day, shape (T, N).

    >>> member_ranks(np.array([[1.0, 2.0, 3.0, 9.0]]), np.array([[True, True, True, False]])).tolist()
    [[-1.0, 0.0, 1.0, 1.0]]
    """
    result = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    for row, found, ranked, members in zip(values, result, known, known & member, strict=True):
        universe = np.sort(row[members])
        some = row[ranked]
        below = np.searchsorted(universe, some)
        above = len(universe) - np.searchsorted(universe, some, side="right")
        found[ranked] = (below - above) / np.maximum(len(universe) - members[ranked], 1)
    return result
