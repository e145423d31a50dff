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
from encash.store.locator import check_same, create_store, ensure_store, export_hdf5, find_store, open_store
from encash.store.merge import Conflict, MergeReport, merge

__all__ = [
    "DTYPES",
    "CompactReport",
    "Conflict",
    "EmbeddingStore",
    "Entries",
    "EntryIndex",
    "MergeReport",
    "StoreCheck",
    "StoreSpec",
    "StoreVersion",
    "check_same",
    "create_store",
    "ensure_store",
    "export_hdf5",
    "find_store",
    "merge",
    "open_store",
    "round_vectors",
]
