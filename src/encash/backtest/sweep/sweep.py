"""Sweeps: many backtests on signals that are read once, in parallel and resumable, with every trial counted.

The folder of a sweep holds its journal and at the end `sweep.parquet` and `sweep.json`; `write_best` adds a run folder,
`best`. A run that is in the journal is not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.atomic_write import write_whole
from encash.backtest.evaluation.overfitting import Overfitting, judge
from encash.backtest.files import table_bytes
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.result import remove_run, write_run
from encash.backtest.run import run_backtest
from encash.backtest.run_record import add_to_record
from encash.backtest.sweep.grid import Point
from encash.backtest.sweep.journal import Journal
from encash.backtest.sweep.sweep_table import as_columns
from encash.backtest.sweep.sweep_workers import read_sweep_data, run_points
from encash.cache.lookup_stats import staleness
from encash.clusters.filters.base import CandidateFilter
from encash.errors import ConflictError, InputError, MismatchError, MissingExtraError
from encash.fingerprint import fingerprint
from encash.metrics import SESSIONS_PER_YEAR
from encash.progress import Progress
from encash.store.local.lock import sole_writer

_RESULT, _BEST = "sweep.json", "best"
_WORK = "sweep"
"""Purpose of the lock of the folder."""


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A finished sweep."""

    runs: int
    """Runs of the grid."""
    computed: int
    """Runs computed now; the others were in the folder."""
    trials: int
    """Runs ever tried in this folder, including those of earlier grids."""
    seconds: float
    best: dict[str, Any] | None
    """Row of the run of this grid with the highest Sharpe ratio; None if no run has one."""
    overfitting: Overfitting | None
    note: str
    """Reason why overfitting is not judged, empty if it is."""
    staleness: str
    """``checked`` if the entries of all runs were compared with the data when they ran."""
    unchecked: int
    """Runs in the folder without a checksum, which an earlier version wrote: a change of their figures is not
    noticed."""
    table: Path
    """`sweep.parquet`: settings and figures, one row per run of the grid."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "runs": self.runs,
            "computed": self.computed,
            "seconds": self.seconds,
            "best": self.best,
            **self.choice(),
            "staleness": self.staleness,
            "unchecked": self.unchecked,
            "table": str(self.table),
        }

    def choice(self) -> dict[str, Any]:
        """Return the number of runs that the best one was chosen from and its significance, as plain JSON values."""
        judged = self.overfitting
        return {
            "trials": self.trials,
            "distinct_trials": None if judged is None else judged.trials,
            "deflated_sharpe": None if judged is None else judged.deflated_sharpe,
            "expected_best_sharpe": None if judged is None else judged.expected_best,
            "probability_of_overfitting": None if judged is None else judged.overfitting,
            "note": self.note,
        }


def run_sweep(
    points: Sequence[Point],
    inputs: BacktestInputs,
    out: str | Path,
    *,
    filters: Mapping[str, CandidateFilter] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Run all points that are not yet in the folder.

    The best run of an earlier table is removed; `write_best` writes that of the new one.

    Args:
        points: from `read_grid` or `make_points`.
        inputs: as for `run_backtest`; the lookup is read once for all runs.
        out: the folder; runs in it with the same data, filter and settings are not run again.
        filters: by the names that the points use.
        workers: processes; None for one per core, 1 for this one.
        progress: called with (done, total) runs.

    Raises:
        InputError: no points, a point that does not fit the data, or fewer than 1 worker.
        LookaheadError: the filter or the encoder of a point was fitted on days of its run.
        MismatchError: the folder holds a sweep of other data, or clusters are of a different encoder.
        ConflictError: another sweep is writing into the folder.
        WorkError: the folder cannot be written.
    """
    began = time.perf_counter()
    if not points:
        raise InputError("a sweep without runs; give a grid with at least one")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; expected 1 or more, or None for one per core")
    filters = {} if filters is None else filters
    with sole_writer(Path(out), _WORK):
        journal = Journal(Path(out), _data_fingerprint(inputs))
        keys = [point.key(point.chosen(filters)) for point in points]
        _refuse_unchecked(journal, set(keys), inputs)
        todo = [(key, point) for point, key in zip(points, keys, strict=True) if key not in journal.keys]
        if todo:
            left = [point for _, point in todo]
            rows = run_points(left, read_sweep_data(left, inputs, filters), workers)
            for done, ((key, _), row) in enumerate(zip(todo, rows, strict=True), start=len(points) - len(todo) + 1):
                journal.append(replace(row, key=key))
                if progress is not None:
                    progress(done, len(points))
        return _finish(journal, keys, len(todo), began)


def _refuse_unchecked(journal: Journal, keys: set[str], inputs: BacktestInputs) -> None:
    """Refuse to present earlier runs whose entries were not checked as part of a sweep that checks them.

    Raises:
        MismatchError: a run in the folder was computed without the panel, and the panel is given now.
    """
    unchecked = [row for row in journal.rows if row["key"] in keys and row.get("staleness") == "not checked"]
    if unchecked and staleness(inputs.lookup.stats) == "checked":
        raise MismatchError(
            f"{len(unchecked)} runs in {journal.folder} were computed without --data, so that stale entries were not "
            "noticed; give a new folder for the checked sweep"
        )


def write_best(
    result: SweepResult,
    points: Sequence[Point],
    inputs: BacktestInputs,
    *,
    filters: Mapping[str, CandidateFilter] | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Repeat the best run of a sweep and write its run folder, `best` beside the table.

    A `chosen.json` in it records the number of runs it was chosen from, so that its page shows that too.

    Args:
        result: of `run_sweep` on the same points, inputs and filters.
        points: as for `run_sweep`.
        inputs: as for `run_sweep`; the lookup is read for the best run only.
        filters: by the names that the points use.
        progress: called with (done, total) cells.

    Returns:
        The run folder; None if no run has a Sharpe ratio.

    Raises:
        ConflictError: a different sweep is writing into the folder, or has written since.
    """
    if result.best is None:
        return None
    chosen = ((point, point.chosen(filters or {})) for point in points)
    point, filter = next(pair for pair in chosen if pair[0].key(pair[1]) == result.best["key"])
    run = run_backtest(point.config, replace(inputs, filter=filter), progress=progress)
    out = result.table.parent
    with sole_writer(out, _WORK):
        if (out / _RESULT).read_bytes() != _document(result.to_json()):
            raise ConflictError(f"another sweep has written into {out} since; run this again, or give another folder")
        folder = write_run(run, out / _BEST)
        add_to_record(write_whole(folder / "chosen.json", _document(result.choice())))
    return folder


def _finish(journal: Journal, keys: Sequence[str], computed: int, began: float) -> SweepResult:
    """Write the table and return the result."""
    by_key = {row["key"]: row for row in journal.rows}
    rows = [by_key[key] for key in keys]
    defined = [row for row in rows if row["sharpe"] is not None]
    best = max(defined, key=lambda row: float(row["sharpe"])) if defined else None
    overfitting, note = _judged(journal, rows)
    table = journal.folder / "sweep.parquet"
    remove_run(journal.folder / _BEST)
    write_whole(table, table_bytes(as_columns(rows)))
    result = SweepResult(
        runs=len(keys),
        computed=computed,
        trials=len(journal.rows),
        seconds=time.perf_counter() - began,
        best=best,
        overfitting=overfitting,
        note=note,
        staleness="checked" if all(row.get("staleness") == "checked" for row in rows) else "not checked",
        unchecked=journal.unchecked,
        table=table,
    )
    write_whole(journal.folder / _RESULT, _document(result.to_json()))
    return result


def _document(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _judged(journal: Journal, rows: Sequence[Mapping[str, Any]]) -> tuple[Overfitting | None, str]:
    """Judge the best run, or return why it is not judged."""
    returns = journal.returns(rows)
    if returns is None:
        return None, "the runs are not of the same sessions, so their returns cannot be compared"
    try:
        year = rows[0].get("sessions_per_year", SESSIONS_PER_YEAR)
        return judge(returns, trials=len(journal.rows), sessions_per_year=year), ""
    except (InputError, MissingExtraError) as reason:
        return None, str(reason)


def _data_fingerprint(inputs: BacktestInputs) -> str:
    """Return the identity of the data that all runs of a folder share: prices, encoder, candidates, and, if they were
    read, groups and dollar volumes."""
    prices, candidates, forecasts = inputs.prices, inputs.candidates, inputs.lookup.forecast_fingerprint
    listed: Any = None
    if candidates is not None and not isinstance(candidates, Sequence):
        listed = [candidates.tickers.tolist(), candidates.first.astype(np.int64), candidates.last.astype(np.int64)]
    elif candidates is not None:
        listed = "\n".join(candidates)
    book: list[Any] = [] if inputs.groups is None else [inputs.groups.fingerprint]
    book += [] if prices.dollars is None else [prices.dollars]
    return fingerprint(
        [prices.days.astype(np.int64), "\n".join(prices.tickers), prices.close, forecasts, listed, *book]
    )
