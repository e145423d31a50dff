"""Read the comparison files of a run folder: `comparisons.json` and `.parquet`, `trials.csv`, `chosen.json`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64
from encash.backtest.evaluation.cluster_behavior import ClusterBehavior
from encash.backtest.evaluation.forecast_skill import DailySkill
from encash.backtest.evaluation.random_filter_test import FilterTest
from encash.backtest.evaluation.replicates import Replicates
from encash.errors import FormatError
from encash.report.run_extras import Alternative, Extras, Range, Skill, Spread
from encash.report.summary import days_of, floats, read_object, read_table
from encash.text_files import read_text

_SEED_FIGURES = ("cagr", "sharpe", "max_drawdown")
_SHOWN_ELSEWHERE = ("filter", "gross", "benchmark")
"""Rows that the table of comparisons leaves out."""
_REFERENCES = ("no filter", "benchmark", "shuffled clusters")
_PATHS = ("no filter", "no filter, gross", "lag + 1")


def read_comparisons(folder: str | Path) -> Extras:
    """Read the comparisons and trials of a run; empty if its folder has none.

    Raises:
        FormatError: a file is malformed.
    """
    path = Path(folder) / "comparisons.json"
    known = _chosen(path.with_name("chosen.json")) | _seeds(path.with_name("trials.csv"))
    if not path.is_file():
        return Extras(**known)
    document, equities = read_object(path), _equities(path.with_suffix(".parquet"))
    equities |= _equities(path.with_name("details.parquet"))
    with _parsing(path, "does not hold comparisons", "compare the run again"):
        rows = {row["name"]: row for row in document["rows"]}
        details = {row["name"]: row for row in document.get("details", ())}
        random = "random forecasts" if "random forecasts" in rows else "random filter"
        verdict = document["verdict"]
        ranges = {name: found for name, (found, _) in equities.items()}
        return Extras(
            no_filter=_single(rows, "no filter"),
            random_filters=_capitals(rows, random),
            random_range=ranges.get(random),
            test=None if verdict is None else FilterTest.from_json(verdict),
            shuffled_clusters=_capitals(rows, "shuffled clusters"),
            phases=_phases(rows),
            phase_range=ranges.get("phases"),
            later=_single(rows, "lag + 1"),
            draws=_known(rows[random]) if random in rows else {},
            references={name: _medians(rows[name]) for name in _REFERENCES if name in rows},
            paths={name: middle for name, (_, middle) in equities.items() if name in _PATHS},
            cost_curve=_cost_curve(details),
            behavior=tuple(_behavior(one) for one in document.get("clusters", ())),
            groups={str(ticker): str(group) for ticker, group in (document.get("groups") or {}).items()},
            daily_skill=_daily_skill(path.with_name("skill.parquet")),
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
    return {
        "seeds": tuple(columns["final_capital"].tolist()),
        "seed_spreads": spreads if len(rows) > 1 else {},
        "seed_figures": {name: tuple(columns[name].tolist()) for name in _SEED_FIGURES},
    }


@contextmanager
def _parsing(path: Path, problem: str, fix: str) -> Iterator[None]:
    """Turn the errors of unexpected content into one clear error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, csv.Error) as error:
        raise FormatError(f"{path} {problem} ({error!r}); {fix}") from None


def _capitals(rows: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Return the final capitals of a row's runs; empty without the row.

    Raises:
        ValueError: one is not a finite number.
    """
    capitals = tuple(map(float, rows[name]["final_capital"]["values"])) if name in rows else ()
    if not all(map(math.isfinite, capitals)):
        raise ValueError(f"a final capital of {name} is not finite")
    return capitals


def _single(rows: Mapping[str, Any], name: str) -> float | None:
    values = _capitals(rows, name)
    return values[0] if values else None


def _values(row: Mapping[str, Any], figure: str) -> tuple[float, ...]:
    return tuple(_nan_if_null(value) for value in row[figure]["values"])


def _known(row: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Return the figures of the runs of a row that its version of encash recorded.

    Raises:
        ValueError: a figure has more or fewer values than the row has runs.
    """
    found = {figure: _values(row, figure) for figure in _SEED_FIGURES if figure in row}
    if wrong := [figure for figure, values in found.items() if len(values) != int(row["runs"])]:
        raise ValueError(f"{row['runs']} runs with {len(found[wrong[0]])} values of {wrong[0]}")
    return found


def _medians(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the median of each figure over the runs of a row."""
    return {figure: float(np.median(values)) for figure, values in _known(row).items()}


def _cost_curve(rows: Mapping[str, Any]) -> dict[str, dict[float, float]]:
    """Return final capital and yearly return by the cost of a trade; labels are "0 bp", "5 bp", …"""
    if "costs" not in rows:
        return {}
    row = rows["costs"]
    costs = [float(label.removesuffix(" bp")) / 1e4 for label in row["labels"]]
    return {figure: dict(zip(costs, _values(row, figure), strict=True)) for figure in ("final_capital", "cagr")}


def _behavior(values: Mapping[str, Any]) -> ClusterBehavior:
    return ClusterBehavior(
        cluster=int(values["cluster"]),
        entries=int(values["entries"]),
        tickers=tuple((str(name), float(share)) for name, share in values["tickers"]),
        window=tuple((float(low), float(middle), float(high)) for low, middle, high in values["window"]),
        **{name: _nan_if_null(values[name]) for name in ("mean_return", "mean_error", "win_rate")},
    )


def _daily_skill(path: Path) -> dict[int, DailySkill]:
    """Read the skill by day, by horizon; empty without the file, which earlier versions did not write."""
    if not path.is_file():
        return {}
    quintiles = tuple(f"quintile_{place}" for place in range(1, 6))
    table = read_table(path, ("date", "horizon", "rank_ic", *quintiles))
    horizon, ic, dates = floats(table, "horizon", path), floats(table, "rank_ic", path), days_of(table, path)
    groups = np.column_stack([floats(table, name, path) for name in quintiles])
    return {
        int(one): DailySkill(
            days=dates[horizon == one], rank_ic=ic[horizon == one], quantile_returns=groups[horizon == one]
        )
        for one in np.unique(horizon)
    }


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
    errors = tuple(_nan_if_null(value) for value in row.get("quantile_errors", ()))
    reliability = tuple((float(one[0]), float(one[1]), int(one[2])) for one in row.get("reliability", ()))
    return Skill(
        horizon=int(row["horizon"]),
        days=int(row["days"]),
        quantile_returns=groups,
        settled=int(row.get("settled", 0)),
        quantile_errors=errors,
        reliability=reliability,
        decay=_by_lag(row.get("decay", ())),
        autocorrelation=_by_lag(row.get("autocorrelation", ())),
        **figures,
    )


def _equities(path: Path) -> dict[str, tuple[Range, Float64]]:
    """Read the ranges of the equity and its median over the runs of each row, by the name of the row."""
    if not path.is_file():
        return {}
    table = read_table(path, ("name", "low", "median", "high"))
    names = np.array(table["name"].to_pylist())
    low, middle, high = (floats(table, name, path) for name in ("low", "median", "high"))
    return {
        str(name): (Range(low=low[names == name], high=high[names == name]), middle[names == name])
        for name in np.unique(names)
    }


def _by_lag(pairs: Sequence[Any]) -> tuple[tuple[int, float], ...]:
    return tuple((int(lag), _nan_if_null(value)) for lag, value in pairs)


def _nan_if_null(value: float | None) -> float:
    """Convert null to NaN."""
    return math.nan if value is None else float(value)
