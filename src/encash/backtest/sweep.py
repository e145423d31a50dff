"""Thousands of backtests on one reading of the signals: on all cores, resumable, every trial counted. Knows points of a
grid and the files of a sweep; nothing of charts.

A sweep's folder holds `runs.jsonl` (a line a run, appended as it ends), `returns.f8` (its daily returns, in the same
order) and at last `sweep.parquet` and `sweep.json`; `write_best` adds a run folder, `best`. A run whose line is there
is not run again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Float64
from encash.backtest.config import BacktestConfig
from encash.backtest.files import plain, table_bytes
from encash.backtest.frame import Frame, Sessions, make_frame, open_sessions
from encash.backtest.grid import Point
from encash.backtest.honesty import check_lookahead, check_missing
from encash.backtest.outcome import evaluate
from encash.backtest.overfitting import Overfitting, judge
from encash.backtest.result import write_run
from encash.backtest.run import prepare, run_backtest
from encash.backtest.signals import SignalGrid
from encash.backtest.universe import Candidates
from encash.cache.lookup import Lookup
from encash.clusters.filter import FilterModel
from encash.errors import FormatError, InputError, MismatchError, MissingExtraError
from encash.fingerprint import fingerprint
from encash.panel.panel import PriceTable
from encash.progress import Progress
from encash.whole import make_folder, write_whole, writing

_CHUNK_RUNS = 50


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A finished sweep."""

    runs: int
    """Runs of the grid."""
    computed: int
    """Of these, run now; the others were there."""
    trials: int
    """Runs ever tried in this folder, those of earlier grids included."""
    seconds: float
    best: dict[str, Any] | None
    """The row of the run of this grid with the highest Sharpe ratio."""
    overfitting: Overfitting | None
    note: str
    """Why there is no verdict on overfitting; else empty."""
    table: Path
    """`sweep.parquet`: a row a run of the grid, its settings and figures."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "runs": self.runs,
            "computed": self.computed,
            "seconds": self.seconds,
            "best": self.best,
            **self.choice(),
            "table": str(self.table),
        }

    def choice(self) -> dict[str, Any]:
        """Among how many the best run was chosen and what that leaves of it, as plain JSON values."""
        judged = self.overfitting
        return {
            "trials": self.trials,
            "deflated_sharpe": None if judged is None else judged.deflated_sharpe,
            "expected_best_sharpe": None if judged is None else judged.expected_best,
            "probability_of_overfitting": None if judged is None else judged.overfitting,
            "note": self.note,
        }


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all runs of a sweep share."""

    prices: PriceTable
    candidates: Candidates
    signals: Mapping[str, SignalGrid]
    """By name of the filter whose clusters it holds."""
    filters: Mapping[str, FilterModel]
    opened: dict[str, Sessions] = field(default_factory=dict)

    def sessions(self, config: BacktestConfig) -> Sessions:
        """The sessions of a run; kept, for most runs of a sweep share them."""
        key = session_key(config)
        if key not in self.opened:
            self.opened[key] = open_sessions(config, self.prices, self.candidates)
        return self.opened[key]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is written down of one run."""

    key: str
    values: dict[str, Any]
    returns: Float64
    """Daily net returns, shape (sessions − 1,)."""


def run_sweep(  # noqa: PLR0913 the four parts of the data beside what is asked
    points: Sequence[Point],
    out: str | Path,
    *,
    prices: PriceTable,
    lookup: Lookup,
    filters: Mapping[str, FilterModel] | None = None,
    candidates: Candidates = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Run all points that are not yet in the folder.

    Args:
        points: from `read_grid` or `make_points`.
        out: the folder; runs that are in it with the same data, filter and settings are not run again.
        prices: as for `run_backtest`.
        lookup: read once, for whatever any of the runs needs.
        filters: by the names that the points use.
        candidates: as for `run_backtest`.
        workers: processes; None for one a core, 1 for this one.
        progress: called with runs done and runs in all.

    Raises:
        InputError: no point, or one that does not fit the data; fewer workers than 1.
        LookaheadError: a point that would know its future.
        MismatchError: the folder holds a sweep of other data, or clusters are of another encoder.
    """
    began = time.perf_counter()
    if not points:
        raise InputError("a sweep of no runs; give a grid with at least one")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; expected 1 or more, or None for one a core")
    filters = {} if filters is None else filters
    journal = Journal(Path(out), _data_fingerprint(prices, lookup, candidates))
    keys = [point.key(point.chosen(filters)) for point in points]
    todo = [point for point, key in zip(points, keys, strict=True) if key not in journal.keys]
    if todo:
        material = _prepare(todo, prices, lookup, filters, candidates)
        done = len(points) - len(todo)
        for row in _run_all(todo, material, _worker_count(workers, len(todo))):
            journal.append(row)
            done += 1
            if progress is not None:
                progress(done, len(points))
    return _finish(journal, keys, len(todo), began)


def write_best(
    result: SweepResult,
    points: Sequence[Point],
    *,
    prices: PriceTable,
    lookup: Lookup,
    filters: Mapping[str, FilterModel] | None = None,
    candidates: Candidates = None,
    progress: Progress | None = None,
) -> Path | None:
    """Run the best run of a sweep once more and write its run folder, `best` beside the table.

    A `chosen.json` in it says among how many it was chosen, so that its page never shows it as one run alone.

    Args:
        result: of `run_sweep` on all that follows.
        points: as for `run_sweep`, and the next four too.
        prices: as for `run_backtest`.
        lookup: read for the best run alone.
        filters: by the names that the points use.
        candidates: as for `run_backtest`.
        progress: called with cells read and cells in all.

    Returns:
        The run folder; None where no run has a Sharpe ratio.
    """
    if result.best is None:
        return None
    chosen = ((point, point.chosen(filters or {})) for point in points)
    point, filter = next(pair for pair in chosen if pair[0].key(pair[1]) == result.best["key"])
    run = run_backtest(
        point.config, prices=prices, lookup=lookup, filter=filter, candidates=candidates, progress=progress
    )
    folder = write_run(run, result.table.with_name("best"))
    write_whole(folder / "chosen.json", (json.dumps(result.choice(), indent=2) + "\n").encode())
    return folder


class Journal:
    """The runs of a folder as they came. A line without its returns, or half a line, is forgotten."""

    def __init__(self, folder: Path, data: str):
        """Open or begin a folder.

        Raises:
            MismatchError: it belongs to other data.
            FormatError: its lines are damaged.
            WorkError: it cannot be written.
        """
        self.folder = make_folder(folder)
        self._lines, self._returns = folder / "runs.jsonl", folder / "returns.f8"
        self.rows: list[dict[str, Any]] = []
        with writing(folder):
            self._load(data)
        self.keys = {row["key"] for row in self.rows}

    def append(self, row: Row) -> None:
        """Keep one run: its returns first, then its line."""
        with writing(self.folder):
            with open(self._returns, "ab") as returns:
                start = returns.tell()
                returns.write(np.ascontiguousarray(row.returns, dtype="<f8").tobytes())
            line = {"key": row.key, "offset": start, "sessions": len(row.returns), **row.values}
            with open(self._lines, "a") as lines:
                lines.write(json.dumps(line) + "\n")
        self.rows.append(line)
        self.keys.add(row.key)

    def returns(self, rows: Sequence[Mapping[str, Any]]) -> Float64 | None:
        """Daily returns of some rows, shape (n, sessions − 1); None where they are not of the same sessions."""
        spans = {(row["first_session"], row["last_session"], row["sessions"]) for row in rows}
        if len(spans) != 1:
            return None
        ((_, _, width),) = spans
        stored = np.memmap(self._returns, dtype="<f8", mode="r")
        starts = np.array([row["offset"] // 8 for row in rows])
        return np.asarray(stored[starts[:, None] + np.arange(width)], dtype=np.float64)

    def _load(self, data: str) -> None:
        """The whole lines of an earlier sweep; begins the folder where there is none."""
        text = self._lines.read_text() if self._lines.is_file() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        if not whole:
            self._lines.write_text(json.dumps({"data": data}) + "\n")
            self._returns.write_bytes(b"")
            return
        try:
            head, *rows = [json.loads(line) for line in whole]
        except json.JSONDecodeError:
            raise FormatError(f"{self._lines} is damaged; give another folder, or remove this one") from None
        if head.get("data") != data:
            raise MismatchError(
                f"{self.folder} holds a sweep of other prices, candidates or another encoder; give another folder, "
                "so that its trials are counted apart"
            )
        self.rows = rows
        self._lines.write_text("".join(line + "\n" for line in whole))
        used = max((row["offset"] + 8 * row["sessions"] for row in self.rows), default=0)
        os.truncate(self._returns, used)


def session_key(config: BacktestConfig) -> str:
    """What decides the sessions and the universe of a run."""
    names = ("start", "end", "test_sessions", "num_test_stocks", "fill", "top_k", "subset_size")
    described = config.describe()
    return json.dumps([described[name] for name in names])


def _frame_key(config: BacktestConfig) -> str:
    """What decides the rebalances and the candidates of a run."""
    names = ("horizon", "phase", "lag", "tranches", "last_period")
    drawn = config.seed if config.subset_size else 0
    return json.dumps([session_key(config), *(getattr(config, name) for name in names), drawn])


def _prepare(
    points: Sequence[Point],
    prices: PriceTable,
    lookup: Lookup,
    filters: Mapping[str, FilterModel],
    candidates: Candidates,
) -> Material:
    """Check every point, and read once whatever any of them needs."""
    material = Material(prices=prices, candidates=candidates, signals={}, filters=filters)
    frames, widest = _frames(points, material, lookup)
    used = sorted({point.filter for point in points})
    models = tuple(filters.get(name) for name in used)
    horizons = tuple(sorted({point.config.signal_horizon for point in points}))
    grids = prepare([_widened(frame, widest) for frame in frames], lookup, horizons=horizons, filters=models)
    stripped = {name: replace(model, assignments=None) for name, model in filters.items()}
    return replace(material, signals=dict(zip(used, grids, strict=True)), filters=stripped, opened={})


def _frames(points: Sequence[Point], material: Material, lookup: Lookup) -> tuple[list[Frame], Sessions]:
    """The different frames of all points, and the sessions with the widest universe."""
    frames: dict[str, Frame] = {}
    for point in points:
        config = point.config
        key = _frame_key(config)
        if key not in frames:
            frames[key] = make_frame(config, material.sessions(config))
        filter = point.chosen(material.filters)
        check_lookahead(config, frames[key].signal_days[0], filter=filter, spec=lookup.encoder_spec)
    widest = max(material.opened.values(), key=lambda sessions: len(sessions.tickers))
    return list(frames.values()), widest


def _widened(frame: Frame, widest: Sessions) -> Frame:
    """The same candidates on the columns of the widest universe."""
    if frame.sessions.tickers == widest.tickers:
        return frame
    columns = np.searchsorted(np.asarray(widest.tickers), np.asarray(frame.sessions.tickers))
    asked = np.zeros((len(frame.asked), len(widest.tickers)), dtype=bool)
    asked[:, columns] = frame.asked
    return replace(frame, asked=asked, sessions=replace(widest, days=frame.sessions.days, first=frame.sessions.first))


def _run_all(points: Sequence[Point], material: Material, workers: int) -> Iterator[Row]:
    """All runs, in the order of the points."""
    chunks = [points[at : at + _CHUNK_RUNS] for at in range(0, len(points), _CHUNK_RUNS)]
    if workers == 1:
        for chunk in chunks:
            yield from run_chunk(chunk, material)
        return
    yield from _run_in_processes(chunks, material, workers)


def _run_in_processes(chunks: Sequence[Sequence[Point]], material: Material, workers: int) -> Iterator[Row]:
    """Each process gets the material once, when it starts."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_Worker.begin, initargs=(material,)) as pool:
        for rows in pool.map(_Worker.run, chunks):
            yield from rows


class _Worker:
    """A process of a sweep: the material it was started with, and nothing that any run changes."""

    material: Material

    @classmethod
    def begin(cls, material: Material) -> None:
        """Called once in the process."""
        cls.material = material

    @classmethod
    def run(cls, points: Sequence[Point]) -> list[Row]:
        """One chunk of runs."""
        return run_chunk(points, cls.material)


def run_chunk(points: Iterable[Point], material: Material) -> list[Row]:
    """Some runs, one after the other; neighbours with the same candidates share their frame and signals."""
    rows, key = [], ""
    for point in points:
        needed = json.dumps([_frame_key(point.config), point.filter])
        if needed != key:
            frame = make_frame(point.config, material.sessions(point.config))
            signals = material.signals[point.filter].select(frame.signal_days, frame.sessions.tickers)
            key = needed
        rows.append(_run_point(point, frame, signals, point.chosen(material.filters)))
    return rows


def _run_point(point: Point, frame: Frame, signals: SignalGrid, filter: FilterModel | None) -> Row:
    """One run and what is written down of it."""
    config = point.config
    outcome = evaluate(config, frame, signals, filter)
    missing = check_missing(config, frame, outcome.signals)
    values = {
        **dict(point.varied),
        "filter": point.filter,
        "keep": point.keep,
        **{name: plain(value) for name, value in outcome.summary().items()},
        "missing_share": missing,
        "first_session": str(outcome.days[0]),
        "last_session": str(outcome.days[-1]),
    }
    return Row(key=point.key(filter), values=values, returns=metrics.simple_returns(outcome.path))


def _finish(journal: Journal, keys: Sequence[str], computed: int, began: float) -> SweepResult:
    """Table, best run and verdict."""
    by_key = {row["key"]: row for row in journal.rows}
    rows = [by_key[key] for key in keys]
    defined = [row for row in rows if row["sharpe"] is not None]
    best = max(defined, key=lambda row: float(row["sharpe"])) if defined else None
    overfitting, note = _judged(journal, rows)
    table = journal.folder / "sweep.parquet"
    write_whole(table, table_bytes(_columns(rows)))
    result = SweepResult(
        runs=len(keys),
        computed=computed,
        trials=len(journal.rows),
        seconds=time.perf_counter() - began,
        best=best,
        overfitting=overfitting,
        note=note,
        table=table,
    )
    write_whole(journal.folder / "sweep.json", (json.dumps(result.to_json(), indent=2) + "\n").encode())
    return result


def _judged(journal: Journal, rows: Sequence[Mapping[str, Any]]) -> tuple[Overfitting | None, str]:
    """The verdict on the best run, or why there is none."""
    returns = journal.returns(rows)
    if returns is None:
        return None, "the runs are not of the same sessions, so their returns cannot be compared"
    try:
        return judge(returns, trials=len(journal.rows)), ""
    except (InputError, MissingExtraError) as reason:
        return None, str(reason)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """One array a column; NaN or empty where a row has none."""
    hidden = ("offset", "sessions")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: Sequence[Any]) -> np.ndarray:
    """Numbers as float64 or int64, anything else as text."""
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        whole = all(isinstance(value, int) for value in values)
        known = [np.nan if value is None else value for value in values]
        return np.array(known, dtype=np.int64 if whole else np.float64)
    return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)


def heat_map(table: Mapping[str, np.ndarray], rows: str, columns: str, figure: str = "sharpe") -> dict[str, np.ndarray]:
    """Mean of a figure over the runs of each pair of two settings.

    Args:
        table: columns of a sweep, each of shape (runs,).
        rows: the setting down the side.
        columns: the setting along the top.
        figure: what is averaged; undefined values are left out.

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


def _data_fingerprint(prices: PriceTable, lookup: Lookup, candidates: Candidates) -> str:
    """What all runs of a folder share: prices, encoder, candidates."""
    spec = lookup.encoder_spec
    encoder = "" if spec is None else spec.forecast_fingerprint
    listed: Any = None
    if candidates is not None and not isinstance(candidates, Sequence):
        listed = [candidates.tickers.tolist(), candidates.first.astype(np.int64), candidates.last.astype(np.int64)]
    elif candidates is not None:
        listed = "\n".join(candidates)
    return fingerprint([prices.days.astype(np.int64), "\n".join(prices.tickers), prices.close, encoder, listed])


def _worker_count(workers: int | None, runs: int) -> int:
    """Processes that are worth starting: not one for less than a chunk of runs."""
    most = (os.cpu_count() or 1) if workers is None else workers
    return max(1, min(most, -(-runs // _CHUNK_RUNS)))
