"""Arrow IPC files, which pandas and R call Feather."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

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
            return pa.ipc.open_file(file, options=options).read_all()
