"""Checks that the columns of a wide table hold closes: not the fields of one stock, not returns, and not volumes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from encash.arrays import Float64
from encash.errors import FormatError

_MOST_FIELDS = 12
_LEAST_ROWS = 5
_WIDEST_BAR = 1.5
_MOVES_WITHIN = 0.1
"""Least deviation of the place of open and close between low and high; that of funds of one index is below."""
_NEAR_ONE = 0.01
_BACK_AND_FORTH = -0.25
_LARGE_VALUE, _LARGE_STEP, _LEAST_STEPS = 1000.0, 0.1, 100
"""Median value and log step of volumes, from which on; number of steps that show that they turn back."""


def check_closes(shown: str, names: Sequence[str], closes: Float64) -> None:
    """Refuse a table whose columns read as fields of one stock in words of any language, returns plus one, or volumes.

    Args:
        shown: the name of the file, for messages.
        names: of the columns.
        closes: shape (columns, rows).
    """
    if (bar := _bar(closes)) is not None:
        low, high, others = bar
        raise FormatError(
            f"{shown}: {names[high]!r} is never below, and {names[low]!r} never above, {names[others[0]]!r} and "
            f"{names[others[1]]!r}, as high and low of one stock are ({', '.join(names[:20])}); state its columns, "
            f"like --columns close={names[others[1]]}, and the stock with --ticker"
        )
    if _are_returns(closes):
        raise FormatError(
            f"{shown}: the values of {', '.join(map(repr, names[:3]))} stay near 1 and turn back each day, as returns "
            "plus 1 do; give prices, or name the columns of prices with --columns"
        )
    if _are_volumes(closes):
        raise FormatError(
            f"{shown}: the values of {', '.join(map(repr, names[:3]))} move by more than a tenth and turn back each "
            "day, as volumes do; give closes, or a table with a column of closes and one of volumes"
        )


def _bar(closes: Float64) -> tuple[int, int, tuple[int, int]] | None:
    """Return a low, a high and two others of which every row is between them and near; None if there are none."""
    columns, rows = closes.shape
    if not 4 <= columns <= _MOST_FIELDS or rows < _LEAST_ROWS:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        for low, high in permutations(range(columns), 2):
            within = closes[high] / closes[low]
            if not (within <= _WIDEST_BAR).all() or not (within >= 1).all() or (within == 1).all():
                continue
            others = [
                other
                for other in range(columns)
                if other not in (low, high)
                and (closes[other] >= closes[low]).all()
                and (closes[other] <= closes[high]).all()
                and np.nanstd((closes[other] - closes[low]) / (closes[high] - closes[low])) > _MOVES_WITHIN
            ]
            if len(others) > 1:
                return low, high, (others[0], others[1])
    return None


def _are_returns(closes: Float64) -> bool:
    """Return whether every column is 1 on average and its changes reverse, unlike those of prices."""
    columns, rows = closes.shape
    if columns < 2 or rows < 20:
        return False
    near = np.abs(np.nanmean(closes, axis=1) - 1) < _NEAR_ONE
    if not near.all() or np.nanmax(np.abs(closes - 1)) > 0.5:
        return False
    steps = np.nan_to_num(np.diff(closes, axis=1))
    power = (steps**2).sum()
    return bool(power > 0 and (steps[:, 1:] * steps[:, :-1]).sum() / power < _BACK_AND_FORTH)


def _are_volumes(closes: Float64) -> bool:
    """Return whether the values are large, change by much each day, and the changes reverse, unlike those of prices."""
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.diff(np.log(closes), axis=1)
        pairs = steps[:, 1:] * steps[:, :-1]
    pairs, steps = pairs[np.isfinite(pairs)], steps[np.isfinite(steps)]
    if len(pairs) < _LEAST_STEPS or np.nanmedian(closes) < _LARGE_VALUE or np.median(np.abs(steps)) < _LARGE_STEP:
        return False
    return bool(pairs.mean() < _BACK_AND_FORTH * (steps**2).mean())
