"""Export of the encoder of a checkpoint as an ONNX model or a program (.pt2), with metadata for `outputs`."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encash.atomic_write import whole_file, writing
from encash.encoders.outputs import METADATA_KEY, NAMES
from encash.encoders.torch.encoder import TorchEncoder
from encash.encoders.torch.quiet import quiet
from encash.errors import InputError, MissingExtraError

LARGEST_FILE = 2**31 - 2**20
"""Maximum bytes of weights in one ONNX file: the format is limited to 2³¹ bytes with the graph."""


class _Outputs(nn.Module):
    """The encoder as a module with named outputs."""

    def __init__(self, encoder: TorchEncoder):
        super().__init__()
        self.model = encoder.model
        self._outputs = encoder.outputs
        self._named = NAMES if encoder.spec.horizons else NAMES[:1]

    def forward(self, windows: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        return dict(zip(self._named, self._outputs(windows), strict=False))


def export_onnx(encoder: TorchEncoder, path: str | Path) -> None:
    """Write an encoder atomically as an ONNX model that takes any number of windows of its lookback.

    Raises:
        InputError: the encoder does not run in torch in float32, or has more weights than one ONNX file holds.
        MissingExtraError: onnxscript is not installed.
        WorkError: the path cannot be written, or the disk is full.
    """
    size = sum(4 * weights.numel() for weights in encoder.model.parameters())
    if size > LARGEST_FILE:
        raise InputError(
            f"the weights take {size:,} bytes, an ONNX file holds {LARGEST_FILE:,}; export a program (.pt2)"
        )
    program = _onnx_program(encoder)
    with whole_file(path) as part:
        program.save(str(part))


def export_parts(encoder: TorchEncoder, folder: Path) -> Path:
    """Write an encoder as an ONNX model of any size into a folder, with its weights in a separate file.

    Returns:
        The path of the model.

    Raises:
        InputError: the encoder does not run in torch in float32.
        MissingExtraError: onnxscript is not installed.
        WorkError: the path cannot be written, or the disk is full.
    """
    program, path = _onnx_program(encoder), folder / "model.onnx"
    with writing(path):
        program.save(str(path), external_data=True)
    return path


def export_program(encoder: TorchEncoder, path: str | Path) -> None:
    """Write an encoder atomically as a program (.pt2) that takes two or more windows of its lookback.

    Raises:
        InputError: the encoder does not run in torch in float32.
        WorkError: the path cannot be written, or the disk is full.
    """
    module, example, shapes = _prepared(encoder)
    program = torch.export.export(module, (example,), dynamic_shapes=shapes)
    content = io.BytesIO()  # as for a checkpoint
    torch.export.save(program, content, extra_files={METADATA_KEY: _metadata(encoder)})
    with whole_file(path) as part:
        part.write_bytes(content.getbuffer())


def _onnx_program(encoder: TorchEncoder) -> Any:
    if find_spec("onnxscript") is None:
        raise MissingExtraError("this needs onnxscript, which is not installed; run: pip install onnxscript")
    module, example, shapes = _prepared(encoder)
    with quiet("torch.onnx._internal.exporter"):
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
    return program


def _prepared(encoder: TorchEncoder) -> tuple[_Outputs, Tensor, Any]:
    spec = encoder.spec
    if (spec.engine, spec.precision) != ("torch", "float32"):
        raise InputError(
            f"the encoder runs in {spec.precision} ({spec.engine}); load it with precision float32 to export it"
        )
    example = torch.zeros(4, spec.lookback, spec.num_features, device=encoder.device)
    return _Outputs(encoder).eval(), example, {"windows": {0: torch.export.Dim("n", min=2, max=2**16)}}


def _metadata(encoder: TorchEncoder) -> str:
    spec = encoder.spec.describe()
    kept = ("architecture", "horizons", "feature_names", "feature_set", "train_end", "pooling", "forecast_rule")
    return json.dumps({name: spec.get(name) for name in kept})
