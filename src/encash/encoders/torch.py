"""The reference transformer in torch: reads checkpoints, encodes windows. The only file of this room that imports
torch; knows no panel and no cache. What a checkpoint holds is written down in `encash.encoders.checkpoint`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.bins import UNIFORM, BinEdges, settle_edges, uniform_edges
from encash.encoders.checkpoint import HORIZONS, MAX_POSITIONS, Layout, choose_lookback, plain_names, read_layout
from encash.encoders.pooling import check_pooling, pool
from encash.errors import FormatError, InputError, MissingFileError
from encash.fingerprint import file_digest, fingerprint

EDGES_FILE = "adaptive_bin_edges.pt"
"""The name under which bin edges lie beside a checkpoint."""
HEAD_ROWS = 64
"""Rows of every call of the heads: with few rows a matrix product rounds by their number."""
FEWEST_TOKENS = 64
"""Sessions in the smallest call of the transformer, for the same reason."""
PRECISIONS = ("float32", "medium", "bfloat16")


class ReferenceTransformer(nn.Module):
    """The seed's model: projected sessions plus positions, a pre-norm transformer, two heads on the mean state."""

    def __init__(self, layout: Layout):
        super().__init__()
        hidden, (head_dim, outputs) = layout.hidden_dim, layout.head_shape()
        self.layout = layout
        self.input_proj = nn.Sequential(
            nn.Linear(layout.num_features, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(layout.dropout)
        )
        self.pos_encoding = nn.Parameter(0.02 * torch.randn(1, MAX_POSITIONS, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden,
            layout.num_heads,
            4 * hidden,
            dropout=layout.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.transformer = nn.TransformerEncoder(layer, layout.num_layers, enable_nested_tensor=False)
        self.pred_head = _head(hidden, head_dim, outputs, layout.dropout)
        self.confidence_head = _head(hidden, layout.confidence_dim or hidden, len(HORIZONS), layout.dropout)

    def states(self, windows: Tensor) -> Tensor:
        """The transformer's output, shape (n, L, hidden), of windows of shape (n, L, F)."""
        projected = self.input_proj(windows) + self.pos_encoding[:, : windows.shape[1]]
        states: Tensor = self.transformer(projected)
        return states

    def heads(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions and confidences in [0, 1] from the mean states (n, hidden).

        Predictions have shape (n, 4) for regression and (n, bins, 4) for classification; confidences (n, 4).
        """
        predictions: Tensor = self.pred_head(mean)
        if self.layout.num_bins:
            predictions = predictions.reshape(len(mean), self.layout.num_bins, len(HORIZONS))
        return predictions, torch.sigmoid(self.confidence_head(mean))

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions and confidences of windows of shape (n, L, F)."""
        return self.heads(self.states(windows).mean(1))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as it lies on disk, every weight accounted for."""

    layout: Layout
    weights: dict[str, Tensor]
    """float32, under their plain names."""
    extras: dict[str, Any]
    """The other keys of the file: config, train_end, feature_names, bin_edges, …"""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and account for every weight; never runs code from it.

    Raises:
        MissingFileError: no such file.
        FormatError: not a checkpoint, truncated, holding code, or with weights and config that do not fit.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), dict):
        keys = ", ".join(map(str, content))[:80] if isinstance(content, dict) else type(content).__name__
        raise FormatError(f"{path} is no checkpoint: it has no model_state_dict with weights (it holds: {keys})")
    if not isinstance(content.get("config"), dict):
        raise FormatError(f"{path} has no config (hidden_dim, num_layers, num_heads, pred_mode); save it with one")
    state = plain_names(content["model_state_dict"])
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise FormatError(f"{path}: model_state_dict holds {odd[0]!r}, which is no tensor")
    try:
        layout = read_layout(content["config"], {name: tuple(value.shape) for name, value in state.items()})
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    weights = {name: value.detach().to(torch.float32) for name, value in state.items()}
    extras = {key: value for key, value in content.items() if key != "model_state_dict"}
    return Checkpoint(layout=layout, weights=weights, extras=extras)


def load_tensors(path: str | Path) -> Any:
    """What a file of tensors and plain values holds.

    Raises:
        MissingFileError: no such file.
        FormatError: truncated, not such a file, or one that would run code.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"there is no file {path}; give the path of a checkpoint (.pt)")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n", 1)[0][:160]
        raise FormatError(
            f"{path} is not a file of tensors and plain values, and code in it is never run ({reason}); "
            "save the state dict and a config of plain values"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError, OSError) as error:
        reason = str(error).split("\n", 1)[0][:160]
        raise FormatError(f"{path} is truncated or no torch file ({reason}); copy or save it again") from None


def new_model(layout: Layout, seed: int) -> ReferenceTransformer:
    """A model with random weights; the same seed gives the same weights, and the state of other draws stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ReferenceTransformer(layout)


def save_checkpoint(path: str | Path, model: ReferenceTransformer, extras: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: the file is there whole or not at all.

    Args:
        path: where it goes; an existing file is replaced.
        model: gives ``model_state_dict`` and the model's part of ``config``.
        extras: further keys of plain values and tensors; a ``config`` among them is merged.
    """
    layout = model.layout
    config = {
        "hidden_dim": layout.hidden_dim,
        "num_layers": layout.num_layers,
        "num_heads": layout.num_heads,
        "dropout": layout.dropout,
        "pred_mode": layout.pred_mode,
        **extras.get("config", {}),
    }
    state = {name: value.detach().to("cpu", torch.float32).clone() for name, value in model.state_dict().items()}
    partial = Path(f"{path}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save({"model_state_dict": state, **extras, "config": config}, file)
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def build_model(checkpoint: Checkpoint) -> ReferenceTransformer:
    """The model of a checkpoint in evaluation mode, on the CPU in float32."""
    with torch.device("meta"):
        model = ReferenceTransformer(checkpoint.layout)
    model.load_state_dict(checkpoint.weights, strict=True, assign=True)
    return model.eval().requires_grad_(False)


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


def weights_fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of each weight, in order of the names."""
    return fingerprint({name: value.numpy() for name, value in weights.items()})


def find_edges(path: Path, checkpoint: Checkpoint, asked: Any) -> BinEdges | None:
    """The bin edges of a classifier: those asked for, else those in the checkpoint, else the file beside it.

    Args:
        path: of the checkpoint.
        checkpoint: as it was read.
        asked: a path, an array, ``"uniform"`` or None.

    Returns:
        None for regression, and for a classifier whose edges are nowhere: it has no forecasts then.

    Raises:
        MissingFileError: the file asked for is not there.
        FormatError: what is found are no edges of this model.
    """
    bins = checkpoint.layout.num_bins
    if not bins:
        return None
    if isinstance(asked, str) and asked == UNIFORM:
        return uniform_edges(bins)
    beside = path.with_name(EDGES_FILE)
    found = asked if asked is not None else checkpoint.extras.get("bin_edges")
    found = beside if found is None and beside.is_file() else found
    if isinstance(found, str | os.PathLike):
        found = load_tensors(Path(found))
    return None if found is None else settle_edges(found, num_bins=bins)


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


def _head(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


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
