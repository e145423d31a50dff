"""Parquet."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from encash.input_files import check_parquet
from encash.panel.formats.base import TableFormat


class Parquet(TableFormat):
    """A Parquet file; its column types are those of the file."""

    expected = "a Parquet file"

    def header(self, path: Path) -> list[str]:
        """Read the schema."""
        return list(parquet.read_schema(path).names)

    def read(self, path: Path, header: list[str], kept: list[str], text: set[str]) -> pa.Table:
        """Read the columns.

        Raises:
            pyarrow.ArrowInvalid: damaged, or text that is not UTF-8.
        """
        check_parquet(path, parquet.read_metadata(path), len(kept))
        table = parquet.read_table(path, columns=kept, partitioning=None)
        table.validate(full=True)
        return table
