"""Bin edges: one convention, decided by a stated rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.encoders.bins import settle_edges, uniform_edges
from encash.errors import FormatError


def test_ratios_and_returns_of_the_same_bins_give_the_same_forecast():
    """Edges around 1 and the same edges around 0 have the same midpoints: no +100 % for a ratio near 1."""
    returns = np.linspace(-0.2, 0.3, 101)
    as_ratios, as_returns = settle_edges(1 + returns), settle_edges(returns)
    assert (as_ratios.convention, as_returns.convention) == ("ratio", "return")
    np.testing.assert_allclose(as_ratios.returns, as_returns.returns, atol=1e-6)
    assert abs(as_ratios.returns).max() < 0.3


@given(st.lists(st.integers(-400, 400), min_size=2, max_size=50, unique=True))
def test_midpoints_lie_between_their_edges(thousandths):
    """Each midpoint, as a return, lies within its bin."""
    edges = 1 + np.sort(thousandths) / 1000
    midpoints = settle_edges(edges).returns + 1.0
    assert (midpoints >= edges[:-1] - 1e-6).all()
    assert (midpoints <= edges[1:] + 1e-6).all()


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        (np.linspace(4, 6, 101), "neither price ratios"),
        (np.linspace(0, 1, 101), "neither price ratios"),
        (np.linspace(1.2, 0.8, 101), "not finite and ascending"),
        (np.full(101, 1.0), "not finite and ascending"),
        (np.r_[np.nan, np.linspace(0.8, 1.2, 100)], "not finite and ascending"),
        (np.linspace(0.8, 1.2, 51), "expected one row of 101"),
        (np.ones((101, 2)), "expected one row of 101"),
        ({"model_state_dict": {}}, "invalid bin edges of type dict"),
        ("edges", "invalid bin edges of type str"),
    ],
)
def test_edges_of_neither_convention_are_refused(edges, said):
    """Edges that are no ratios and no returns, of the wrong number or in no order are refused, never guessed."""
    with pytest.raises(FormatError, match=said):
        settle_edges(edges, num_bins=100)


def test_the_rule_tells_two_sets_of_edges_apart():
    """The forecast rule follows the edges and their convention."""
    edges = np.linspace(-0.25, 0.25, 101)
    assert settle_edges(edges).rule == uniform_edges(100).rule
    assert settle_edges(edges).rule != settle_edges(1 + edges).rule
