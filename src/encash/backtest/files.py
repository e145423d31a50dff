"""Files of a run, each written whole or not at all. Knows columns and bytes; nothing of what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def table_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """A table as the bytes of a Parquet file; days become date32, text strings."""
    import pyarrow as pa  # noqa: PLC0415 a backtest that is not written down does without
    import pyarrow.parquet as pq  # noqa: PLC0415 likewise

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: _arrow(column) for name, column in columns.items()}), sink, compression="zstd")
    return bytes(sink.getvalue())


def _arrow(column: np.ndarray) -> Any:
    """An Arrow array. `pa.array` of a numpy array would import pandas, half a second, to ask whether it is a series."""
    import pyarrow as pa  # noqa: PLC0415 takes a while to import

    match column.dtype.kind:
        case "U":
            return pa.array(column.tolist(), type=pa.string())
        case "M":
            days = column.astype("datetime64[D]").astype(np.int32)
            return pa.Array.from_buffers(pa.date32(), len(days), [None, pa.py_buffer(days)])
        case "b":
            bits = np.packbits(column, bitorder="little")
            return pa.Array.from_buffers(pa.bool_(), len(column), [None, pa.py_buffer(bits)])
    plain = np.ascontiguousarray(column)
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
