"""Commits: make the next version of a store from a snapshot, with Lance's transactions, checksums and fsync."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from encash.arrays import Int64
from encash.errors import ConflictError, WorkError
from encash.store.base import StoreSpec
from encash.store.lance.columns import schema
from encash.store.lance.fragments import value_ranges
from encash.store.lance.location import Location
from encash.store.lance.snapshot import LanceSnapshot
from encash.store.local.file_checksums import write_checksum
from encash.store.local.fsync import sync_files, syncing

_STORAGE_VERSION = "2.2"
_BATCH_BYTES = 2 << 20
_FRAGMENT_BYTES = 1 << 30
_FRAGMENT_ROWS = 1 << 20
"""A fragment of this many bytes or rows is full."""


def commit_empty(where: Location, columns: pa.Schema) -> Any:
    """Commit the first version, without rows. The caller holds the lock, and there is no store yet."""
    dataset = lance.write_dataset(
        columns.empty_table(),
        where.uri,
        schema=columns,
        data_storage_version=_STORAGE_VERSION,
        session=where.session,
    )
    where.secure_version(dataset.version)
    return dataset


def commit_rows(base: LanceSnapshot, added: pa.RecordBatchReader | None, replaced: Int64) -> Any:
    """Add rows and remove others in one commit. The caller holds the lock, and `base` is the newest version.

    The order keeps a store intact whenever its writer is killed: new files have checksums and are on disk before a
    version names them, and the version is on disk before this returns.

    Raises:
        ConflictError: a different writer committed since; nothing was committed.
    """
    where = base.where
    new_fragments = [] if added is None else _write_fragments(base, added)
    removed, updated = _without(base, replaced)
    if where.local:
        names = _write_checksums(base, new_fragments, updated)
        sync_files(where.root, names)
    where.expect_version(base.version + 1)
    dataset = lance.LanceDataset.commit(
        base.dataset,
        _operation(base, removed, updated, new_fragments),
        read_version=base.version,
        max_retries=20 if where.local else 0,
    )
    if not where.local and dataset.version != base.version + 1:
        raise ConflictError(
            f"{where.text}: another process committed at the same moment; run this again when it is done"
        )
    where.secure_version(dataset.version)
    committed = where.dataset(dataset.version)
    _check_kept(where, committed, new_fragments)
    return committed


def _check_kept(where: Location, committed: Any, added: list[Any]) -> None:
    """Refuse a version that does not have the files just committed to it: the object store let it be replaced.

    Raises:
        WorkError: a file is not there.
    """
    if where.local:
        return
    there = {file.path for fragment in committed.get_fragments() for file in fragment.data_files()}
    if lost := [file.path for fragment in added for file in fragment.files if file.path not in there]:
        raise WorkError(
            f"{where.text}: version {committed.version} was replaced by a different writer's ({len(lost)} of our files "
            "are not in it): the object store ignores If-None-Match; write from one process only, or use a different "
            "store"
        )


def commit_spec(base: LanceSnapshot, spec: StoreSpec) -> Any:
    """Commit a different description of the same rows. The caller holds the lock, and `base` is the newest version."""
    where = base.where
    where.expect_version(base.version + 1)
    described = schema(spec).metadata
    base.dataset.update_schema_metadata({key.decode(): text.decode() for key, text in described.items()}, replace=True)
    dataset = where.dataset()
    where.secure_version(dataset.version)
    return dataset


def batch_rows(spec: StoreSpec) -> int:
    """Return how many rows to pass to Lance at once: a few megabytes, several times faster than everything at once.

    Each batch becomes a page; a multiple of 64 rows fills its page to the byte, so that pages follow without gaps.
    """
    row_bytes = np.dtype(spec.dtype).itemsize * spec.dim
    return max(64, _BATCH_BYTES // row_bytes // 64 * 64)


def is_full(rows: int, row_bytes: int) -> bool:
    """Return whether a fragment with this many rows has the largest size."""
    return rows * row_bytes >= _FRAGMENT_BYTES or rows >= _FRAGMENT_ROWS


def _write_fragments(base: LanceSnapshot, added: pa.RecordBatchReader) -> list[Any]:
    """Write rows to files that no version names yet."""
    with syncing(base.where.root / "data") if base.where.local else nullcontext():
        fragments: list[Any] = write_fragments(
            added,
            base.dataset,
            mode="append",
            data_storage_version=_STORAGE_VERSION,
            max_rows_per_file=_FRAGMENT_ROWS,
            max_rows_per_group=batch_rows(base.spec),
        )
    return fragments


def _without(base: LanceSnapshot, rows: Int64) -> tuple[list[int], list[Any]]:
    """Return the fragments to drop because all their rows go, and the others with the rows marked as deleted."""
    removed, updated = [], []
    owner = np.searchsorted(base.starts, rows, side="right") - 1
    for number in np.unique(owner).tolist():
        fragment = base.fragments[number]
        local = rows[owner == number] - base.starts[number]
        if len(local) == fragment.rows:
            removed.append(fragment.number)
            continue
        offsets = base.offsets(fragment)
        updated.append(fragment.handle.delete_rows((local if offsets is None else offsets[local]).tolist()))
    return removed, updated


def _write_checksums(base: LanceSnapshot, added: list[Any], updated: list[Any]) -> list[str]:
    """Write the checksums of a commit's new files; return their names below the store's folder."""
    root, names = base.where.root, list[str]()
    for file in (file for fragment in added for file in fragment.files):
        names.append(f"data/{file.path}")
        ranges = value_ranges(base.where, base.dataset, file, base.spec)
        forecasts = sorted([*ranges.get("forecast", ()), *ranges.get("confidence", ())])
        write_checksum(root, names[-1], sorted(chain.from_iterable(ranges.values())), forecasts)
    for fragment in updated:
        names.append(fragment.deletion_file.path(fragment.id))
        write_checksum(root, names[-1])
    return names


def _operation(base: LanceSnapshot, removed: list[int], updated: list[Any], added: list[Any]) -> Any:
    """Return the operation to commit.

    Without a lock it must fail if a different writer committed in between. Only `Merge` does, since it lists all
    fragments; but it cannot drop any.
    """
    if not base.where.local and not removed:
        changed = {fragment.id: fragment for fragment in updated}
        kept = [changed.get(fragment.number, fragment.handle.metadata) for fragment in base.fragments]
        return lance.LanceOperation.Merge([*kept, *added], base.dataset.lance_schema)
    if removed or updated:
        return lance.LanceOperation.Update(removed_fragment_ids=removed, updated_fragments=updated, new_fragments=added)
    return lance.LanceOperation.Append(added)
