"""Stores: where entries are kept."""

from encash.store.base import (
    CompactReport,
    EmbeddingStore,
    Entries,
    EntryIndex,
    StoreCheck,
    StoreSpec,
    StoreVersion,
)
from encash.store.codec import DTYPES, round_vectors
from encash.store.locator import check_same, create_store, ensure_store, open_store

__all__ = [
    "DTYPES",
    "CompactReport",
    "EmbeddingStore",
    "Entries",
    "EntryIndex",
    "StoreCheck",
    "StoreSpec",
    "StoreVersion",
    "check_same",
    "create_store",
    "ensure_store",
    "open_store",
    "round_vectors",
]
