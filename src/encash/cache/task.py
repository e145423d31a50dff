"""The task, the unit of work that is sent to a different process: feature rows in, entries out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter

import numpy as np

from encash.arrays import Days, Int64, Text, UInt64
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import MismatchError, WorkError
from encash.panel.panel import FeatureRows, Panel
from encash.panel.windows import window_grid, window_starts
from encash.store.base import Entries
from encash.store.codec import round_vectors

NOT_FINITE = (
    "the model returned NaN or infinity; look for extreme feature values, or use a different precision (float32)"
)
"""Cause of the failure of a window."""
MOST_WAITING = 2
"""Batches that wait to be rounded; the encoder waits if there are more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """n cells: cell i is (day i, ticker i)."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""

    def __len__(self) -> int:
        return len(self.days)

    def take(self, positions: Int64) -> Cells:
        """Return the cells at these positions."""
        return Cells(days=self.days[positions], tickers=self.tickers[positions])


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Windows to encode, with everything that this needs except the encoder."""

    cells: Cells
    """n cells that have a window, in the order of the request."""
    places: Int64
    """Positions of these cells in the request; shape (n,)."""
    rows: FeatureRows
    end_rows: Int64
    """Row in which each cell's window ends; shape (n,)."""
    digest: UInt64
    """Digest of each window; shape (n,)."""
    lookback: int
    dtype: str
    """How vectors are rounded: a storage type."""
    encoder: str
    """Fingerprint of the encoder that the task is for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskResult:
    """Result of a task."""

    entries: Entries
    """Entries of the windows that did not fail, in the order of the task."""
    encode_seconds: float
    """Time in the encoder."""
    failed: Int64
    """Cells of the task for which the encoder returned NaN or infinity, ascending."""


def run_task(task: Task, encoder: Encoder, on_batch: Callable[[int], None] | None = None) -> TaskResult:
    """Encode the windows of a task, batch by batch, rounded as the store keeps them.

    A thread checks and rounds a batch while the next one is encoded. A window whose output is not finite fails; the
    rest of its batch does not.

    Args:
        task: the work.
        encoder: the model.
        on_batch: called with the number of encoded windows after each batch.

    Raises:
        MismatchError: the task is for a different encoder, or the output does not have the shape of the spec.
    """
    if encoder.spec.fingerprint != task.encoder:
        raise MismatchError(
            f"this worker loaded a different encoder ({encoder.spec.architecture}, {encoder.spec.engine} "
            f"{encoder.spec.precision}) from the one of the plan; load both with the same engine and precision"
        )
    output, seconds, stored = _Output(task, encoder.spec), 0.0, deque[Future[None]]()
    batches = encoder.encode_rows(task.rows.values, window_starts(task.rows, task.end_rows, task.lookback))
    with closing(batches), ThreadPoolExecutor(1, thread_name_prefix="encash-round") as thread:
        began = time.perf_counter()
        for encoded in batches:
            seconds += time.perf_counter() - began
            stored.append(thread.submit(output.store, encoded))
            if len(stored) > MOST_WAITING:
                stored.popleft().result()
            if on_batch is not None:
                on_batch(len(encoded.embedding))
            began = time.perf_counter()
        for last in stored:
            last.result()
    return output.result(seconds)


def run_whole_task(task: Task, encoder: Encoder, on_batch: Callable[[int], None] | None = None) -> TaskResult:
    """Run a task like `run_task`, for callers that need every window.

    Raises:
        WorkError: a window failed; names their number and the first.
    """
    result = run_task(task, encoder, on_batch)
    if len(result.failed):
        first = task.cells.take(result.failed[:1])
        raise WorkError(
            f"{NOT_FINITE} ({len(result.failed):,} of {len(task.cells):,} windows, the first is ({first.days[0]}, "
            f"{str(first.tickers[0])!r}))"
        )
    return result


def read_tasks(
    panel: Panel, cells: Cells, spec: EncoderSpec, dtype: str, feature_bytes: int = 32 * 2**20
) -> Iterator[Task]:
    """Read the feature rows for cells, and make tasks of them, a group of tickers at a time.

    Cells without a window are left out: `Task.places` shows which cells of the request a task has.

    Args:
        panel: the data.
        cells: n cells, n ≥ 1, of tickers that the panel has.
        spec: the encoder that will run the tasks.
        dtype: how vectors will be rounded.
        feature_bytes: maximum bytes of feature rows per task (one ticker's rows are always taken).
    """
    lookback, encoder = spec.lookback, spec.fingerprint
    names, owner = np.unique(cells.tickers, return_inverse=True)
    spans = _spans(cells.days, owner, len(names))
    for group in _groups(panel, names, spans, lookback, feature_bytes):
        positions = np.flatnonzero((owner >= group[0]) & (owner <= group[-1]))
        wanted = cells.take(positions)
        rows = _read(panel, names, spans, group, lookback)
        grid = window_grid(rows, np.unique(wanted.days), lookback)
        column = np.argsort(np.asarray(rows.tickers))[owner[positions] - group[0]]
        at = np.searchsorted(grid.days, wanted.days), column
        full = np.flatnonzero(grid.end_row[at] >= 0)
        if len(full):
            yield Task(
                cells=wanted.take(full),
                places=positions[full],
                rows=rows,
                end_rows=grid.end_row[at][full],
                digest=grid.digest[at][full],
                lookback=lookback,
                dtype=dtype,
                encoder=encoder,
            )


def join_entries(parts: list[Entries]) -> Entries:
    """Join the entries of several tasks, sorted by (day, ticker)."""
    if len(parts) == 1:
        return parts[0].sorted()
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Entries)}
    return Entries(**joined).sorted()


class _Output:
    """The entries of a task, filled in a batch at a time in order."""

    def __init__(self, task: Task, spec: EncoderSpec):
        count, horizons = len(task.cells), len(spec.horizons)
        self._entries = Entries(
            days=task.cells.days,
            tickers=task.cells.tickers,
            digest=task.digest,
            embedding=np.empty((count, spec.dim), dtype=np.float32),
            forecast=np.empty((count, horizons), dtype=np.float32),
            confidence=np.empty((count, horizons), dtype=np.float32),
        )
        self._dtype = task.dtype
        self._sound = np.ones(count, dtype=np.bool_)
        self._done = 0

    def store(self, encoded: Encoded) -> None:
        """Check and round the outputs of the next windows."""
        entries, count = self._entries, len(encoded.embedding)
        self._check_shapes(encoded)
        finite = encoded.finite()
        sound, rows = encoded.take(finite), self._done + np.flatnonzero(finite)
        entries.embedding[rows] = round_vectors(sound.embedding, self._dtype)
        entries.forecast[rows] = sound.forecast
        entries.confidence[rows] = sound.confidence
        self._sound[self._done : self._done + count] = finite
        self._done += count

    def result(self, seconds: float) -> TaskResult:
        """Return the entries of the windows that did not fail."""
        if self._done < len(self._sound):
            raise MismatchError(self._wrong(f"{self._done:,} outputs", f"{len(self._sound):,}, one per window"))
        return TaskResult(
            entries=self._entries if self._sound.all() else self._entries.take(self._sound),
            encode_seconds=seconds,
            failed=np.flatnonzero(~self._sound),
        )

    def _check_shapes(self, encoded: Encoded) -> None:
        """Refuse wrong shapes, which an assignment would silently broadcast."""
        count = min(len(encoded.embedding), len(self._sound) - self._done)
        for name in ("embedding", "forecast", "confidence"):
            expected = (count, getattr(self._entries, name).shape[1])
            if (shape := getattr(encoded, name).shape) != expected:
                raise MismatchError(self._wrong(f"{name} of shape {shape}", f"{expected} by its spec"))

    @staticmethod
    def _wrong(returned: str, expected: str) -> str:
        return f"the encoder returned {returned}; expected {expected}: test it with encash.testing.EncoderContract"


def _spans(days: Days, owner: Int64, count: int) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the first and the last requested day of each ticker."""
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
    """Iterate over groups of consecutive tickers whose rows together take at most `feature_bytes`."""
    group: list[int] = []
    most_rows = left = feature_bytes // (4 * panel.num_features)
    for number, (name, (first, last)) in enumerate(zip(names.tolist(), spans, strict=True)):
        own = panel.days(name)
        needed = int(np.searchsorted(own, last, side="right") - np.searchsorted(own, first)) + lookback
        if group and needed > left:
            yield group
            group, left = [], most_rows
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
    """Read the rows for the windows of a group: one read for all tickers with the same requested days."""
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
