"""Stores: entries on disk, in atomic commits, read through immutable snapshots."""

from encash.store.base import (
    CompactReport,
    EmbeddingStore,
    Entries,
    StoreCheck,
    StoreSnapshot,
    StoreSpec,
    StoreVersion,
    VersionRows,
)
from encash.store.codec import DTYPES, round_vectors
from encash.store.index import EntryIndex
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
    "StoreSnapshot",
    "StoreSpec",
    "StoreVersion",
    "VersionRows",
    "check_same",
    "create_store",
    "ensure_store",
    "export_hdf5",
    "find_store",
    "merge",
    "open_store",
    "round_vectors",
]
