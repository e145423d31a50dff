"""Picks with group limits or a short side: which of the ranked candidates each side may take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Float64, Int64
from encash.backtest.simulation.portfolio import best_columns


@dataclass(frozen=True, kw_only=True)
class GroupRules:
    """Limits of picks by group."""

    code: Int64
    """Group of each candidate, from 0; shape (N,)."""
    neutral: bool = False
    """Take the best of each group, then the second of each, and so on."""
    most: int | None = None
    """Maximum picks per group and side; None for no limit."""


def pick_by_group(score: Float64, top_k: int, groups: GroupRules | None) -> Int64:
    """Return the columns of the highest scores that the limits allow, best first; shape (R, k), −1 for none.

    Ties go to the first column.

    Args:
        score: shape (R, N); NaN for candidates that may not be picked.
        top_k: k.
        groups: limits; None for none.

    >>> rules = GroupRules(code=np.array([0, 0, 1, 1]), neutral=True)
    >>> pick_by_group(np.array([[4.0, 3.0, 2.0, 1.0]]), 2, rules).tolist()
    [[0, 2]]
    """
    if groups is None:
        return best_columns(score, top_k)
    picked = np.full((len(score), top_k), -1, dtype=np.int64)
    for row, values in enumerate(score):
        order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")[: (~np.isnan(values)).sum()]
        chosen = _in_turn(order, groups)[:top_k]
        chosen = chosen[np.argsort(-values[chosen], kind="stable")]
        picked[row, : len(chosen)] = chosen
    return picked


def disjoint_sides(score: Float64, long: Bool, short: Bool, groups: GroupRules | None) -> tuple[Bool, Bool]:
    """Return the candidates of the long and of the short side, such that no ticker is on both.

    Of the candidates of both sides, the upper half by score stays long and the lower half short; of an odd number, one
    is left out. With neutral groups the halves are those of each group, and a group that one side cannot hold is left
    out of both.

    Args:
        score: shape (R, N); NaN for candidates that are not ranked.
        long: candidates to buy, shape (R, N).
        short: candidates to sell short, shape (R, N).
        groups: limits; None for none.

    >>> score, everyone = np.array([[3.0, 2.0, 1.0]]), np.ones((1, 3), bool)
    >>> [side.tolist() for side in disjoint_sides(score, everyone, everyone, None)]
    [[[True, False, False]], [[False, False, True]]]
    """
    neutral = groups is not None and groups.neutral
    code = groups.code if groups is not None and neutral else np.zeros(score.shape[1], dtype=np.int64)
    ranked = ~np.isnan(score)
    long, short = long & ranked, short & ranked
    row, column = np.nonzero(long & short)
    order = np.lexsort((column, -score[row, column], code[column], row))
    row, column = row[order], column[order]
    place, size = _places(row * (int(code.max()) + 1) + code[column])
    upper, lower = place < size // 2, place >= size - size // 2
    long[row[~upper], column[~upper]] = False
    short[row[~lower], column[~lower]] = False
    if neutral:
        member = np.eye(int(code.max()) + 1, dtype=bool)[code]
        held = ((long @ member) & (short @ member))[:, code]
        long, short = long & held, short & held
    return long, short


def _in_turn(order: Int64, groups: GroupRules) -> Int64:
    """Return ranked candidates, best first, in the order in which the limits let them be picked."""
    code = groups.code[order]
    by_group = np.argsort(code, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[by_group] = _places(code[by_group])[0]
    allowed = np.ones(len(order), dtype=bool) if groups.most is None else place < groups.most
    turn = np.argsort(place, kind="stable") if groups.neutral else np.arange(len(order))
    in_turn: Int64 = order[turn[allowed[turn]]]
    return in_turn


def _places(keys: Int64) -> tuple[Int64, Int64]:
    """Return the place of each of some ascending keys among its equals, from 0, and their number.

    >>> [values.tolist() for values in _places(np.array([3, 3, 7]))]
    [[0, 1, 0], [2, 2, 1]]
    """
    counts = np.unique(keys, return_counts=True)[1]
    place: Int64 = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place, np.repeat(counts, counts)
