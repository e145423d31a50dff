"""The assignment problem: the one-to-one matching of rows and columns with the lowest total cost."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64, Int64
from encash.errors import InputError


def match_rows(costs: Float64) -> Int64:
    """Return the column of each row in the cheapest matching, by shortest augmenting paths.

    Method of R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
    problems", Computing 38 (1987), without its initialization. Among equally cheap matchings the choice is
    deterministic.

    Args:
        costs: shape (n, n), finite.

    Returns:
        Columns, a permutation, shape (n,).

    Raises:
        InputError: a cost is not finite.

    >>> match_rows(np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]])).tolist()
    [1, 0, 2]
    """
    if not np.isfinite(costs).all():
        raise InputError("a distance between centroids is not finite; fit the clusters again, on finite embeddings")
    count = len(costs)
    row_price, column_price = np.zeros(count), np.zeros(count)
    row_of, column_of = np.full(count, -1), np.full(count, -1)
    for start in range(count):
        length, before = np.full(count, np.inf), np.full(count, -1)
        is_open = np.ones(count, dtype=bool)
        row, reached = start, 0.0
        while True:  # Dijkstra's algorithm on reduced costs, from a row to a free column
            through = reached + costs[row] - row_price[row] - column_price
            shorter = is_open & (through < length)
            length[shorter], before[shorter] = through[shorter], row
            column = int(np.where(is_open, length, np.inf).argmin())
            reached = float(length[column])
            if row_of[column] < 0:
                break
            is_open[column], row = False, row_of[column]
        slack = reached - length[~is_open]
        row_price[row_of[~is_open]] += slack
        row_price[start] += reached
        column_price[~is_open] -= slack
        row = -1
        while row != start:  # exchange the matches along the path, back to its first row
            row = before[column]
            row_of[column], column_of[row], column = row, column, column_of[row]
    return column_of
