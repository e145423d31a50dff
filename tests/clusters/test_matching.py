"""The assignment problem, against scipy and all permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from encash.clusters.matching import match_rows
from encash.errors import InputError


@pytest.mark.parametrize("count", [1, 2, 3, 6, 50, 150])
def test_the_matching_is_that_of_scipy(count: int) -> None:
    """The same columns where the optimum is unique, the same cost where it is not, whatever the sign and the scale."""
    optimize = pytest.importorskip("scipy.optimize", reason="scipy comes with the dev extra")
    random = np.random.default_rng(count)
    for scale in (1e-12, 1.0, 1e12):
        costs = random.normal(size=(count, count)) * scale
        assert match_rows(costs).tolist() == optimize.linear_sum_assignment(costs)[1].tolist()
        tied = random.integers(0, 4, (count, count)).astype(float)
        columns = match_rows(tied)
        assert sorted(columns.tolist()) == list(range(count))
        assert tied[np.arange(count), columns].sum() == tied[optimize.linear_sum_assignment(tied)].sum()


def test_no_permutation_is_cheaper() -> None:
    """All of them, of small problems."""
    random = np.random.default_rng(0)
    for count in (2, 3, 4, 5):
        costs = random.integers(-5, 6, (count, count)).astype(float)
        rows = np.arange(count)
        best = min(costs[rows, list(order)].sum() for order in itertools.permutations(range(count)))
        assert costs[rows, match_rows(costs)].sum() == best


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_cost_that_is_no_number_is_refused(bad: float) -> None:
    """It would have no cheapest matching, and the search no end."""
    costs = np.ones((3, 3))
    costs[1, 2] = bad
    with pytest.raises(InputError, match="not finite"):
        match_rows(costs)
