"""The encoder of a checkpoint in ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded
from encash.encoders.batches import BatchedEncoder
from encash.encoders.onnx import Session
from encash.encoders.torch.choice import seconds_of
from encash.encoders.torch.encoder import TorchEncoder, fewest_windows
from encash.encoders.torch.export import export_parts
from encash.extras import import_optional

OPSET, IR_VERSION = 17, 8
"""Of the products: old enough for every supported ONNX Runtime."""
EXPORT_STEPS = 12
"""Steps of progress of an export: it took the time of 9 to 18 other steps of a load, for models of 0.8 to 126 million
weights."""


def is_installed() -> bool:
    """Return whether ONNX Runtime and the package that exports to it are installed."""
    return find_spec("onnxruntime") is not None and find_spec("onnxscript") is not None


class RuntimeEncoder(BatchedEncoder):
    """An exported reference transformer that encodes windows.

    The output for a window is bit-identical in every batch, as measured for every number of windows from 2 on. With a
    single window ONNX Runtime multiplies a matrix by a vector, which rounds differently.
    """

    def __init__(self, session: Session, encoder: TorchEncoder):
        spec, batch = replace(encoder.spec, engine="onnxruntime"), encoder.batch_size
        smallest_call = max(2, fewest_windows(spec)) if session.device == "cpu" else batch
        super().__init__(spec, batch_size=batch, smallest_call=smallest_call)
        self.busy_call = max(encoder.busy_call, self.smallest_call)
        self.device = session.device
        self._session = session

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch; see `BatchedEncoder.call`."""
        found, nothing = dict(self._session.run(windows)), np.empty((len(windows), 0), dtype=np.float32)
        return Encoded(
            embedding=found["embedding"],
            forecast=found.get("forecast", nothing),
            confidence=found.get("confidence", nothing),
        )


def runtime_encoder(encoder: TorchEncoder, device: str = "cpu") -> RuntimeEncoder:
    """Return the same encoder in ONNX Runtime, with the same spec except for the engine, by way of temporary files.

    Raises:
        InputError: ONNX Runtime does not have the device here.
        MissingExtraError: ONNX Runtime or onnxscript is not installed.
    """
    import_optional("onnxruntime", package="onnxruntime", extra="onnx")  # before an export that would be for nothing
    with tempfile.TemporaryDirectory(prefix="encash-") as folder:
        session = Session(export_parts(encoder, Path(folder)), device)
    return RuntimeEncoder(session, encoder)


def fastest_possible(encoder: TorchEncoder) -> float:
    """Return an upper bound of the entries per second in ONNX Runtime: those of only the matrix products of the layers.

    It takes a fraction of a second, whereas an export takes seconds.
    """
    layout, batch = encoder.model.layout, encoder.batch_size
    products = layer_products(layout.hidden_dim, rows=batch * encoder.spec.lookback)
    products()  # the first call allocates memory and threads
    return batch / (layout.num_layers * seconds_of(products))


def layer_products(hidden: int, rows: int) -> Callable[[], object]:
    """Return a function that computes only the matrix products of one layer in ONNX Runtime, for a number of rows."""
    onnx: Any = import_module("onnx")
    tensor, node = onnx.helper.make_tensor, onnx.helper.make_node
    shapes = {
        "mix": (hidden, 3 * hidden),
        "out": (hidden, hidden),
        "up": (hidden, 4 * hidden),
        "down": (4 * hidden, hidden),
    }
    ones = tensor("ones", onnx.TensorProto.FLOAT, [1], [1.0])
    nodes = [node("ConstantOfShape", [f"{name} shape"], [name], value=ones) for name in shapes]
    inputs = {"mix": "rows", "out": "rows", "up": "rows", "down": "up of it"}
    nodes += [node("MatMul", [inputs[name], name], [f"{name} of it"]) for name in shapes]
    graph = onnx.helper.make_graph(
        nodes,
        "products",
        [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [rows, hidden])],
        [
            onnx.helper.make_tensor_value_info(f"{name} of it", onnx.TensorProto.FLOAT, [rows, shapes[name][1]])
            for name in ("mix", "out", "down")
        ],
        [tensor(f"{name} shape", onnx.TensorProto.INT64, [2], shape) for name, shape in shapes.items()],
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    session, values = Session(model.SerializeToString()), np.zeros((rows, hidden), dtype=np.float32)
    return lambda: session.run(values)
