"""The contract test of executors: subclass it, return your executor, and run pytest.

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
POISON = np.float32(777.0)


class RaiseIfRun(Executor):
    """An executor that proves that nothing is computed: any task is an error."""

    workers = 1

    def submit(self, task: Task) -> Future[TaskResult]:
        """Refuse the task."""
        raise AssertionError(f"expected nothing to compute, but {len(task.cells)} windows were submitted")

    def shutdown(self) -> None:
        """Do nothing: no task runs."""


class FailsOnPoison(MeanEncoder):
    """A `MeanEncoder` that cannot encode windows that contain `POISON`."""

    def __init__(self) -> None:
        super().__init__(FEATURES, lookback=LOOKBACK, dim=5, batch_size=3)

    def encode(self, windows: np.ndarray) -> Encoded:
        """Encode windows without the poison."""
        if (windows == POISON).any():
            raise WorkError("a window contains the poison")
        return super().encode(windows)


def make_encoder() -> Encoder:
    """Return the encoder for the executor under test, in any process."""
    return FailsOnPoison()


def make_other() -> Encoder:
    """Return an encoder of the same shape that the tasks are not for."""
    return MeanEncoder(FEATURES, lookback=LOOKBACK, dim=5, seed=1)


class ExecutorContract(ABC):
    """Behavior of an executor that a build relies on. A subclass implements `make_executor`."""

    timeout_seconds = 120.0

    @abstractmethod
    def make_executor(self, make_encoder: Callable[[], Encoder]) -> Executor:
        """Return the executor under test, which runs the encoder that `make_encoder` returns."""

    def test_results_equal_those_of_run_task(self) -> None:
        """The result of each future equals that of `run_task` in this process, bit for bit."""
        tasks = _tasks()
        with self.make_executor(make_encoder) as executor:
            futures = [executor.submit(task) for task in tasks]
            results = [future.result(self.timeout_seconds) for future in futures]
        assert len(tasks) > 2, "the contract needs several tasks"
        for task, result in zip(tasks, results, strict=True):
            _assert_same(result.entries, run_task(task, make_encoder()).entries)
            assert result.encode_seconds >= 0

    def test_a_task_that_fails_does_not_stop_the_others(self) -> None:
        """The error is the exception of the task's future and keeps its message; the other tasks succeed."""
        tasks = _tasks()
        tasks[1] = _poisoned(tasks[1])
        with self.make_executor(make_encoder) as executor:
            futures = [executor.submit(task) for task in tasks]
            errors = [future.exception(self.timeout_seconds) for future in futures]
        assert [error is None for error in errors] == [number != 1 for number in range(len(tasks))]
        assert "a window contains the poison" in str(errors[1])

    def test_an_encoder_other_than_the_planned_one_is_refused(self) -> None:
        """Tasks fail on a worker with a different model, so that it never fills a cache with wrong entries."""
        with self.make_executor(make_other) as executor:
            error = executor.submit(_tasks()[0]).exception(self.timeout_seconds)
        assert isinstance(error, MismatchError), f"the error is {error!r}"

    def test_it_counts_encoded_windows(self) -> None:
        """When all futures are done, `encoded` is the number of windows of the tasks that succeeded."""
        tasks = _tasks()
        with self.make_executor(make_encoder) as executor:
            for future in [executor.submit(task) for task in tasks]:
                future.result(self.timeout_seconds)
            assert executor.encoded == sum(len(task.cells) for task in tasks)

    def test_shutdown_drops_waiting_tasks_and_may_be_repeated(self) -> None:
        """After a shutdown every future is done or canceled, and a second shutdown does nothing."""
        executor = self.make_executor(make_encoder)
        futures = [executor.submit(task) for task in _tasks()]
        executor.shutdown()
        executor.shutdown()
        assert all(future.done() or future.cancelled() for future in futures)

    def test_it_has_a_worker(self) -> None:
        """`workers` is the number of tasks that run at the same time, at least 1."""
        with self.make_executor(make_encoder) as executor:
            assert executor.workers >= 1


def _tasks() -> list[Task]:
    """Make a few small tasks from one panel."""
    random = np.random.default_rng(3)
    sessions: Days = np.arange("2024-01-01", "2024-01-21", dtype="datetime64[D]")
    rows = {name: (sessions, random.standard_normal((len(sessions), FEATURES)).astype(np.float32)) for name in "ABCDE"}
    panel = Panel(ArraySource(rows))
    days = panel.sessions[LOOKBACK:]
    cells = Cells(days=np.repeat(days, len(panel.tickers)), tickers=np.tile(np.asarray(panel.tickers), len(days)))
    one_ticker = len(panel.sessions) * FEATURES * 4
    return list(read_tasks(panel, cells, make_encoder().spec, "float32", one_ticker))


def _poisoned(task: Task) -> Task:
    values = task.rows.values.copy()
    values[-1] = POISON
    return replace(task, rows=replace(task.rows, values=values))


def _assert_same(ours: Entries, theirs: Entries) -> None:
    for field in fields(Entries):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert a.dtype.kind == b.dtype.kind, f"{field.name} is {a.dtype}, not {b.dtype}"
        assert np.array_equal(a, b), f"{field.name} differs from the result of run_task"
