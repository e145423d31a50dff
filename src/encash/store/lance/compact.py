"""Compaction: which rows are rewritten and in what order, and which versions and files are removed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Int64
from encash.atomic_write import write_whole
from encash.progress import Progress
from encash.store.base import StoreVersion
from encash.store.lance.columns import table
from encash.store.lance.commit import batch_rows, is_full
from encash.store.lance.location import Location
from encash.store.lance.snapshot import LanceSnapshot
from encash.store.local.file_checksums import FOLDER as CHECKSUMS
from encash.store.local.file_checksums import remove_stale_checksums
from encash.text_files import read_json

_TABLE_BATCHES = 8
"""Batches that are made at once, from one table."""
_UNREFERENCED = f"{CHECKSUMS}/unreferenced.json"
"""Which data files no version named at an earlier compaction, and the version that was the newest then."""


def rows_to_rewrite(snapshot: LanceSnapshot) -> Int64:
    """Return the rows of the fragments that compaction joins: small ones, and those with replaced rows."""
    fragments, row_bytes = snapshot.fragments, max(1, snapshot.size_bytes() // max(snapshot.count, 1))
    worn = [
        number
        for number, fragment in enumerate(fragments)
        if fragment.deletions is not None or not is_full(fragment.rows, row_bytes)
    ]
    if len(worn) < 2 and all(fragments[number].deletions is None for number in worn):
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.arange(snapshot.starts[number], snapshot.starts[number + 1]) for number in worn])


def sorted_rows(snapshot: LanceSnapshot, rows: Int64, progress: Progress | None) -> pa.RecordBatchReader:
    """Return these rows by day and ticker, of duplicate keys the last row, read as they are requested."""
    size = batch_rows(snapshot.spec)
    tables = _sorted_tables(snapshot, rows, _TABLE_BATCHES * size, progress)
    batches = (batch for part in tables for batch in part.to_batches(max_chunksize=size))
    return pa.RecordBatchReader.from_batches(snapshot.dataset.schema, batches)


def _sorted_tables(snapshot: LanceSnapshot, rows: Int64, size: int, progress: Progress | None) -> Iterator[pa.Table]:
    """Iterate over these rows in tables of bounded size."""
    total, index = len(rows), snapshot.index()
    rows = rows[index.row[index.day[rows], index.ticker[rows]] == rows]
    rows = rows[np.lexsort((index.ticker[rows], index.day[rows]))]
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        entries, codes, scale = snapshot.stored(part)
        yield table(snapshot.dataset.schema, entries, codes, scale, snapshot.checksums()[part])
        if progress is not None:  # the next table was requested: this one is written
            progress(first + len(part), total)


def remove_old_versions(dataset: Any, versions: Sequence[StoreVersion], keep: int) -> tuple[int, int]:
    """Remove all but the newest `keep` and the tagged versions, by number: no clock decides.

    Args:
        dataset: the newest version.
        versions: all of them.
        keep: how many of the newest stay.

    Returns:
        Versions and bytes removed.
    """
    numbers = sorted(version.number for version in versions if not version.tags)
    newest = {version.number for version in sorted(versions, key=lambda version: version.number)[-keep:]}
    old = [number for number in numbers if number not in newest]
    if not old:
        return 0, 0
    removed = dataset.cleanup_old_versions(versions=old, error_if_tagged_old_versions=False)
    return int(removed.old_versions), int(removed.bytes_removed)


def remove_leftovers(where: Location, datasets: Sequence[Any], *, keep: int) -> None:
    """Delete data files that no version names, and checksums of files that are gone.

    Killed writers leave such files. The lock keeps our own writers out; a different program, which does not know the
    lock, may be about to commit one. So a file is deleted only if `keep` commits ago no version named it already.

    Args:
        where: a local store.
        datasets: all its versions.
        keep: commits to wait.
    """
    named = {
        file.path for dataset in datasets for fragment in dataset.get_fragments() for file in fragment.data_files()
    }
    newest = max(int(dataset.version) for dataset in datasets)
    data, record = where.root / "data", where.root / _UNREFERENCED
    unreferenced = {name: newest for name in (os.listdir(data) if data.is_dir() else ()) if name not in named}
    unreferenced |= {
        name: seen for name, seen in _read_record(record).items() if name in unreferenced and seen < newest
    }
    for name in [name for name, seen in unreferenced.items() if newest - seen >= keep]:
        os.unlink(data / name)
        del unreferenced[name]
    remove_stale_checksums(where.root, ["data", "_versions", "_deletions"])
    if unreferenced:
        write_whole(record, json.dumps(unreferenced, sort_keys=True).encode())


def _read_record(path: Path) -> dict[str, int]:
    """Return when each unreferenced file was first seen; nothing if that is not recorded or not readable."""
    try:
        return {str(name): int(seen) for name, seen in read_json(path, kind="record", fix="remove it").items()}
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return {}
