"""One configuration under many seeds: how much of a result is the luck of the draw. Knows configurations and files of
rows; nothing of charts."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encash.arrays import Days, Int64
from encash.atomic_write import writing
from encash.backtest.evaluation.replicates import RepeatedRuns
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import make_frame, open_sessions
from encash.backtest.inputs.universe import Candidates
from encash.backtest.outcome import evaluate
from encash.backtest.run import prepare
from encash.cache.lookup import Lookup
from encash.clusters.filter import FilterModel
from encash.errors import InputError
from encash.panel.panel import PriceTable
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Trials(RepeatedRuns):
    """n runs that differ in their seeds alone: in the daily subsets, and in what a random filter draws.

    The figures are those of `Outcome.summary`.
    """

    seeds: Int64
    days: Days


def run_trials(  # noqa: PLR0913 the four parts of the data beside what is asked
    config: BacktestConfig,
    num_trials: int,
    *,
    prices: PriceTable,
    lookup: Lookup,
    filter: FilterModel | None = None,
    candidates: Candidates = None,
    path: str | Path | None = None,
    progress: Progress | None = None,
) -> Trials:
    """Run a configuration with the seeds seed, seed + 1, … on one reading of the signals.

    Args:
        config: its seed is that of the first trial.
        num_trials: how many.
        prices: as for `run_backtest`.
        lookup: as for `run_backtest`.
        filter: a random one draws with its own seed + the number of the trial.
        candidates: as for `run_backtest`.
        path: a CSV file to which the row of each trial is appended as it comes; an older one is replaced.
        progress: called with trials done and trials in all.

    Raises:
        InputError: fewer than 1 trial; else as `run_backtest`.
        LookaheadError: as `run_backtest`.
    """
    if num_trials < 1:
        raise InputError(f"num_trials is {num_trials}; expected 1 or more")
    configs = [replace(config, seed=config.seed + number) for number in range(num_trials)]
    sessions = open_sessions(config, prices, candidates)
    frames = [make_frame(trial, sessions) for trial in configs]
    check_lookahead(config, frames[0].signal_days[0], filter=filter, spec=lookup.encoder_spec)
    (signals,) = prepare(frames, lookup, horizons=(config.signal_horizon,), filters=(filter,))
    rows: list[dict[str, float | int]] = []
    equity = np.empty((num_trials, len(sessions.days)))
    for number, (trial, frame) in enumerate(zip(configs, frames, strict=True)):
        own = filter if filter is None else replace(filter, seed=filter.seed + number)
        outcome = evaluate(trial, frame, signals, own)
        check_missing(trial, frame, outcome.signals)
        equity[number] = outcome.net
        rows.append({"trial": number, "seed": trial.seed, **outcome.summary()})
        if path is not None:
            _append(Path(path), rows[-1], first=number == 0)
        if progress is not None:
            progress(number + 1, num_trials)
    figures = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in list(rows[0])[2:]}
    seeds = np.array([trial.seed for trial in configs], dtype=np.int64)
    return Trials(seeds=seeds, days=sessions.days, equity=equity, figures=figures)


def _append(path: Path, row: dict[str, float | int], *, first: bool) -> None:
    """One more row of a CSV file, on disk before the next trial begins."""
    with writing(path), open(path, "w" if first else "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if first:
            writer.writerow(row)
        writer.writerow(row.values())
