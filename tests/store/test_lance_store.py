from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from encash.errors import WorkError
from encash.store import create_store, open_store
from encash.store.base import EmbeddingStore, StoreSpec
from encash.store.lance import LanceStore
from encash.testing import MemoryStore, StoreContract
from encash.testing.store_contract import make_entries, make_spec


class TestLanceStore(StoreContract):
    """The Lance store passes the contract."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(folder / "a cache ü.lance", spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        return open_store(store.location, version=version)


class TestRemoteStore(TestLanceStore):
    """A store at a URL passes the contract without a lock and without memory maps."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(f"file-object-store://{folder}/remote.lance", spec)


def test_writers_without_a_lock_write_every_key_once(tmp_path):
    """Of two writers at a URL that saw the same version, the later one notices the conflict, refreshes, and commits
    only the entries that are still missing."""
    spec = make_spec()
    first = create_store(f"file-object-store://{tmp_path}/remote.lance", spec)
    second = open_store(first.location)
    assert isinstance(second, LanceStore)
    stale = second.version
    first.write(make_entries(spec, ["2024-01-02"], ["A", "B"]))
    refreshes: list[int] = []

    def refresh_late() -> None:
        refreshes.append(second.version)
        if len(refreshes) > 1:
            LanceStore.refresh(second)

    second.refresh = refresh_late  # type: ignore[method-assign]  # a different writer commits in between
    assert second.version == stale
    second.write(make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B"]), skip_valid=True)
    assert len(refreshes) == 2
    again = open_store(first.location)
    assert (again.snapshot().index().entries, again.snapshot().index().duplicates) == (4, 0)
    assert again.snapshot().verify().passed


def test_duplicate_keys_of_concurrent_writers_are_reported(tmp_path):
    """If two writers at a URL replace two different fragments entirely, and both add the same key, Lance sees no
    conflict: the later writer reports the duplicate, no row is lost, and compacting drops the older one."""
    spec = make_spec()
    first = create_store(f"file-object-store://{tmp_path}/remote.lance", spec)
    for day in ("2024-01-02", "2024-01-03"):
        first.write(make_entries(spec, [day], ["A"]))
    second = open_store(first.location)
    assert isinstance(second, LanceStore)
    first.write(make_entries(spec, ["2024-01-02", "2024-01-04"], ["A"], seed=1, digest=2))
    refreshes: list[int] = []

    def refresh_late() -> None:
        refreshes.append(second.version)
        if len(refreshes) > 1:
            LanceStore.refresh(second)

    second.refresh = refresh_late  # type: ignore[method-assign]  # a different writer commits in between
    latest = make_entries(spec, ["2024-01-03", "2024-01-04"], ["A"], seed=2, digest=3)
    with pytest.raises(WorkError, match="1 rows have a key that a later row repeats"):
        second.write(latest, skip_valid=True)
    again = open_store(first.location)
    assert (again.snapshot().index().entries, again.snapshot().verify().duplicates) == (3, 1)
    again.compact()
    assert again.snapshot().verify().passed
    rows = again.snapshot().index().locate(latest.days, latest.tickers)
    assert again.snapshot().vectors(rows).tobytes() == latest.embedding.tobytes()


def test_threads_without_a_lock_write_every_key_once(tmp_path):
    """Several threads that write overlapping blocks to a URL leave every key once."""
    spec = make_spec()
    location = create_store(f"file-object-store://{tmp_path}/remote.lance", spec).location

    def build(number: int) -> None:
        store = open_store(location)
        for turn in range(4):
            day = f"2024-01-{(number + turn) % 4 + 1:02}"
            store.write(make_entries(spec, [day], ["A", "B", "C"]), skip_valid=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(build, range(4)))
    index = open_store(location).snapshot().index()
    assert (index.entries, index.duplicates) == (12, 0)


class TestMemoryStore(StoreContract):
    """The store in memory passes the contract, so that tests may use it in place of a real one."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return MemoryStore(spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        assert isinstance(store, MemoryStore)
        return store.reopen(version)
