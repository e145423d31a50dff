"""Many runs on one reading of the signals, in this process or in several. Knows points of a grid and how one of them
is run; nothing of where the rows go."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encash import metrics
from encash.backtest.files import plain
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import Frame, Sessions, make_frame, open_sessions
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.inputs.universe import Candidates
from encash.backtest.outcome import evaluate
from encash.backtest.sweep.grid import Point
from encash.backtest.sweep.journal import Row
from encash.clusters.filters.base import CandidateFilter
from encash.panel.panel import PriceTable

_CHUNK_RUNS = 50


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all runs of a sweep share."""

    prices: PriceTable
    candidates: Candidates
    signals: Mapping[str, SignalGrid]
    """By name of the filter whose clusters it holds."""
    filters: Mapping[str, CandidateFilter]
    opened: dict[tuple[Any, ...], Sessions] = field(default_factory=dict)

    def sessions(self, config: BacktestConfig) -> Sessions:
        """The sessions of a run; kept, for most runs of a sweep share them."""
        key = config.values_of("sessions")
        if key not in self.opened:
            self.opened[key] = open_sessions(config, self.prices, self.candidates)
        return self.opened[key]


def read_material(points: Sequence[Point], inputs: BacktestInputs, filters: Mapping[str, CandidateFilter]) -> Material:
    """Check every point, and read once whatever any of them needs.

    Raises:
        InputError: a point that does not fit the data.
        LookaheadError: a point that would know its future.
        MismatchError: clusters of another encoder.
    """
    material = Material(prices=inputs.prices, candidates=inputs.candidates, signals={}, filters=filters)
    frames, widest = _frames(points, material, inputs)
    used = sorted({point.filter for point in points})
    models = tuple(filters.get(name) for name in used)
    horizons = tuple(sorted({point.config.signal_horizon for point in points}))
    grids = read_signals(
        [_widened(frame, widest) for frame in frames], inputs.lookup, horizons=horizons, filters=models
    )
    stripped = {name: replace(model, assignments=None) for name, model in filters.items()}
    return replace(material, signals=dict(zip(used, grids, strict=True)), filters=stripped, opened={})


def run_points(points: Sequence[Point], material: Material, workers: int | None) -> Iterator[Row]:
    """All runs, in the order of the points.

    Args:
        points: n points, n ≥ 1.
        material: of `read_material` for these points.
        workers: processes at the most; None for one a core, 1 for this one.
    """
    workers = _worker_count(workers, len(points))
    chunks = [points[at : at + _CHUNK_RUNS] for at in range(0, len(points), _CHUNK_RUNS)]
    if workers == 1:
        for chunk in chunks:
            yield from _run_chunk(chunk, material)
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
        return _run_chunk(points, cls.material)


def _run_chunk(points: Iterable[Point], material: Material) -> list[Row]:
    """Some runs, one after the other; neighbours with the same candidates share their frame and signals."""
    rows, key = [], None
    for point in points:
        needed = (*_rebalance_key(point.config), point.filter)
        if needed != key:
            frame = make_frame(point.config, material.sessions(point.config))
            signals = material.signals[point.filter].select(frame.signal_days, frame.sessions.tickers)
            key = needed
        rows.append(_run_point(point, frame, signals, point.chosen(material.filters)))
    return rows


def _run_point(point: Point, frame: Frame, signals: SignalGrid, filter: CandidateFilter | None) -> Row:
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


def _frames(points: Sequence[Point], material: Material, inputs: BacktestInputs) -> tuple[list[Frame], Sessions]:
    """The different frames of all points, and the sessions with the widest universe."""
    frames: dict[tuple[Any, ...], Frame] = {}
    for point in points:
        config = point.config
        key = _rebalance_key(config)
        if key not in frames:
            frames[key] = make_frame(config, material.sessions(config))
        chosen = replace(inputs, filter=point.chosen(material.filters))
        check_lookahead(config, chosen, frames[key].signal_days[0])
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


def _rebalance_key(config: BacktestConfig) -> tuple[Any, ...]:
    """Return what decides the rebalances and the candidates of a run."""
    drawn = config.seed if config.subset_size else 0
    return (*config.values_of("sessions"), *config.values_of("rebalances"), drawn)


def _worker_count(workers: int | None, runs: int) -> int:
    """Processes that are worth starting: not one for less than a chunk of runs."""
    most = (os.cpu_count() or 1) if workers is None else workers
    return max(1, min(most, -(-runs // _CHUNK_RUNS)))
