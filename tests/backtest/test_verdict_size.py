"""The verdict holds its size without skill and finds skill: small worlds of the benchmark of the verdict."""

import pytest

from benchmarks.verdict_size import WORLDS, rejections

SMALL = {"stocks": 80, "sessions": 500}


@pytest.fixture(scope="module")
def found():
    """Rejections of each world without skill, in 60 seeds."""
    return {name: rejections(name, 60, draws=39, **SMALL) for name in WORLDS}


@pytest.mark.parametrize("name", WORLDS)
def test_without_skill_few_filters_are_better_than_chance(found, name):
    """At 5% fewer than 9 of 60 seeds reject (a binomial exceeds that in 0.3%), whatever the clusters are."""
    assert 60 * found[name]["**printed p**"] < 9


def test_over_all_worlds_about_five_percent_reject(found):
    """Of 360 tests 18 are expected: between 8 and 30."""
    assert 8 <= sum(60 * one["**printed p**"] for one in found.values()) <= 30


def test_filters_that_are_drawn_anew_call_beta_skill(found):
    """The worlds are not too kind: by capital against filters drawn anew, beta in a rising market passes as skill."""
    assert found["beta"]["capital, redrawn"] > 0.15


def test_skill_is_found():
    """An edge of 20 basis points per session is found in nearly every seed of two years."""
    assert rejections("persistent", 20, draws=39, edge=0.002, **SMALL)["**printed p**"] >= 0.9
