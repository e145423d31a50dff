"""Run tasks in one thread of this process."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from encash.cache.executors.base import Executor
from encash.cache.task import Task, TaskResult, run_task
from encash.encoders.base import Encoder


class LocalExecutor(Executor):
    """Runs tasks one after the other in a thread, while the caller reads and writes.

    There is one worker, because an encoder already uses all cores, or the whole device.
    """

    workers = 1

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._stopping = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encash-encode")

    def submit(self, task: Task) -> Future[TaskResult]:
        """Queue a task."""
        return self._pool.submit(run_task, task, self._encoder, self._on_batch)

    def shutdown(self) -> None:
        """Stop after the current batch."""
        self._stopping = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _on_batch(self, windows: int) -> None:
        if self._stopping:
            raise CancelledError("the executor was shut down")
        self.encoded += windows
