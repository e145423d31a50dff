"""A table of a result: columns of numpy arrays that pandas, polars and Arrow read."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.backtest.files import arrow_table
from encash.errors import MissingExtraError, UnknownKeyError, meant

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_SHOWN_ROWS = 10


class Table:
    """Columns of equal length.

    Any library that speaks the Arrow PyCapsule protocol takes it as it is: ``polars.DataFrame(table)``,
    ``pyarrow.table(table)``, ``duckdb.sql("select * from table")``.

    >>> table = Table({"ticker": np.array(["A", "B"]), "weight": np.array([0.5, 0.25])})
    >>> len(table), table.columns, float(table["weight"].sum())
    (2, ('ticker', 'weight'), 0.75)
    """

    def __init__(self, columns: Mapping[str, np.ndarray]):
        """Hold columns of shape (n,)."""
        self._columns = dict(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self._columns)

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self._columns.values()), ()))

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column, shape (n,).

        Raises:
            UnknownKeyError: no such column.
        """
        if name not in self._columns:
            raise UnknownKeyError(
                f"no column {name!r}{meant(name, self._columns) or '; there are ' + ', '.join(self._columns)}"
            )
        return self._columns[name]

    def to_arrow(self) -> pa.Table:
        """Return a ``pyarrow.Table``."""
        return arrow_table(self._columns)

    def to_pandas(self) -> pd.DataFrame:
        """Return a ``pandas.DataFrame``; days are datetime64.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            return self.to_arrow().to_pandas(date_as_object=False)
        except ImportError:
            raise MissingExtraError("to_pandas needs pandas, which is not installed; run: pip install pandas") from None

    def to_polars(self) -> pl.DataFrame:
        """Return a ``polars.DataFrame``.

        Raises:
            MissingExtraError: polars is not installed.
        """
        try:
            import polars as pl  # noqa: PLC0415 - not a dependency
        except ImportError:
            raise MissingExtraError("to_polars needs polars, which is not installed; run: pip install polars") from None
        return pl.DataFrame(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the table as a stream of the Arrow C data interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Show the first rows as text."""
        return f"{len(self):,} rows\n" + "\n".join("  ".join(row) for row in _aligned(self._first_rows()))

    def _repr_html_(self) -> str:
        head, *rows = self._first_rows()
        cells = "".join(f"<th>{escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table><p>{len(self):,} rows</p>"

    def _first_rows(self) -> list[list[str]]:
        columns = [[_text(value) for value in column[:_SHOWN_ROWS].tolist()] for column in self._columns.values()]
        return [list(self._columns), *map(list, zip(*columns, strict=True))]


class Tabular:
    """A result with one main table, which pandas, polars and Arrow read from the result itself."""

    @property
    def table(self) -> Table:
        """The main table."""
        raise NotImplementedError

    def to_arrow(self) -> pa.Table:
        """Return the main table as a ``pyarrow.Table``."""
        return self.table.to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Return the main table as a ``pandas.DataFrame``; see `Table.to_pandas`."""
        return self.table.to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """Return the main table as a ``polars.DataFrame``; see `Table.to_polars`."""
        return self.table.to_polars()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the main table as a stream of the Arrow C data interface."""
        return self.table.__arrow_c_stream__(requested_schema)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _aligned(rows: list[list[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
