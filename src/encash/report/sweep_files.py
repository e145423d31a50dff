"""The folder of a sweep as plain, immutable values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encash.arrays import Float64, Int64
from encash.backtest.inputs.config import settings
from encash.errors import FormatError, InputError, MissingFileError, reason, unreadable
from encash.report.summary import read_object

_RESULT, _TABLE = "sweep.json", "sweep.parquet"
_AGAIN = "run the sweep again"
_SETTINGS = (*settings(), "filter", "keep")
_NEEDED = ("final_capital", "sharpe", "max_drawdown", "cagr", "total_return")
_IDENTITY = ("final_capital", "sharpe", "max_drawdown", "volatility", "turnover", "trades", "fees")
"""Figures that only identical runs share."""
_DIGITS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """Runs of a sweep."""

    folder: Path
    result: Mapping[str, Any]
    """The content of `sweep.json`."""
    columns: Mapping[str, np.ndarray]
    """Settings and figures by name: numbers, or text of dtype str; each of shape (runs,)."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.columns["sharpe"])

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Settings with more than one value."""
        return tuple(name for name in self.columns if name in _SETTINGS and len(np.unique(self.columns[name])) > 1)

    @cached_property
    def copies(self) -> Int64:
        """Number of runs identical to each run, itself included; 0 for those after the first; shape (runs,)."""
        known = [self.columns[name] for name in _IDENTITY if name in self.columns]
        rounded = np.column_stack([_rounded(values) for values in known])
        _, first, counts = np.unique(rounded, axis=0, return_index=True, return_counts=True)
        copies = np.zeros(len(self), dtype=np.int64)
        copies[first] = counts
        return copies

    @cached_property
    def distinct(self) -> Int64:
        """Rows of the runs without repetitions, the highest Sharpe ratio first; undefined ones last."""
        rows = np.flatnonzero(self.copies)
        order = np.argsort(-np.nan_to_num(self.figure("sharpe")[rows], nan=-np.inf), kind="stable")
        return rows[order].astype(np.int64)

    def figure(self, name: str) -> Float64:
        """Return a figure of all runs."""
        return self.columns[name].astype(np.float64)

    def number(self, name: str) -> float | None:
        """Return a number of the result; None if it is absent or undefined."""
        value = self.result.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            return None
        return float(value)


def is_sweep(folder: str | Path) -> bool:
    """Report whether a folder is that of a sweep."""
    return (Path(folder) / _RESULT).is_file()


def check_one_run(run_dirs: Sequence[str | Path]) -> None:
    """Refuse data that belong to one run beside several runs, or beside a sweep.

    Raises:
        InputError: several runs, or a sweep.
    """
    if len(run_dirs) > 1:
        raise InputError(f"extras belong to one run, but {len(run_dirs)} runs were given; give one run, or no extras")
    if any(map(is_sweep, run_dirs)):
        raise not_alone(run_dirs[0])


def not_alone(sweep: str | Path) -> InputError:
    """Return the error of a sweep that is given with something else."""
    return InputError(f"{sweep} is a sweep, which has a page of its own; give only the sweep, without extras")


def read_sweep(folder: str | Path) -> Sweep:
    """Read the folder of a sweep.

    Raises:
        MissingFileError: it has no table.
        FormatError: a file is malformed.
    """
    folder = Path(folder)
    result, path = read_object(folder / _RESULT), folder / _TABLE
    if not path.is_file():
        raise MissingFileError(f"{folder} has no {_TABLE}, so the sweep is not finished; {_AGAIN}")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise unreadable(path, problem, f"{path} is not the table of a sweep{reason(problem)}; {_AGAIN}") from None
    columns = {name: _column(table[name], path) for name in dict.fromkeys(table.column_names)}
    if absent := [name for name in _NEEDED if name not in columns or columns[name].dtype.kind == "U"]:
        raise FormatError(f"{path} has no numbers named {absent[0]}; {_AGAIN}")
    if not table.num_rows:
        raise FormatError(f"{path} holds no run; {_AGAIN}")
    return Sweep(folder=folder, result=result, columns=columns)


def _column(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    """Return a column as float64, int64 or text."""
    kind = column.type
    try:
        if pa.types.is_integer(kind) and not column.null_count:
            return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        return np.array(["" if value is None else str(value) for value in column.to_pylist()], dtype=np.str_)
    except (pa.ArrowException, ValueError) as problem:
        raise FormatError(f"{path} is not the table of a sweep{reason(problem)}; {_AGAIN}") from None


def _rounded(values: np.ndarray) -> Float64:
    """Round to some significant digits, so that rounding errors do not tell runs apart; NaN becomes a number."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=1e300)
    with np.errstate(divide="ignore"):
        size = np.where(numbers != 0, np.floor(np.log10(np.abs(numbers))), 0.0)
    scale = 10.0 ** (_DIGITS - 1 - size)
    rounded: Float64 = np.where(np.isfinite(scale) & (scale > 0), np.round(numbers * scale) / scale, numbers)
    return rounded
