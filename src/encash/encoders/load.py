"""Loading of an encoder by its path or name. The suffix selects the engine, which is imported only then."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

from encash.arrays import Float32
from encash.encoders import named
from encash.encoders.base import Encoder
from encash.encoders.checkpoint import DEFAULT_LOOKBACK
from encash.encoders.optional_import import import_optional
from encash.encoders.options import AUTO, LoadOptions, Sample
from encash.errors import FormatError
from encash.progress import Progress


def load_encoder(  # noqa: PLR0913  # each is a separate setting that a user gives by name
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
    sample: Sample | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Load an encoder.

    Args:
        path: a checkpoint of the reference transformer (``.pt``), an ONNX model (``.onnx``), a program exported by
            torch (``.pt2``), ``module:attribute`` of your own class, the name of an entry point ``encash.encoders``, or
            ``chronos:FOLDER?features=F&feature=I`` for a pretrained time-series model.
        device: cpu, cuda, …; auto uses a GPU if there is one.
        engine: the engine of a checkpoint: torch or onnxruntime (in float32, exported at each load). auto includes the
            engine in the measurement if the precision is auto too, and else is torch.
        precision: float32, medium, bfloat16 or int8; auto uses the fastest that agrees with float32, by a short
            measurement (see `Encoder.choice`). A cache records engine and precision: pass them to load the same encoder
            again.
        batch_size: windows per call; None chooses by the size of the model, and with auto by that measurement.
        lookback: sessions in a window; None uses the model's own, else `default_lookback`.
        default_lookback: sessions in a window if the model does not set them.
        bin_edges: of a classifier: a file, an array, or ``"uniform"`` for −25% to +25% in equal steps. None uses those
            in the checkpoint, else ``adaptive_bin_edges.pt`` beside it; without edges a classifier has no forecasts.
        pooling: mean, last or cls.
        sample: returns windows of your data (n, L, F) for a lookback L, on which auto measures speed and agreement;
            None measures on random windows.
        progress: called with (done, total) steps if a checkpoint is measured or exported; the first step is reading
            the file, and the total grows as further steps become known.

    Raises:
        MissingFileError: no such file.
        FormatError: not a model, or a model whose weights do not fit its config.
        InputError: an unknown setting, or one that does not fit the model.
        MissingExtraError: the engine is not installed.
    """
    options = LoadOptions(
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
    module: Any
    if is_checkpoint(path):
        module = import_optional("encash.encoders.torch", package="torch", extra="torch")
        return cast(Encoder, module.load_torch_encoder(path, options))
    if str(path).startswith("chronos:"):
        options.refuse("bin_edges", own={"engine": "chronos", "precision": "float32"})
        module = import_optional("encash.encoders.chronos", package="torch", extra="chronos")
        return cast(Encoder, module.load_chronos_encoder(str(path), options))
    match Path(path).suffix:
        case ".onnx":
            options.refuse("bin_edges", own={"engine": "onnxruntime", "precision": "float32"})
            module = import_module("encash.encoders.onnx")
            return cast(Encoder, module.load_onnx_encoder(path, options))
        case ".pt2":
            options.refuse("bin_edges", own={"engine": "torch.export", "precision": "float32"})
            module = import_optional("encash.encoders.torch.program", package="torch", extra="torch")
            return cast(Encoder, module.load_program_encoder(path, options))
    return _load_named(str(path), options)


def is_checkpoint(path: str | Path) -> bool:
    """Return whether a name is that of a checkpoint, for which the caller may choose engine and precision.

    >>> is_checkpoint("model.pt"), is_checkpoint("model.onnx")
    (True, False)
    """
    return Path(path).suffix in (".pt", ".pth")


def _load_named(name: str, options: LoadOptions) -> Encoder:
    entry_point = named.find_entry_point(name)
    if entry_point is None and not named.is_attribute(name):
        raise FormatError(
            f"{name} does not name a model; expected a checkpoint (.pt), .onnx, .pt2, module:attribute or the name of "
            f"an installed encoder (entry point {named.GROUP})"
        )
    encoder = named.load_entry_point(entry_point) if entry_point is not None else named.load_attribute(name)
    spec = encoder.spec
    own = {"engine": spec.engine, "precision": spec.precision, "lookback": spec.lookback, "pooling": spec.pooling}
    options.refuse("device", "bin_edges", own=own)
    encoder.batch_size = options.batch_size or encoder.batch_size
    return encoder
