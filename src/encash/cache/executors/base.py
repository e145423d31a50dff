"""The seam of the executors: tasks in, futures of their results out. Knows no store and no plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from encash.cache.task import Task, TaskResult


class Executor(ABC):
    """Runs `encash.cache.task.run_task` somewhere; shaped like `concurrent.futures.Executor`.

    `encash.testing.ExecutorContract` is the test that every implementation passes.
    """

    workers: int
    """Tasks that run at once."""
    encoded: int = 0
    """Windows encoded so far, as far as is known; for showing progress."""

    @abstractmethod
    def submit(self, task: Task) -> Future[TaskResult]:
        """Begin a task as soon as a worker is free; what it raises is the exception of its future."""

    @abstractmethod
    def shutdown(self) -> None:
        """Drop the tasks that have not begun, end the running ones early, and return when none runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
