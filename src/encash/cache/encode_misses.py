"""Cells that the cache does not have, through the encoder: each distinct one once, a task at a time. Knows a panel and
an encoder; no cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from encash.arrays import Int64
from encash.cache.lookup_stats import Tally
from encash.cache.prefetch import read_ahead
from encash.cache.task import Cells, Task, read_tasks, run_whole_task
from encash.encoders.base import Encoder
from encash.errors import EncashError, WorkError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import Entries


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedCells:
    """Entries of one task, and which of the cells asked for they are: m cells, of which some may be the same."""

    entries: Entries
    places: Int64
    """Where each cell stands among those asked for, shape (m,)."""
    rows: Int64
    """The entry of each cell, shape (m,)."""


def encode_cells(
    cells: Cells, panel: Panel, encoder: Encoder, *, dtype: str, tally: Tally, progress: Progress
) -> Iterator[EncodedCells]:
    """Encode cells; those without a window in the panel do not come back.

    Args:
        cells: n cells; a cell may be asked for twice.
        panel: where windows are.
        encoder: who does it.
        dtype: how vectors are rounded.
        tally: counts windows and seconds.
        progress: told (done, total) distinct cells, after each batch.

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

    for task in read_ahead(read_tasks(panel, distinct, encoder.spec, dtype), 1):
        entries = _run(task, encoder, tally, on_batch)
        row = np.full(len(distinct), -1, dtype=np.int64)
        row[task.places] = np.arange(len(task.places))
        made = np.flatnonzero(row[copies] >= 0)
        yield EncodedCells(entries=entries, places=known[made], rows=row[copies[made]])


def _run(task: Task, encoder: Encoder, tally: Tally, on_batch: Callable[[int], None]) -> Entries:
    try:
        result = run_whole_task(task, encoder, on_batch)
    except EncashError as error:
        names, days = np.unique(task.cells.tickers), task.cells.days
        raise WorkError(
            f"{len(days):,} windows could not be encoded ({names[0]} … {names[-1]}, {days.min()} to {days.max()}): "
            f"{error}"
        ) from error
    tally.computed += len(task.cells)
    tally.encode_seconds += result.encode_seconds
    return result.entries


def _distinct(cells: Cells) -> tuple[Cells, Int64]:
    """Each cell once, by day and ticker, and for each cell asked for the place of its one; shape (n,)."""
    names, code = np.unique(cells.tickers, return_inverse=True)
    keys, copies = np.unique(cells.days.astype(np.int64) * len(names) + code, return_inverse=True)
    return Cells(days=(keys // len(names)).astype("datetime64[D]"), tickers=names[keys % len(names)]), copies
