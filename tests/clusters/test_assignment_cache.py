"""Assignments of a whole cache: made once, true to every entry, brought up to date by what changed."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from encash.clusters import (
    Assigner,
    CacheEntries,
    FitConfig,
    fit_clusters,
    load_cached_assignments,
    update_assignment_cache,
)
from encash.errors import FormatError, InputError
from encash.store.base import Entries, StoreSpec
from encash.store.locator import create_store

MODEL = "m" * 64


class Kept:
    """A Lance store of planted vectors, its clusters, and how many vectors were read."""

    def __init__(self, folder, truth):
        self.folder, self.truth, self.read = folder / "clusters", truth, 0
        spec = StoreSpec(dim=8, dtype="float32", horizons=(), encoder={}, fingerprint="c" * 64)
        self.store = create_store(folder / "cache.lance", spec)
        days, tickers, vectors = truth.batch(end=truth.days[59])
        self.model = fit_clusters(vectors, days, tickers, config=FitConfig(k=4), encoder="")
        self.write(days, tickers, vectors)

    def write(self, days, tickers, vectors, digest=1):
        none = np.empty((len(days), 0), np.float32)
        digests = np.full(len(days), digest, np.uint64)
        entries = Entries(days=days, tickers=tickers, digest=digests, embedding=vectors, forecast=none, confidence=none)
        self.store.write(entries.sorted())

    def entries(self):
        def vectors(rows):
            self.read += len(rows)
            return self.store.snapshot().vectors(rows)

        return CacheEntries(
            index=self.store.snapshot().index(), vectors=vectors, cache="c" * 64, version=self.store.version
        )

    def keep(self):
        """Assignments, and how many vectors were read for them."""
        self.read = 0
        return update_assignment_cache(self.folder, Assigner.of_model(self.model), self.entries()), self.read

    def check(self, kept):
        """Every entry has the cluster and the distances that its vector gives, to the bit."""
        index = self.store.snapshot().index()
        day, ticker = np.nonzero(index.row >= 0)
        vectors = self.store.snapshot().vectors(index.row[day, ticker].astype(np.int64))
        cluster, distance = self.model.assign(vectors)
        at = np.ix_(np.searchsorted(kept.days, index.days), np.searchsorted(kept.tickers, index.tickers))
        np.testing.assert_array_equal(kept.cluster[at][day, ticker], cluster)
        np.testing.assert_array_equal(kept.distance[at][day, ticker], distance)
        np.testing.assert_array_equal(kept.distances[at][day, ticker], self.model.distances(vectors))
        assert kept.entries == len(day)


@pytest.fixture
def made(tmp_path, planted):
    return Kept(tmp_path, planted(num_sessions=80, num_tickers=6))


def test_all_entries_are_assigned_once(made):
    """The first time reads every vector, the second none; what is kept is what the vectors give."""
    kept, read = made.keep()
    assert read == 60 * 6
    made.check(kept)
    again, read = made.keep()
    assert read == 0
    made.check(again)


def test_a_compacted_cache_has_the_same_assignments(made):
    """Another version of the same entries reads no vector, and what was kept stays."""
    made.keep()
    made.store.compact(keep_versions=2)
    made.store.tag("again")
    made.write(*made.truth.batch(end=made.truth.days[2]))
    kept, read = made.keep()
    assert read == 0
    made.check(kept)


def test_only_what_changed_is_read_again(made):
    """New days, a new ticker and restated entries are read; everything else is taken over."""
    made.keep()
    truth = made.truth
    made.write(*truth.batch(start=truth.days[60], end=truth.days[64]))
    made.write(truth.days[10:20], np.full(10, "A NEW ONE"), truth.grid[10:20, 0] + 1)
    made.write(truth.days[30:33], np.full(3, "T02"), truth.grid[30:33, 2] - 4, digest=2)
    kept, read = made.keep()
    assert read == 5 * 6 + 10 + 3
    made.check(kept)
    assert len(list((made.folder / "assignments").iterdir())) == 1, "older versions are taken away"


def test_what_is_kept_of_a_changed_entry_is_not_used(made):
    """A reader sees −1 where the cache has another entry now, and where nobody knows which window made it."""
    made.keep()
    truth = made.truth
    made.write(truth.days[30:33], np.full(3, "T02"), truth.grid[30:33, 2] - 4, digest=2)
    found = load_cached_assignments(made.folder, made.model.fingerprint, made.entries())
    assert found is not None
    gone = found.cluster < 0
    assert gone.sum() == 3
    assert gone[30:33, 2].all()
    unknown = replace(found, digest=np.zeros_like(found.digest), version=1)
    unknown.save(made.folder / "assignments" / f"{made.model.fingerprint[:16]}-{'c' * 16}-99")
    found = load_cached_assignments(made.folder, made.model.fingerprint, made.entries())
    assert found is not None
    assert (found.cluster < 0).all()


def test_another_cache_of_the_same_encoder_and_version_is_told_apart(tmp_path, planted):
    """The number of a version proves nothing: a cache built anew in the same place has the same, and other entries."""
    truth = planted(num_sessions=80, num_tickers=6)
    one, other = Kept(tmp_path / "one", truth), Kept(tmp_path / "other", truth)
    one.keep()
    other.folder, other.model = one.folder, one.model
    days, tickers, vectors = truth.batch(end=truth.days[20])
    other.write(days, tickers, vectors[::-1].copy(), digest=7)
    one.write(days, tickers, vectors)
    assert one.store.version == other.store.version
    one.keep()
    found = load_cached_assignments(one.folder, one.model.fingerprint, other.entries())
    assert found is not None
    assert (found.cluster[:21] < 0).all()
    assert (found.cluster[21:] >= 0).all()
    kept, read = other.keep()
    assert read == 21 * 6
    other.check(kept)


def test_strange_names_beside_what_is_kept_are_left_alone(made):
    """A folder that another hand put there is no version."""
    made.keep()
    place = next((made.folder / "assignments").iterdir())
    place.rename(place.with_name(place.name.rsplit("-", 1)[0] + "-copy"))
    assert load_cached_assignments(made.folder, made.model.fingerprint, made.entries()) is None


def test_another_model_or_cache_is_not_found(made):
    """What was kept belongs to one model and one cache; a new fit replaces what the old one kept of the cache."""
    made.keep()
    entries = made.entries()
    assert load_cached_assignments(made.folder, MODEL, entries) is None
    assert load_cached_assignments(made.folder, made.model.fingerprint, replace(entries, cache="d" * 64)) is None
    days, tickers, vectors = made.truth.batch(end=made.truth.days[40])
    old, made.model = made.model, fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    kept, read = made.keep()
    assert read == 60 * 6
    made.check(kept)
    assert load_cached_assignments(made.folder, old.fingerprint, entries) is None


def test_damage_is_named_to_readers_and_mended_by_assigning(made):
    """A flipped bit makes a reader stop and name the command that mends it; that command does."""
    made.keep()
    damaged = next((made.folder / "assignments").glob("*/distances.npy"))
    content = bytearray(damaged.read_bytes())
    content[-9] ^= 4
    damaged.write_bytes(content)
    with pytest.raises(FormatError, match="clusters assign"):
        load_cached_assignments(made.folder, made.model.fingerprint, made.entries(), distances=True)
    kept, read = made.keep()
    assert read == 60 * 6
    made.check(kept)


def test_rivals_end_with_one_whole_folder(made):
    """Several that assign at once do the same work twice at the worst; what stays is whole."""
    work = made.folder, Assigner.of_model(made.model), made.entries()
    several = [threading.Thread(target=update_assignment_cache, args=work) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    kept, read = made.keep()
    assert read == 0
    made.check(kept)
    assert len(list((made.folder / "assignments").iterdir())) == 1


def test_an_empty_cache_is_refused(tmp_path, made):
    """There is nothing to assign in a cache without entries."""
    empty = create_store(tmp_path / "empty.lance", made.store.spec).snapshot()
    entries = CacheEntries(index=empty.index(), vectors=empty.vectors, cache="c" * 64, version=empty.version)
    with pytest.raises(InputError, match="no entries"):
        update_assignment_cache(made.folder, Assigner.of_model(made.model), entries)
