"""Encodes windows with the reference transformer. Knows the model and its precision; no panel and no cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.bins import BinEdges
from encash.encoders.checkpoint import HORIZONS, Layout, choose_lookback
from encash.encoders.pooling import check_pooling, pool
from encash.encoders.torch.files import build_model, find_edges, read_checkpoint, weights_fingerprint
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import InputError
from encash.fingerprint import file_digest

HEAD_ROWS = 64
"""Rows of every call of the heads: with few rows a matrix product rounds by their number."""
FEWEST_TOKENS = 64
"""Sessions in the smallest call of the transformer, for the same reason."""
PRECISIONS = ("float32", "medium", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """How a checkpoint is run; everything but device and batch size is part of its identity."""

    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    lookback: int | None = None
    bin_edges: Any = None
    pooling: str = "mean"


def load_torch_encoder(path: str | Path, options: TorchOptions) -> TorchEncoder:
    """The encoder of a checkpoint.

    Raises:
        MissingFileError: no such file.
        FormatError: see `read_checkpoint`; or bin edges that are none.
        InputError: an unknown device, precision or pooling; a window longer than the model's positions.
    """
    checkpoint = read_checkpoint(path)
    edges = find_edges(Path(path), checkpoint, options.bin_edges)
    names = checkpoint.extras.get("feature_names")
    train_end = checkpoint.extras.get("train_end")
    spec = EncoderSpec(
        architecture=checkpoint.layout.architecture,
        weights=weights_fingerprint(checkpoint.weights),
        lookback=choose_lookback(options.lookback, checkpoint.extras["config"]),
        num_features=checkpoint.layout.num_features,
        dim=checkpoint.layout.hidden_dim,
        horizons=HORIZONS if edges is not None or not checkpoint.layout.num_bins else (),
        pooling=check_pooling(options.pooling),
        feature_names=tuple(names) if names else None,
        forecast_rule=_forecast_rule(checkpoint.layout, edges),
        precision=_check_precision(options.precision),
        train_end=str(train_end) if train_end else None,
    )
    device = choose_device(options.device)
    encoder = TorchEncoder(build_model(checkpoint), spec, edges=edges, device=device, batch_size=options.batch_size)
    encoder.source_digest = file_digest(path)
    return encoder


def choose_device(device: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one.

    Raises:
        InputError: torch has no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0][:120]
        raise InputError(f"device {device!r} is not usable here ({reason}); give cpu, or auto") from None
    return chosen


class TorchEncoder(Encoder):
    """A reference transformer that encodes windows.

    The result for a window is the same bits whatever it is encoded with (CPU): a cache then holds what a live run
    computes. See `_calls` for how.
    """

    def __init__(
        self,
        model: ReferenceTransformer,
        spec: EncoderSpec,
        *,
        edges: BinEdges | None = None,
        device: torch.device | None = None,
        batch_size: int | None = None,
    ):
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size {batch_size} came; expected 1 or more")
        self.device = device or torch.device("cpu")
        self.batch_size = batch_size or default_batch_size(spec.lookback, spec.dim, self.device)
        self.spec = spec
        self._model = model.to(self.device)
        self._midpoints = None if edges is None else torch.from_numpy(edges.returns).to(self.device)

    @torch.inference_mode()
    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features); see `Encoder.encode`."""
        self.spec.check_windows(windows)
        pooled, mean = self._pooled(windows)
        forecast, confidence = self._forecasts(mean)
        return Encoded(
            embedding=pooled.cpu().numpy(), forecast=forecast.cpu().numpy(), confidence=confidence.cpu().numpy()
        ).check_finite()

    def _pooled(self, windows: Float32) -> tuple[Tensor, Tensor]:
        """The embeddings and the mean states, each (n, dim); one and the same where the pooling is the mean."""
        means: list[Tensor] = []
        others: list[Tensor] = []
        for start, stop, size in self._calls(len(windows)):
            states = self._states(_filled(torch.tensor(windows[start:stop], dtype=torch.float32), size))
            means.append(states.mean(1)[: stop - start])
            if self.spec.pooling != "mean":
                others.append(pool(states, self.spec.pooling)[: stop - start])
        mean = torch.cat(means)
        return (torch.cat(others) if others else mean), mean

    def _states(self, batch: Tensor) -> Tensor:
        """The transformer's output for one call, in float32."""
        return self._model.states(batch.to(self.device))

    def _calls(self, count: int) -> Iterator[tuple[int, int, int]]:
        """(start, stop, rows) of each call of the transformer.

        Each call has one of a few fixed shapes; rows beyond stop − start repeat the last window and their outputs are
        dropped. On a GPU the kernels, and so the rounding, depend on the number of rows: there is one shape alone. On
        a CPU measurements show the same bits for any number of rows from about 50 sessions on: halves of the batch
        are shapes as well, so that one missing window does not cost a whole batch.
        """
        sizes = [self.batch_size]
        while self.device.type == "cpu" and sizes[-1] // 2 * self.spec.lookback >= FEWEST_TOKENS:
            sizes.append(sizes[-1] // 2)
        start = 0
        while start < count:
            size = next((size for size in sizes if size <= count - start), sizes[-1])
            stop = min(start + size, count)
            yield start, stop, size
            start = stop

    def _forecasts(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Expected returns and confidences from the mean states, always in calls of `HEAD_ROWS` rows."""
        if not self.spec.horizons:
            nothing = torch.empty(len(mean), 0)
            return nothing, nothing
        parts = [self._head_call(mean[at : at + HEAD_ROWS]) for at in range(0, len(mean), HEAD_ROWS)]
        return torch.cat([forecast for forecast, _ in parts]), torch.cat([confidence for _, confidence in parts])

    def _head_call(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        predictions, confidence = self._model.heads(_filled(mean, HEAD_ROWS))
        if self._midpoints is not None:
            predictions = (torch.softmax(predictions, dim=1) * self._midpoints[:, None]).sum(1)
        return predictions[: len(mean)], confidence[: len(mean)]


def default_batch_size(lookback: int, dim: int, device: torch.device) -> int:
    """Windows in a call: on a CPU as many as keep the widest activation in the cache (4 MB), from 16 to 64."""
    if device.type != "cpu":
        return 256
    fitting = 4 * 2**20 // (4 * 4 * dim * lookback)
    return 1 << (min(max(fitting, 16), 64).bit_length() - 1)


def _filled(rows: Tensor, size: int) -> Tensor:
    """These rows and their last one repeated, so that there are `size` of them."""
    missing = size - len(rows)
    return rows if missing == 0 else torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def _forecast_rule(layout: Layout, edges: BinEdges | None) -> str:
    if not layout.num_bins:
        return "regression: the outputs are returns"
    return "none: no bin edges" if edges is None else edges.rule


def _check_precision(precision: str) -> str:
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} came; expected auto or one of {', '.join(PRECISIONS)}")
    return precision
