"""Windows of rows on a device: uploaded once, gathered there, computed and fetched, all at the same time.

Work is submitted to three lanes (queues). Each keeps its order, and they wait for each other only at marks: while a
batch is computed, the rows of the next task are uploaded and the outputs of the previous batch are fetched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32, Int64
from encash.encoders.torch.devices import memory_errors

IN_FLIGHT = 3
"""Batches that are submitted before the host waits for the first: one is computed, two wait for the device."""


class Lane(Enum):
    """A queue of work on a device."""

    UPLOAD = "upload"
    COMPUTE = "compute"
    FETCH = "fetch"


class Mark(Protocol):
    """A place in a lane; it is reached when all work before it is done."""

    def synchronize(self) -> None:
        """Wait until it is reached."""


class Lanes(ABC):
    """The lanes of one device."""

    overlapping = False
    """True if copies may go on after they were submitted."""

    @abstractmethod
    def submit(self, lane: Lane, work: Callable[[], None], after: Sequence[Any] = ()) -> Mark:
        """Queue work.

        Args:
            lane: the queue.
            work: calls torch; memory that it uses must be kept until the mark is reached.
            after: marks that must be reached before the work begins.

        Returns:
            the mark after the work.
        """

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the host that the device copies from and to."""
        return torch.empty(shape, dtype=dtype)


class _Reached:
    """The mark of work that is done."""

    def synchronize(self) -> None:
        """Return at once."""


class PlainLanes(Lanes):
    """The lanes of a device with one queue, or of a CPU: work is done, or in its order, when it is submitted."""

    def submit(self, lane: Lane, work: Callable[[], None], after: Sequence[Any] = ()) -> Mark:
        """Do the work."""
        work()
        return _Reached()


class StreamLanes(Lanes):
    """The lanes of a device with streams and events (CUDA, XPU)."""

    overlapping = True

    def __init__(self, device: torch.device, library: Any = None):
        """Make a stream for each lane.

        Args:
            device: with its number.
            library: torch's module of the kind of device; None looks it up.
        """
        self._library = getattr(torch, device.type) if library is None else library
        self._streams = {lane: self._library.Stream(device) for lane in Lane}

    def submit(self, lane: Lane, work: Callable[[], None], after: Sequence[Any] = ()) -> Mark:
        """Enqueue the work in the lane's stream."""
        stream = self._streams[lane]
        with self._library.stream(stream):
            for mark in after:
                stream.wait_event(mark)
            work()
            event: Mark = stream.record_event()
        return event

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return pinned memory, which is copied without a stop of the host."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)


def lanes_of(device: torch.device) -> Lanes:
    """Return the lanes of a device."""
    return StreamLanes(device) if device.type in ("cuda", "xpu") else PlainLanes()


@dataclass(kw_only=True)
class _Batch:
    """A submitted call of `count` windows and padding."""

    count: int
    fetched: Tensor
    """Memory of the host, shape (size, width)."""
    outputs: list[Tensor]
    """One tensor on the device, kept until it is fetched."""
    done: Mark


class DeviceFeed:
    """Encodes windows of rows on a device."""

    def __init__(
        self, lanes: Lanes, device: torch.device, compute: Callable[[Tensor], Tensor], *, lookback: int, width: int
    ):
        """Set up the feed.

        Args:
            lanes: of the device.
            device: on which the function computes.
            compute: returns the outputs (n, width) of windows (n, L, F), float32; may raise MemoryError.
            lookback: L.
            width: numbers per output.
        """
        self.lanes, self.device, self.compute = lanes, device, compute
        self.lookback, self.width = lookback, width

    def run(
        self, rows: Float32, starts: Int64, size_of: Callable[[int], int], out_of_memory: Callable[[int], None]
    ) -> Generator[Float32, None, None]:
        """Yield the outputs of all windows, a call at a time in order.

        Args:
            rows: shape (R, F).
            starts: first row of each window, shape (n,).
            size_of: returns the windows in the next call for the number of remaining ones, which never grows; a call is
                padded with the last window.
            out_of_memory: called with the windows in a call for which memory ran out, so that the next is smaller.

        Yields:
            shape (count, width), memory that is overwritten when the next one is requested.
        """
        task = _Task(self, rows, starts, size_of(len(starts)))
        try:
            while (left := task.left) or task.flight:
                failed = 0
                if left and len(task.flight) < IN_FLIGHT:
                    try:
                        task.submit(size := size_of(left))
                    except MemoryError:
                        failed = size
                    else:
                        continue
                for _ in range(len(task.flight) if failed else 1):
                    yield from task.take()
                if failed:
                    out_of_memory(failed)
        finally:
            task.finish()


class _Task:
    """One run of a feed."""

    def __init__(self, feed: DeviceFeed, rows: Float32, starts: Int64, largest: int):
        lanes = feed.lanes
        padded = np.concatenate([starts, np.repeat(starts[-1:], largest - 1)])
        self._feed, self._count, self._largest = feed, len(starts), largest
        self._on_host = lanes.host_buffer(rows.shape, torch.float32), lanes.host_buffer(padded.shape, torch.int64)
        for buffer, array in zip(self._on_host, (rows, padded), strict=True):
            np.copyto(buffer.numpy(), array)
        self._on_device: list[Tensor] = []
        self._uploaded: Mark | None = None
        self._submitted = 0
        self.flight: deque[_Batch] = deque()
        self._ring: list[Tensor] = []

    @property
    def left(self) -> int:
        """Windows that have not been submitted."""
        return self._count - self._submitted

    def submit(self, size: int) -> None:
        """Submit the next call.

        Raises:
            MemoryError: the device has too little memory; nothing was submitted.
        """
        lanes = self._feed.lanes
        if self._uploaded is None:
            self._uploaded = lanes.submit(Lane.UPLOAD, self._upload)
        first, outputs = self._submitted, list[Tensor]()
        computed = lanes.submit(
            Lane.COMPUTE, lambda: outputs.append(self._feed.compute(self._windows(first, size))), (self._uploaded,)
        )
        fetched = (buffer := self._buffer())[:size]
        done = lanes.submit(Lane.FETCH, lambda: _copy(outputs[0], fetched, lanes.overlapping), (computed,))
        self.flight.append(_Batch(count=min(size, self.left), fetched=buffer, outputs=outputs, done=done))
        self._submitted += self.flight[-1].count

    def take(self) -> Generator[Float32, None, None]:
        """Wait for the first batch in flight and yield its outputs."""
        batch = self.flight.popleft()
        batch.done.synchronize()
        yield batch.fetched.numpy()[: batch.count]
        self._ring.append(batch.fetched)

    def finish(self) -> None:
        """Wait until the device no longer uses the memory of the task, which an error or a caller may have ended."""
        for batch in self.flight:
            batch.done.synchronize()
        if self.left and self._uploaded is not None:
            self._feed.lanes.submit(Lane.COMPUTE, _nothing, (self._uploaded,)).synchronize()

    def _upload(self) -> None:
        lanes = self._feed.lanes
        with memory_errors():
            self._on_device = [buffer.to(self._feed.device, non_blocking=lanes.overlapping) for buffer in self._on_host]

    def _windows(self, first: int, size: int) -> Tensor:
        """Gather windows, shape (size, L, F)."""
        rows, starts = self._on_device
        with memory_errors():
            sessions = torch.arange(self._feed.lookback, device=rows.device)
            return rows[starts[first : first + size, None] + sessions]

    def _buffer(self) -> Tensor:
        """Return memory of the host for one batch, used before if possible."""
        if self._ring:
            return self._ring.pop()
        return self._feed.lanes.host_buffer((self._largest, self._feed.width), torch.float32)


def _copy(output: Tensor, fetched: Tensor, overlapping: bool) -> None:
    fetched.copy_(output, non_blocking=overlapping)


def _nothing() -> None:
    """Do no work."""
