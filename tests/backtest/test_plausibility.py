"""Figures beyond the plausible are named, and luck of a short run is not."""

import pytest

from encash.backtest.evaluation.plausibility import implausible_figures


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"sharpe": 7.0, "years": 2.0}, ["sharpe"]),
        ({"sharpe": 7.0, "years": 0.12}, []),
        ({"sharpe": 2.5, "years": 2.00}, []),
        ({"sharpe": float("nan"), "years": 2.0}, []),
        ({"rank_ic": 0.58, "rank_ic_t": 40.0, "horizon": 5}, ["rank_ic"]),
        ({"rank_ic": 0.08, "rank_ic_t": 40.0, "horizon": 5}, []),
        ({"rank_ic": 0.25, "rank_ic_t": 40.0, "horizon": 20}, []),
        ({"rank_ic": 0.58, "rank_ic_t": 1.5}, []),
        ({"rank_ic": -0.58, "rank_ic_t": -40.0}, []),
        ({"hit_rate": 0.9, "holdings": 400}, ["hit_rate"]),
        ({"hit_rate": 0.9, "holdings": 10}, []),
        ({"hit_rate": 0.6, "holdings": 100_000}, []),
        ({}, []),
    ],
)
def test_a_figure_is_named_if_even_its_lower_bound_is_too_good(figures, named):
    """Each sentence gives the figure, its limit and the likely causes."""
    found = implausible_figures(**figures)
    assert [one.figure for one in found] == named
    assert all("likely causes" in one.sentence for one in found)
