"""Every registered filter keeps the contract, and so can a user's own."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from encash.clusters import FILTERS, CandidateFilter, filter_class, filter_names
from encash.clusters.filters.registry import is_filter
from encash.errors import InputError
from encash.testing import FilterContract


@dataclass(frozen=True, kw_only=True, eq=False)
class Alphabet(CandidateFilter):
    """Tickers up to a letter: a filter as a user would write it."""

    name = "alphabet"
    last: str = "T04"

    @property
    def needs_model(self):
        return False

    def keep(self, days, tickers, candidates, cluster, distance):
        return candidates & (np.asarray(tickers) <= self.last)


@pytest.mark.parametrize("share", [None, 0.4])
@pytest.mark.parametrize("name", list(FILTERS))
class TestRegistered(FilterContract):
    @pytest.fixture(autouse=True)
    def settings(self, name, share):
        self.made = filter_class(name)
        self.share = share if share is not None and self.made.takes_share else self.made.default_share

    def make_filter(self, **settings):
        return self.made(keep_share=self.share, **settings)


class TestOwn(FilterContract):
    def make_filter(self, **settings):
        return Alphabet(**settings)


@pytest.mark.parametrize("name", list(FILTERS))
def test_a_registered_filter_agrees_with_its_registration(name):
    """What the command line offers is what results and grids say."""
    assert filter_class(name).name == name
    assert filter_class(name).takes_share == FILTERS[name].takes_share
    assert filter_names()[-1] == "none"


def test_a_filter_of_ones_own(monkeypatch):
    """By module:attribute or by an entry point; its own fields are part of its identity."""
    assert filter_class(f"{__name__}:Alphabet") is Alphabet
    entry = EntryPoint(name="letters", value=f"{__name__}:Alphabet", group="encash.filters")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group, name: [entry] if name == "letters" else [])
    assert is_filter("letters")
    assert filter_class("letters") is Alphabet
    assert Alphabet(last="A").fingerprint != Alphabet(last="B").fingerprint
    assert Alphabet().first_day is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("soft", f"the filter is 'soft'; expected one of {', '.join(filter_names())}, module:attribute"),
        ("no_such_module:Filter", "cannot be imported"),
        ("encash.clusters.filters.hard:Soft", "no attribute"),
        ("encash.clusters.model:ClusterModel", "not a filter; expected a subclass"),
    ],
)
def test_what_is_not_a_filter_is_refused(name, says):
    """The message names what was expected."""
    with pytest.raises(InputError, match=says):
        filter_class(name)
