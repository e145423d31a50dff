"""From a choice on the command line to a filter: names, defaults, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from encash.clusters import Hard, Nearest, Random, Static
from encash.errors import InputError, MismatchError
from encash.pipeline import FilterChoice, open_filter, open_filters

from .test_filter_contract import Alphabet

OLD = Path(__file__).parent / "fixtures" / "version_0_1_0"
SESSIONS = np.busday_offset(np.datetime64("2020-01-01"), np.arange(80), roll="forward")
OWN = f"{Alphabet.__module__}:Alphabet"


def opened(**choice):
    return open_filter(FilterChoice(**choice), SESSIONS, None)


def test_without_a_name_clusters_decide():
    """Hard with clusters, no filter without."""
    assert opened() is None
    assert opened(name="none", clusters=OLD / "clusters") is None
    chosen = opened(clusters=OLD / "clusters")
    assert isinstance(chosen, Hard)
    assert str(chosen.first_day) == "2020-03-04"


@pytest.mark.parametrize("folder", ["clusters", "walk"])
def test_each_filter_gets_the_settings_that_it_takes(folder):
    """The share is the filter's own unless it is given; a walk brings all of its periods."""
    for name, kind, keep, share in (
        ("hard", Hard, None, None),
        ("nearest", Nearest, None, 0.3),
        ("nearest", Nearest, 0.5, 0.5),
        ("random", Random, None, None),
        ("random", Random, 0.5, 0.5),
    ):
        chosen = opened(name=name, clusters=OLD / folder, keep=keep, seed=7)
        assert isinstance(chosen, kind)
        assert (chosen.keep_share, chosen.seed, len(chosen.periods)) == (share, 7, 2 if folder == "walk" else 1)


def test_a_walk_needs_no_cache_for_the_static_filter():
    """Its refits hold the clusters at the end of each fit; a single model takes them from the cache."""
    assert isinstance(opened(name="static", clusters=OLD / "walk"), Static)
    with pytest.raises(InputError, match="give --cache"):
        opened(name="static", clusters=OLD / "clusters")


def test_a_filter_of_ones_own_is_opened_by_its_name():
    """With or without clusters, in a run and in the grid of a sweep."""
    assert isinstance(opened(name=OWN), Alphabet)
    assert len(opened(name=OWN, clusters=OLD / "walk").periods) == 2
    choice = FilterChoice(clusters=OLD / "clusters", keep=0.4)
    filters = open_filters(choice, [OWN, "hard", "random", "none"], SESSIONS, None)
    assert {name: chosen.keep_share for name, chosen in filters.items()} == {"hard": None, "random": 0.4, OWN: None}


@pytest.mark.parametrize(
    ("choice", "error", "says"),
    [
        ({"name": "soft"}, InputError, "the filter is 'soft'"),
        ({"name": "hard"}, InputError, "give --clusters DIR"),
        ({"name": "random"}, InputError, "--keep 0.3"),
        ({"name": "hard", "keep": 0.3}, InputError, "leave --keep out, or filter by nearest or random"),
        ({"clusters": OLD / "walk", "horizon": 10}, MismatchError, "ranked over 5 sessions.*--horizon 10"),
    ],
)
def test_a_choice_that_cannot_work_is_refused(choice, error, says):
    """The message names the flag that makes it work."""
    with pytest.raises(error, match=says):
        opened(**choice)
