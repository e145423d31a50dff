"""Models in ONNX Runtime, and the encoder of an ONNX file. `encash.encoders.outputs` defines the outputs of a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from encash.arrays import Float32
from encash.encoders.options import AUTO, LoadOptions
from encash.encoders.outputs import METADATA_KEY, ModelFacts, ModelFileEncoder, read_metadata
from encash.errors import FormatError, InputError, MissingFileError, reason
from encash.extras import import_optional
from encash.fingerprint import file_digest, fingerprint

FATAL = 4
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load_onnx_encoder(path: str | Path, options: LoadOptions) -> OnnxEncoder:
    """Load the encoder of an ONNX file.

    Raises:
        MissingFileError: no such file.
        MissingExtraError: ONNX Runtime is not installed.
        FormatError: not an ONNX model, or a model whose inputs or outputs are not those of an encoder.
        InputError: a device, batch size, lookback or pooling that the model does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}; give the path of a model (.onnx)")
    session = Session(path, options.device)
    inputs = session.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 3 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise FormatError(f"{path} takes {found}; expected one float32 input of windows (n, L, F)")
    shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
    facts = ModelFacts(
        path=str(path),
        engine="onnxruntime",
        weights=weights_digest(path),
        shape=(shape[0], shape[1], shape[2]),
        metadata=read_metadata(session.metadata, str(path)),
    )
    encoder = OnnxEncoder(session, facts, options)
    encoder.source_digest = file_digest(path)
    return encoder


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of the file and the files beside it that it names, which hold the weights of large models."""
    content = path.read_bytes()
    others = sorted(
        other.name
        for other in path.parent.iterdir()
        if other.is_file() and other != path and other.name.encode() in content
    )
    return fingerprint({"": file_digest(path)} | {name: file_digest(path.with_name(name)) for name in others})


class Session:
    """A model in ONNX Runtime: arrays in, arrays out."""

    def __init__(self, model: Path | bytes, device: str = AUTO):
        """Load a model from a file or from its bytes.

        Raises:
            MissingExtraError: ONNX Runtime is not installed.
            FormatError: not an ONNX model.
            InputError: a device that ONNX Runtime does not have here.
        """
        runtime: Any = import_optional("onnxruntime", package="onnxruntime", extra="onnx")
        self._session = _session(runtime, model, device)
        self.device = "cuda" if self._session.get_providers()[0] == PROVIDERS["cuda"] else "cpu"
        try:
            self.inputs: list[Any] = self._session.get_inputs()
            self.metadata: str | None = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
            self._names = [output.name for output in self._session.get_outputs()]
        except UnicodeDecodeError:
            raise FormatError(f"{_shown(model)} holds names that are not UTF-8; export it again") from None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the session is compiled for this process.

        Raises:
            InputError: always.
        """
        raise InputError("a model in ONNX Runtime cannot be pickled; give its path, which each process loads itself")

    def run(self, values: Float32) -> list[tuple[str, Any]]:
        """Return the name and value of each output for the value of the only input.

        Raises:
            MemoryError: memory ran out.
        """
        try:
            found = self._session.run(None, {self.inputs[0].name: values})
        except Exception as error:  # its exceptions have no common base but Exception; others are raised again
            if "allocate memory" not in str(error) and "out of memory" not in str(error):
                raise
            raise MemoryError(str(error)) from None
        return list(zip(self._names, found, strict=True))


class OnnxEncoder(ModelFileEncoder):
    """An ONNX model that encodes windows."""

    def __init__(self, session: Session, facts: ModelFacts, options: LoadOptions):
        self.device = session.device
        self._session = session
        super().__init__(facts, options)

    def run(self, windows: Float32) -> list[tuple[str, Any]]:
        """Return the name and value of each output for one batch."""
        return self._session.run(windows)


def _session(runtime: Any, model: Path | bytes, device: str) -> Any:
    available = runtime.get_available_providers()
    if device != AUTO and PROVIDERS.get(device) not in available:
        raise InputError(f"invalid device {device!r}: ONNX Runtime has {', '.join(available)} here; give cpu, or auto")
    wanted = [PROVIDERS["cuda"], PROVIDERS["cpu"]] if device == AUTO else [PROVIDERS[device]]
    options = runtime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # a worker's share of cores, as in torch
    try:
        return runtime.InferenceSession(model, options, [name for name in wanted if name in available])
    except Exception as error:  # noqa: BLE001  # its exceptions have no common base but Exception
        raise FormatError(
            f"{_shown(model)} is truncated or not an ONNX model{reason(error)}; export it again"
        ) from None


def _shown(model: Path | bytes) -> str:
    return str(model) if isinstance(model, Path) else "the model"
