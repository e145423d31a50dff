"""Run tasks on Ray actors, one per GPU or per group of cores. Only the driver commits entries."""

from __future__ import annotations

import os
import queue
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from encash.cache.executors.base import Executor
from encash.cache.task import Task, TaskResult, run_task
from encash.encoders.base import Encoder
from encash.errors import InputError, MissingExtraError, WorkError

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
except ImportError:
    raise MissingExtraError("ray is not installed; pip install 'encash[ray]', or use --executor local") from None

MOST_DEATHS = 3
"""Number of workers that may die over a task before it fails."""
_POLL_SECONDS = 0.2


class RayExecutor(Executor):
    """Runs tasks on actors with one encoder each; if a worker dies, its task is repeated on a new one.

    Connects to Ray if it is initialized or RAY_ADDRESS is set, else starts it on this machine and stops it at the end.
    """

    def __init__(
        self,
        make_encoder: Callable[[], Encoder],
        *,
        workers: int | None = None,
        say: Callable[[str], None] | None = None,
    ):
        """Start the workers.

        Args:
            make_encoder: returns the model; called once in each worker.
            workers: number of workers; None takes one per GPU, or one per two cores. They share cores and GPUs equally.
            say: called with the notices of the workers' encoders, for example that memory ran out and the batch was
                halved.

        Raises:
            InputError: fewer than 1 worker.
        """
        if workers is not None and workers < 1:
            raise InputError(f"workers is {workers}; expected 1 or more, or None for the default")
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            address = "auto" if os.environ.get("RAY_ADDRESS") else None
            with warnings.catch_warnings():
                # Ray's forked process at once executes a different program, which does not use lance.
                warnings.filterwarnings("ignore", message="lance is not fork-safe")
                ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
        resources: dict[str, float] = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), resources.get("CPU", 1.0)
        self.workers = workers or gpus or max(1, int(cores) // 2)
        self._make_encoder, self._say = make_encoder, say
        self._cpus, self._gpus = max(0.1, cores / self.workers), min(1.0, gpus / self.workers)
        self._stopping = False
        self._counting = threading.Lock()
        self._tasks: queue.SimpleQueue[tuple[Task, Future[TaskResult]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._drive, daemon=True) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> Future[TaskResult]:
        """Queue a task for the next worker that is free."""
        future: Future[TaskResult] = Future()
        self._tasks.put((task, future))
        return future

    def shutdown(self) -> None:
        """End the workers and drop running tasks."""
        if self._stopping:
            return
        self._stopping = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        while not self._tasks.empty():
            if (left := self._tasks.get()) is not None:
                left[1].cancel()
        if self._owns_ray:
            ray.shutdown()

    def _drive(self) -> None:
        """Drive one worker: a thread that runs tasks on its actor until the executor is shut down."""
        actor: Any = None
        while (item := self._tasks.get()) is not None:
            task, future = item
            if self._stopping or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            actor = self._run(task, future, actor)
        if actor is not None:
            ray.kill(actor)

    def _run(self, task: Task, future: Future[TaskResult], actor: Any) -> Any:
        """Run one task to its end, on new actors if necessary; return the live actor, or None."""
        for _ in range(MOST_DEATHS):
            if actor is None:
                worker = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0)(_Worker)
                actor = worker.remote(self._make_encoder)
            try:
                result = self._wait(actor.run.remote(task))
            except RayActorError as error:
                cause, actor = error, None
                continue
            except RayTaskError as error:
                future.set_exception(error.cause if isinstance(error.cause, Exception) else WorkError(str(error)))
                return actor
            if result is None:
                future.set_exception(WorkError("the executor was shut down"))
                return actor
            with self._counting:
                self.encoded += len(task.cells)
            future.set_result(result)
            return actor
        future.set_exception(WorkError(f"{MOST_DEATHS} workers died over this task: {cause}"))
        return None

    def _wait(self, pending: Any) -> TaskResult | None:
        """Wait for the result of a task; None if the executor is shut down first."""
        while not self._stopping:
            try:
                result, notes = cast("tuple[TaskResult, list[str]]", ray.get(pending, timeout=_POLL_SECONDS))
            except GetTimeoutError:
                continue
            if notes and self._say is not None:
                self._say("; ".join(notes))
            return result
        return None


class _Worker:
    """Actor with its own process and its own encoder."""

    def __init__(self, make_encoder: Callable[[], Encoder]):
        self._notes: list[str] = []
        self._encoder = make_encoder()
        self._encoder.notify = self._notes.append

    def run(self, task: Task) -> tuple[TaskResult, list[str]]:
        """Run one task; returns the result and the encoder's notices."""
        result = run_task(task, self._encoder)
        notes = self._notes.copy()
        self._notes.clear()
        return result, notes
