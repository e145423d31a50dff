"""Files of a run, each written whole or not at all. Knows columns and bytes; nothing of what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def table_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """A table as the bytes of a Parquet file."""
    import pyarrow as pa  # noqa: PLC0415 a backtest that is not written down does without
    import pyarrow.parquet as pq  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
