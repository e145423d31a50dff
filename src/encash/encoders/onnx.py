"""ONNX models by ONNX Runtime. The only file that loads onnxruntime; what a model must give is said in `outputs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from encash.arrays import Float32
from encash.encoders.extras import engine_module
from encash.encoders.outputs import METADATA_KEY, ModelFacts, ModelFileEncoder, ModelOptions, read_metadata
from encash.errors import FormatError, InputError, MissingFileError
from encash.fingerprint import file_digest, fingerprint

FATAL = 4
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load_onnx_encoder(path: str | Path, options: ModelOptions, device: str = "auto") -> OnnxEncoder:
    """The encoder of an ONNX file.

    Raises:
        MissingFileError: no such file.
        MissingExtraError: ONNX Runtime is not installed.
        FormatError: no ONNX model, or one with other inputs or outputs than an encoder has.
        InputError: a device, batch size, lookback or pooling that the model does not have.
    """
    runtime: Any = engine_module("onnxruntime", package="onnxruntime", extra="onnx")
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}; give the path of a model (.onnx)")
    session = _session(runtime, path, device)
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 3 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise FormatError(f"{path} takes {found}; expected one float32 input of windows (n, L, F)")
    shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
    facts = ModelFacts(
        path=str(path),
        engine="onnxruntime",
        weights=weights_digest(path),
        shape=(shape[0], shape[1], shape[2]),
        metadata=read_metadata(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), str(path)),
    )
    encoder = OnnxEncoder(session, facts, options)
    encoder.source_digest = file_digest(path)
    return encoder


def weights_digest(path: Path) -> str:
    """SHA-256 over the file and the files beside it that it names, where large models keep their weights."""
    content = path.read_bytes()
    others = sorted(
        other.name
        for other in path.parent.iterdir()
        if other.is_file() and other != path and other.name.encode() in content
    )
    return fingerprint({"": file_digest(path)} | {name: file_digest(path.with_name(name)) for name in others})


class OnnxEncoder(ModelFileEncoder):
    """An ONNX model that encodes windows."""

    def __init__(self, session: Any, facts: ModelFacts, options: ModelOptions):
        self.device = "cuda" if session.get_providers()[0] == PROVIDERS["cuda"] else "cpu"
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]
        super().__init__(facts, options)

    def run(self, windows: Float32) -> list[tuple[str, Any]]:
        """Name and value of each output for one batch."""
        try:
            values = self._session.run(None, {self._input: windows})
        except Exception as error:  # its exceptions have no base but Exception; others are raised again
            if "allocate memory" not in str(error) and "out of memory" not in str(error):
                raise
            raise MemoryError(str(error)) from None
        return list(zip(self._outputs, values, strict=True))


def _session(runtime: Any, path: Path, device: str) -> Any:
    available = runtime.get_available_providers()
    if device != "auto" and PROVIDERS.get(device) not in available:
        raise InputError(f"device {device!r} came; ONNX Runtime has {', '.join(available)} here: give cpu, or auto")
    wanted = [PROVIDERS["cuda"], PROVIDERS["cpu"]] if device == "auto" else [PROVIDERS[device]]
    options = runtime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = int(
        os.environ.get("OMP_NUM_THREADS") or 0
    )  # a worker's share of the cores, as torch
    try:
        return runtime.InferenceSession(path, options, [name for name in wanted if name in available])
    except Exception as error:  # noqa: BLE001  # its exceptions have no common base but Exception
        reason = str(error).split("\n", 1)[0][:160]
        raise FormatError(f"{path} is truncated or no ONNX model ({reason}); export it again") from None
