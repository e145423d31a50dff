"""Encoding of cache misses: each distinct cell once, one task at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from encash.arrays import Int64
from encash.cache.lookup_stats import LookupStats
from encash.cache.prefetch import prefetch
from encash.cache.task import Cells, Task, read_tasks, run_whole_task
from encash.encoders.base import Encoder
from encash.errors import EncashError, WorkError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import Entries


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedCells:
    """Entries of one task, and the m requested cells that they belong to; several cells may share an entry."""

    entries: Entries
    cells: Int64
    """Position of each cell in the request, shape (m,)."""
    rows: Int64
    """Entry of each cell, shape (m,)."""


def encode_cells(
    cells: Cells, panel: Panel, encoder: Encoder, *, dtype: str, stats: LookupStats, progress: Progress
) -> Iterator[EncodedCells]:
    """Encode cells; those without a window in the panel are left out.

    Args:
        cells: n cells; a cell may occur twice.
        panel: the data.
        encoder: the model.
        dtype: how vectors are rounded.
        stats: counts windows and seconds.
        progress: called with (done, total) distinct cells after each batch.

    Raises:
        WorkError: the model failed; names the tickers, the days and the cause.
    """
    known = np.flatnonzero(np.isin(cells.tickers, np.asarray(panel.tickers, dtype=np.str_)))
    if len(known) == 0:
        return
    distinct, copies = _distinct(cells.take(known))
    done = 0

    def on_batch(windows: int) -> None:
        nonlocal done
        done += windows
        progress(done, len(distinct))

    for task in prefetch(read_tasks(panel, distinct, encoder.spec, dtype), 1):
        entries = _run(task, encoder, stats, on_batch)
        row = np.full(len(distinct), -1, dtype=np.int64)
        row[task.places] = np.arange(len(task.places))
        made = np.flatnonzero(row[copies] >= 0)
        yield EncodedCells(entries=entries, cells=known[made], rows=row[copies[made]])


def _run(task: Task, encoder: Encoder, stats: LookupStats, on_batch: Callable[[int], None]) -> Entries:
    try:
        result = run_whole_task(task, encoder, on_batch)
    except EncashError as error:
        names, days = np.unique(task.cells.tickers), task.cells.days
        raise WorkError(
            f"{len(days):,} windows could not be encoded ({names[0]} … {names[-1]}, {days.min()} to {days.max()}): "
            f"{error}"
        ) from error
    stats.computed += len(task.cells)
    stats.encode_seconds += result.encode_seconds
    return result.entries


def _distinct(cells: Cells) -> tuple[Cells, Int64]:
    """Return each cell once, by day and ticker, and for each requested cell the position of that one; shape (n,)."""
    names, code = np.unique(cells.tickers, return_inverse=True)
    keys, copies = np.unique(cells.days.astype(np.int64) * len(names) + code, return_inverse=True)
    return Cells(days=(keys // len(names)).astype("datetime64[D]"), tickers=names[keys % len(names)]), copies
