"""The settings with which an encoder is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encash.arrays import Float32
from encash.encoders.checkpoint import DEFAULT_LOOKBACK
from encash.errors import InputError
from encash.progress import Progress

AUTO = "auto"
GPU_SHARE = "ENCASH_GPU_SHARE"
"""Environment variable of a worker that shares a GPU: the fraction of the GPU's memory that its process may use."""

Sample = Callable[[int], Float32]
"""Returns windows of the user's data, shape (n, L, F), for a lookback L."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The arguments of `load_encoder`; all but device and batch size are part of the identity of a checkpoint."""

    device: str = AUTO
    engine: str = AUTO
    """torch or onnxruntime; auto measures if the precision is auto too, and else is torch."""
    precision: str = "float32"
    """float32, medium, float16, bfloat16, int8 or int7; auto measures."""
    batch_size: int | None = None
    lookback: int | None = None
    default_lookback: int = DEFAULT_LOOKBACK
    """The lookback if neither `lookback` nor the model sets it."""
    bin_edges: str | Path | Float32 | None = None
    bin_unit: str | None = None
    """Unit of the bin edges: return, ratio or percent; None infers return or ratio."""
    pooling: str = "mean"
    model_config: str | Path | None = None
    """A JSON file with the config of weights that have none."""
    ignore_keys: tuple[str, ...] | None = None
    """Names of weights of a checkpoint, or of parts of the model, that are ignored."""
    feature_names: tuple[str, ...] | None = None
    """Names of the features of the data; None if unknown. The name of a pretrained model can refer to them."""
    sample: Sample | None = None
    """The windows on which auto measures; None measures on random ones."""
    progress: Progress | None = None

    def refuse(self, *names: str, own: Mapping[str, Any] | None = None) -> None:
        """Refuse settings that a model does not have, and values other than the model's own.

        Args:
            names: settings that the model does not have.
            own: the model's own values of settings that cannot be changed.

        Raises:
            InputError: one of them was set.
        """
        defaults = {"device": AUTO, "engine": AUTO, "precision": AUTO, "pooling": "mean"}
        own = own or {}
        for name in (*names, *own):
            value = getattr(self, name)
            if value is not None and value not in (defaults.get(name), own.get(name)):
                raise InputError(
                    f"{name} {value!r} cannot be set for this model: it is {own.get(name, 'fixed by the model')}; "
                    f"leave {name} out"
                )
