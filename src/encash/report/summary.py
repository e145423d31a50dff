"""A run folder as plain, immutable values, and what follows from them by arithmetic."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int32, Int64
from encash.backtest.evaluation.random_filter_test import Performance
from encash.backtest.run_record import check_record
from encash.errors import FormatError, MissingFileError, reason, unreadable
from encash.serialization import FORMAT
from encash.significance import sharpe_of
from encash.text_files import read_json

FILES = ("result.json", "equity.parquet", "ledger.csv", "picks.parquet")
NEEDED = ("final_capital", "total_return", "cagr", "sharpe", "max_drawdown", "turnover", "trades", "win_rate")
"""Keys that every result has."""
_AGAIN = "run the backtest again"
_DAYS = np.array(["1700-01-01", "2299-12-31"], dtype="datetime64[D]")
"""First and last day of a run: older than any price, and less than three centuries ahead."""
_MOST_MONEY = 1e30
_MOST_CLUSTERS = 1_000_000
_SECTIONS_OF_NUMBERS = ("stages", "final_capital_by_delisting")
_SECTIONS = ("configuration", "fingerprints", "versions", "health", *_SECTIONS_OF_NUMBERS)
_SETTINGS = ("initial_capital", "horizon", "forecast_horizon", "phase", "lag", "top_k")
"""Settings that a report calculates with."""
_LIMITS = {"initial_capital": (1e-9, 1e15), "sessions_per_year": (1, 366)}
"""Least and most of numbers that others are divided by, or that must be positive."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Equity:
    """Equity at the close of each session."""

    days: Days
    """shape (S,)."""
    net: Float64
    """After all costs, shape (S,)."""
    gross: Float64
    """The same picks without costs, shape (S,)."""
    benchmark: Float64
    """All candidates in equal weights, without costs, from the same capital; NaN if there is none; shape (S,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateTable:
    """The candidates of each rebalance: one row per (rebalance, candidate)."""

    days: Days
    """shape (n,), as are all columns."""
    cluster: Int32
    """−1 without a cluster."""
    kept: Bool
    picked: Bool
    found: Bool = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    """True if the candidate had an entry."""
    ticker: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    """Place in `names`."""
    names: tuple[str, ...] = ()
    """Distinct tickers, ascending."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One run folder."""

    folder: Path
    result: Mapping[str, Any]
    """The content of `result.json`."""
    equity: Equity
    candidates: CandidateTable
    checked: bool = False
    """True if its files are those that the backtest wrote; False if the folder does not record that."""
    command: tuple[str, ...] = ()
    """Words after ``encash`` of the command that wrote it; empty if not recorded."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return Path(os.path.realpath(self.folder)).name

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return {name: value for name, value in self.section("configuration").items() if name != FORMAT}

    @property
    def fingerprints(self) -> Mapping[str, Any]:
        """Hashes of everything that the result depends on."""
        return self.section("fingerprints")

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage, in the order of the run."""
        return {name: value for name, value in self.section("stages").items() if value is not None}

    @property
    def horizon(self) -> int | None:
        """Sessions between two rebalances."""
        value = self.config.get("horizon")
        return value if isinstance(value, int) else None

    @property
    def sessions_per_year(self) -> int:
        """Sessions per year that annualize its figures; 252 if its version of encash did not record them."""
        return int(self.figure("sessions_per_year") or metrics.SESSIONS_PER_YEAR)

    @property
    def capital(self) -> float:
        """The initial capital."""
        return float(self.config.get("initial_capital", self.equity.net[0]))

    @property
    def final_capital(self) -> float:
        """Net equity at the end."""
        return float(self.equity.net[-1])

    @cached_property
    def path(self) -> Float64:
        """Net equity, with the initial capital as its first value so that the first costs count."""
        path = self.equity.net.copy()
        path[0] = self.capital
        return path

    @property
    def has_benchmark(self) -> bool:
        """True if the benchmark has a first and a last value."""
        return bool(np.isfinite(self.equity.benchmark[[0, -1]]).all())

    @property
    def has_filter(self) -> bool:
        """True if a filter chose among the candidates."""
        kind, rate = self.result.get("filter"), self.figure("keep_rate")
        return kind != "none" if isinstance(kind, str) else rate is None or rate < 1.0

    @property
    def lookahead_reason(self) -> str | None:
        """Reason why the run may have used future data; None only if the result rules it out."""
        value = self.result.get("lookahead", "the result does not say if future data were used")
        if value is False:
            return None
        return str(value) if isinstance(value, str) and value.strip() else "no reason was recorded"

    @property
    def train_end(self) -> str | None:
        """Last day of the encoder's training data, YYYY-MM-DD; None if not recorded."""
        day = self.result.get("training_period")
        return day if isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day) else None

    @cached_property
    def sharpe_interval(self) -> tuple[float, float]:
        """95% interval of the Sharpe ratio; see `encash.significance`."""
        year = math.sqrt(self.sessions_per_year)
        return sharpe_of(metrics.simple_returns(self.path)).times(year).interval()

    @cached_property
    def performance(self) -> Performance:
        """Return, Sharpe ratio and drawdown of the net equity."""
        return performance_of(self.path, self.sessions_per_year)

    @cached_property
    def benchmark_performance(self) -> Performance:
        """Return, Sharpe ratio and drawdown of the benchmark."""
        return performance_of(self.equity.benchmark, self.sessions_per_year)

    def figure(self, name: str) -> float | None:
        """Return a number of the result; None if it is absent or undefined."""
        value = self.result.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return an object within the result; empty if it is absent."""
        value = self.result.get(name)
        return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Year:
    """Returns of one calendar year."""

    year: int
    months: tuple[float | None, ...]
    """Twelve, January first; None without a session."""
    total: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Occupancy:
    """Share of the candidates in each cluster over time."""

    labels: tuple[str, ...]
    """First days of the spans of time, oldest first; shape (B,)."""
    clusters: Int32
    """shape (k,)."""
    share: Float64
    """shape (k, B); each column sums to 1."""
    kept: Float64
    """Share of each cluster's candidates that the filter kept over the whole run; shape (k,)."""


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        MissingFileError: the folder or one of its files does not exist.
        FormatError: a file is malformed, or was changed after the run was written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no run folder {folder}; expected the folder that a backtest wrote (--run-dir)")
    for name in FILES:
        if not (folder / name).is_file():
            raise MissingFileError(f"{folder} has no {name}, so it is not a run folder; expected {', '.join(FILES)}")
    checked = check_record(folder)
    return Run(
        folder=folder,
        checked=checked,
        command=_read_command(folder / "command.json"),
        result=_read_result(folder / "result.json"),
        equity=_read_equity(folder / "equity.parquet"),
        candidates=_read_candidates(folder / "picks.parquet"),
    )


def health_of_run(run: Run) -> dict[str, Mapping[str, Any] | None]:
    """Return the suspicious data that a run can have touched: for each finding "count" and "worst", None if unknown.

    A result of an earlier version records only the worst cases of the whole prices file: if these are all of them,
    those in the sessions of the run are counted.
    """
    health = run.section("health")
    if isinstance(recorded := health.get("run"), Mapping):
        return dict(recorded["findings"])
    first, last = (str(day) for day in run.equity.days[[0, -1]])
    found: dict[str, Mapping[str, Any] | None] = {}
    for name in health.get("suspicious", ()):
        if not isinstance(health.get(name), Mapping):
            continue
        worst = health[name]["worst"]
        own = [case for case in worst if case.get("until", case["day"]) >= first and case["day"] <= last]
        known = len(worst) == health[name]["count"]
        found[name] = {"count": len(own), "worst": own} if known else None
    return found


def monthly_returns(days: Days, path: Float64) -> tuple[Year, ...]:
    """Compound returns by calendar month and year; the first and the last may be incomplete.

    >>> days = np.array(["2024-01-31", "2024-02-29", "2024-03-28"], dtype="datetime64[D]")
    >>> [round(month, 3) for month in monthly_returns(days, np.array([100.0, 110.0, 99.0]))[0].months if month]
    [0.1, -0.1]
    """
    month = days.astype("datetime64[M]").astype(np.int64)
    ends = np.flatnonzero(np.append(np.diff(month) > 0, True))
    before = np.concatenate([[0], ends[:-1]])
    growth = path[ends] / path[before]
    year, place = month[ends] // 12 + 1970, month[ends] % 12
    rows = []
    for number in np.unique(year):
        months: list[float | None] = [None] * 12
        for at in np.flatnonzero(year == number):
            months[place[at]] = float(growth[at] - 1.0)
        rows.append(Year(year=int(number), months=tuple(months), total=float(np.prod(growth[year == number]) - 1.0)))
    return tuple(rows)


def occupancy(candidates: CandidateTable, most_spans: int = 60) -> Occupancy | None:
    """Compute the share of candidates by cluster over at most N spans of equal length; None if no candidate has one."""
    assigned = candidates.cluster >= 0
    if not assigned.any():
        return None
    days, cluster, kept = candidates.days[assigned], candidates.cluster[assigned], candidates.kept[assigned]
    every_day = np.unique(days)
    size = -(-len(every_day) // most_spans)
    span = np.searchsorted(every_day, days) // size
    clusters, place = np.unique(cluster, return_inverse=True)
    counts = np.zeros((len(clusters), -(-len(every_day) // size)))
    np.add.at(counts, (place, span), 1.0)
    keeps = np.bincount(place, weights=kept.astype(np.float64), minlength=len(clusters))
    return Occupancy(
        labels=tuple(map(str, every_day[::size])),
        clusters=clusters.astype(np.int32),
        share=counts / counts.sum(axis=0),
        kept=keeps / counts.sum(axis=1),
    )


def thin(line: Float64, most: int) -> Int64:
    """Return the indices of points to draw so that a line keeps its shape: both ends, and the extremes of each stretch.

    Args:
        line: shape (n,).
        most: approximate number of points; a shorter line keeps all of them.

    >>> thin(np.array([1.0, 9.0, 2.0, 3.0, 0.0, 4.0]), most=4).tolist()
    [0, 1, 4, 5]
    """
    count = len(line)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    stretches = np.array_split(np.arange(count, dtype=np.int64), max(1, most // 2))
    lowest = [stretch[line[stretch].argmin()] for stretch in stretches]
    highest = [stretch[line[stretch].argmax()] for stretch in stretches]
    return np.unique(np.array([0, count - 1, *lowest, *highest], dtype=np.int64))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        FormatError: the file holds something else.
    """
    return read_json(path, kind="file", fix="run the backtest again", finite=False)  # older versions wrote NaN


def read_table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    """Read some columns of a Parquet file.

    Raises:
        FormatError: it is not a Parquet file, or a column is missing.
    """
    try:
        with pq.ParquetFile(path) as file:  # `read_table` imports pandas if it is installed, which takes half a second
            return file.read(columns=list(columns)).select(list(columns))
    except (pa.ArrowException, OSError, KeyError, ValueError) as problem:
        message = f"{path} is not a table with the columns {', '.join(columns)}{reason(problem)}; {_AGAIN}"
        raise unreadable(path, problem, message) from None


def floats(table: pa.Table, name: str, path: Path) -> Float64:
    """Return a column as float64, with NaN for null.

    Raises:
        FormatError: it does not hold numbers.
    """
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowException, ValueError) as problem:
        raise FormatError(f"{path}: the column {name} does not hold numbers{reason(problem)}; {_AGAIN}") from None


def performance_of(equity: Float64, sessions_per_year: int) -> Performance:
    """Return return, Sharpe ratio and drawdown of an equity."""
    return Performance(
        cagr=metrics.cagr(equity, sessions_per_year),
        sharpe=metrics.sharpe(metrics.simple_returns(equity), sessions_per_year=sessions_per_year),
        max_drawdown=metrics.max_drawdown(equity),
    )


def _read_command(path: Path) -> tuple[str, ...]:
    """Read the words of the command that wrote a run; empty without the file."""
    if not path.is_file():
        return ()
    words = read_object(path).get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise FormatError(f"{path} does not hold the words of a command; {_AGAIN}")
    return tuple(words)


def _read_result(path: Path) -> Mapping[str, Any]:
    result = read_object(path)
    if absent := [name for name in NEEDED if name not in result]:
        raise FormatError(f"{path} has no {absent[0]!r}; expected the result of a backtest with {', '.join(NEEDED)}")
    _check_numbers({name: result[name] for name in (*NEEDED, *_LIMITS) if name in result}, path)
    for name in _SECTIONS:
        section = result.get(name)
        if section is not None and not isinstance(section, dict):
            raise FormatError(f"{path}: {name} is {str(section)[:40]!r}; expected a JSON object: {_AGAIN}")
        if section and name in _SECTIONS_OF_NUMBERS:
            _check_numbers(section, path)
    configuration = result.get("configuration") or {}
    _check_numbers({name: configuration[name] for name in _SETTINGS if name in configuration}, path)
    return result


def _check_numbers(values: Mapping[str, Any], path: Path) -> None:
    """Refuse values that are neither null nor numbers within their limits.

    Raises:
        FormatError: names the first one.
    """
    for name, value in values.items():
        least, most = _LIMITS.get(name, (-_MOST_MONEY, _MOST_MONEY))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and (math.isnan(value) or least <= value <= most)):
            raise FormatError(
                f"{path}: {name} is {str(value)[:40]!r}; expected a number from {least:g} to {most:g}: {_AGAIN}"
            )


def _read_equity(path: Path) -> Equity:
    table = read_table(path, ("date", "gross", "net", "benchmark"))
    if table.num_rows < 2:
        raise FormatError(f"{path} holds {table.num_rows} sessions; expected at least two")
    lines = {name: floats(table, name, path) for name in ("net", "gross", "benchmark")}
    if not all((np.isfinite(lines[name]) & (np.abs(lines[name]) <= _MOST_MONEY)).all() for name in ("net", "gross")):
        raise FormatError(f"{path} holds equity that is NaN, infinite or above {_MOST_MONEY:g}; {_AGAIN}")
    days = days_of(table, path)
    if (np.diff(days) <= np.timedelta64(0, "D")).any():
        raise FormatError(f"{path}: the days do not ascend; {_AGAIN}")
    return Equity(days=days, **lines)


def _read_candidates(path: Path) -> CandidateTable:
    table = read_table(path, ("date", "ticker", "cluster", "kept", "forecast", "picked"))
    cluster = np.nan_to_num(floats(table, "cluster", path), nan=-1.0)
    if not ((cluster >= -1) & (cluster < _MOST_CLUSTERS)).all():
        raise FormatError(f"{path} holds cluster ids other than −1 to {_MOST_CLUSTERS:,}; {_AGAIN}")
    kept, picked = (floats(table, name, path) > 0 for name in ("kept", "picked"))
    names, ticker = _codes(table, path)
    return CandidateTable(
        days=days_of(table, path),
        cluster=cluster.astype(np.int32),
        kept=kept,
        picked=picked,
        found=np.isfinite(floats(table, "forecast", path)),
        ticker=ticker,
        names=names,
    )


def _codes(table: pa.Table, path: Path) -> tuple[tuple[str, ...], Int32]:
    """Return the distinct tickers of a table, ascending, and the place of each row's ticker among them."""
    try:
        coded = table["ticker"].cast(pa.string()).combine_chunks().dictionary_encode()
    except (pa.ArrowException, ValueError) as problem:
        raise FormatError(f"{path}: the column ticker does not hold text{reason(problem)}; {_AGAIN}") from None
    if coded.null_count:
        raise FormatError(f"{path}: a ticker is missing; {_AGAIN}")
    names = np.array(coded.dictionary.to_pylist(), dtype=np.str_)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return tuple(names[order].tolist()), rank[np.asarray(coded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)]


def days_of(table: pa.Table, path: Path) -> Days:
    """Return the column of dates.

    Raises:
        FormatError: it does not hold dates of prices.
    """
    try:
        days = np.asarray(table["date"].cast(pa.date32()).to_numpy(), dtype="datetime64[D]")
    except (pa.ArrowException, ValueError) as problem:
        raise FormatError(f"{path}: the column date does not hold dates{reason(problem)}; {_AGAIN}") from None
    if not ((days >= _DAYS[0]) & (days <= _DAYS[1])).all():
        raise FormatError(f"{path}: a date is missing, or outside {_DAYS[0]} to {_DAYS[1]}; {_AGAIN}")
    return days
