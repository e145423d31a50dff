"""Trials: one configuration under many seeds."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encash.arrays import Days, Int64
from encash.atomic_write import writing
from encash.backtest.evaluation.replicates import Replicates
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import open_sessions, set_up_run
from encash.backtest.inputs.signals import read_signals
from encash.backtest.outcome import run_strategy
from encash.backtest.run_record import add_to_record
from encash.errors import InputError
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Trials(Replicates):
    """n runs that differ only in their seeds: in the daily subsets, and in the draws of a random filter.

    The figures are those of `Outcome.summary`.
    """

    seeds: Int64
    days: Days


def run_trials(
    config: BacktestConfig,
    inputs: BacktestInputs,
    num_trials: int,
    *,
    path: str | Path | None = None,
    progress: Progress | None = None,
) -> Trials:
    """Run a configuration with the seeds seed, seed + 1, … on signals that are read once.

    Args:
        config: its seed is that of the first trial.
        inputs: as for `run_backtest`; a random filter draws with its own seed + the number of the trial.
        num_trials: number of trials.
        path: a CSV file to which each trial is appended when it ends; an older file is replaced.
        progress: called with (done, total) trials.

    Raises:
        InputError: fewer than 1 trial; else as `run_backtest`.
        LookaheadError: as `run_backtest`.
    """
    if num_trials < 1:
        raise InputError(f"num_trials is {num_trials}; expected 1 or more")
    filter = inputs.filter
    configs = [replace(config, seed=config.seed + number) for number in range(num_trials)]
    sessions = open_sessions(config, inputs.prices, inputs.candidates, inputs.groups)
    setups = [set_up_run(trial, sessions) for trial in configs]
    check_lookahead(config, inputs, setups[0].signal_days[0])
    (signals,) = read_signals(setups, inputs.lookup, horizons=(config.signal_horizon,), filters=(filter,))
    rows: list[dict[str, float | int]] = []
    equity = np.empty((num_trials, len(sessions.days)))
    for number, (trial, setup) in enumerate(zip(configs, setups, strict=True)):
        own = filter if filter is None else replace(filter, seed=filter.seed + number)
        outcome = run_strategy(trial, setup, signals, own)
        check_missing(trial, setup, outcome.signals)
        equity[number] = outcome.net
        rows.append({"trial": number, "seed": trial.seed, **outcome.summary()})
        if path is not None:
            _append(Path(path), rows[-1], first=number == 0)
        if progress is not None:
            progress(number + 1, num_trials)
    if path is not None:
        add_to_record(Path(path))
    figures = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in list(rows[0])[2:]}
    seeds = np.array([trial.seed for trial in configs], dtype=np.int64)
    return Trials(seeds=seeds, days=sessions.days, equity=equity, figures=figures)


def _append(path: Path, row: dict[str, float | int], *, first: bool) -> None:
    """Append a row to a CSV file before the next trial begins."""
    with writing(path), open(path, "w" if first else "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if first:
            writer.writerow(row)
        writer.writerow(row.values())
