"""Rolling sums, maxima and minima, each computed afresh from its own values."""

from __future__ import annotations

from collections.abc import Callable

from encash.arrays import Float64


def rolling(values: Float64, span: int, combine: Callable[[Float64, Float64], Float64]) -> Float64:
    """Return a sum, maximum or minimum of the last `span` values at each position with that many.

    The combined length doubles in each step, so that a span of 120 takes nine steps. Each result combines its own
    values in a fixed order and does not depend on other values.

    Args:
        values: shape (n,).
        span: number of values, 1 or more.
        combine: `np.add`, `np.maximum` or `np.minimum`.

    Returns:
        shape (n − span + 1,), or empty.

    >>> import numpy as np
    >>> rolling(np.array([1.0, 2.0, 3.0, 4.0]), 3, np.add).tolist()
    [6.0, 9.0]
    """
    block, length = values, 1
    result, covered = values, 0
    while True:
        if span & length:
            older = block[: max(0, len(block) - covered)]
            result = combine(result[length:], older) if covered else block
            covered += length
        if 2 * length > span:
            return result
        block = combine(block[length:], block[: max(0, len(block) - length)])
        length *= 2
