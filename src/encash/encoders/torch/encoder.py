"""The encoder that runs the reference transformer in torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32, Int64
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.bins import BinEdges
from encash.encoders.pooling import pool
from encash.encoders.torch.batch_tuning import LARGEST_TUNED, SMALLEST_TUNED, measure_call, same_bits, tune_batch
from encash.encoders.torch.cuda_graphs import recorder
from encash.encoders.torch.device_feed import IN_FLIGHT, DeviceFeed, Lanes, lanes_of
from encash.encoders.torch.devices import least_free_memory, memory_errors, release_memory, synchronize
from encash.encoders.torch.int8 import LARGEST_WEIGHT
from encash.encoders.torch.model import ReferenceTransformer
from encash.encoders.torch.precision import states_function
from encash.encoders.torch.threads import map_on_threads, only_matmul_precision
from encash.errors import reason
from encash.progress import rate_text

HEAD_ROWS = 64
"""Rows of every call of the heads on a CPU: with few rows the rounding of a matrix product depends on their number."""
FEWEST_TOKENS = 32
"""Sessions in the smallest call of the transformer on a CPU, for the same reason."""
LEAST_GAIN_OF_GRAPH = 1.05
"""Recorded calls replace the others if they are at least this many times as fast."""
CALLERS = 2
"""Tasks at the same time on an accelerator: one prepares its rows and rounds its outputs while the other computes."""
WINDOWS_PER_THREAD = 4
"""Minimum number of windows with which a core reaches its full speed."""


class TorchEncoder(BatchedEncoder):
    """A reference transformer that encodes windows.

    On a CPU the output for a window is bit-identical in every batch, as measured in each precision for every number of
    windows with at least 32 sessions in all. On an accelerator the kernels depend on the number of rows, so every call
    has the same shape, or one for which `tune_batch` found the same bits.
    """

    also_on: tuple[torch.device, ...] = ()
    """Devices of `replicas`, of the same kind as the first."""

    def __init__(
        self,
        model: ReferenceTransformer,
        spec: EncoderSpec,
        *,
        edges: BinEdges | None = None,
        batch_size: int | None = None,
        lanes: Lanes | None = None,
    ):
        """Make the encoder.

        Args:
            model: on its device.
            spec: its identity.
            edges: bin edges of a classifier.
            batch_size: windows per call; None takes the default of the device.
            lanes: queues of the device; None takes those of an accelerator, and computes on a CPU without any.
        """
        self.device = model.pos_encoding.device
        self.model, self._edges = model, edges
        self.graphs: dict[int, Callable[[Tensor], Tensor]] = {}
        """Recorded calls of an accelerator by their number of windows."""
        if lanes is None and self.device.type != "cpu":
            lanes = lanes_of(self.device)
        self._feed = None
        if lanes is None:
            self._threads = torch.get_num_threads()
            batch_size = self._threads * default_batch_size(spec) if batch_size is None else batch_size
            super().__init__(spec, batch_size=batch_size, smallest_call=fewest_windows(spec))
            self.busy_call = min(WINDOWS_PER_THREAD * self._threads, batch_size)
        else:
            batch_size = SMALLEST_TUNED if batch_size is None else batch_size
            super().__init__(spec, batch_size=batch_size, smallest_call=batch_size)
            width = spec.dim + 2 * len(spec.horizons)
            self._feed = DeviceFeed(lanes, self.device, self._compute, lookback=spec.lookback, width=width)
            self.callers = CALLERS
        self._states = states_function(model, spec.precision)
        self._midpoints = None if edges is None else torch.from_numpy(edges.returns).to(self.device)
        synchronize(self.device)  # the weights are there before a different lane reads them

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features); see `Encoder.encode`."""
        if self._feed is None:
            return super().encode(windows)
        self.spec.check_windows(windows)
        parts, most, lookback = list[Encoded](), IN_FLIGHT * self.batch_size, self.spec.lookback
        for first in range(0, len(windows), most):
            rows = windows[first : first + most].reshape(-1, self.spec.num_features)
            parts += self.encode_rows(rows, np.arange(0, len(rows), lookback))
        return Encoded.join(parts)

    def encode_rows(self, rows: Float32, starts: Int64) -> Generator[Encoded, None, None]:
        """Encode windows of shared rows; see `Encoder.encode_rows`. An accelerator gathers them."""
        if self._feed is None:
            yield from super().encode_rows(rows, starts)
            return
        self.spec.check_windows(rows[None, : self.spec.lookback])
        with closing(self._feed.run(rows, starts, self._size, self._out_of_memory)) as outputs:
            for output in outputs:
                yield self._split(output)

    def replicas(self) -> tuple[Encoder, ...]:
        """Return this encoder, and one on each of the devices `also_on` that can hold it."""
        return (self, *filter(None, map(self._replica, self.also_on)))

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch on a CPU, one part per core; see `BatchedEncoder.call`."""
        parts = max(1, min(self._threads, len(windows) // self.smallest_call))
        with memory_errors():
            split = np.array_split(windows, parts)
            return Encoded.join(map_on_threads(self._encoded, split, matmul=self._matmul))

    def outputs(self, windows: Tensor, head_rows: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return embedding (n, D), forecast and confidence (n, H) of windows on the device.

        Args:
            windows: shape (n, L, F).
            head_rows: rows per call of the heads; None calls them once with all rows.
        """
        states = self._states(windows)
        mean = states.mean(1)
        embedding = mean if self.spec.pooling == "mean" else pool(states, self.spec.pooling)
        if not self.spec.horizons:
            nothing = mean.new_empty(mean.shape[0], 0)
            return embedding, nothing, nothing
        return embedding, *self._forecasts(mean, head_rows)

    @property
    def _matmul(self) -> str:
        return "medium" if self.spec.precision == "medium" else "highest"

    @torch.inference_mode()
    def _encoded(self, windows: Float32) -> Encoded:
        batch = torch.from_numpy(np.array(windows, dtype=np.float32))  # a copy: windows may be read-only
        embedding, forecast, confidence = (output.numpy() for output in self.outputs(batch, HEAD_ROWS))
        return Encoded(embedding=embedding, forecast=forecast, confidence=confidence)

    @torch.inference_mode()
    def _compute(self, windows: Tensor) -> Tensor:
        """Return the outputs of windows on an accelerator side by side, shape (n, D + 2·H)."""
        with memory_errors(), only_matmul_precision(self._matmul):
            if (recorded := self.graphs.get(len(windows))) is not None:
                return recorded(windows)
            return self.joined_outputs(windows)

    def settle(self, *, fixed_batch: bool = False) -> str:
        """Choose the batch of an accelerator, and on CUDA measure whether recorded calls pay; return what was found.

        Args:
            fixed_batch: keep the batch; a larger one than is tuned is not recorded, as it may not fit the memory.
        """
        found = list[str]()
        if not fixed_batch:
            least_free_memory(self.device)  # forgets what was taken at load
            trials = tune_batch(self, lambda: least_free_memory(self.device))
            tried = ", ".join(f"{trial.batch}: {rate_text(trial.entries_per_second)}" for trial in trials)
            found.append(f"tuned to batch {self.batch_size} ({tried})")
        if self.device.type == "cuda" and self.batch_size <= LARGEST_TUNED and self.record(recorder()):
            found.append("in CUDA graphs")
        return ", ".join(found)

    def record(self, make: Callable[[Callable[[Tensor], Tensor], Tensor], Callable[[Tensor], Tensor]]) -> bool:
        """Replace the calls of each size by recorded ones if those are faster and give the same bits.

        Args:
            make: returns the recorded call of a function for an example of its argument.
        """
        before, batch = measure_call(self), (self.batch_size, self.smallest_call)
        try:
            with memory_errors(), only_matmul_precision(self._matmul):
                for size in self._sizes():
                    example = torch.zeros(size, self.spec.lookback, self.spec.num_features, device=self.device)
                    self.graphs[size] = make(self.joined_outputs, example)
        except (MemoryError, RuntimeError):  # also a driver or a library that cannot record
            self.graphs.clear()
            release_memory(self.device)
            return False
        after = measure_call(self)
        if not self.graphs:  # they left too little memory for the calls
            self.batch_size, self.smallest_call = batch
            return False
        if before[0] < LEAST_GAIN_OF_GRAPH * after[0] or not same_bits(after[1], before[1]):
            self.graphs.clear()
            return False
        self.entries_per_second = self.batch_size / after[0]
        return True

    def joined_outputs(self, windows: Tensor) -> Tensor:
        """Return the three `outputs` side by side."""
        return torch.cat([output.to(torch.float32) for output in self.outputs(windows)], dim=1)

    def _split(self, output: Float32) -> Encoded:
        """Return a copy of the parts of joined outputs."""
        first, second = self.spec.dim, self.spec.dim + len(self.spec.horizons)
        parts = output[:, :first], output[:, first:second], output[:, second:]
        embedding, forecast, confidence = (part.copy() for part in parts)
        return Encoded(embedding=embedding, forecast=forecast, confidence=confidence)

    def _out_of_memory(self, failed: int) -> None:
        self.graphs.clear()
        release_memory(self.device)
        self._halve(failed)

    def _replica(self, device: torch.device) -> TorchEncoder | None:
        """Return the same encoder on a device; None, with a notice, if other programs use that device."""
        try:
            model = copy.deepcopy(self.model).to(device)
            other = TorchEncoder(model, self.spec, edges=self._edges, batch_size=self.batch_size)
        except RuntimeError as error:
            if self.notify is not None:
                self.notify(f"continuing without {device}{reason(error)}")
            return None
        other.smallest_call, other.busy_call = self.smallest_call, self.busy_call
        if self.graphs:
            other.record(recorder())
        other.source_digest, other.choice, other.notify = self.source_digest, self.choice, self.notify
        other.entries_per_second = self.entries_per_second
        return other

    def _forecasts(self, mean: Tensor, head_rows: int | None) -> tuple[Tensor, Tensor]:
        """Return expected returns and confidences from the mean states."""
        if head_rows is None:
            return self._heads(mean)
        parts = [self._heads(rows, fill=head_rows) for rows in torch.split(mean, head_rows)]
        return torch.cat([forecast for forecast, _ in parts]), torch.cat([confidence for _, confidence in parts])

    def _heads(self, mean: Tensor, fill: int = 0) -> tuple[Tensor, Tensor]:
        missing = max(0, fill - mean.shape[0]) if fill else 0
        rows = torch.cat([mean, mean[-1:].expand(missing, -1)]) if missing else mean
        predictions, confidence = self.model.heads(rows)
        if self._midpoints is not None:
            predictions = (torch.softmax(predictions, dim=1) * self._midpoints[:, None]).sum(1)
        return predictions[: mean.shape[0]], confidence[: mean.shape[0]]


def fewest_windows(spec: EncoderSpec) -> int:
    """Return the number of windows in the smallest call on a CPU."""
    return math.ceil(FEWEST_TOKENS / spec.lookback)


def default_batch_size(spec: EncoderSpec) -> int:
    """Return the windows per core in a call, 16 to 64: as many as keep the widest activation in the cache (4 MB).

    In integers it is half as many: the steps between the products read and write activations more often.
    """
    fitting = 4 * 2**20 // (4 * 4 * spec.dim * spec.lookback)
    batch: int = 1 << (min(max(fitting, 16), 64).bit_length() - 1)
    return batch // 2 if spec.precision in LARGEST_WEIGHT else batch
