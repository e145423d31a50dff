"""Compaction: which rows are written again, in what order, and which files nobody needs. Knows one version and the
store's folder; commits nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Int64
from encash.progress import Progress
from encash.store.lance.columns import table
from encash.store.lance.commit import batch_rows, is_full
from encash.store.lance.location import Place
from encash.store.lance.snapshot import Snapshot
from encash.store.local.file_checksums import remove_stale_seals

_TABLE_BATCHES = 8
"""Batches that are made at once, from one table."""
_ORPHAN_SECONDS = 3600.0


def rows_to_rewrite(snapshot: Snapshot) -> Int64:
    """Rows of the pieces that compaction joins: the small ones, and those of which rows were replaced."""
    pieces, row_bytes = snapshot.pieces, max(1, snapshot.size_bytes() // max(snapshot.count, 1))
    worn = [
        number for number, piece in enumerate(pieces) if piece.deleted is not None or not is_full(piece.rows, row_bytes)
    ]
    if len(worn) < 2 and all(pieces[number].deleted is None for number in worn):
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.arange(snapshot.starts[number], snapshot.starts[number + 1]) for number in worn])


def sorted_rows(snapshot: Snapshot, rows: Int64, progress: Progress | None) -> pa.RecordBatchReader:
    """These rows by day and ticker, of doubled keys the row that counts, made as they are asked for."""
    size = batch_rows(snapshot.spec)
    tables = _sorted_tables(snapshot, rows, _TABLE_BATCHES * size, progress)
    batches = (batch for part in tables for batch in part.to_batches(max_chunksize=size))
    return pa.RecordBatchReader.from_batches(snapshot.dataset.schema, batches)


def _sorted_tables(snapshot: Snapshot, rows: Int64, size: int, progress: Progress | None) -> Iterator[pa.Table]:
    """These rows in tables of bounded size."""
    total = len(rows)
    index, day, ticker = snapshot.index_and_places()
    rows = rows[index.row[day[rows], ticker[rows]] == rows]
    rows = rows[np.lexsort((ticker[rows], day[rows]))]
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        entries, codes, scale = snapshot.stored(part)
        yield table(snapshot.dataset.schema, entries, codes, scale, snapshot.checksums()[part])
        if progress is not None:  # asked for the next table: this one is written
            progress(first + len(part), total)


def remove_leftovers(place: Place, datasets: list[Any]) -> None:
    """Delete data files that no version names, and seals of files that are gone.

    Killed writers left such files. The lock keeps our own writers out; the age spares what a writer of another program,
    which knows no lock, is about to commit.

    Args:
        place: of a local store.
        datasets: all its versions.
    """
    named = {file.path for dataset in datasets for piece in dataset.get_fragments() for file in piece.data_files()}
    folder = place.root / "data"
    for entry in list(os.scandir(folder)) if folder.is_dir() else ():
        if entry.name not in named and time.time() - entry.stat().st_mtime > _ORPHAN_SECONDS:
            os.unlink(entry.path)
    remove_stale_seals(place.root, ["data", "_versions", "_deletions"])
