"""Runs of a sweep as columns, and a figure over two of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the settings and figures of journal rows, one array per column; NaN or empty if a row has none."""
    hidden = ("offset", "sessions")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def heat_map(table: Mapping[str, np.ndarray], rows: str, columns: str, figure: str = "sharpe") -> dict[str, np.ndarray]:
    """Return the mean of a figure over the runs of each pair of values of two settings.

    Args:
        table: columns of a sweep, each of shape (runs,).
        rows: setting of the rows.
        columns: setting of the columns.
        figure: figure to average; undefined values are left out.

    Returns:
        ``rows`` and ``columns``: the distinct values, ascending; ``values``: shape (rows, columns), NaN without a run.
    """
    down, at = np.unique(table[rows], return_inverse=True)
    along, across = np.unique(table[columns], return_inverse=True)
    defined = ~np.isnan(table[figure])
    cell = (at * len(along) + across)[defined]
    size = len(down) * len(along)
    total = np.bincount(cell, weights=table[figure][defined], minlength=size)
    count = np.bincount(cell, minlength=size)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return {"rows": down, "columns": along, "values": mean.reshape(len(down), len(along))}


def _column(values: Sequence[Any]) -> np.ndarray:
    """Return numbers as float64 or int64, anything else as text."""
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        integers = all(isinstance(value, int) for value in values)
        known = [np.nan if value is None else value for value in values]
        return np.array(known, dtype=np.int64 if integers else np.float64)
    return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)
