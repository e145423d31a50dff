"""The test that every executor passes: subclass it, give it your executor, run pytest. And one that must not run.
Knows the seam alone.

class TestMyExecutor(ExecutorContract):
    def make_executor(self, make_encoder):
        return MyExecutor(make_encoder)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import fields, replace

import numpy as np

from encash.arrays import Days
from encash.cache.executors.base import Executor
from encash.cache.task import Cells, Task, TaskResult, read_tasks, run_task
from encash.encoders.base import Encoded, Encoder
from encash.errors import MismatchError, WorkError
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.store.base import Entries
from encash.testing.encoders import MeanEncoder

LOOKBACK, FEATURES = 4, 3


class RaiseIfRun(Executor):
    """An executor for what must compute nothing: any task is an error."""

    workers = 1

    def submit(self, task: Task) -> Future[TaskResult]:
        """Refuse the task."""
        raise AssertionError(f"nothing was to be computed, and {len(task.cells)} windows were submitted")

    def shutdown(self) -> None:
        """Nothing runs."""


class FailsOn(MeanEncoder):
    """A `MeanEncoder` that cannot encode windows holding a certain number."""

    def __init__(self, poison: float):
        super().__init__(FEATURES, lookback=LOOKBACK, dim=5, batch_size=3)
        self._poison = np.float32(poison)

    def encode(self, windows: np.ndarray) -> Encoded:
        """Encode windows without the poison."""
        if (windows == self._poison).any():
            raise WorkError("a window holds the poison")
        return super().encode(windows)


POISON = 777.0


def make_encoder() -> Encoder:
    """The encoder that the executor under test runs, in whatever process."""
    return FailsOn(POISON)


def make_other() -> Encoder:
    """An encoder of the same shape that the tasks are not for."""
    return MeanEncoder(FEATURES, lookback=LOOKBACK, dim=5, seed=1)


class ExecutorContract(ABC):
    """What a build relies on. A subclass implements `make_executor`."""

    timeout_seconds = 120.0

    @abstractmethod
    def make_executor(self, make_encoder: Callable[[], Encoder]) -> Executor:
        """The executor under test, running what `make_encoder` gives."""

    def test_results_are_those_of_the_task_function(self) -> None:
        """Each future gives, entry by entry and bit for bit, what `run_task` gives here."""
        tasks = _tasks()
        with self.make_executor(make_encoder) as executor:
            futures = [executor.submit(task) for task in tasks]
            results = [future.result(self.timeout_seconds) for future in futures]
        assert len(tasks) > 2, "the contract tests several tasks"
        for task, result in zip(tasks, results, strict=True):
            _assert_same(result.entries, run_task(task, make_encoder()).entries)
            assert result.encode_seconds >= 0

    def test_a_task_that_fails_does_not_stop_the_others(self) -> None:
        """The error is the exception of its future and keeps its message; the tasks around it succeed."""
        tasks = _tasks()
        tasks[1] = _poisoned(tasks[1])
        with self.make_executor(make_encoder) as executor:
            futures = [executor.submit(task) for task in tasks]
            errors = [future.exception(self.timeout_seconds) for future in futures]
        assert [error is None for error in errors] == [place != 1 for place in range(len(tasks))]
        assert "a window holds the poison" in str(errors[1])

    def test_another_encoder_than_planned_is_refused(self) -> None:
        """A worker whose model is not the plan's fails its tasks; it fills no cache with something else."""
        with self.make_executor(make_other) as executor:
            error = executor.submit(_tasks()[0]).exception(self.timeout_seconds)
        assert isinstance(error, MismatchError), f"it gave {error!r}"

    def test_it_counts_what_was_encoded(self) -> None:
        """Once all futures are done, `encoded` is the number of windows of the tasks that succeeded."""
        tasks = _tasks()
        with self.make_executor(make_encoder) as executor:
            for future in [executor.submit(task) for task in tasks]:
                future.result(self.timeout_seconds)
            assert executor.encoded == sum(len(task.cells) for task in tasks)

    def test_shutdown_drops_what_has_not_begun_and_may_come_twice(self) -> None:
        """After a shutdown every future is done or dropped, and a second shutdown does nothing."""
        executor = self.make_executor(make_encoder)
        futures = [executor.submit(task) for task in _tasks()]
        executor.shutdown()
        executor.shutdown()
        assert all(future.done() or future.cancelled() for future in futures)

    def test_it_has_a_worker(self) -> None:
        """`workers` says how many tasks run at once."""
        with self.make_executor(make_encoder) as executor:
            assert executor.workers >= 1


def _tasks() -> list[Task]:
    """A few small tasks over one panel."""
    panel = _panel()
    days = panel.sessions[LOOKBACK:]
    cells = Cells(days=np.repeat(days, len(panel.tickers)), tickers=np.tile(np.asarray(panel.tickers), len(days)))
    one_ticker = len(panel.sessions) * FEATURES * 4
    return list(read_tasks(panel, cells, make_encoder().spec, "float32", one_ticker))


def _panel() -> Panel:
    random = np.random.default_rng(3)
    days: Days = np.arange("2024-01-01", "2024-01-21", dtype="datetime64[D]")
    rows = {name: (days, random.standard_normal((len(days), FEATURES)).astype(np.float32)) for name in "ABCDE"}
    return Panel(ArraySource(rows))


def _poisoned(task: Task) -> Task:
    values = task.rows.values.copy()
    values[-1] = POISON
    return replace(task, rows=replace(task.rows, values=values))


def _assert_same(ours: Entries, theirs: Entries) -> None:
    for field in fields(Entries):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert a.dtype.kind == b.dtype.kind, f"{field.name} is {a.dtype}, not {b.dtype}"
        assert np.array_equal(a, b), f"{field.name} differs from what run_task gives"
