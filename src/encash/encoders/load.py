"""Opens an encoder by its path or name: the suffix says which engine reads it. Knows names alone; imports an engine
when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from encash.arrays import Float32
from encash.encoders import named
from encash.encoders.base import Encoder
from encash.encoders.checkpoint import DEFAULT_LOOKBACK
from encash.encoders.extras import engine_module
from encash.errors import FormatError, InputError
from encash.progress import Progress

AUTO = "auto"


def load_encoder(  # noqa: PLR0913  # each is a setting of its own that a user gives by name
    path: str | Path,
    *,
    device: str = AUTO,
    engine: str = AUTO,
    precision: str = AUTO,
    batch_size: int | None = None,
    lookback: int | None = None,
    default_lookback: int = DEFAULT_LOOKBACK,
    bin_edges: str | Path | Float32 | None = None,
    pooling: str = "mean",
    sample: Callable[[int], Float32] | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Open an encoder.

    Args:
        path: a checkpoint of the reference transformer (``.pt``), an ONNX model (``.onnx``), a program exported by
            torch (``.pt2``), ``module:attribute`` of your own class, the name of an entry point ``encash.encoders``, or
            ``chronos:FOLDER?features=F&feature=I`` for a pretrained time-series model.
        device: cpu, cuda, …; auto takes a GPU where there is one.
        engine: what runs a checkpoint: torch or onnxruntime (in float32, exported at each load). auto is part of the
            measurement where the precision is auto too, else torch.
        precision: float32, medium, bfloat16, int8; auto takes the fastest that agrees with float32, by a short
            measurement (`Encoder.choice` says what was found). A cache keeps engine and precision: give them back to
            open the same encoder.
        batch_size: windows in one call; None chooses by the size of the model, and with auto by that measurement.
        lookback: sessions in a window; None takes the model's own, else `default_lookback`.
        default_lookback: sessions in a window where the model does not say.
        bin_edges: of a classifier: a file, an array, or ``"uniform"`` for −25 % to +25 % in equal steps. None takes
            those in the checkpoint, else ``adaptive_bin_edges.pt`` beside it; a classifier without has no forecasts.
        pooling: mean, last or cls.
        sample: gives windows of your data (n, L, F) for a lookback L: auto then measures speed and agreement on them;
            None measures on random windows.
        progress: where engine or precision of a checkpoint is measured, or it is exported, told the steps done and
            those known so far; the reading is the first.

    Raises:
        MissingFileError: no such file.
        FormatError: not a model, or one whose weights do not fit its config.
        InputError: a setting that does not exist or does not fit.
        MissingExtraError: the engine is not installed.
    """
    asked = _Asked(
        device=device,
        engine=engine,
        precision=precision,
        batch_size=batch_size,
        lookback=lookback,
        default_lookback=default_lookback,
        bin_edges=bin_edges,
        pooling=pooling,
        sample=sample,
        progress=progress,
    )
    if is_checkpoint(path):
        return _checkpoint(path, asked)
    if str(path).startswith("chronos:"):
        asked.refuse("bin_edges", own={"engine": "chronos", "precision": "float32"})
        module = engine_module("encash.encoders.chronos", package="torch", extra="chronos")
        return _model_file(module.load_chronos_encoder, str(path), asked)
    match Path(path).suffix:
        case ".onnx":
            asked.refuse("bin_edges", own={"engine": "onnxruntime", "precision": "float32"})
            module = import_module("encash.encoders.onnx")
            return _model_file(module.load_onnx_encoder, path, asked)
        case ".pt2":
            asked.refuse("bin_edges", own={"engine": "torch.export", "precision": "float32"})
            module = engine_module("encash.encoders.torch.program", package="torch", extra="torch")
            return _model_file(module.load_program_encoder, path, asked)
    return _named(str(path), asked)


def is_checkpoint(path: str | Path) -> bool:
    """Whether a model is a checkpoint by its name: of such a one the caller may choose engine and precision.

    >>> is_checkpoint("model.pt"), is_checkpoint("model.onnx")
    (True, False)
    """
    return Path(path).suffix in (".pt", ".pth")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the caller set."""

    device: str
    engine: str
    precision: str
    batch_size: int | None
    lookback: int | None
    default_lookback: int
    bin_edges: str | Path | Float32 | None
    pooling: str
    sample: Callable[[int], Float32] | None
    progress: Progress | None

    def refuse(self, *names: str, own: Mapping[str, Any] | None = None) -> None:
        """Refuse settings that the model does not have, and other values than its own where it has one.

        Raises:
            InputError: one of them was set.
        """
        usual = {"device": AUTO, "engine": AUTO, "precision": AUTO, "pooling": "mean"}
        own = own or {}
        for name in (*names, *own):
            value = getattr(self, name)
            if value is not None and value not in (usual.get(name), own.get(name)):
                raise InputError(
                    f"{name} {value!r} came and cannot be set for this model; it is {own.get(name, 'as it was made')}"
                )


def _checkpoint(path: str | Path, asked: _Asked) -> Encoder:
    module: Any = engine_module("encash.encoders.torch", package="torch", extra="torch")
    options = module.TorchOptions(
        device=asked.device,
        engine=asked.engine,
        precision=asked.precision,
        batch_size=asked.batch_size,
        lookback=asked.lookback,
        default_lookback=asked.default_lookback,
        bin_edges=asked.bin_edges,
        pooling=asked.pooling,
        sample=asked.sample,
        progress=asked.progress,
    )
    encoder: Encoder = module.load_torch_encoder(path, options)
    return encoder


def _model_file(load: Any, path: str | Path, asked: _Asked) -> Encoder:
    outputs: Any = import_module("encash.encoders.outputs")
    options = outputs.ModelOptions(
        batch_size=asked.batch_size,
        lookback=asked.lookback,
        default_lookback=asked.default_lookback,
        pooling=asked.pooling,
    )
    encoder: Encoder = load(path, options, asked.device)
    return encoder


def _named(name: str, asked: _Asked) -> Encoder:
    entry_point = named.find_entry_point(name)
    if entry_point is None and not named.is_attribute(name):
        raise FormatError(
            f"{name} names no model; expected a checkpoint (.pt), .onnx, .pt2, module:attribute or the name of an "
            f"installed encoder (entry point {named.GROUP})"
        )
    encoder = named.load_entry_point(entry_point) if entry_point is not None else named.load_attribute(name)
    spec = encoder.spec
    own = {"engine": spec.engine, "precision": spec.precision, "lookback": spec.lookback, "pooling": spec.pooling}
    asked.refuse("device", "bin_edges", own=own)
    encoder.batch_size = asked.batch_size or encoder.batch_size
    return encoder
