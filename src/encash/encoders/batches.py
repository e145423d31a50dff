"""Calls a model with a few fixed numbers of windows, so that a window's result does not depend on its company. Knows no
framework."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import InputError, WorkError


class BatchedEncoder(Encoder):
    """An encoder whose model is called with `batch_size` windows, or with halves of it down to `smallest_call`.

    The kernels of a matrix product, and so its rounding, can depend on the number of rows. Each call therefore has one
    of a few shapes for which the bits were found equal; where a call has fewer windows than rows, the last window
    fills it and those outputs are dropped. Where only one shape is safe, `smallest_call` is the batch itself.

    A subclass implements `call`, which raises MemoryError when memory runs out: the batch is then halved, `notify` is
    told, and the work goes on.
    """

    busy_call: int
    """Windows that keep the whole device busy: a measurement of its speed takes no fewer."""

    def __init__(self, spec: EncoderSpec, *, batch_size: int, smallest_call: int):
        if batch_size < 1:
            raise InputError(f"batch size {batch_size} came; expected 1 or more")
        self.spec = spec
        self.batch_size = batch_size
        self.smallest_call = min(smallest_call, batch_size)
        self.busy_call = self.smallest_call

    @abstractmethod
    def call(self, windows: Float32) -> Encoded:
        """Encode exactly one batch of one of the fixed sizes; shape (size, L, F).

        Raises:
            MemoryError: the memory of the device does not suffice for so many windows.
        """

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features); see `Encoder.encode`."""
        self.spec.check_windows(windows)
        parts: list[Encoded] = []
        start = 0
        while start < len(windows):
            size = self._size(len(windows) - start)
            try:
                part = self.call(_filled(windows[start : start + size], size))
            except MemoryError:
                self._halve()
                continue
            parts.append(part.take(slice(len(windows) - start)))
            start += size
        return Encoded.join(parts)

    def _size(self, remaining: int) -> int:
        """The largest call that the remaining windows fill, else the smallest there is."""
        size = self.batch_size
        while size > remaining and size // 2 >= self.smallest_call:
            size //= 2
        return size

    def _halve(self) -> None:
        if self.batch_size == 1:
            raise WorkError(
                "memory ran out with a single window; close other programs, use another device or a smaller model"
            )
        self.batch_size //= 2
        self.smallest_call = min(self.smallest_call, self.batch_size)
        if self.notify is not None:
            self.notify(f"memory ran out: going on with batches of {self.batch_size}")


def _filled(windows: Float32, size: int) -> Float32:
    """These windows and the last one repeated, so that there are `size` of them."""
    missing = size - len(windows)
    return windows if missing == 0 else np.concatenate([windows, np.repeat(windows[-1:], missing, axis=0)])
