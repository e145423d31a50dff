"""Commits: what makes the next version of a store out of one. Knows Lance's transactions, and how files are sealed and
brought to the disk; nothing of which rows are worth it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from encash.arrays import Int64
from encash.errors import ConflictError
from encash.store.base import StoreSpec
from encash.store.lance.columns import schema
from encash.store.lance.fragments import value_ranges
from encash.store.lance.location import Place
from encash.store.lance.snapshot import Snapshot
from encash.store.local.file_checksums import seal
from encash.store.local.fsync import sync_files, syncing

_STORAGE_VERSION = "2.2"
_BATCH_BYTES = 2 << 20
_PIECE_BYTES = 1 << 30
_PIECE_ROWS = 1 << 20
"""A piece of this many bytes or rows is full."""


def commit_empty(place: Place, columns: pa.Schema) -> Any:
    """The first version, without rows. The lock is held and no store is there."""
    dataset = lance.write_dataset(
        columns.empty_table(),
        place.location,
        schema=columns,
        data_storage_version=_STORAGE_VERSION,
        session=place.session,
    )
    place.secure_version(dataset.version)
    return dataset


def commit_rows(base: Snapshot, added: pa.RecordBatchReader | None, replaced: Int64) -> Any:
    """Add rows and take others away in one commit. The lock is held and `base` is the newest version.

    The order keeps a store whole whenever its writer is killed: new files are sealed and on the disk before a version
    names them, and so is the version before this returns.

    Raises:
        ConflictError: another writer committed since; nothing of this was.
    """
    place = base.place
    new_pieces = [] if added is None else _write_pieces(base, added)
    removed, updated = _without(base, replaced)
    if place.local:
        names = _seal_files(base, new_pieces, updated)
        sync_files(place.root, names)
    place.expect_version(base.version + 1)
    dataset = lance.LanceDataset.commit(
        base.dataset,
        _operation(base, removed, updated, new_pieces),
        read_version=base.version,
        max_retries=20 if place.local else 0,
    )
    if not place.local and dataset.version != base.version + 1:
        raise ConflictError(
            f"{place.location}: another writer committed at the same moment; run this again when it has ended"
        )
    place.secure_version(dataset.version)
    return place.dataset(dataset.version)


def commit_spec(base: Snapshot, spec: StoreSpec) -> Any:
    """Another description of the same rows. The lock is held and `base` is the newest version."""
    place = base.place
    place.expect_version(base.version + 1)
    described = schema(spec).metadata
    base.dataset.update_schema_metadata({key.decode(): text.decode() for key, text in described.items()}, replace=True)
    dataset = place.dataset()
    place.secure_version(dataset.version)
    return dataset


def batch_rows(spec: StoreSpec) -> int:
    """Rows that are handed to Lance at once: some megabytes, several times faster than all at once. Each batch
    becomes a page; a multiple of 64 rows fills its page to the byte, so that the pages lie without a gap."""
    row_bytes = np.dtype(spec.dtype).itemsize * spec.dim
    return max(64, _BATCH_BYTES // row_bytes // 64 * 64)


def is_full(rows: int, row_bytes: int) -> bool:
    """Whether a piece of so many rows is as large as pieces become."""
    return rows * row_bytes >= _PIECE_BYTES or rows >= _PIECE_ROWS


def _write_pieces(base: Snapshot, added: pa.RecordBatchReader) -> list[Any]:
    """Write rows to files that no version names yet."""
    with syncing(base.place.root / "data") if base.place.local else nullcontext():
        pieces: list[Any] = write_fragments(
            added,
            base.dataset,
            mode="append",
            data_storage_version=_STORAGE_VERSION,
            max_rows_per_file=_PIECE_ROWS,
            max_rows_per_group=batch_rows(base.spec),
        )
    return pieces


def _without(base: Snapshot, rows: Int64) -> tuple[list[int], list[Any]]:
    """Pieces that these rows fill entirely, and the others they are in, with the rows marked as gone."""
    removed, updated = [], []
    place = np.searchsorted(base.starts, rows, side="right") - 1
    for number in np.unique(place).tolist():
        piece = base.pieces[number]
        local = rows[place == number] - base.starts[number]
        if len(local) == piece.rows:
            removed.append(piece.number)
            continue
        offsets = base.known.offsets(base.dataset, piece)
        updated.append(piece.handle.delete_rows((local if offsets is None else offsets[local]).tolist()))
    return removed, updated


def _seal_files(base: Snapshot, added: list[Any], updated: list[Any]) -> list[str]:
    """Seal the new files of a commit; their names below the store's folder."""
    root, names = base.place.root, list[str]()
    for file in (file for fragment in added for file in fragment.files):
        names.append(f"data/{file.path}")
        seal(root, names[-1], value_ranges(base.place, base.dataset, file, base.spec))
    for fragment in updated:
        names.append(fragment.deletion_file.path(fragment.id))
        seal(root, names[-1])
    return names


def _operation(base: Snapshot, removed: list[int], updated: list[Any], added: list[Any]) -> Any:
    """What Lance is told. Without a lock it must fail if another came between, which only `Merge` does (it lists all
    fragments); but that one cannot take any away."""
    if not base.place.local and not removed:
        changed = {fragment.id: fragment for fragment in updated}
        kept = [changed.get(piece.number, piece.handle.metadata) for piece in base.pieces]
        return lance.LanceOperation.Merge([*kept, *added], base.dataset.lance_schema)
    if removed or updated:
        return lance.LanceOperation.Update(removed_fragment_ids=removed, updated_fragments=updated, new_fragments=added)
    return lance.LanceOperation.Append(added)
