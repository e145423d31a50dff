"""Read the comparison files of a run folder: `comparisons.json` and `.parquet`, `trials.csv`, `chosen.json`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from encash.backtest.evaluation.random_filter_test import FilterTest
from encash.backtest.evaluation.replicates import Replicates
from encash.errors import FormatError
from encash.report.run_extras import Alternative, Extras, Range, Skill, Spread
from encash.report.summary import floats, read_object, read_table
from encash.text_files import read_text

_SEED_FIGURES = ("cagr", "sharpe", "max_drawdown")
_SHOWN_ELSEWHERE = ("filter", "gross", "benchmark")
"""Rows that the table of comparisons leaves out."""


def read_comparisons(folder: str | Path) -> Extras:
    """Read the comparisons and trials of a run; empty if its folder has none.

    Raises:
        FormatError: a file is malformed.
    """
    path = Path(folder) / "comparisons.json"
    known = _chosen(path.with_name("chosen.json")) | _seeds(path.with_name("trials.csv"))
    if not path.is_file():
        return Extras(**known)
    document, ranges = read_object(path), _ranges(path.with_suffix(".parquet"))
    with _parsing(path, "does not hold comparisons", "compare the run again"):
        rows = {row["name"]: row for row in document["rows"]}
        random = "random forecasts" if "random forecasts" in rows else "random filter"
        verdict = document["verdict"]
        return Extras(
            no_filter=_single(rows, "no filter"),
            random_filters=_capitals(rows, random),
            random_range=ranges.get(random),
            test=None if verdict is None else FilterTest.from_json(verdict),
            shuffled_clusters=_capitals(rows, "shuffled clusters"),
            phases=_phases(rows),
            phase_range=ranges.get("phases"),
            later=_single(rows, "lag + 1"),
            alternatives=tuple(_alternative(row) for name, row in rows.items() if name not in _SHOWN_ELSEWHERE),
            skill=tuple(_skill(row) for row in document["evidence"]),
            **known,
        )


def _chosen(path: Path) -> dict[str, Any]:
    """Read the trials from which a sweep chose the run (`chosen.json`); empty for a run outside of a sweep."""
    if not path.is_file():
        return {}
    document = read_object(path)
    with _parsing(path, "does not describe the trials of a sweep", "run the sweep again"):
        return {
            "trials": int(document["trials"]),
            "deflated_sharpe": document["deflated_sharpe"],
            "expected_best_sharpe": document["expected_best_sharpe"],
            "overfitting": document["probability_of_overfitting"],
        }


def _seeds(path: Path) -> dict[str, Any]:
    """Read the final capital of each seed, and the spread of its figures (`trials.csv`); empty without the file."""
    if not path.is_file():
        return {}
    text = read_text(path, kind="file of trials", expected="a CSV with a line for each trial; run them again")
    with _parsing(path, "does not hold trials", "run them again"):
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in ("final_capital", *_SEED_FIGURES)}
    runs = Replicates(equity=np.empty((len(rows), 0)), figures=columns)
    spreads = {name: Spread(mean=runs.mean(name), deviation=runs.deviation(name)) for name in _SEED_FIGURES}
    return {"seeds": tuple(columns["final_capital"].tolist()), "seed_spreads": spreads if len(rows) > 1 else {}}


@contextmanager
def _parsing(path: Path, problem: str, fix: str) -> Iterator[None]:
    """Turn the errors of unexpected content into one clear error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, csv.Error) as error:
        raise FormatError(f"{path} {problem} ({error!r}); {fix}") from None


def _capitals(rows: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Return the final capitals of a row's runs; empty without the row."""
    return tuple(map(float, rows[name]["final_capital"]["values"])) if name in rows else ()


def _single(rows: Mapping[str, Any], name: str) -> float | None:
    values = _capitals(rows, name)
    return values[0] if values else None


def _phases(rows: Mapping[str, Any]) -> dict[int, float]:
    """Return the final capital by phase; labels are "phase 0", "phase 1", …"""
    labels = rows["phases"]["labels"] if "phases" in rows else ()
    return {int(label.split()[-1]): capital for label, capital in zip(labels, _capitals(rows, "phases"), strict=True)}


def _alternative(row: Mapping[str, Any]) -> Alternative:
    spreads = {
        name: Spread(mean=_nan_if_null(row[name]["mean"]), deviation=_nan_if_null(row[name]["sd"]))
        for name in ("final_capital", "sharpe", "max_drawdown")
    }
    return Alternative(name=row["name"], meaning=row["meaning"], runs=int(row["runs"]), **spreads)


def _skill(row: Mapping[str, Any]) -> Skill:
    figures = {name: _nan_if_null(row[name]) for name in ("rank_ic", "rank_ic_t", "rank_icir", "ic", "spread_t")}
    groups = tuple(_nan_if_null(value) for value in row["quantile_returns"])
    reliability = tuple((float(one[0]), float(one[1]), int(one[2])) for one in row.get("reliability", ()))
    return Skill(
        horizon=int(row["horizon"]),
        days=int(row["days"]),
        quantile_returns=groups,
        settled=int(row.get("settled", 0)),
        reliability=reliability,
        **figures,
    )


def _ranges(path: Path) -> dict[str, Range]:
    """Read the ranges of the random draws and of the phases, by the name of their row."""
    if not path.is_file():
        return {}
    table = read_table(path, ("name", "low", "high"))
    names = np.array(table["name"].to_pylist())
    low, high = floats(table, "low", path), floats(table, "high", path)
    return {
        name: Range(low=low[names == name], high=high[names == name])
        for name in ("random filter", "random forecasts", "phases")
        if (names == name).any()
    }


def _nan_if_null(value: float | None) -> float:
    """Convert null to NaN."""
    return math.nan if value is None else float(value)
