"""What a backtest hands back, and its run folder. Knows outcomes and files; nothing of how signals were read."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Days, Float64, to_days
from encash.atomic_write import write_whole, writing
from encash.backtest.files import plain, table_bytes
from encash.backtest.outcome import Outcome
from encash.backtest.picks import PickTable, pick_table
from encash.backtest.simulation.ledger import Ledger, make_ledger
from encash.errors import FormatError, InputError, MissingFileError
from encash.fingerprint import fingerprint
from encash.serialization import describe

_OF_ONE_RUN = ("result.json", "report.html", "comparisons.json", "comparisons.parquet", "trials.csv", "chosen.json")
"""Files that tell of the run in a folder, and of no other that takes its place."""
_TABLES = ("equity.parquet", "ledger.csv", "picks.parquet")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Any series to compare with, such as an index."""

    days: Days
    """shape (n,), ascending."""
    values: Float64
    """shape (n,), above 0."""
    name: str = "reference"

    def on(self, days: Days, capital: float) -> Float64:
        """The series on the sessions of a run, beginning with the same capital; the last value carried on.

        Raises:
            InputError: it does not reach from the first to the last session.
        """
        place = np.searchsorted(self.days, days, side="right") - 1
        if not len(self.days) or place[0] < 0 or self.days[-1] < days[0]:
            span = f"from {self.days[0]} to {self.days[-1]}" if len(self.days) else "over no day"
            raise InputError(
                f"the series {self.name!r} runs {span}, the backtest from {days[0]} to {days[-1]}: no overlap at its "
                "start; give a series that covers it"
            )
        growth: Float64 = self.values[place] / self.values[place[0]]
        return capital * growth


def read_series(path: str | Path) -> Series:
    """A series from a CSV file with a header, then a day and a value above 0 a line; named after its second column.

    Raises:
        MissingFileError: no such file.
        FormatError: a line that is none, days that do not ascend, or a value that is not above 0.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no series file {path}; expected a CSV with the columns date,value")
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    try:
        series = Series(
            days=to_days([day for day, _ in rows]),
            values=np.array([float(value) for _, value in rows]),
            name=header[1],
        )
    except (ValueError, IndexError) as error:
        raise FormatError(f"{path} is no series of date,value: {error}") from None
    if not len(rows) or (np.diff(series.days) <= np.timedelta64(0, "D")).any() or not (series.values > 0).all():
        raise FormatError(f"{path}: expected ascending, distinct days and values above 0")
    return series


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """One backtest: figures, equity, ledger and picks."""

    outcome: Outcome
    facts: Mapping[str, Any]
    """What is no figure of the money: tally, look-ahead, fingerprints, versions; plain JSON values."""
    stages: Mapping[str, float]
    """Seconds of each stage."""
    reference: Series | None = None

    @property
    def days(self) -> Days:
        """The sessions, shape (S,)."""
        return self.outcome.days

    @property
    def net(self) -> Float64:
        """Equity after costs, shape (S,)."""
        return self.outcome.net

    @property
    def gross(self) -> Float64:
        """Equity of the same picks without costs, shape (S,)."""
        return self.outcome.gross

    @property
    def benchmark(self) -> Float64:
        """The universe in equal weights, rebalanced every session, without costs; shape (S,)."""
        return self.outcome.benchmark

    @cached_property
    def summary(self) -> dict[str, float | int]:
        """The figures of the run."""
        return self.outcome.summary()

    @cached_property
    def ledger(self) -> Ledger:
        """Every order."""
        names = np.asarray(self.outcome.frame.sessions.tickers)[self.outcome.columns]
        return make_ledger(self.outcome.simulation.trades, self.days, names)

    @cached_property
    def picks(self) -> PickTable:
        """Every candidate of every rebalance."""
        return pick_table(self.outcome.allocation, self.outcome.config.signal_horizon)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the run: of what decided it, and of every number that came of it.

        Two runs share it only if their configuration, prices, encoder and filter are the same, and also what the
        cache or the model said of each candidate (data, dtype, membership, …) and the series beside them.
        """
        made = {"equity": _equity_columns(self), "picks": self.picks.columns()}
        return fingerprint({**self.facts.get("fingerprints", {}), **made})

    def to_json(self) -> dict[str, Any]:
        """Everything but the tables, as plain JSON values; what is not defined is null."""
        delistings = self.outcome.final_by_delisting()
        return {
            **{name: plain(value) for name, value in self.summary.items()},
            **self.facts,
            "seconds": sum(self.stages.values()),
            "stages": dict(self.stages),
            "start": str(self.days[0]),
            "end": str(self.days[-1]),
            "sessions": len(self.days),
            "final_capital_by_delisting": {policy: plain(value) for policy, value in delistings.items()},
            "seed": self.outcome.config.seed,
            "configuration": describe(self.outcome.config),
        }


def write_run(result: BacktestResult, run_dir: str | Path) -> Path:
    """Write the run folder: `equity.parquet`, `ledger.csv`, `picks.parquet`, and `result.json` last.

    What an earlier run left in the folder (its result, report, comparisons, trials, and what it was chosen from) is
    removed first: a folder with a `result.json` is a whole run, and nothing in it is another's. The same configuration
    and data give the same bytes in `equity.parquet` and `ledger.csv`.

    Returns:
        The folder.

    Raises:
        WorkError: it cannot be written.
    """
    folder = Path(run_dir)
    with writing(folder):
        for name in _OF_ONE_RUN:
            (folder / name).unlink(missing_ok=True)
    write_whole(folder / "equity.parquet", table_bytes(_equity_columns(result)))
    write_whole(folder / "ledger.csv", result.ledger.to_csv().encode())
    write_whole(folder / "picks.parquet", table_bytes(result.picks.columns()))
    document = {**result.to_json(), "run_dir": str(folder)}
    write_whole(folder / "result.json", (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    return folder


def remove_run(run_dir: str | Path) -> None:
    """Take a run away from its folder, and the folder where nothing else is in it.

    Raises:
        WorkError: it cannot be written.
    """
    folder = Path(run_dir)
    with writing(folder):
        for name in (*_OF_ONE_RUN, *_TABLES):
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _equity_columns(result: BacktestResult) -> dict[str, np.ndarray]:
    columns = {"date": result.days, "gross": result.gross, "net": result.net, "benchmark": result.benchmark}
    if result.reference is not None:
        columns["reference"] = result.reference.on(result.days, result.outcome.config.initial_capital)
    return columns
