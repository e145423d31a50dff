"""One worker: a Ray actor with its own process and its own encoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from encash.arrays import Float32
from encash.cache.executors.ray.demand import Demand
from encash.cache.task import Task, TaskResult, run_task
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.options import GPU_SHARE
from encash.errors import WorkError
from encash.store.base import Entries

Load = Callable[[], Encoder]
"""Returns a model; called in a worker."""
T = TypeVar("T", Encoded, Entries)
_POLL_SECONDS: Final = 0.2


class WorkerLostError(WorkError):
    """A worker, its node, or its result is gone; a different worker can do the same."""


class StoppedError(WorkError):
    """The executor was shut down."""


class CallFailedError(WorkError):
    """A call raised an error in the worker."""

    def __init__(self, cause: Exception):
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Description of the encoder that a worker loaded."""

    node: str
    """Address of the worker's node."""
    spec: EncoderSpec
    batch_size: int
    source_digest: str | None
    entries_per_second: float | None
    choice: str
    device: str


class Worker:
    """The driver's side of a worker. It has at most one task, and results do not stay in Ray's object store."""

    def __init__(self, demand: Demand, stopped: Callable[[], bool] = lambda: False):
        """Request the actor, which starts as soon as a node has the demanded resources.

        Args:
            demand: its CPUs and GPUs.
            stopped: True ends all waiting.
        """
        actor = ray.remote(num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0)(_Actor)
        self._actor: Any = actor.remote(demand.gpus)
        self._started = self._actor.node.remote()
        self.stopped = stopped

    def wait(self, seconds: float) -> bool:
        """Wait until it runs; False if it does not yet."""
        return bool(ray.wait([self._started], timeout=seconds)[0])

    def node(self) -> str:
        """Return the address of its node."""
        return str(self._get(self._started))

    def load(self, load: Load) -> Loaded:
        """Load its encoder."""
        loaded: Loaded = self._get(self._actor.load.remote(load))
        return loaded

    def encode(self, windows: Float32) -> tuple[Encoded, list[str]]:
        """Encode windows; returns the output and the encoder's notices."""
        encoded, notes = self._get(self._actor.encode.remote(windows))
        return _owned(encoded), notes

    def run(self, task: Task) -> tuple[TaskResult, list[str]]:
        """Run a task; returns the result and the encoder's notices."""
        result, notes = self._get(self._actor.run.remote(task))
        return replace(result, entries=_owned(result.entries), failed=result.failed.copy()), notes

    def end(self) -> None:
        """End the process, and free its resources."""
        ray.kill(self._actor)

    def _get(self, pending: Any) -> Any:
        """Wait for the answer of a call.

        Raises:
            CallFailedError: it raised.
            WorkerLostError: the worker died.
            StoppedError: `stopped` became true first.
        """
        while not self.stopped():
            try:
                return ray.get(pending, timeout=_POLL_SECONDS)
            except GetTimeoutError:
                continue
            except RayTaskError as error:
                if isinstance(error.cause, RayError):
                    raise WorkerLostError(_first_line(error.cause)) from None
                cause = error.cause if isinstance(error.cause, Exception) else WorkError(_first_line(error))
                raise CallFailedError(cause) from None
            except RayError as error:
                raise WorkerLostError(_first_line(error)) from None
        raise StoppedError("the executor was shut down")


class RemoteEncoder(Encoder):
    """The encoder of a worker, called from the driver."""

    def __init__(self, worker: Worker, loaded: Loaded):
        self._worker = worker
        self.spec, self.batch_size, self.device = loaded.spec, loaded.batch_size, loaded.device
        self.source_digest, self.choice = loaded.source_digest, loaded.choice
        self.entries_per_second = loaded.entries_per_second

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows in the worker."""
        self.spec.check_windows(windows)
        try:
            encoded, notes = self._worker.encode(windows)
        except CallFailedError as error:
            raise error.cause from None
        if self.notify is not None:
            for note in notes:
                self.notify(note)
        return encoded


class _Actor:
    """The process."""

    def __init__(self, gpus: float) -> None:
        if 0 < gpus < 1:
            os.environ[GPU_SHARE] = str(gpus)  # before the first tensor
        self._notes: list[str] = []
        self._encoder: Encoder | None = None

    def node(self) -> str:
        return str(ray.util.get_node_ip_address())

    def load(self, load: Load) -> Loaded:
        self._encoder = encoder = load()
        encoder.notify = self._notes.append
        return Loaded(
            node=self.node(),
            spec=encoder.spec,
            batch_size=encoder.batch_size,
            source_digest=encoder.source_digest,
            entries_per_second=encoder.entries_per_second,
            choice=encoder.choice,
            device=str(getattr(encoder, "device", "cpu")),
        )

    def encode(self, windows: Float32) -> tuple[Encoded, list[str]]:
        assert self._encoder is not None
        return self._encoder.encode(windows), self._new_notes()

    def run(self, task: Task) -> tuple[TaskResult, list[str]]:
        assert self._encoder is not None
        return run_task(task, self._encoder), self._new_notes()

    def _new_notes(self) -> list[str]:
        notes, self._notes[:] = self._notes.copy(), []
        return notes


def _owned(arrays: T) -> T:
    """Copy arrays out of Ray's object store, where they would keep its memory until they are deleted."""
    return type(arrays)(**{field.name: np.array(getattr(arrays, field.name)) for field in fields(arrays)})


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
