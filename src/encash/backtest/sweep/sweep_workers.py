"""Runs of a sweep on signals that are read once, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encash import metrics
from encash.backtest.files import json_value
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.groups import Groups
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import RunSetup, Sessions, open_sessions, set_up_run
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.inputs.universe import Candidates
from encash.backtest.outcome import run_strategy
from encash.backtest.sweep.grid import Point
from encash.backtest.sweep.journal import Row
from encash.cache.lookup_stats import staleness
from encash.clusters.filters.base import CandidateFilter
from encash.panel.panel import PriceTable

_CHUNK_RUNS = 50


@dataclass(frozen=True, kw_only=True)
class SweepData:
    """Data that all runs of a sweep share."""

    prices: PriceTable
    candidates: Candidates
    groups: Groups | None
    signals: Mapping[str, SignalGrid]
    """By the name of the filter whose clusters it holds."""
    filters: Mapping[str, CandidateFilter]
    staleness: str = "not checked"
    """``checked`` if all entries were compared with the current data."""
    opened: dict[tuple[Any, ...], Sessions] = field(default_factory=dict)

    def sessions(self, config: BacktestConfig) -> Sessions:
        """Return the sessions of a run, opened once for all runs that share them."""
        key = config.values_of("sessions")
        if key not in self.opened:
            self.opened[key] = open_sessions(config, self.prices, self.candidates, self.groups)
        return self.opened[key]


def read_sweep_data(
    points: Sequence[Point], inputs: BacktestInputs, filters: Mapping[str, CandidateFilter]
) -> SweepData:
    """Check every point, and read the signals of all of them once.

    Raises:
        InputError: a point that does not fit the data.
        LookaheadError: the filter or the encoder of a point was fitted on days of its run.
        MismatchError: clusters of a different encoder.
    """
    data = SweepData(
        prices=inputs.prices, candidates=inputs.candidates, groups=inputs.groups, signals={}, filters=filters
    )
    setups = _set_up_runs(points, data, inputs)
    tickers = tuple(sorted({ticker for setup in setups for ticker in setup.sessions.tickers}))
    used = sorted({point.filter for point in points})
    models = tuple(filters.get(name) for name in used)
    horizons = tuple(sorted({point.config.signal_horizon for point in points}))
    grids = read_signals(
        [_widened(setup, tickers) for setup in setups], inputs.lookup, horizons=horizons, filters=models
    )
    stripped = {name: replace(model, assignments=None) for name, model in filters.items()}
    signals = dict(zip(used, grids, strict=True))
    return replace(data, signals=signals, filters=stripped, staleness=staleness(inputs.lookup.stats), opened={})


def run_points(points: Sequence[Point], data: SweepData, workers: int | None) -> Iterator[Row]:
    """Yield the rows of all runs, in the order of the points.

    Args:
        points: n points, n ≥ 1.
        data: from `read_sweep_data` for these points.
        workers: maximum number of processes; None for one per core, 1 for this one.
    """
    chunks = [points[at : at + _CHUNK_RUNS] for at in range(0, len(points), _CHUNK_RUNS)]
    processes = min((os.cpu_count() or 1) if workers is None else workers, len(chunks))
    if processes == 1:
        for chunk in chunks:
            yield from _run_chunk(chunk, data)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_Worker.begin, initargs=(data,)) as pool:
        for rows in pool.map(_Worker.run, chunks):
            yield from rows


class _Worker:
    """Process of a sweep; it receives the data once, when it starts."""

    data: SweepData

    @classmethod
    def begin(cls, data: SweepData) -> None:
        """Store the data."""
        cls.data = data

    @classmethod
    def run(cls, points: Sequence[Point]) -> list[Row]:
        """Run a chunk of points."""
        return _run_chunk(points, cls.data)


def _run_chunk(points: Iterable[Point], data: SweepData) -> list[Row]:
    """Run some points in turn; neighbors with the same candidates share their setup and signals."""
    rows, key = [], None
    for point in points:
        needed = (*_setup_key(point.config), point.filter)
        if needed != key:
            setup = set_up_run(point.config, data.sessions(point.config))
            signals = data.signals[point.filter].select(setup.signal_days, setup.sessions.tickers)
            key = needed
        row = _run_point(point, setup, signals, point.chosen(data.filters))
        rows.append(replace(row, values={**row.values, "staleness": data.staleness}))
    return rows


def _run_point(point: Point, setup: RunSetup, signals: SignalGrid, filter: CandidateFilter | None) -> Row:
    """Run a point and return its row."""
    config = point.config
    outcome = run_strategy(config, setup, signals, filter)
    missing = check_missing(config, setup, outcome.signals)
    values = {
        **dict(point.varied),
        "filter": point.filter,
        "keep": point.keep,
        **{name: json_value(value) for name, value in outcome.summary().items()},
        "missing_share": missing,
        "sessions_per_year": outcome.sessions_per_year,
        "first_session": str(outcome.days[0]),
        "last_session": str(outcome.days[-1]),
    }
    return Row(values=values, returns=metrics.simple_returns(outcome.path))


def _set_up_runs(points: Sequence[Point], data: SweepData, inputs: BacktestInputs) -> list[RunSetup]:
    """Return the distinct setups of all points."""
    setups: dict[tuple[Any, ...], RunSetup] = {}
    for point in points:
        config = point.config
        key = _setup_key(config)
        if key not in setups:
            setups[key] = set_up_run(config, data.sessions(config))
        chosen = replace(inputs, filter=point.chosen(data.filters))
        check_lookahead(config, chosen, setups[key].signal_days[0])
    return list(setups.values())


def _widened(setup: RunSetup, tickers: tuple[str, ...]) -> RunSetup:
    """Return the same candidates on the columns of all tickers of a sweep, for reading their signals."""
    if setup.sessions.tickers == tickers:
        return setup
    columns = np.searchsorted(np.asarray(tickers), np.asarray(setup.sessions.tickers))
    candidates = np.zeros((len(setup.candidates), len(tickers)), dtype=bool)
    candidates[:, columns] = setup.candidates
    return replace(setup, candidates=candidates, sessions=replace(setup.sessions, tickers=tickers))


def _setup_key(config: BacktestConfig) -> tuple[Any, ...]:
    """Return the settings that determine the rebalances and the candidates of a run."""
    drawn = config.seed if config.subset_size else 0
    return (*config.values_of("sessions"), *config.values_of("rebalances"), drawn)
