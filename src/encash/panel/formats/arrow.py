"""Arrow IPC files, which pandas and R call Feather."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from encash.input_files import check_declared
from encash.panel.formats.base import TableFormat


class Arrow(TableFormat):
    """An Arrow IPC file (Feather version 2); its column types are those of the file."""

    expected = "an Arrow IPC file (Feather version 2)"

    def header(self, path: Path) -> list[str]:
        """Read the schema."""
        with pa.OSFile(str(path)) as file:
            return list(pa.ipc.open_file(file).schema.names)

    def read(self, path: Path, header: list[str], kept: list[str], text: set[str]) -> pa.Table:
        """Read the columns.

        Raises:
            FormatError: sizes that the file cannot hold.
            pyarrow.ArrowInvalid: damaged, or offsets that lie outside of the text.
        """
        options = pa.ipc.IpcReadOptions(included_fields=[header.index(name) for name in kept])
        with pa.OSFile(str(path)) as file:
            reader, batches, size = pa.ipc.open_file(file, options=options), [], 0
            for number in range(reader.num_record_batches):
                batches.append(_batch(reader, number, path))
                size += batches[-1].nbytes
                check_declared(f"{path}: its first {number + 1} record batches", size, os.path.getsize(path))
        table = pa.Table.from_batches(batches, reader.schema if not batches else batches[0].schema)
        table.validate(full=True)  # offsets of text outside of its bytes would end the process
        return table


def _batch(reader: Any, number: int, path: Path) -> pa.RecordBatch:
    """Read a record batch; a size that is declared in it and that the file cannot hold is damage."""
    try:
        return reader.get_batch(number)
    except pa.ArrowMemoryError as error:
        if size := re.search(r"size (\d+) failed", str(error)):
            check_declared(f"{path}: record batch {number + 1}", int(size[1]), os.path.getsize(path))
        raise
