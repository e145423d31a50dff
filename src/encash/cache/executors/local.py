"""Run tasks in threads of this process, on one device or on all that the encoder has replicas on."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from encash.cache.executors.base import Executor
from encash.cache.task import Task, TaskResult, run_task
from encash.encoders.base import Encoder


class LocalExecutor(Executor):
    """Runs tasks in threads, while the caller reads and writes.

    On a CPU there is one worker, because an encoder already uses all cores. On accelerators there are as many per
    device as its encoder can serve at the same time (`Encoder.callers`).
    """

    def __init__(self, encoder: Encoder):
        replicas = encoder.replicas()
        free = [replica for _ in range(encoder.callers) for replica in replicas]
        self.workers = len(free)
        self._free: queue.SimpleQueue[Encoder] = queue.SimpleQueue()
        for replica in free:
            self._free.put(replica)
        self._stopping = False
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="encash-encode")

    def submit(self, task: Task) -> Future[TaskResult]:
        """Queue a task for the next encoder that is free."""
        return self._pool.submit(self._run, task)

    def shutdown(self) -> None:
        """Stop after the current batch."""
        self._stopping = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, task: Task) -> TaskResult:
        encoder = self._free.get()
        try:
            return run_task(task, encoder, self._on_batch)
        finally:
            self._free.put(encoder)

    def _on_batch(self, windows: int) -> None:
        if self._stopping:
            raise CancelledError("the executor was shut down")
        with self._counting:
            self.encoded += windows
