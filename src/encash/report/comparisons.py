"""What a run folder keeps beside the run (`comparisons.json` and `.parquet`, `trials.csv`, `chosen.json`), as extras of
its page. Knows these files; nothing of how they were made."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encash.errors import FormatError
from encash.report.extras import Alternative, Extras, Range, Skill, Spread
from encash.report.summary import floats, read_object, read_table

_TWICE = ("filter", "gross", "benchmark")
"""Rows that the page shows elsewhere already."""


def read_comparisons(folder: str | Path) -> Extras:
    """What a run was compared with and chosen from; empty where its folder says nothing of it.

    Raises:
        FormatError: the files are not what their names say.
    """
    path = Path(folder) / "comparisons.json"
    known = _chosen(path.with_name("chosen.json")) | {"seeds": _seeds(path.with_name("trials.csv"))}
    if not path.is_file():
        return Extras(**known)
    document, ranges = read_object(path), _ranges(path.with_suffix(".parquet"))
    try:
        rows = {row["name"]: row for row in document["rows"]}
        return Extras(
            no_filter=_single(rows, "no filter"),
            random_filters=_capitals(rows, "random filter"),
            random_range=ranges.get("random filter"),
            excess_interval=_interval(document.get("verdict")),
            shuffled_clusters=_capitals(rows, "shuffled clusters"),
            phases=_phases(rows),
            phase_range=ranges.get("phases"),
            later=_single(rows, "lag + 1"),
            alternatives=tuple(_alternative(row) for name, row in rows.items() if name not in _TWICE),
            skill=tuple(_skill(row) for row in document["evidence"]),
            **known,
        )
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise FormatError(f"{path} holds no comparisons ({problem!r}); compare the run again") from None


def _chosen(path: Path) -> dict[str, Any]:
    """Among how many the best run of a sweep was chosen (`chosen.json`); empty for a run that was not."""
    if not path.is_file():
        return {}
    document = read_object(path)
    try:
        return {
            "trials": int(document["trials"]),
            "deflated_sharpe": document["deflated_sharpe"],
            "expected_best_sharpe": document["expected_best_sharpe"],
            "overfitting": document["probability_of_overfitting"],
        }
    except (KeyError, TypeError, ValueError) as problem:
        raise FormatError(f"{path} does not say what was chosen from ({problem!r}); run the sweep again") from None


def _seeds(path: Path) -> tuple[float, ...]:
    """Final capitals of the trials that a run folder keeps (`trials.csv`); none where there were none."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return tuple(float(row["final_capital"]) for row in csv.DictReader(file))
        except (KeyError, TypeError, ValueError) as problem:
            raise FormatError(f"{path} holds no trials ({problem!r}); run them again") from None


def _capitals(rows: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Final capitals of a row's runs; none where the row was not made."""
    return tuple(map(float, rows[name]["final_capital"]["values"])) if name in rows else ()


def _single(rows: Mapping[str, Any], name: str) -> float | None:
    values = _capitals(rows, name)
    return values[0] if values else None


def _phases(rows: Mapping[str, Any]) -> dict[int, float]:
    """Final capital by phase; labels are "phase 0", "phase 1", …"""
    labels = rows["phases"]["labels"] if "phases" in rows else ()
    return {int(label.split()[-1]): capital for label, capital in zip(labels, _capitals(rows, "phases"), strict=True)}


def _interval(verdict: Any) -> tuple[float, float] | None:
    if verdict is None or None in verdict["excess_interval"]:
        return None
    low, high = verdict["excess_interval"]
    return float(low), float(high)


def _alternative(row: Mapping[str, Any]) -> Alternative:
    spreads = {
        name: Spread(mean=_number(row[name]["mean"]), deviation=_number(row[name]["sd"]))
        for name in ("final_capital", "sharpe", "max_drawdown")
    }
    return Alternative(name=row["name"], meaning=row["meaning"], runs=int(row["runs"]), **spreads)


def _skill(row: Mapping[str, Any]) -> Skill:
    figures = {name: _number(row[name]) for name in ("rank_ic", "rank_ic_t", "rank_icir", "ic", "spread_t")}
    groups = tuple(_number(value) for value in row["quantile_returns"])
    return Skill(horizon=int(row["horizon"]), days=int(row["days"]), quantile_returns=groups, **figures)


def _ranges(path: Path) -> dict[str, Range]:
    """Ranges of the random filters and of the phases by the name of their row, where they are there."""
    if not path.is_file():
        return {}
    table = read_table(path, ("name", "low", "high"))
    names, low, high = np.array(table["name"].to_pylist()), floats(table, "low"), floats(table, "high")
    return {
        name: Range(low=low[names == name], high=high[names == name])
        for name in ("random filter", "phases")
        if (names == name).any()
    }


def _number(value: float | None) -> float:
    """A number; NaN where it is not defined."""
    return math.nan if value is None else float(value)
