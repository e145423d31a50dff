"""Comma-separated text, plain or compressed by gzip.

A vendor's file with a different separator is a subclass with its own `delimiter`.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.csv as arrow_csv

from encash.panel.formats.base import TableFormat


class Csv(TableFormat):
    """A line with the names of the columns, then one line per row."""

    expected = "a CSV file in UTF-8, with numbers or empty cells"
    delimiter: ClassVar[str] = ","

    def header(self, path: Path) -> list[str]:
        """Read the first line."""
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader(file, delimiter=self.delimiter), [])]

    def read(self, path: Path, header: list[str], kept: list[str], text: set[str]) -> pa.Table:
        """Read dates and tickers as text and everything else as floats."""
        types = {name: pa.string() if name in text else pa.float64() for name in kept}
        return arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=header, skip_rows=1),
            parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter),
            convert_options=arrow_csv.ConvertOptions(column_types=types, include_columns=kept),
        )
