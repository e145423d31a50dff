from pathlib import Path

from encash.store import create_store, open_store
from encash.store.base import EmbeddingStore, StoreSpec
from encash.testing import MemoryStore, StoreContract


class TestLanceStore(StoreContract):
    """Lance keeps the contract."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(folder / "a cache ü.lance", spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        return open_store(store.location, version=version)


class TestMemoryStore(StoreContract):
    """The store in memory keeps the contract, so tests may use it in place of a real one."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return MemoryStore(spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        if version is None:
            again = store.at(store.version)
            again.writable = True
            again.refresh()
            return again
        return store.at(version)
