"""Was it the filter, or was it luck? The same configuration beside what it must beat. Knows how to run variants of a
configuration; nothing of charts or pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64, Int32
from encash.atomic_write import write_whole
from encash.backtest.evaluation.forecast_skill import Evidence, rank_evidence
from encash.backtest.evaluation.random_filter_test import FORESEEN, Rank, rank_among
from encash.backtest.evaluation.replicates import RepeatedRuns
from encash.backtest.files import plain, table_bytes
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import Frame, Sessions, make_frame, open_sessions
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.outcome import Outcome, evaluate, keep
from encash.backtest.simulation.market import DELISTING_POLICIES
from encash.clusters.filters.base import CandidateFilter
from encash.progress import Progress

FIGURES = ("final_capital", "total_return", "sharpe", "max_drawdown")


@dataclass(frozen=True, kw_only=True)
class Comparison(RepeatedRuns):
    """One way to do it differently, run n times: once, or once a draw, a phase or a policy.

    The figures are FIGURES.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]
    """What is different in each run."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = {
            name: {
                "mean": plain(self.mean(name)),
                "sd": plain(self.deviation(name)),
                "interval": plain(self.interval(name)),
                "values": plain(tuple(values.tolist())),
            }
            for name, values in self.figures.items()
        }
        return {
            "name": self.name,
            "meaning": self.meaning,
            "runs": len(self.labels),
            "labels": list(self.labels),
            **rows,
        }


@dataclass(frozen=True, kw_only=True)
class FilterTest:
    """Does the filter help, against random filters that keep as many candidates on each day?"""

    excess: float
    """Total return less the mean of the random filters'."""
    excess_interval: tuple[float, float]
    """95 % interval of the mean daily excess return over the random filters' mean, a year (× 252), block bootstrap."""
    rank: Rank
    """Among the random filters."""
    lookahead: Literal[False] | str
    """Why the run may know its future; False if it does not."""

    @property
    def helps(self) -> bool:
        """Better than chance, by the rule of `Rank`, in a run that did not know its future."""
        return not self.lookahead and self.rank.against_chance == "better than chance"

    @property
    def sentence(self) -> str:
        """The first line of a report, in the words of the page."""
        rank = self.rank
        finding = f"The filter is {rank.finding}" if rank.judged else rank.finding.capitalize()
        return (
            f"{FORESEEN.capitalize() if self.lookahead else finding}: {self.excess:+.2%} over the run, "
            f"p = {rank.p_better:.3f} against {rank.draws} random filters with the same daily keep-rate."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "excess": plain(self.excess),
            "excess_interval": plain(self.excess_interval),
            "p_value": self.rank.p_better,
            "draws": self.rank.draws,
            "helps": self.helps,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Everything that stands beside one run."""

    base: Outcome
    rows: tuple[Comparison, ...]
    verdict: FilterTest | None
    """None for a run without a filter."""
    evidence: tuple[Evidence, ...]
    """For each horizon of the forecasts, on all candidates of every session."""

    @property
    def days(self) -> Days:
        """The sessions, shape (S,)."""
        return self.base.days

    def row(self, name: str) -> Comparison | None:
        """One comparison by its name, None where it was not made."""
        return next((row for row in self.rows if row.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "evidence": [row.to_json() for row in self.evidence],
        }


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """How much to compare."""

    draws: int = 200
    """Random filters, and shufflings of the clusters."""
    seed: int = 0
    block: int = 10
    """Sessions in a block of the bootstrap."""


def run_comparisons(
    config: BacktestConfig,
    inputs: BacktestInputs,
    *,
    settings: CompareConfig | None = None,
    progress: Progress | None = None,
) -> Comparisons:
    """Run a configuration and what it must be compared with, on one reading of the signals of every session.

    Rows, as far as they make sense for the configuration: ``filter`` (the run itself, with one), ``no filter``,
    ``random filter`` (as many candidates on each day, drawn at random), ``shuffled clusters`` (the same clusters, but
    which of them are best is drawn at random), ``phases`` (begun on each session of the horizon), ``lag + 1`` (filled
    one session later), ``delisting`` (each policy), ``gross`` (no costs) and ``benchmark`` (the universe).

    Args:
        config: as for `run_backtest`.
        inputs: as for `run_backtest`; the lookup is read once, for every session.
        settings: how much to compare.
        progress: called with steps done and steps in all; the first one is the reading.

    Raises:
        InputError: as `run_backtest`.
        LookaheadError: as `run_backtest`.
    """
    settings = CompareConfig() if settings is None else settings
    bench = _open_bench(config, inputs)
    base = bench.run(config)
    check_missing(config, base.frame, base.signals)
    makers = (_filter, _no_filter, _random, _shuffled, _phases, _lagged, _delistings, _gross, _benchmark)
    rows = []
    for done, maker in enumerate(makers):
        if progress is not None:
            progress(done + 1, len(makers) + 1)
        if (row := maker(bench, base, settings)) is not None:
            rows.append(row)
    named = {row.name: row for row in rows}
    return Comparisons(
        base=base,
        rows=tuple(rows),
        verdict=_verdict(bench, base, named, settings) if "random filter" in named else None,
        evidence=tuple(rank_evidence(bench.sessions, bench.signals, horizon) for horizon in bench.signals.horizons),
    )


def write_comparisons(comparisons: Comparisons, run_dir: str | Path) -> Path:
    """Write `comparisons.json` (figures) and `comparisons.parquet` (date, name, low, median, high of the equities).

    Returns:
        The folder.
    """
    folder = Path(run_dir)
    bands = [np.percentile(row.equity, [2.5, 50.0, 97.5], axis=0) for row in comparisons.rows]
    columns = {
        "date": np.tile(comparisons.days, len(bands)),
        "name": np.repeat([row.name for row in comparisons.rows], len(comparisons.days)),
        "low": np.concatenate([band[0] for band in bands]),
        "median": np.concatenate([band[1] for band in bands]),
        "high": np.concatenate([band[2] for band in bands]),
    }
    write_whole(folder / "comparisons.parquet", table_bytes(columns))
    document = json.dumps(comparisons.to_json(), indent=2, allow_nan=False) + "\n"
    write_whole(folder / "comparisons.json", document.encode())
    return folder


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """One reading of the signals of every session, on which variants run."""

    sessions: Sessions
    signals: SignalGrid
    filter: CandidateFilter | None
    lookahead: Literal[False] | str

    def frame(self, config: BacktestConfig) -> Frame:
        """The rebalances of a variant."""
        return make_frame(config, self.sessions)

    def run(self, config: BacktestConfig) -> Outcome:
        """A variant with the filter."""
        return evaluate(config, self.frame(config), self.signals, self.filter)


def _open_bench(config: BacktestConfig, inputs: BacktestInputs) -> _Bench:
    sessions = open_sessions(config, inputs.prices, inputs.candidates)
    first = make_frame(config, sessions).signal_days[0]
    lookahead = check_lookahead(config, inputs, first)
    frames = [make_frame(replace(config, phase=phase), sessions) for phase in _possible_phases(config, sessions)]
    horizons = tuple(sorted({config.signal_horizon, *inputs.lookup.horizons}))
    (signals,) = read_signals(frames, inputs.lookup, horizons=horizons, filters=(inputs.filter,))
    return _Bench(sessions=sessions, signals=signals, filter=inputs.filter, lookahead=lookahead)


def _possible_phases(config: BacktestConfig, sessions: Sessions) -> list[int]:
    """The phases that leave at least one whole holding period."""
    if config.tranches:
        return [0]
    room = len(sessions.days) - config.lag - config.horizon
    return sorted({config.phase, *range(min(config.horizon, room))})


def _filter(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if bench.filter is None:
        return None
    return _comparison("filter", f"the run itself: {bench.filter.name} filter", [bench.filter.name], [base])


def _no_filter(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison:
    outcome = evaluate(base.config, base.frame, bench.signals)
    return _comparison("no filter", "the same picks from all candidates", ["no filter"], [outcome])


def _random(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if bench.filter is None:
        return None
    candidates = base.frame.asked & base.signals.found
    quota = base.kept.sum(axis=1)
    outcomes = (
        evaluate(base.config, base.frame, bench.signals, kept=kept)
        for kept in random_filters(candidates, quota, draws=settings.draws, seed=settings.seed)
    )
    labels = [f"draw {number}" for number in range(settings.draws)]
    return _comparison("random filter", "as many candidates on each day, drawn at random", labels, outcomes)


def _shuffled(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if bench.filter is None or not bench.filter.decides_by_cluster:
        return None
    candidates = base.frame.asked & base.signals.found
    kept = shuffled_clusters(bench.filter, base.frame, base.signals, candidates, settings)
    outcomes = (evaluate(base.config, base.frame, bench.signals, kept=mask) for mask in kept)
    labels = [f"shuffle {number}" for number in range(settings.draws)]
    return _comparison("shuffled clusters", "the same clusters; which are best is drawn at random", labels, outcomes)


def _phases(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if base.config.tranches or base.config.horizon == 1:
        return None
    phases = _possible_phases(base.config, bench.sessions)
    outcomes = (bench.run(replace(base.config, phase=phase)) for phase in phases)
    meaning = "the first rebalance on each session of the horizon"
    return _comparison("phases", meaning, [f"phase {phase}" for phase in phases], outcomes)


def _lagged(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison | None:
    later = replace(base.config, lag=base.config.lag + 1)
    if len(bench.sessions.days) <= later.phase + later.lag + later.horizon:
        return None
    outcome = bench.run(later)
    return _comparison("lag + 1", "every trade one session later", [f"lag {later.lag}"], [outcome])


def _delistings(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison:
    outcomes = [bench.run(replace(base.config, delisting=policy)) for policy in DELISTING_POLICIES]
    return _comparison("delisting", "each policy for tickers that stop trading", DELISTING_POLICIES, outcomes)


def _gross(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison:
    return _of_equities("gross", "the same picks without any cost", ["gross"], base.gross[None], base)


def _benchmark(bench: _Bench, base: Outcome, settings: CompareConfig) -> Comparison:
    meaning = "the universe in equal weights, rebalanced every session, without costs"
    return _of_equities("benchmark", meaning, ["benchmark"], base.benchmark[None], base)


def random_filters(candidates: Bool, quota: np.ndarray, *, draws: int, seed: int) -> Iterator[Bool]:
    """Masks that keep a given number of candidates of each row, drawn at random: a function of (seed, draw) alone.

    Args:
        candidates: shape (R, N).
        quota: how many to keep of each row, shape (R,).
        draws: how many masks.
        seed: same seed, same masks.
    """
    columns = [np.flatnonzero(row) for row in candidates]
    for draw in range(draws):
        generator = np.random.Generator(np.random.Philox(key=[seed, draw]))
        kept = np.zeros(candidates.shape, dtype=bool)
        for row, able in enumerate(columns):
            if quota[row]:
                kept[row, generator.permutation(able)[: quota[row]]] = True
        yield kept


def shuffled_clusters(
    filter: CandidateFilter, frame: Frame, signals: SignalGrid, candidates: Bool, settings: CompareConfig
) -> Iterator[Bool]:
    """What a hard filter would keep if other clusters of the same model were the best ones."""
    num_clusters = max(period.model.k for period in filter.periods)
    for draw in range(settings.draws):
        generator = np.random.Generator(np.random.Philox(key=[settings.seed, draw]))
        other: Int32 = np.append(generator.permutation(num_clusters), -1).astype(np.int32)
        yield keep(filter, frame, replace(signals, cluster=other[signals.cluster]), candidates)


def _comparison(
    name: str, meaning: str, labels: Sequence[str], outcomes: Sequence[Outcome] | Iterator[Outcome]
) -> Comparison:
    """Outcomes as one row; each is let go as soon as its equity is known."""
    equity, paths = [], []
    for outcome in outcomes:
        equity.append(outcome.net)
        paths.append(outcome.path)
    return _row(name, meaning, labels, np.array(equity), np.array(paths))


def _of_equities(name: str, meaning: str, labels: Sequence[str], equity: Float64, base: Outcome) -> Comparison:
    path = equity.copy()
    path[:, 0] = base.config.initial_capital
    return _row(name, meaning, labels, equity, path)


def _row(name: str, meaning: str, labels: Sequence[str], equity: Float64, paths: Float64) -> Comparison:
    figures = {
        "final_capital": paths[:, -1],
        "total_return": np.array([metrics.total_return(path) for path in paths]),
        "sharpe": np.array([metrics.sharpe(metrics.simple_returns(path)) for path in paths]),
        "max_drawdown": np.array([metrics.max_drawdown(path) for path in paths]),
    }
    return Comparison(name=name, meaning=meaning, labels=tuple(labels), equity=equity, figures=figures)


def _verdict(bench: _Bench, base: Outcome, rows: Mapping[str, Comparison], settings: CompareConfig) -> FilterTest:
    """The run against its random filters."""
    random = rows["random filter"]
    paths = random.equity.copy()
    paths[:, 0] = base.config.initial_capital
    typical = np.mean(paths[:, 1:] / paths[:, :-1] - 1.0, axis=0)
    excess = metrics.simple_returns(base.path) - typical
    low, high = metrics.block_bootstrap(
        excess, lambda drawn: drawn.mean(axis=1), block=min(settings.block, len(excess)), seed=settings.seed
    )
    interval = (low * metrics.SESSIONS_PER_YEAR, high * metrics.SESSIONS_PER_YEAR)
    return FilterTest(
        excess=metrics.total_return(base.path) - float(random.figures["total_return"].mean()),
        excess_interval=interval,
        rank=rank_among(
            random.figures["final_capital"].tolist(),
            float(base.path[-1]),
            excess_interval=interval,
            no_filter=float(rows["no filter"].figures["final_capital"][0]),
        ),
        lookahead=bench.lookahead,
    )
