"""The workers of a build: how many, what each demands, and a bounded wait until they start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from encash.cache.executors.ray.cluster import Cluster
from encash.cache.executors.ray.demand import fitting_demand
from encash.cache.executors.ray.worker import CallFailedError, Load, Loaded, RemoteEncoder, StoppedError, Worker
from encash.encoders.base import EncoderSpec
from encash.errors import EncashError, MismatchError, WorkError

WAIT_SECONDS = 120.0
"""How long a worker may take to start, unless a different time is requested."""
_NOTICE_SECONDS = 10.0
"""Time between two notices that a worker has not started."""


class RayWorkers:
    """A cluster, and equal workers that fit its nodes.

    The first worker loads the model as requested, so that engine, precision and batch are measured where the work is
    done; the others are loaded with what was chosen there (`check`).
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        use_gpus: bool = True,
        wait_seconds: float = WAIT_SECONDS,
        say: Callable[[str], None] | None = None,
    ):
        """Connect to Ray and compute the demands.

        Args:
            workers: number of workers; None takes one per GPU, or one per two cores.
            use_gpus: False for an encoder that runs on a CPU.
            wait_seconds: how long a worker may take to start.
            say: called with one line that says where the build runs, and with notices while it waits.

        Raises:
            InputError: fewer than 1 worker, or the cluster does not answer.
        """
        fitting_demand([], workers)  # refuses an invalid number before anything is started
        self.wait_seconds = wait_seconds
        self._say = say or (lambda text: None)
        self._first: Worker | None = None
        self._spec: EncoderSpec | None = None
        self._lock = threading.Lock()
        self._notice_due = 0.0
        self.cluster = Cluster()
        try:
            self.demand = fitting_demand(self.cluster.nodes(), workers, use_gpus=use_gpus)
            count = "1 worker" if self.demand.workers == 1 else f"{self.demand.workers} workers"
            each = " each" if self.demand.workers > 1 else ""
            self._say(f"Ray at {self.cluster}: {count} with {self.demand}{each}")
        except BaseException:
            self.cluster.close()
            raise

    def load_first(self, load: Load) -> RemoteEncoder:
        """Load the model in the first worker, and return its encoder.

        Raises:
            EncashError: the model could not be loaded there.
            WorkError: no worker starts in time.
        """
        self._first = self._first or self.start(lambda: False)
        try:
            loaded = self._first.load(load)
        except CallFailedError as error:
            raise _in_worker(error.cause, self._first.node()) from None
        self._spec = loaded.spec
        return RemoteEncoder(self._first, loaded)

    def start_loaded(self, load: Load, stopped: Callable[[], bool]) -> Worker:
        """Return a worker that has the model: the first one, or a new one.

        Raises:
            WorkError: it does not start in time, or dies.
            StoppedError: `stopped` became true first.
            MismatchError: it cannot run the model as the first worker does; names its node.
        """
        with self._lock:
            first, self._first = self._first, None
        if first is not None:
            first.stopped = stopped
            return first
        worker = self.start(stopped)
        try:
            self._check(worker, worker.load(load))
        except CallFailedError as error:
            worker.end()
            raise self._refusal(error.cause, worker.node()) from None
        except EncashError:
            worker.end()
            raise
        return worker

    def start(self, stopped: Callable[[], bool]) -> Worker:
        """Start a worker and wait until it runs.

        Raises:
            WorkError: it does not start in time; names the demand and what the cluster has.
            StoppedError: `stopped` became true first.
        """
        began, worker = time.monotonic(), Worker(self.demand, stopped)
        try:
            while not worker.wait(min(0.5, self.wait_seconds)):
                waited = time.monotonic() - began
                if stopped():
                    raise StoppedError("the executor was shut down")
                if waited >= self.wait_seconds:
                    raise WorkError(
                        f"no worker started within {waited:.0f} s: it demands {self.demand}, of which Ray at "
                        f"{self.cluster} has {self.cluster.free()} free; wait for other jobs, add nodes, or change "
                        "--workers or --ray-wait"
                    )
                self._notice(waited)
            worker.node()
        except BaseException:
            worker.end()
            raise
        return worker

    def close(self) -> None:
        """End the first worker if no executor has taken it, and disconnect."""
        if self._first is not None:
            self._first.end()
        self.cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _notice(self, waited: float) -> None:
        """Report every ten seconds that workers have not started; one notice for all."""
        with self._lock:
            due = waited >= _NOTICE_SECONDS and time.monotonic() >= self._notice_due
            if due:
                self._notice_due = time.monotonic() + _NOTICE_SECONDS
        if due:
            self._say(
                f"waiting {waited:.0f} of at most {self.wait_seconds:.0f} s for a worker with {self.demand} to start; "
                f"Ray at {self.cluster.address} has {self.cluster.free()} free"
            )

    def _check(self, worker: Worker, loaded: Loaded) -> None:
        with self._lock:
            self._spec = self._spec or loaded.spec
        if loaded.spec.fingerprint != self._spec.fingerprint:
            raise MismatchError(
                f"node {loaded.node} loaded {_way(loaded.spec)}, the first worker {_way(self._spec)}: nodes must agree "
                "on one; give --engine and --precision, and the same model on every node"
            )

    def _refusal(self, cause: Exception, node: str) -> Exception:
        if self._spec is None:
            return _in_worker(cause, node)
        return MismatchError(f"node {node} cannot run {_way(self._spec)} as the first worker does: {cause}")


def _in_worker(cause: Exception, node: str) -> Exception:
    """Return an error of loading a model, with the node where it happened."""
    if isinstance(cause, EncashError):
        return type(cause)(f"{cause} (on node {node})")
    text = str(cause).partition("\n")[0]
    return WorkError(f"node {node} could not load the model: {type(cause).__name__}: {text}")


def _way(spec: EncoderSpec) -> str:
    return f"{spec.engine} in {spec.precision} ({spec.architecture})"
