"""The one piece of work that crosses the border of a process: feature rows in, entries out. Knows arrays and an
encoder; no file, no store, no other block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter

import numpy as np

from encash.arrays import Days, Int64, Text, UInt64
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import MismatchError, WorkError
from encash.panel.panel import FeatureRows, Panel
from encash.panel.windows import gather_windows, window_grid
from encash.store.base import Entries
from encash.store.codec import round_vectors

NOT_FINITE = (
    "the model gave NaN or infinity; look for extreme values in the features, or use another precision (float32)"
)
"""Why a window has failed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """n cells (day i, ticker i)."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""

    def __len__(self) -> int:
        return len(self.days)

    def take(self, places: Int64) -> Cells:
        """The cells at these places."""
        return Cells(days=self.days[places], tickers=self.tickers[places])


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Windows to encode, with all that is needed to do it."""

    cells: Cells
    """n cells that have a window, in the order in which they came."""
    places: Int64
    """Where these cells stood among those the tasks were cut from; shape (n,)."""
    rows: FeatureRows
    end_rows: Int64
    """Where among the rows each cell's window ends; shape (n,)."""
    digest: UInt64
    """The digest of each window; shape (n,)."""
    lookback: int
    dtype: str
    encoder: str
    """Fingerprint of the encoder that is to do it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskResult:
    """What a task gave."""

    entries: Entries
    """Of the windows that gave one, in the order of the task."""
    encode_seconds: float
    """Spent in the encoder alone."""
    failed: Int64
    """Cells of the task for which the encoder gave NaN or infinity, ascending."""


def run_task(task: Task, encoder: Encoder, on_batch: Callable[[int], None] | None = None) -> TaskResult:
    """Encode the windows of a task, batch by batch, rounded as the store keeps them.

    A window whose output is not finite has failed, and no other with it.

    Args:
        task: the work.
        encoder: who does it.
        on_batch: told how many windows were encoded, after each batch.

    Raises:
        MismatchError: another encoder than the task is for, or output of another shape than its spec says.
    """
    if encoder.spec.fingerprint != task.encoder:
        raise MismatchError(
            f"this worker loaded another encoder ({encoder.spec.architecture}, {encoder.spec.engine} "
            f"{encoder.spec.precision}) than the one that the work was planned for; load both in one way, engine "
            "and precision included"
        )
    entries, spec, seconds, start = _empty(task, encoder), encoder.spec, 0.0, 0
    sound = np.ones(len(task.cells), dtype=np.bool_)
    while start < len(task.cells):
        stop = min(start + encoder.batch_size, len(task.cells))
        windows = gather_windows(task.rows, task.end_rows[start:stop], task.lookback)
        began = time.perf_counter()
        encoded = encoder.encode(windows)
        seconds += time.perf_counter() - began
        _check_shapes(encoded, stop - start, spec.dim, len(spec.horizons))
        sound[start:stop] = finite = encoded.finite()
        encoded, rows = encoded.take(finite), start + np.flatnonzero(finite)
        entries.embedding[rows] = round_vectors(encoded.embedding, task.dtype)
        entries.forecast[rows] = encoded.forecast
        entries.confidence[rows] = encoded.confidence
        if on_batch is not None:
            on_batch(stop - start)
        start = stop
    return TaskResult(
        entries=entries if sound.all() else entries.take(sound),
        encode_seconds=seconds,
        failed=np.flatnonzero(~sound),
    )


def run_whole_task(task: Task, encoder: Encoder, on_batch: Callable[[int], None] | None = None) -> TaskResult:
    """As `run_task`, for whoever needs every window.

    Raises:
        WorkError: a window has failed; says how many did, and the first.
    """
    result = run_task(task, encoder, on_batch)
    if len(result.failed):
        first = task.cells.take(result.failed[:1])
        raise WorkError(
            f"{NOT_FINITE} ({len(result.failed):,} of {len(task.cells):,} windows, of which ({first.days[0]}, "
            f"{str(first.tickers[0])!r}) is the first)"
        )
    return result


def read_tasks(
    panel: Panel, cells: Cells, spec: EncoderSpec, dtype: str, feature_bytes: int = 32 * 2**20
) -> Iterator[Task]:
    """Read what is needed to encode cells, a group of tickers at a time.

    Cells without a window are left out: compare the places of the tasks with what was asked.

    Args:
        panel: where the feature rows are.
        cells: n cells, n ≥ 1; of tickers that the panel has.
        spec: the encoder that will do them.
        dtype: how vectors will be kept.
        feature_bytes: the feature rows of one task take no more than this (one ticker's rows always fit).
    """
    lookback, encoder = spec.lookback, spec.fingerprint
    names, owner = np.unique(cells.tickers, return_inverse=True)
    spans = _spans(cells.days, owner, len(names))
    for group in _groups(panel, names, spans, lookback, feature_bytes):
        places = np.flatnonzero((owner >= group[0]) & (owner <= group[-1]))
        wanted = cells.take(places)
        rows = _read(panel, names, spans, group, lookback)
        grid = window_grid(rows, np.unique(wanted.days), lookback)
        column = np.argsort(np.asarray(rows.tickers))[owner[places] - group[0]]
        at = np.searchsorted(grid.days, wanted.days), column
        full = np.flatnonzero(grid.end_row[at] >= 0)
        if len(full):
            yield Task(
                cells=wanted.take(full),
                places=places[full],
                rows=rows,
                end_rows=grid.end_row[at][full],
                digest=grid.digest[at][full],
                lookback=lookback,
                dtype=dtype,
                encoder=encoder,
            )


def join_entries(parts: list[Entries]) -> Entries:
    """Entries of several tasks as one, sorted by (day, ticker)."""
    if len(parts) == 1:
        return parts[0].sorted()
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Entries)}
    return Entries(**joined).sorted()


def _empty(task: Task, encoder: Encoder) -> Entries:
    count, horizons = len(task.cells), len(encoder.spec.horizons)
    return Entries(
        days=task.cells.days,
        tickers=task.cells.tickers,
        digest=task.digest,
        embedding=np.empty((count, encoder.spec.dim), dtype=np.float32),
        forecast=np.empty((count, horizons), dtype=np.float32),
        confidence=np.empty((count, horizons), dtype=np.float32),
    )


def _check_shapes(encoded: Encoded, count: int, dim: int, horizons: int) -> None:
    """An assignment would stretch a wrong shape over the right one without a word."""
    for name, width in (("embedding", dim), ("forecast", horizons), ("confidence", horizons)):
        if (shape := getattr(encoded, name).shape) != (count, width):
            raise MismatchError(
                f"the encoder gave {name} of shape {shape}; its spec says {(count, width)}: "
                "run encash.testing.EncoderContract against it"
            )


def _spans(days: Days, owner: Int64, count: int) -> list[tuple[np.datetime64, np.datetime64]]:
    """The first and the last day that is asked of each ticker."""
    numbers = days.astype(np.int64)
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, owner, numbers)
    np.maximum.at(last, owner, numbers)
    return list(zip(first.astype("datetime64[D]"), last.astype("datetime64[D]"), strict=True))


def _groups(
    panel: Panel,
    names: Text,
    spans: list[tuple[np.datetime64, np.datetime64]],
    lookback: int,
    feature_bytes: int,
) -> Iterator[list[int]]:
    """Numbers of neighbouring tickers whose rows fit together."""
    group: list[int] = []
    room = feature_bytes // (4 * panel.num_features)
    left = room
    for number, (name, (first, last)) in enumerate(zip(names.tolist(), spans, strict=True)):
        own = panel.days(name)
        needed = int(np.searchsorted(own, last, side="right") - np.searchsorted(own, first)) + lookback
        if group and needed > left:
            yield group
            group, left = [], room
        group.append(number)
        left -= needed
    yield group


def _read(
    panel: Panel,
    names: Text,
    spans: list[tuple[np.datetime64, np.datetime64]],
    group: list[int],
    lookback: int,
) -> FeatureRows:
    """The rows that the windows of a group need: one read for all tickers that are asked for the same days."""
    by_span = sorted((spans[number], str(names[number])) for number in group)
    parts = [
        panel.rows(tuple(name for _, name in same), start=first, end=last, lookback=lookback)
        for (first, last), same in groupby(by_span, key=itemgetter(0))
    ]
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([0, *(len(part.days) for part in parts)])
    starts = [part.offsets[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    return FeatureRows(
        tickers=tuple(name for part in parts for name in part.tickers),
        offsets=np.concatenate([*starts, ends[-1:]]).astype(np.int64),
        days=np.concatenate([part.days for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )
