"""Writes the encoder of a checkpoint as an ONNX model or an exported program, with the metadata that `outputs` reads.
Knows the encoder; runs nothing."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encash.encoders.outputs import METADATA_KEY, NAMES
from encash.encoders.torch.encoder import TorchEncoder
from encash.errors import InputError, MissingExtraError


class _Outputs(nn.Module):
    """The encoder as a module with our outputs."""

    def __init__(self, encoder: TorchEncoder):
        super().__init__()
        self.model = encoder.model
        self._outputs = encoder.outputs
        self._named = NAMES if encoder.spec.horizons else NAMES[:1]

    def forward(self, windows: Tensor) -> dict[str, Tensor]:
        """The outputs by name."""
        return dict(zip(self._named, self._outputs(windows), strict=False))


def export_onnx(encoder: TorchEncoder, path: str | Path) -> None:
    """Write an encoder as an ONNX model that takes any number of windows of its lookback.

    Raises:
        InputError: the encoder is not in float32.
        MissingExtraError: onnxscript is not installed.
    """
    if find_spec("onnxscript") is None:
        raise MissingExtraError("this needs onnxscript, which is not installed; run: pip install onnxscript")
    module, example, shapes = _prepared(encoder)
    program: Any = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["windows"],
        output_names=list(module._named),
        dynamic_shapes=shapes,
    )
    program.model.metadata_props[METADATA_KEY] = _metadata(encoder)
    program.save(str(path))


def export_program(encoder: TorchEncoder, path: str | Path) -> None:
    """Write an encoder as an exported program (.pt2) that takes any number of windows of its lookback from 2 on.

    Raises:
        InputError: the encoder is not in float32.
    """
    module, example, shapes = _prepared(encoder)
    program = torch.export.export(module, (example,), dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={METADATA_KEY: _metadata(encoder)})


def _prepared(encoder: TorchEncoder) -> tuple[_Outputs, Tensor, Any]:
    spec = encoder.spec
    if spec.precision != "float32":
        raise InputError(f"the encoder runs in {spec.precision}; load it with precision float32 to export it")
    example = torch.zeros(4, spec.lookback, spec.num_features, device=encoder.device)
    return _Outputs(encoder).eval(), example, {"windows": {0: torch.export.Dim("n", min=2, max=2**16)}}


def _metadata(encoder: TorchEncoder) -> str:
    spec = encoder.spec.describe()
    kept = ("architecture", "horizons", "feature_names", "train_end", "pooling", "forecast_rule")
    return json.dumps({name: spec[name] for name in kept})
