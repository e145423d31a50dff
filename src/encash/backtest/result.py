"""Result of a backtest and its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Days, Float64, to_day
from encash.atomic_write import write_whole, writing
from encash.backtest.files import json_value, table_bytes
from encash.backtest.outcome import Outcome
from encash.backtest.picks import PickTable, pick_table
from encash.backtest.run_record import OPTIONAL, RECORD, write_record
from encash.backtest.simulation.ledger import Ledger, make_ledger
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint
from encash.serialization import describe
from encash.text_files import read_csv, to_number

_OF_ONE_RUN = ("result.json", "report.html", RECORD, *OPTIONAL)
"""Files that describe the run in a folder, and are removed before a different run is written."""
BENCHMARK = "all candidates in equal weights, rebalanced every session, without costs"
"""Series that alpha and beta are measured against."""
_TABLES = ("equity.parquet", "ledger.csv", "picks.parquet")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Series to compare a run with, such as an index."""

    days: Days
    """shape (n,), ascending."""
    values: Float64
    """shape (n,), above 0."""
    name: str = "reference"

    def on(self, days: Days, capital: float) -> Float64:
        """Return the series on the sessions of a run, with the same initial capital; gaps take the last value.

        Raises:
            InputError: the series begins after the first session, or ends before it.
        """
        place = np.searchsorted(self.days, days, side="right") - 1
        if not len(self.days) or place[0] < 0 or self.days[-1] < days[0]:
            span = f"from {self.days[0]} to {self.days[-1]}" if len(self.days) else "over no days"
            raise InputError(
                f"the series {self.name!r} runs {span}, the backtest from {days[0]} to {days[-1]}: no overlap at its "
                "start; give a series that covers it"
            )
        growth: Float64 = self.values[place] / self.values[place[0]]
        return capital * growth


def read_series(path: str | Path) -> Series:
    """Read a series from a CSV file with a header and lines of ``day,value``; its second column names it.

    Raises:
        MissingFileError: no such file.
        FormatError: a malformed line, days that do not ascend, or a value not above 0.
    """
    header, rows = read_csv(path, ("date", "value"), kind="series file", free=2)
    days, values = np.empty(len(rows), dtype="datetime64[D]"), np.empty(len(rows))
    for place, (number, (day, value)) in enumerate(rows):
        try:
            days[place], values[place] = to_day(day), to_number(value)
        except InputError as error:
            raise FormatError(f"{path}, line {number}: invalid series of date,value: {error}") from None
    if not len(rows) or (np.diff(days) <= np.timedelta64(0, "D")).any() or not (values > 0).all():
        raise FormatError(f"{path}: expected ascending, distinct days and values above 0")
    return Series(days=days, values=values, name=header[1])


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """Figures, equity, ledger and picks of a backtest."""

    outcome: Outcome
    facts: Mapping[str, Any]
    """Facts besides the figures: lookup counts, look-ahead, fingerprints, versions; plain JSON values."""
    stages: Mapping[str, float]
    """Seconds of each stage."""
    reference: Series | None = None

    @property
    def days(self) -> Days:
        """Sessions, shape (S,)."""
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
        """Equity of the universe in equal weights, rebalanced every session, without costs; shape (S,)."""
        return self.outcome.benchmark

    @cached_property
    def summary(self) -> dict[str, float | int]:
        """Figures of the run."""
        return self.outcome.summary()

    @cached_property
    def ledger(self) -> Ledger:
        """Orders of the run."""
        names = np.asarray(self.outcome.setup.sessions.tickers)[self.outcome.columns]
        simulation = self.outcome.simulation
        return make_ledger(simulation.trades, self.days, names, simulation.borrowed)

    @cached_property
    def picks(self) -> PickTable:
        """Candidates of every rebalance."""
        return pick_table(self.outcome, self.outcome.config.signal_horizon)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the run: a hash of its inputs and of its results.

        Two runs share it only if they have the same configuration, prices, encoder, filter, signals of each candidate
        (which depend on the data, dtype, membership, …) and reference.
        """
        made = {"equity": self.equity_columns(), "picks": self.picks.columns()}
        return fingerprint({**self.facts.get("fingerprints", {}), **made})

    def equity_columns(self) -> dict[str, np.ndarray]:
        """Return equity at the close of each session by column, shape (S,) each."""
        columns = {"date": self.days, "gross": self.gross, "net": self.net, "benchmark": self.benchmark}
        if self.reference is not None:
            columns["reference"] = self.reference.on(self.days, self.outcome.config.initial_capital)
        return columns

    def to_json(self) -> dict[str, Any]:
        """Return everything except the tables as plain JSON values; undefined figures are null."""
        delistings = self.outcome.final_by_delisting()
        return {
            **{name: json_value(value) for name, value in self.summary.items()},
            **self.facts,
            "seconds": sum(self.stages.values()),
            "stages": dict(self.stages),
            "start": str(self.days[0]),
            "end": str(self.days[-1]),
            "sessions": len(self.days),
            "sessions_per_year": self.outcome.sessions_per_year,
            "final_capital_by_delisting": {policy: json_value(value) for policy, value in delistings.items()},
            "benchmark": BENCHMARK,
            "reference": self._against_reference(),
            "seed": self.outcome.config.seed,
            "configuration": describe(self.outcome.config),
        }

    def _against_reference(self) -> dict[str, Any] | None:
        """Return alpha, beta and information ratio against the reference; None without one."""
        if self.reference is None:
            return None
        net = metrics.simple_returns(self.outcome.path)
        other = metrics.simple_returns(self.reference.on(self.days, self.outcome.config.initial_capital))
        line = metrics.alpha_beta(net, other)
        figures = {
            "alpha": line.alpha.value,
            "alpha_t": line.alpha.t,
            "beta": line.beta[0],
            "information_ratio": metrics.information_ratio(net, other),
        }
        return {"name": self.reference.name, **{name: json_value(value) for name, value in figures.items()}}


def write_run(result: BacktestResult, run_dir: str | Path, *, spreadsheet: bool = False) -> Path:
    """Write the run folder: `equity.parquet`, `ledger.csv`, `picks.parquet`, `digests.json`, and `result.json` last.

    The files of an earlier run (its result, report, comparisons, trials, and the choice it came from) are removed
    first: a folder with a `result.json` holds a complete run, and nothing of a different one. The same configuration
    and data give the same bytes in `equity.parquet` and `ledger.csv`. `digests.json` has the digest of every file:
    readers of the folder refuse a file that was changed later.

    Args:
        result: of `run_backtest`.
        run_dir: the folder.
        spreadsheet: also write `ledger_spreadsheet.csv`, as `Ledger.to_csv` describes.

    Returns:
        The folder.

    Raises:
        WorkError: the folder cannot be written.
    """
    folder = Path(run_dir)
    with writing(folder):
        for name in _OF_ONE_RUN:
            (folder / name).unlink(missing_ok=True)
    contents = {
        "equity.parquet": table_bytes(result.equity_columns()),
        "ledger.csv": result.ledger.to_csv().encode(),
        "picks.parquet": table_bytes(result.picks.columns()),
    }
    if spreadsheet:
        contents["ledger_spreadsheet.csv"] = result.ledger.to_csv(spreadsheet=True).encode()
    document = {**result.to_json(), "run_dir": str(folder)}
    contents["result.json"] = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
    write_record(folder, contents)
    for name, content in contents.items():
        write_whole(folder / name, content)
    return folder


def remove_run(run_dir: str | Path) -> None:
    """Remove a run from its folder, and the folder if it is empty then.

    Raises:
        WorkError: the folder cannot be written.
    """
    folder = Path(run_dir)
    with writing(folder):
        for name in (*_OF_ONE_RUN, *_TABLES):
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
