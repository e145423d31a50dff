"""Calls of a model with a few fixed batch sizes, so that the output for a window does not depend on its batch."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import InputError, WorkError


class BatchedEncoder(Encoder):
    """An encoder whose model is called with `batch_size` windows, or with halves of it down to `smallest_call`.

    The kernel of a matrix product, and thus its rounding, can depend on the number of rows. Each call therefore has one
    of a few shapes for which the results were found to be bit-identical; a call with fewer windows is padded with the
    last window, and the outputs of the padding are dropped. If only one shape is safe, `smallest_call` is the batch.

    A subclass implements `call`, which raises MemoryError if memory runs out: the batch is then halved, `notify` is
    called, and the work continues.
    """

    busy_call: int
    """Minimum number of windows that use the whole device; a measurement of its speed takes at least as many."""

    def __init__(self, spec: EncoderSpec, *, batch_size: int, smallest_call: int):
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected 1 or more")
        self.spec = spec
        self.batch_size = batch_size
        self.smallest_call = min(smallest_call, batch_size)
        self.busy_call = self.smallest_call

    @abstractmethod
    def call(self, windows: Float32) -> Encoded:
        """Encode exactly one batch of one of the fixed sizes; shape (size, L, F).

        Raises:
            MemoryError: the device has too little memory for this many windows.
        """

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features); see `Encoder.encode`."""
        self.spec.check_windows(windows)
        parts: list[Encoded] = []
        start = 0
        while start < len(windows):
            size = self._size(len(windows) - start)
            try:
                part = self.call(_padded(windows[start : start + size], size))
            except MemoryError:
                self._halve(size)
                continue
            parts.append(part.take(slice(len(windows) - start)))
            start += size
        return Encoded.join(parts)

    def _sizes(self) -> list[int]:
        """Return the sizes of calls, the largest first."""
        sizes = [self.batch_size]
        while sizes[-1] // 2 >= self.smallest_call:
            sizes.append(sizes[-1] // 2)
        return sizes

    def _size(self, remaining: int) -> int:
        """Return the largest call that the remaining windows fill, or else the smallest call."""
        sizes = self._sizes()
        return next((size for size in sizes if size <= remaining), sizes[-1])

    def _halve(self, failed: int) -> None:
        """Halve the batch after a call of `failed` windows, unless a different thread has done so meanwhile."""
        if failed > self.batch_size:
            return
        if self.batch_size == 1:
            raise WorkError(
                "memory ran out with a single window; close other programs, use a different device or a smaller model"
            )
        self.batch_size //= 2
        self.smallest_call = min(self.smallest_call, self.batch_size)
        if self.notify is not None:
            self.notify(f"memory ran out: continuing with batches of {self.batch_size}")


def _padded(windows: Float32, size: int) -> Float32:
    """Return the windows followed by copies of the last one, `size` in all."""
    missing = size - len(windows)
    return windows if missing == 0 else np.concatenate([windows, np.repeat(windows[-1:], missing, axis=0)])
