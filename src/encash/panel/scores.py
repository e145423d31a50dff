"""Scores of anyone's model: a table of day, ticker and score, joined to a backtest by name and day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Bool, Days, Float32, Float64, Text, day_text, positions
from encash.errors import FormatError, MissingFileError
from encash.fingerprint import fingerprint
from encash.panel.tables.dates import DateRules, read_days
from encash.panel.tables.numbers import read_numbers
from encash.panel.tables.sources import Source, opened, readable
from encash.remote_files import local_copy

NAMES = {
    "date": ("date", "day", "datetime", "time", "trade_date"),
    "ticker": ("ticker", "symbol", "asset", "instrument", "stock", "code"),
    "score": ("score", "forecast", "prediction", "pred", "factor", "signal"),
    "confidence": ("confidence", "probability"),
}
"""Names of the columns, in any case: those of qlib, alphalens and others."""
_FEW = 3
_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_normal)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """Scores on a grid of T days × N tickers; they are the forecasts of a backtest for any horizon."""

    days: Days
    """Ascending, distinct; shape (T,)."""
    tickers: Text
    """Ascending, distinct; shape (N,)."""
    score: Float32
    """More is better; an expected return if weights follow forecasts. NaN without a score; shape (T, N)."""
    confidence: Float32
    """In [0, 1]; 1 if the file has none. Shape (T, N)."""
    horizons: tuple[int, ...] = ()
    """Empty: the same score for any horizon."""
    source: str = "scores"
    needs_vectors: bool = False
    first_day: np.datetime64 | None = None
    """Unknown: a table does not say what its model has seen."""
    encoders: tuple[Any, ...] = ()
    """None that it records."""

    @property
    def newest_day(self) -> np.datetime64:
        """Last day with a score."""
        day: np.datetime64 = self.days[-1]
        return day

    @cached_property
    def fingerprint(self) -> str:
        """Identity (64 hexadecimal digits)."""
        return fingerprint([self.days.astype(np.int64), "\n".join(self.tickers.tolist()), self.score, self.confidence])

    def forecast(self, days: Days, tickers: Text, vectors: Float32 | None = None) -> tuple[Float32, Float32]:
        """Return scores and confidences of n cells (day i, ticker i), NaN without a score; shape (n, 1)."""
        row, column = positions(self.days, days), positions(self.tickers, tickers)
        there = (row >= 0) & (column >= 0)
        found = (np.where(there, grid[row, column], np.float32(np.nan)) for grid in (self.score, self.confidence))
        score, confidence = (values[:, None].astype(np.float32) for values in found)
        return score, confidence

    def known(self, days: Days, tickers: Text) -> tuple[Bool, Float32, Float32]:
        """Return that all n cells are known, (n,), and their scores and confidences as `forecast` does, (n, 1)."""
        return np.ones(len(days), dtype=np.bool_), *self.forecast(days, tickers)

    def parts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return nothing: a score consists of no others."""
        return {}

    def check_encoder(self, encoder: str) -> None:
        """Accept any encoder: scores are not made from embeddings."""

    def lookahead(self, first_signal: np.datetime64) -> str | None:
        """Return None: a table does not say what its model has seen."""
        return None

    def describe(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Count the scores that some sessions and tickers can use, and name tickers and days that are not there."""
        known_days, known = np.isin(self.days, days), np.isin(self.tickers, np.asarray(tickers))
        finite = np.isfinite(self.score)
        return {
            "scores": int(finite.sum()),
            "joined": int(finite[np.ix_(known_days, known)].sum()),
            "other_tickers": self.tickers[~known][:_FEW].tolist(),
            "other_days": [day_text(day) for day in self.days[~known_days][:_FEW]],
        }


def read_scores(path: str | Path) -> ScoreTable:
    """Read a CSV, Parquet or Feather file with the columns date, ticker, score, and confidence if it has any.

    A row without a score is left out.

    Raises:
        MissingFileError: no such file.
        FormatError: other columns, an invalid date or number, an infinite score, a confidence outside of
            [0, 1], or two scores of one ticker on one day.
    """
    if not local_copy(path).is_file():
        raise MissingFileError(f"no file of scores {path}; expected a CSV or Parquet file with date, ticker, score")
    with opened(path) as sources:
        return _read(sources[0])


def _read(source: Source) -> ScoreTable:
    with readable(source):
        header = source.format.header(source.path)
    columns = _columns(source.shown, header)
    text = {columns["date"], columns["ticker"]}
    with readable(source):
        table = source.format.read(source.path, header, list(columns.values()), text)
        names = table.column(columns["ticker"]).cast(pa.string())
    dates = table.column(columns["date"]).combine_chunks().dictionary_encode()
    tickers = np.asarray(names.fill_null("").to_pylist(), dtype=np.str_)
    if dates.null_count or dates.dictionary.null_count or (tickers == "").any():
        raise FormatError(f"{source.shown} has a row without a date or a ticker; expected both in every row")
    rules = DateRules(shown=source.shown, column=columns["date"])
    (distinct,), _, _ = read_days([dates.dictionary], rules)
    days = distinct[dates.indices.to_numpy()]
    numbers = {columns[role]: table.column(columns[role]) for role in ("score", "confidence") if role in columns}
    values, _ = read_numbers(source.shown, numbers, header, None)
    score = values[columns["score"]]
    confidence = values[columns["confidence"]] if "confidence" in columns else np.ones(len(score))
    _check(source.shown, score, confidence)
    kept = np.isfinite(score)
    return _grid(source.shown, days[kept], tickers[kept], score[kept], confidence[kept])


def _columns(shown: str, header: list[str]) -> dict[str, str]:
    """Return the column of each role."""
    lower = {name.strip().lower(): name for name in reversed(header)}
    found = {role: [lower[name] for name in names if name in lower] for role, names in NAMES.items()}
    for role in ("date", "ticker", "score"):
        if len(found[role]) != 1:
            there = f"several columns of {role} ({', '.join(found[role])})" if found[role] else f"no column {role}"
            raise FormatError(
                f"{shown} has {there} among {', '.join(header[:12])}; expected the columns date, ticker, score, and "
                "confidence if there is one"
            )
    return {role: names[0] for role, names in found.items() if names}


def _check(shown: str, score: Float64, confidence: Float64) -> None:
    size = np.abs(score)
    if (wrong := np.flatnonzero((size > _LARGEST) | ((size < _SMALLEST) & (score != 0.0)))).size:
        raise FormatError(
            f"{shown}, row {wrong[0] + 1}: the score {score[wrong[0]]:g} is beyond the range of float32; expected a "
            "number, or nothing"
        )
    given = ~np.isnan(score)
    with np.errstate(invalid="ignore"):
        outside = given & ~((confidence >= 0.0) & (confidence <= 1.0))
    if (wrong := np.flatnonzero(outside)).size:
        raise FormatError(
            f"{shown}, row {wrong[0] + 1}: the confidence is {confidence[wrong[0]]:g}; expected a number from 0 to 1"
        )
    if not given.any():
        raise FormatError(f"{shown} has no score; expected numbers in its column of scores")


def _grid(shown: str, days: Days, tickers: Text, score: Float64, confidence: Float64) -> ScoreTable:
    grid_days, row = np.unique(days, return_inverse=True)
    names, column = np.unique(tickers, return_inverse=True)
    cell, count = np.unique(row * len(names) + column, return_counts=True)
    if (twice := np.flatnonzero(count > 1)).size:
        at = divmod(int(cell[twice[0]]), len(names))
        raise FormatError(
            f"{shown} has {count[twice[0]]} scores of {names[at[1]]} on {day_text(grid_days[at[0]])}; expected one"
        )
    shape = (len(grid_days), len(names))
    grids = np.full((2, *shape), np.nan, dtype=np.float32)
    grids[0, row, column], grids[1, row, column] = score, confidence
    return ScoreTable(days=grid_days, tickers=names, score=grids[0], confidence=grids[1])
