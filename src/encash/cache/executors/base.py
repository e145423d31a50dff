"""The interface of executors: tasks in, futures of their results out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from encash.cache.task import Task, TaskResult


class Executor(ABC):
    """Runs `encash.cache.task.run_task`, in the manner of `concurrent.futures.Executor`.

    `encash.testing.ExecutorContract` is the test that every implementation passes.
    """

    workers: int
    """Number of tasks that run at the same time."""
    encoded: int = 0
    """Number of windows encoded so far, as far as known; for progress."""

    @abstractmethod
    def submit(self, task: Task) -> Future[TaskResult]:
        """Run a task as soon as a worker is free; an error of the task is the exception of its future."""

    @abstractmethod
    def shutdown(self) -> None:
        """Drop tasks that have not begun, end running ones early, and return when none is running."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
