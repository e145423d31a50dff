"""The registered encoders by the suffix or scheme of a model's name; importing this file imports none of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from encash.encoders.checkpoint_forms import WEIGHTS_FILE

ENTRY_POINTS = "encash.encoders"
"""The entry point group in which a package offers encoders."""


class EncoderLoader(NamedTuple):
    """A function that loads an encoder."""

    path: str
    """``module:function``, called with the name of the model and `LoadOptions`."""
    engine: str = ""
    """The only engine, which runs in float32 without bin edges; empty if `LoadOptions` choose."""
    extra: str = ""
    """The extra of encash that installs torch, if the module imports it."""


CHECKPOINT = EncoderLoader("encash.encoders.torch:load_torch_encoder", extra="torch")
"""The loader of weights of the reference transformer in any file, and in a folder."""
_TRANSFORMERS = EncoderLoader(
    "encash.encoders.pretrained.transformers_models:load_transformers_encoder", "transformers", "transformers"
)
LOADERS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin", ".safetensors"), CHECKPOINT),
    ".onnx": EncoderLoader("encash.encoders.onnx:load_onnx_encoder", "onnxruntime"),
    ".pt2": EncoderLoader("encash.encoders.torch.program:load_program_encoder", "torch.export", "torch"),
    "chronos:": EncoderLoader("encash.encoders.pretrained.chronos:load_chronos_encoder", "chronos", "chronos"),
    **dict.fromkeys(("timesfm:", "transformers:"), _TRANSFORMERS),
}
"""Add your encoder here: one line per suffix, or per scheme with its colon."""

_THIRD_PARTY = EncoderLoader("encash.encoders.named:load_named")
MODEL_NAMES = (
    f"{', '.join(LOADERS)}, module:attribute, a folder with {WEIGHTS_FILE} or an installed encoder (entry point "
    f"{ENTRY_POINTS})"
)
"""The names that `load_encoder` accepts, for help and errors."""


def loader_of(name: str) -> EncoderLoader:
    """Return the loader of a model by its suffix or scheme; without a registered one, that of third-party encoders."""
    scheme, colon, _ = name.partition(":")
    found = LOADERS.get(scheme + colon) or LOADERS.get(Path(name).suffix)
    return found or (CHECKPOINT if (Path(name) / WEIGHTS_FILE).is_file() else _THIRD_PARTY)
