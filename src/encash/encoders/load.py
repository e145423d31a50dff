"""Opens an encoder by its path: the suffix says which engine reads it. Knows names alone; imports an engine when it is
asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from encash.arrays import Float32
from encash.encoders.base import Encoder
from encash.errors import FormatError, MissingExtraError

AUTO = "auto"


def load_encoder(
    path: str | Path,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    batch_size: int | None = None,
    lookback: int | None = None,
    bin_edges: str | Path | Float32 | None = None,
    pooling: str = "mean",
) -> Encoder:
    """Open an encoder.

    Args:
        path: a checkpoint of the reference transformer (``.pt``).
        device: cpu, cuda, …; auto takes a GPU where there is one.
        precision: float32, medium, bfloat16; auto decides.
        batch_size: windows in one call; None chooses by the size of the model.
        lookback: sessions in a window; None takes the model's own, else 60.
        bin_edges: of a classifier: a file, an array, or ``"uniform"`` for −25 % to +25 % in equal steps. None takes
            those in the checkpoint, else ``adaptive_bin_edges.pt`` beside it; a classifier without has no forecasts.
        pooling: mean, last or cls.

    Raises:
        MissingFileError: no such file.
        FormatError: not a model, or one whose weights do not fit its config.
        InputError: a setting that does not exist or does not fit.
        MissingExtraError: the engine is not installed.
    """
    if Path(path).suffix not in (".pt", ".pth"):
        raise FormatError(f"{path}: the suffix names no model; expected a checkpoint (.pt)")
    engine: Any = engine_module("encash.encoders.torch", package="torch", extra="torch")
    options = engine.TorchOptions(
        device=device,
        precision=precision,
        batch_size=batch_size,
        lookback=lookback,
        bin_edges=bin_edges,
        pooling=pooling,
    )
    encoder: Encoder = engine.load_torch_encoder(path, options)
    return encoder


def engine_module(module: str, *, package: str, extra: str) -> ModuleType:
    """A module that needs an optional package.

    Raises:
        MissingExtraError: the package is not installed; holds the line that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        raise MissingExtraError(
            f'this needs {package}, which is not installed; run: pip install "encash[{extra}]"'
        ) from None
