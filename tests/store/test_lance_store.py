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
    """Lance keeps the contract."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(folder / "a cache ü.lance", spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        return open_store(store.location, version=version)


class TestRemoteStore(TestLanceStore):
    """A store behind a URL keeps the contract without a lock and without memory maps."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(f"file-object-store://{folder}/remote.lance", spec)


def test_rivals_without_a_lock_end_with_every_key_once(tmp_path):
    """Two writers behind a URL that both saw the same version: the later one sees the conflict, looks again and
    commits only what is still missing."""
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

    second.refresh = refresh_late  # type: ignore[method-assign]  # a rival commits in between
    assert second.version == stale
    second.write(make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B"]), skip_valid=True)
    assert len(refreshes) == 2
    again = open_store(first.location)
    assert (again.snapshot().index().entries, again.snapshot().index().duplicates) == (4, 0)
    assert again.snapshot().verify().passed


def test_doubled_keys_of_rivals_are_told(tmp_path):
    """Two writers behind a URL that replace two different pieces whole, and both add one key, are not kept apart by the
    engine: the later one says that a key is doubled, no row is lost, and compacting drops the older of the two."""
    spec = make_spec()
    first = create_store(f"file-object-store://{tmp_path}/remote.lance", spec)
    for day in ("2024-01-02", "2024-01-03"):
        first.write(make_entries(spec, [day], ["A"]))
    second = open_store(first.location)
    first.write(make_entries(spec, ["2024-01-02", "2024-01-04"], ["A"], seed=1, digest=2))
    refreshes: list[int] = []

    def refresh_late() -> None:
        refreshes.append(second.version)
        if len(refreshes) > 1:
            LanceStore.refresh(second)

    second.refresh = refresh_late  # type: ignore[method-assign]  # a rival commits in between
    latest = make_entries(spec, ["2024-01-03", "2024-01-04"], ["A"], seed=2, digest=3)
    with pytest.raises(WorkError, match="1 rows have a key that a later row repeats"):
        second.write(latest, skip_valid=True)
    again = open_store(first.location)
    assert (again.snapshot().index().entries, again.snapshot().verify().duplicates) == (3, 1)
    again.compact()
    assert again.snapshot().verify().passed
    rows = again.snapshot().index().locate(latest.days, latest.tickers)
    assert again.snapshot().vectors(rows).tobytes() == latest.embedding.tobytes()


def test_threads_without_a_lock(tmp_path):
    """Many writers of overlapping blocks behind a URL end with every key once."""
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
    """The store in memory keeps the contract, so tests may use it in place of a real one."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return MemoryStore(spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        assert isinstance(store, MemoryStore)
        return store.reopen(version)
