from typing import Any, Literal, cast

import pytest

from encash.errors import InputError, MismatchError
from encash.store import merge
from encash.store.base import StoreSnapshot, StoreSpec
from encash.testing import MemoryStore
from encash.testing.store_contract import everything, make_entries, make_spec

DAYS = ["2024-01-02", "2024-01-03"]


def filled(name: str, days: list[str], tickers: list[str], seed: int = 0, digest: int = 1) -> StoreSnapshot:
    store = MemoryStore(make_spec(), name)
    store.write(make_entries(store.spec, days, tickers, seed=seed, digest=digest))
    return store.snapshot()


def test_merging_keeps_every_entry_once():
    """Merging returns every entry of each store once, unchanged; progress is reported while comparing and writing."""
    left, right = filled("a", DAYS[:1], ["A", "B"]), filled("b", DAYS[1:], ["A", "C"], seed=1)
    into = MemoryStore(make_spec(), "c")
    seen: list[tuple[int, int]] = []
    report = merge([left, right], into, progress=lambda done, total: seen.append((done, total)))
    assert everything(into) == {**everything(left), **everything(right)}
    assert (report.added, report.same, report.conflicts) == (4, 0, 0)
    assert seen == [(2, 4), (4, 4)] * 2


def test_equal_entries_are_not_conflicts():
    """An entry that is equal in two stores, bit for bit, is kept once; merging again adds nothing."""
    left, right = filled("a", DAYS, ["A", "B"]), filled("b", DAYS, ["A", "B"])
    into = MemoryStore(make_spec(), "c")
    report = merge([left, right], into)
    assert (report.added, report.same, report.conflicts) == (4, 4, 0)
    version = into.version
    assert merge([left, right], into).same == 8
    assert into.version == version


@pytest.mark.parametrize(("digest", "what"), [(1, "values"), (2, "input")])
def test_conflicts_are_refused_with_a_report(digest, what):
    """Different entries under one key are reported with key, stores and kind, and nothing is written."""
    left, right = filled("a", DAYS, ["A", "B"]), filled("b", DAYS[1:], ["B"], seed=9, digest=digest)
    into = MemoryStore(make_spec(), "c")
    with pytest.raises(MismatchError, match=rf"1 entries differ, first \(2024-01-03, B\) in a and b \({what}\)"):
        merge([left, right], into)
    assert into.snapshot().index().entries == 0


def test_conflicts_are_resolved_as_requested():
    """The first or the last store wins, the report lists the conflicts, and all other entries are merged."""
    left, right = filled("a", DAYS, ["A", "B"]), filled("b", DAYS[1:], ["B", "C"], seed=9, digest=2)
    winners: tuple[tuple[Literal["first", "last"], StoreSnapshot], ...] = (("first", left), ("last", right))
    for choice, winner in winners:
        into = MemoryStore(make_spec(), "c")
        report = merge([left, right], into, on_conflict=choice)
        assert everything(into)[DAYS[1], "B"] == everything(winner)[DAYS[1], "B"]
        assert (report.conflicts, report.examples[0].ticker, report.added) == (1, "B", 5)
        assert set(everything(into)) == {*everything(left), *everything(right)}


def test_only_stores_of_one_encoder_are_merged():
    """A store of a different encoder, one without provenance, and the target itself are refused as sources."""
    one = filled("a", DAYS, ["A"])
    other = MemoryStore(StoreSpec(dim=8, dtype="float32", horizons=(1, 5), encoder={"dim": 8}, fingerprint="e" * 64))
    with pytest.raises(MismatchError, match="fingerprint: eeee"):
        merge([one], other)
    unknown = MemoryStore(
        StoreSpec(dim=8, dtype="float32", horizons=(1, 5), encoder={}, fingerprint=""), "u"
    ).snapshot()
    with pytest.raises(MismatchError, match="does not record which model"):
        merge([unknown], MemoryStore(make_spec(), "c"))
    with pytest.raises(InputError, match="into itself"):
        merge([one], MemoryStore(make_spec(), "a"))
    with pytest.raises(InputError, match="not a way to resolve"):
        merge([one], MemoryStore(make_spec(), "c"), on_conflict=cast(Any, "newest"))
