"""Tables as bytes, and values as JSON has them. Knows columns; nothing of what they mean, nor of files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def table_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """A table as the bytes of a Parquet file; days become date32, text strings."""
    import pyarrow as pa  # noqa: PLC0415 a backtest that is not written down does without
    import pyarrow.parquet as pq  # noqa: PLC0415 likewise

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: _arrow(column) for name, column in columns.items()}), sink, compression="zstd")
    return bytes(sink.getvalue())


def plain(value: Any) -> Any:
    """The value as JSON has it: null where a number is not defined, a list for a tuple.

    >>> plain((1, 0.5, float("nan")))
    [1, 0.5, None]
    """
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
