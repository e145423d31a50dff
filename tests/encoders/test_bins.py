"""Bin edges: one convention, decided by a stated rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.encoders.bins import settle_edges, uniform_edges, unit_of_rule
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint


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


RETURNS = np.linspace(-0.25, 0.25, 101)
UNITS = {"return": RETURNS, "ratio": 1 + RETURNS, "percent": 100 * RETURNS}


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_bins_in_each_unit_forecast_the_same_returns(unit):
    """Midpoints of edges in any unit are returns; an inferred unit has the same identity as a given one."""
    given = settle_edges(UNITS[unit], unit=unit)
    assert given.convention == unit
    np.testing.assert_allclose(given.returns, (RETURNS[1:] + RETURNS[:-1]) / 2, atol=1e-7)
    assert unit_of_rule(given.rule) == unit
    if unit != "percent":
        assert settle_edges(UNITS[unit]).rule == given.rule


@given(st.lists(st.floats(-0.9, 2.0), min_size=101, max_size=101, unique=True), st.integers(0, 100))
def test_percentages_never_pass_as_returns(values, seed):
    """Quantiles of returns from −90% to +200% as percentages are refused without a unit, and read with it."""
    returns = np.sort(np.r_[-0.02, np.random.default_rng(seed).normal(0, 0.03, 99), 0.03] if seed % 2 else values)
    if not (returns[0] < -0.01 and returns[-1] > 0):
        return
    with pytest.raises(FormatError, match="--bin-unit percent"):
        settle_edges(100 * returns)
    midpoints = (returns[1:] + returns[:-1]) / 2
    np.testing.assert_allclose(settle_edges(100 * returns, unit="percent").returns, midpoints, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("edges", "unit"),
    [
        (100 * RETURNS, "return"),
        (100 * RETURNS, "ratio"),
        (1 + RETURNS, "return"),
        (1 + RETURNS, "percent"),
        (RETURNS, "ratio"),
        (2 + RETURNS, "ratio"),
        (np.linspace(-150, 150, 101), "percent"),
    ],
)
def test_edges_that_are_impossible_in_a_unit_are_refused(edges, unit):
    """A loss of more than everything, or no bin on one side of an unchanged price, whatever unit is named."""
    with pytest.raises(FormatError, match=f"cannot be in the unit '{unit}'"):
        settle_edges(edges, unit=unit)
    with pytest.raises(InputError, match="expected one of return, ratio, percent"):
        settle_edges(edges, unit="pct")


@pytest.mark.parametrize(
    ("edges", "rule"),
    [
        (RETURNS, "100 bins of returns"),
        (1 + RETURNS, "100 bins of ratios"),
        (np.linspace(-1, 1, 101), "100 bins of returns"),
    ],
)
def test_the_rules_of_right_files_stay(edges, rule):
    """The forecast rule, from which the identity of forecasts follows, has the words and the hash it always had."""
    expected = f"sum of softmax times midpoint, {rule}, edges {fingerprint(edges)}"
    assert settle_edges(edges.astype(np.float64)).rule == expected


def test_the_rule_tells_two_sets_of_edges_apart():
    """The forecast rule follows the edges and their convention."""
    edges = np.linspace(-0.25, 0.25, 101)
    assert settle_edges(edges).rule == uniform_edges(100).rule
    assert settle_edges(edges).rule != settle_edges(1 + edges).rule
