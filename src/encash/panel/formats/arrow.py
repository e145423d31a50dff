"""Arrow IPC files, which pandas and R call Feather."""

from __future__ import annotations

import os
from pathlib import Path

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
        """Read the columns."""
        options = pa.ipc.IpcReadOptions(included_fields=[header.index(name) for name in kept])
        with pa.OSFile(str(path)) as file:
            reader, batches, size = pa.ipc.open_file(file, options=options), [], 0
            for number in range(reader.num_record_batches):
                batches.append(reader.get_batch(number))
                size += batches[-1].nbytes
                check_declared(f"{path}: its first {number + 1} record batches", size, os.path.getsize(path))
            return pa.Table.from_batches(batches, reader.schema if not batches else batches[0].schema)
