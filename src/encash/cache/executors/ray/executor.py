"""Run tasks on Ray workers, each driven by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from encash.cache.executors.base import Executor
from encash.cache.executors.ray.worker import CallFailedError, Load, StoppedError, Worker, WorkerLostError
from encash.cache.executors.ray.workers import RayWorkers
from encash.cache.task import Task, TaskResult
from encash.errors import EncashError, WorkError

MOST_DEATHS = 3
"""Number of workers that may die over a task before it fails."""


@dataclass
class _Job:
    """A task on its way."""

    task: Task
    future: Future[TaskResult] = field(default_factory=Future)
    deaths: int = 0

    def fail(self, error: BaseException) -> None:
        if not self.future.cancelled():
            self.future.set_exception(error)


class RayExecutor(Executor):
    """Runs tasks on workers with one encoder each, one task per worker at a time.

    If a worker or its node dies, its task is repeated on a different worker, and the worker is replaced if a node has
    enough free for it. A worker that cannot start, or cannot run the model as the others do, is left out with a notice;
    if none is left, the remaining tasks fail.
    """

    def __init__(
        self,
        make_encoder: Load,
        *,
        workers: int | RayWorkers | None = None,
        say: Callable[[str], None] | None = None,
    ):
        """Start the workers.

        Args:
            make_encoder: returns the model; called once in each worker.
            workers: number of workers, of which None takes one per GPU, or one per two cores; or workers whose first
                has the model, which stay connected at the end.
            say: called with notices: where the build runs, workers that are waited for or left out, and those of the
                workers' encoders, for example that memory ran out and the batch was halved.

        Raises:
            InputError: fewer than 1 worker, or the cluster does not answer.
        """
        self._owned = not isinstance(workers, RayWorkers)
        self._pool = workers if isinstance(workers, RayWorkers) else RayWorkers(workers, say=say)
        self.workers = self._pool.demand.workers
        self._make_encoder = make_encoder
        self._say = say or (lambda text: None)
        self._stopping = False
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._drive, daemon=True) for _ in range(self.workers)]
        self._driving = len(self._threads)
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> Future[TaskResult]:
        """Queue a task for the next worker that is free."""
        job = _Job(task)
        with self._lock:
            if self._failure is None:
                self._jobs.put(job)
            else:
                job.fail(self._failure)
        return job.future

    def shutdown(self) -> None:
        """End the workers and drop running tasks."""
        if self._stopping:
            return
        self._stopping = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        while (job := self._next_left()) is not None:
            if not job.future.cancel():  # it was running on a worker that died
                job.fail(StoppedError("the executor was shut down"))
        if self._owned:
            self._pool.close()

    def _drive(self) -> None:
        """Drive one worker, and a new one each time it dies, until the executor is shut down or none starts."""
        try:
            while self._serve(self._pool.start_loaded(self._make_encoder, lambda: self._stopping)):
                pass
        except WorkerLostError as error:
            self._leave(WorkError(f"a worker died while it loaded the model: {error}"))
        except StoppedError:
            pass
        except EncashError as error:
            self._leave(error)

    def _serve(self, worker: Worker) -> bool:
        """Run tasks on a worker; True if it died."""
        while (job := self._jobs.get()) is not None:
            if self._stopping or not (job.deaths or job.future.set_running_or_notify_cancel()):
                job.future.cancel()
            elif not self._run(job, worker):
                worker.end()
                return True
        worker.end()
        return False

    def _run(self, job: _Job, worker: Worker) -> bool:
        """Run one task; False if the worker died, in which case the task is queued again."""
        try:
            result, notes = worker.run(job.task)
        except WorkerLostError as error:
            self._repeat(job, error)
            return False
        except CallFailedError as error:
            job.fail(error.cause)
            return True
        except StoppedError as error:
            job.fail(error)
            return True
        for note in notes:
            self._say(note)
        with self._lock:
            self.encoded += len(job.task.cells)
        job.future.set_result(result)
        return True

    def _repeat(self, job: _Job, cause: WorkerLostError) -> None:
        """Queue a task again, unless too many workers died over it."""
        job.deaths += 1
        if job.deaths == MOST_DEATHS:
            job.fail(WorkError(f"{MOST_DEATHS} workers died over this task: {cause}"))
        else:
            self._say(f"a worker died, its task is repeated: {cause}")
            self._jobs.put(job)

    def _leave(self, cause: Exception) -> None:
        """Go on without a worker, or fail all tasks if it was the last."""
        with self._lock:
            self._driving -= 1
            if not self._driving:
                self._failure = cause
        if self._driving:
            self._say(f"continuing with {self._driving} of {self.workers} workers: {cause}")
        while not self._driving and (job := self._next_left()) is not None:
            job.fail(cause)

    def _next_left(self) -> _Job | None:
        """Return a job that is still queued; None if there is none."""
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                return job
        return None
