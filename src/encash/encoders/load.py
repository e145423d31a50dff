"""Loading of an encoder by its path or name, which selects the engine; only that one is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from encash.arguments import typed
from encash.arrays import Float32
from encash.encoders.base import Encoder
from encash.encoders.checkpoint import DEFAULT_LOOKBACK
from encash.encoders.options import AUTO, LoadOptions, Sample
from encash.encoders.registry import CHECKPOINT, loader_of
from encash.extras import import_optional
from encash.input_files import refuse_url
from encash.progress import Progress


@typed
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
    bin_unit: str | None = None,
    pooling: str = "mean",
    model_config: str | Path | None = None,
    ignore_keys: Sequence[str] = (),
    feature_names: Sequence[str] | None = None,
    sample: Sample | None = None,
    progress: Progress | None = None,
) -> Encoder:
    """Load an encoder.

    Args:
        path: a checkpoint of the reference transformer (``.pt``, ``.ckpt``, ``.safetensors`` or a folder with
            ``model.safetensors``), an ONNX model (``.onnx``), a program exported by torch (``.pt2``),
            ``module:attribute`` of your own class, called without arguments, the name of an entry point
            ``encash.encoders``, or ``chronos:FOLDER?features=F&feature=I``, ``timesfm:…`` or ``transformers:…`` for a
            pretrained time-series model.
        device: cpu, cuda, …; auto uses a GPU if there is one.
        engine: the engine of a checkpoint: torch or onnxruntime (in float32, exported at each load). auto includes the
            engine in the measurement if the precision is auto too, and else is torch.
        precision: float32, medium, float16, bfloat16, int8 or int7; auto uses the fastest that agrees with float32,
            by a short measurement (see `Encoder.choice`). A cache records engine and precision; pass them to load the
            same encoder again.
        batch_size: windows per call; None chooses by the size of the model, and with auto by that measurement.
        lookback: sessions in a window; None uses the model's own, else `default_lookback`.
        default_lookback: sessions in a window if the model does not set them.
        bin_edges: of a classifier: a file, an array, or ``"uniform"`` for −25% to +25% in equal steps. None uses those
            in the checkpoint, else ``adaptive_bin_edges.pt`` beside it; without edges a classifier has no forecasts.
        bin_unit: unit of the bin edges: return (around 0), ratio (around 1) or percent (−25 to 25). None infers return
            or ratio, and refuses edges that could be neither. Forecasts are returns in any case.
        pooling: mean, last or cls.
        model_config: a JSON file with the config of weights that have none; None takes ``config.json`` beside them.
        ignore_keys: weights of a checkpoint, or parts of the model such as ``aux_head``, that are ignored; all others
            must match.
        feature_names: of the data in order, so that the name of a pretrained model can refer to features by name.
        sample: returns windows of your data (n, L, F) for a lookback L, on which auto measures speed and agreement;
            None measures on random windows.
        progress: called with (done, total) steps if a checkpoint is measured or exported; the first step is reading
            the file, and the total grows as further steps become known.

    Raises:
        MissingFileError: no such file.
        FormatError: not a model, or a model whose weights do not fit its config.
        InputError: an unknown setting, or one that does not fit the model.
        MissingExtraError: the engine is not installed.

    Example::

        encoder = encash.load_encoder("model.pt", precision="float32")
        encoder.spec.lookback, encoder.spec.horizons
    """
    options = LoadOptions(
        device=device,
        engine=engine,
        precision=precision,
        batch_size=batch_size,
        lookback=lookback,
        default_lookback=default_lookback,
        bin_edges=bin_edges,
        bin_unit=bin_unit,
        pooling=pooling,
        model_config=model_config,
        ignore_keys=tuple(ignore_keys) or None,
        feature_names=None if feature_names is None else tuple(feature_names),
        sample=sample,
        progress=progress,
    )
    if "://" in str(path) or isinstance(path, Path):
        refuse_url(path)
    loader = loader_of(str(path))
    if loader.engine:
        own = {"engine": loader.engine, "precision": "float32"}
        options.refuse("bin_edges", "bin_unit", "model_config", "ignore_keys", own=own)
    module, _, function = loader.path.partition(":")
    load = getattr(import_optional(module, package="torch", extra=loader.extra), function)
    return cast(Encoder, load(str(path), options))


def is_checkpoint(path: str | Path) -> bool:
    """Return whether a name is that of a checkpoint, for which the caller may choose engine and precision.

    >>> is_checkpoint("model.pt"), is_checkpoint("model.onnx")
    (True, False)
    """
    return loader_of(str(path)) is CHECKPOINT
