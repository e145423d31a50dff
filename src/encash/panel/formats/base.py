"""The interface of formats of price tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pyarrow as pa


class TableFormat(ABC):
    """A format of price tables; `read_bars` finds dates, tickers and prices by the names of the columns.

    `OSError`, `EOFError`, `UnicodeDecodeError` and `pyarrow.ArrowInvalid` become one `FormatError` with the path.
    """

    expected: ClassVar[str]
    """The expected content of a file, for the error message."""

    def with_dialect(self, *, separator: str | None, decimal: str | None) -> TableFormat:
        """Return the format with the separator and decimal mark that a user states; the same if it is not text."""
        return self

    @abstractmethod
    def header(self, path: Path) -> list[str]:
        """Return the names of all columns; empty for an empty file."""

    @abstractmethod
    def read(self, path: Path, header: list[str], kept: list[str], text: set[str]) -> pa.Table:
        """Read some columns.

        Args:
            path: the file.
            header: the names of all columns, as `header` returned them.
            kept: the columns to return.
            text: those with dates or tickers, as text, dates, times or integers; the others hold numbers, null, or
                text that the reader of numbers converts.
        """
