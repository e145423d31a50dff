"""Encode every missing or stale entry: reading, encoding and committing blocks overlap."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encash.arrays import Int64
from encash.cache.executors.base import Executor
from encash.cache.plan import BlockSize, Plan, State, cut_block, work_by_day
from encash.cache.prefetch import prefetch
from encash.cache.task import NOT_FINITE, Cells, Task, TaskResult, join_entries, read_tasks
from encash.display import Shown
from encash.encoders.base import EncoderSpec
from encash.errors import EncashError, WorkError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import EmbeddingStore, Entries

FIRST_BLOCK = 256
"""Entries of the first block if the encoder's rate is unknown; blocks double in size until it has been measured."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Cells of one task that could not be encoded, and why."""

    tickers: tuple[str, ...]
    first: str
    """First day, YYYY-MM-DD."""
    last: str
    entries: int
    cause: str

    def __str__(self) -> str:
        names = ", ".join(self.tickers[:5]) + (f" and {len(self.tickers) - 5} more" if len(self.tickers) > 5 else "")
        return f"{self.entries:,} entries failed ({names}; {self.first} to {self.last}): {self.cause}"


@dataclass(frozen=True, kw_only=True, repr=False)
class BuildReport(Shown):
    """Summary of a completed build."""

    computed: int
    """Entries encoded and committed."""
    reused: int
    """Entries that were valid already."""
    unavailable: int
    """Cells without a window."""
    failed: int
    """Cells that could not be encoded; if above 0, the cache is incomplete."""
    seconds: float
    """Duration from planning to the last commit."""
    encode_seconds: float
    """Time in the encoder, summed over the workers."""
    entries_per_second: float
    """Computed entries divided by `seconds`."""
    engine: str
    precision: str
    device: str
    failures: tuple[Failure, ...] = ()

    def title(self) -> str:
        """Return one sentence."""
        failed = f", FAILED {self.failed:,}" if self.failed else ""
        return f"Build: computed {self.computed:,}, reused {self.reused:,}, unavailable {self.unavailable:,}{failed}"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the time, the engine and what failed."""
        rate = f", {self.entries_per_second:,.0f} entries/s" if self.computed else ""
        return [
            ("time", f"{self.seconds:.1f} s, {self.encode_seconds:.1f} s of it in the encoder{rate}"),
            ("encoder", f"{self.precision}, {self.engine}, {self.device}"),
            *(("failed", str(failure)) for failure in self.failures),
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """Inputs of a build."""

    panel: Panel
    spec: EncoderSpec
    store: EmbeddingStore
    plan: Plan
    executor: Executor
    device: str = "cpu"
    rate: float | None = None
    """The encoder's entries per second, if known."""
    block: BlockSize = field(default_factory=BlockSize)
    began: float = field(default_factory=time.perf_counter)
    """Start by `time.perf_counter`, which includes the planning."""


def build(work: Work, progress: Progress | None = None) -> BuildReport:
    """Encode the cells of a plan and commit them block by block.

    Reading the next rows, encoding, and writing the last block overlap. A task that fails is reported and does not
    stop the others. After an interruption at any moment, committed blocks stay, and a new plan continues from them.

    Args:
        work: the inputs; the executor stays open.
        progress: called with (done, total) entries about five times per second.

    Raises:
        WorkError: the store could not be written; earlier blocks stay.
        KeyboardInterrupt: interrupted; raised after the current commit, says how many entries are kept.
    """
    return _Builder(work, progress).run()


@dataclass(frozen=True)
class _BlockEnd:
    """Marker after the last task of a block."""


_Step = Task | Failure | _BlockEnd
_Pending = tuple[Task, Future[TaskResult]] | Failure | _BlockEnd


class _Builder:
    """One run of a build, with its counts."""

    def __init__(self, work: Work, progress: Progress | None):
        self._work = work
        self._progress = progress
        self._total = work.plan.to_compute
        self._computed = self._encoded = self._gone = 0
        self._encode_seconds = 0.0
        self._failures: list[Failure] = []
        self._block: list[Entries] = []
        self._writing: Future[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="encash-write")

    def run(self) -> BuildReport:
        """Run all steps in order; the store has only complete blocks, even after an error."""
        try:
            with closing(prefetch(self._steps(), depth=self._work.executor.workers)) as steps:
                for pending in self._submit_ahead(steps):
                    self._take(pending)
            self._wait_for_commit()
        except KeyboardInterrupt:
            self._work.executor.shutdown()
            raise KeyboardInterrupt(self._kept()) from None
        except BaseException:
            self._work.executor.shutdown()
            raise
        finally:
            self._writer.shutdown(wait=True)
        return self._report()

    def _kept(self) -> str:
        """Wait for the current commit, and report what the cache of an interrupted build holds."""
        self._writer.shutdown(wait=True)
        kept = self._work.store.snapshot().index().entries
        return f"{kept:,} entries are kept, {self._computed:,} of them from this run: the same command resumes"

    def _steps(self) -> Iterator[_Step]:
        """Iterate over the tasks, block by block, in the reading thread; a failure to read them is a step too."""
        work = self._work
        for block in _blocks(work, self._rate):
            left = np.ones(len(block), dtype=np.bool_)
            try:
                for task in read_tasks(work.panel, block, work.spec, work.store.spec.dtype, work.block.feature_bytes):
                    left[task.places] = False
                    yield task
            except (EncashError, OSError) as error:
                yield _failure(block.take(np.flatnonzero(left)), error)
            else:
                self._gone += int(left.sum())
            yield _BlockEnd()

    def _submit_ahead(self, steps: Iterator[_Step]) -> Iterator[_Pending]:
        """Submit the tasks and yield all steps in order; enough tasks are submitted to keep every worker busy."""
        waiting: deque[_Pending] = deque()
        submitted = 0
        for step in steps:
            waiting.append((step, self._work.executor.submit(step)) if isinstance(step, Task) else step)
            submitted += isinstance(step, Task)
            while submitted > self._work.executor.workers:
                pending = waiting.popleft()
                submitted -= isinstance(pending, tuple)
                yield pending
        yield from waiting

    def _take(self, pending: _Pending) -> None:
        """Wait for a step and record its result."""
        match pending:
            case _BlockEnd():
                self._commit()
            case Failure():
                self._failures.append(pending)
            case (task, future):
                self._wait(future)
                if (error := future.exception()) is not None:
                    self._failures.append(_failure(task.cells, error))
                    return
                result = future.result()
                self._encode_seconds += result.encode_seconds
                self._encoded += len(result.entries)
                if len(result.entries):
                    self._block.append(result.entries)
                if len(result.failed):
                    self._failures.append(_failure(task.cells.take(result.failed), WorkError(NOT_FINITE)))

    def _commit(self) -> None:
        """Write the block while the next one is encoded; one commit at a time."""
        self._wait_for_commit()
        if self._block:
            entries, self._block = self._block, []
            self._writing = self._writer.submit(self._write, entries)

    def _write(self, entries: list[Entries]) -> None:
        """Commit a block and count it, in the writing thread, where no interrupt comes between the two."""
        count = sum(map(len, entries))
        try:
            _write(self._work.store, entries)
        except WorkError as error:
            raise type(error)(
                f"{error}; this block of {count:,} entries counts as not committed, the {self._computed:,} before it "
                "are kept: build again to continue from there"
            ) from None
        self._computed += count

    def _wait_for_commit(self) -> None:
        if self._writing is not None:
            self._wait(self._writing)
            self._writing.result()

    def _wait(self, future: Future[Any]) -> None:
        while wait([future], timeout=0.2).not_done:
            self._show_progress()
        self._show_progress()

    def _show_progress(self) -> None:
        if self._progress is not None:
            failed = sum(failure.entries for failure in self._failures)
            self._progress(min(self._work.executor.encoded + self._gone + failed, self._total), self._total)

    def _rate(self) -> float | None:
        """Return entries per second as measured in this run, else as known before."""
        if self._encode_seconds == 0:
            return self._work.rate
        return self._work.executor.workers * self._encoded / self._encode_seconds

    def _report(self) -> BuildReport:
        seconds = time.perf_counter() - self._work.began
        return BuildReport(
            computed=self._computed,
            reused=self._work.plan.valid,
            unavailable=self._work.plan.unavailable + self._gone,
            failed=sum(failure.entries for failure in self._failures),
            seconds=seconds,
            encode_seconds=self._encode_seconds,
            entries_per_second=self._computed / seconds,
            engine=self._work.spec.engine,
            precision=self._work.spec.precision,
            device=self._work.device,
            failures=tuple(self._failures),
        )


def _blocks(work: Work, rate: Callable[[], float | None]) -> Iterator[Cells]:
    """Iterate over the cells of each block, by day and ticker."""
    plan, size = work.plan, work.block
    months, before = plan.days.astype("datetime64[M]").astype(np.int64), work_by_day(plan.state)
    start, cautious = 0, FIRST_BLOCK
    while start < before[-1]:
        most = size.most_entries(work.spec.dim, known := rate())
        if known is None:
            most, cautious = min(most, cautious), 2 * cautious
        stop = cut_block(months, before, start, size.entries, most)
        yield _cells(plan, before, start, stop)
        start = stop


def _cells(plan: Plan, before: Int64, start: int, stop: int) -> Cells:
    """Return the cells start … stop − 1 among those to compute; `before` is `work_by_day`."""
    first = int(np.searchsorted(before, start, side="right")) - 1
    last = int(np.searchsorted(before, stop))
    state = plan.state[first:last]
    day, ticker = np.nonzero((state == State.STALE) | (state == State.MISSING))
    part = slice(start - int(before[first]), stop - int(before[first]))
    return Cells(days=plan.days[day[part] + first], tickers=np.asarray(plan.tickers)[ticker[part]])


def _write(store: EmbeddingStore, parts: list[Entries]) -> int:
    """Commit a block; entries that a different builder has written from the same windows meanwhile are kept."""
    entries = join_entries(parts)
    if not store.spec.horizons:  # for example an imported cache: it stays without forecasts
        entries = replace(entries, forecast=entries.forecast[:, :0], confidence=entries.confidence[:, :0])
    return store.write(entries, skip_valid=True)


def _failure(cells: Cells, error: BaseException) -> Failure:
    return Failure(
        tickers=tuple(np.unique(cells.tickers).tolist()),
        first=str(cells.days.min()),
        last=str(cells.days.max()),
        entries=len(cells),
        cause=" ".join(f"{type(error).__name__}: {error}".split()),
    )
