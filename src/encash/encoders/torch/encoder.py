"""The encoder that runs the reference transformer in torch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.base import Encoded, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.bins import BinEdges
from encash.encoders.pooling import pool
from encash.encoders.torch.model import ReferenceTransformer
from encash.encoders.torch.precision import states_function
from encash.encoders.torch.threads import map_on_threads, matmul_precision
from encash.errors import InputError, reason

HEAD_ROWS = 64
"""Rows of every call of the heads on a CPU: with few rows the rounding of a matrix product depends on their number."""
FEWEST_TOKENS = 32
"""Sessions in the smallest call of the transformer on a CPU, for the same reason."""
GPU_BATCH = 256
WINDOWS_PER_THREAD = 4
"""The fewest windows with which a core reaches its full speed."""
MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


def choose_device(device: str) -> torch.device:
    """Return the device of a name; ``auto`` is a GPU if there is one.

    Raises:
        InputError: torch has no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not usable here{reason(error)}; give cpu, or auto") from None
    return chosen


class TorchEncoder(BatchedEncoder):
    """A reference transformer that encodes windows.

    On a CPU the output for a window is bit-identical in every batch, as measured in each precision for every number of
    windows with at least 32 sessions in all. On a GPU the kernels depend on the number of rows, so every call has the
    same shape.
    """

    def __init__(
        self,
        model: ReferenceTransformer,
        spec: EncoderSpec,
        *,
        edges: BinEdges | None = None,
        batch_size: int | None = None,
    ):
        self.device = model.pos_encoding.device
        on_cpu = self.device.type == "cpu"
        self._threads = torch.get_num_threads() if on_cpu else 1
        if batch_size is None:
            batch_size = self._threads * default_batch_size(spec) if on_cpu else GPU_BATCH
        smallest_call = fewest_windows(spec) if on_cpu else batch_size
        super().__init__(spec, batch_size=batch_size, smallest_call=smallest_call)
        self.busy_call = min(WINDOWS_PER_THREAD * self._threads, batch_size) if on_cpu else batch_size
        self.model = model
        self._states = states_function(model, spec.precision)
        self._midpoints = None if edges is None else torch.from_numpy(edges.returns).to(self.device)

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch, on a CPU one part per core; see `BatchedEncoder.call`."""
        matmul = "medium" if self.spec.precision == "medium" else "highest"
        try:
            if self.device.type != "cpu":
                with matmul_precision(matmul):
                    return self._encoded(windows)
            parts = max(1, min(self._threads, len(windows) // self.smallest_call))
            return Encoded.join(map_on_threads(self._encoded, np.array_split(windows, parts), matmul=matmul))
        except RuntimeError as error:
            if not is_memory_error(error):
                raise
            raise MemoryError(str(error)) from None

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

    @torch.inference_mode()
    def _encoded(self, windows: Float32) -> Encoded:
        head_rows = HEAD_ROWS if self.device.type == "cpu" else None
        outputs = self.outputs(self._on_device(windows), head_rows)
        embedding, forecast, confidence = (output.cpu().numpy() for output in outputs)
        return Encoded(embedding=embedding, forecast=forecast, confidence=confidence)

    def _on_device(self, windows: Float32) -> Tensor:
        batch = torch.from_numpy(np.array(windows, dtype=np.float32))  # a copy: windows may be read-only
        if self.device.type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch.to(self.device)

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


def is_memory_error(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory ran out; on a CPU there is no type for it."""
    return any(words in str(error) for words in MEMORY_WORDS)


def fewest_windows(spec: EncoderSpec) -> int:
    """Return the number of windows in the smallest call on a CPU."""
    return math.ceil(FEWEST_TOKENS / spec.lookback)


def default_batch_size(spec: EncoderSpec) -> int:
    """Return the windows per core in a call, 16 to 64: as many as keep the widest activation in the cache (4 MB).

    In int8 it is half as many: the steps between the products read and write activations more often.
    """
    fitting = 4 * 2**20 // (4 * 4 * spec.dim * spec.lookback)
    batch: int = 1 << (min(max(fitting, 16), 64).bit_length() - 1)
    return batch // 2 if spec.precision == "int8" else batch
