"""Limits of weights: at most a fraction of the capital in one name, and the same in each group."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64, Int64

_ROUNDING = 1e-12


def limited_weights(weight: Float64, most: float | None) -> Float64:
    """Return weights of at most `most`; the excess goes to the other tickers in proportion, and what they cannot take
    is not invested.

    Args:
        weight: 0 or more, shape (R, k).
        most: above 0; None for no limit.

    >>> limited_weights(np.array([[0.6, 0.3, 0.1], [0.9, 0.1, 0.0]]), 0.5).round(6).tolist()
    [[0.5, 0.375, 0.125], [0.5, 0.5, 0.0]]
    """
    if most is None:
        return weight
    total, full = weight.sum(axis=1, keepdims=True), np.zeros(weight.shape, dtype=bool)
    result = weight
    for _ in range(weight.shape[1]):
        over = (result > most * (1.0 + _ROUNDING)) & ~full
        if not over.any():
            break
        full |= over
        free = np.where(full, 0.0, weight)
        left, others = total - most * full.sum(axis=1, keepdims=True), free.sum(axis=1, keepdims=True)
        scale = np.maximum(left, 0.0) / np.where(others > 0, others, 1.0)
        result = np.where(full.any(axis=1, keepdims=True), np.where(full, most, free * scale), weight)
    return np.minimum(result, most)


def neutral_weights(weight: Float64, group: Int64, most: float | None = None) -> Float64:
    """Return weights whose sum is the same in each group that has a pick; within a group they keep their proportions.

    If the position limit keeps a group below its share, every group gets what that group can hold, and the rest is not
    invested: neutrality comes before full investment.

    Args:
        weight: 0 or more, shape (R, k).
        group: group of each pick, −1 for none; shape (R, k).
        most: maximum weight of a ticker; None for no limit.

    >>> neutral_weights(np.array([[0.4, 0.4, 0.2]]), np.array([[0, 0, 1]])).tolist()
    [[0.25, 0.25, 0.5]]
    >>> neutral_weights(np.array([[0.4, 0.4, 0.2]]), np.array([[0, 0, 1]]), most=0.3).round(6).tolist()
    [[0.15, 0.15, 0.3]]
    """
    groups = np.unique(group[group >= 0])
    inside = group[:, :, None] == groups
    held = inside.any(axis=1)
    share = weight.sum(axis=1) / np.maximum(held.sum(axis=1), 1)
    within = [limited_weights(_shared(weight, inside[:, :, place], share), most) for place in range(len(groups))]
    if not within:
        return weight
    sums = np.stack([part.sum(axis=1) for part in within], axis=1)
    least = np.where(held, sums, np.inf).min(axis=1, keepdims=True)
    scale = np.where(held & (sums > 0), least / np.where(sums > 0, sums, 1.0), 0.0)
    result: Float64 = sum((part * scale[:, [place]] for place, part in enumerate(within)), np.zeros(weight.shape))
    return result


def _shared(weight: Float64, inside: np.ndarray, share: Float64) -> Float64:
    """Return the weights of one group, scaled to its share; equal ones if all are 0."""
    own = np.where(inside, weight, 0.0)
    own = np.where((own.sum(axis=1, keepdims=True) > 0), own, inside)
    total = own.sum(axis=1, keepdims=True)
    scaled: Float64 = own * (share[:, None] / np.where(total > 0, total, 1.0))
    return scaled
