"""Tables as Parquet bytes, and values as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def table_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """Return a table as the bytes of a Parquet file; days become date32, text strings."""
    import pyarrow as pa  # noqa: PLC0415 not needed by a backtest that is not written
    import pyarrow.parquet as pq  # noqa: PLC0415 likewise

    sink = pa.BufferOutputStream()
    pq.write_table(arrow_table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())


def arrow_table(columns: Mapping[str, np.ndarray]) -> Any:
    """Return a table as a ``pyarrow.Table``."""
    import pyarrow as pa  # noqa: PLC0415 likewise

    return pa.table({name: _arrow(column) for name, column in columns.items()})


def json_value(value: Any) -> Any:
    """Return a value as JSON holds it: None for an undefined number, a list for a tuple.

    >>> json_value((1, 0.5, float("nan")))
    [1, 0.5, None]
    """
    if isinstance(value, tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _arrow(column: np.ndarray) -> Any:
    """Return an Arrow array; `pa.array` of a numpy array would import pandas (0.5 s) to check for a series."""
    import pyarrow as pa  # noqa: PLC0415 takes a while to import

    match column.dtype.kind:
        case "U" | "O":
            return pa.array(column.tolist(), type=pa.string())
        case "M":
            days = column.astype("datetime64[D]").astype(np.int32)
            return pa.Array.from_buffers(pa.date32(), len(days), [None, pa.py_buffer(days)])
        case "O":  # text that may be undefined
            return pa.array(column.tolist(), type=pa.string())
        case "b":
            bits = np.packbits(column, bitorder="little")
            return pa.Array.from_buffers(pa.bool_(), len(column), [None, pa.py_buffer(bits)])
    values = np.ascontiguousarray(column)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
