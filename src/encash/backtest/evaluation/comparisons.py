"""Comparisons of a run with the runs that it must beat: no filter, random filters, phases, lags, policies."""

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
from encash.backtest.evaluation.forecast_skill import ForecastSkill, measure_forecast_skill
from encash.backtest.evaluation.random_filter_test import FORESEEN, RandomFilterRank, rank_among
from encash.backtest.evaluation.replicates import Replicates
from encash.backtest.files import json_value, table_bytes
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import RunSetup, Sessions, open_sessions, set_up_run
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.outcome import Outcome, run_strategy
from encash.backtest.simulation.market import DELISTING_POLICIES
from encash.clusters.filters.base import CandidateFilter
from encash.progress import Progress

FIGURES = ("final_capital", "total_return", "sharpe", "max_drawdown")


@dataclass(frozen=True, kw_only=True)
class Comparison(Replicates):
    """A variant of a run, once or once per draw, phase or policy.

    The figures are those of `FIGURES`.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]
    """Difference of each run, such as its draw."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = {
            name: {
                "mean": json_value(self.mean(name)),
                "sd": json_value(self.deviation(name)),
                "interval": json_value(self.interval(name)),
                "values": json_value(tuple(values.tolist())),
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
    """Test of a filter against random filters that keep as many candidates on each day."""

    excess: float
    """Total return less the mean of the random filters."""
    excess_interval: tuple[float, float]
    """95% interval (block bootstrap) of the mean daily excess return over the random filters, annualized (× 252)."""
    rank: RandomFilterRank
    """Rank among the random filters."""
    lookahead: Literal[False] | str
    """Reason why the run may know its future; False if it does not."""

    @property
    def helps(self) -> bool:
        """True if the run is better than chance by the rule of `RandomFilterRank` and did not know its future."""
        return not self.lookahead and self.rank.against_chance == "better than chance"

    @property
    def sentence(self) -> str:
        """Verdict in one sentence."""
        rank = self.rank
        finding = f"The filter is {rank.finding}" if rank.judged else rank.finding.capitalize()
        return (
            f"{FORESEEN.capitalize() if self.lookahead else finding}: {self.excess:+.2%} over the run, "
            f"p = {rank.p_better:.3f} against {rank.draws} random filters with the same daily keep-rate."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "excess": json_value(self.excess),
            "excess_interval": json_value(self.excess_interval),
            "p_value": self.rank.p_better,
            "draws": self.rank.draws,
            "helps": self.helps,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Comparisons of one run."""

    base: Outcome
    rows: tuple[Comparison, ...]
    verdict: FilterTest | None
    """None for a run without a filter."""
    forecast_skill: tuple[ForecastSkill, ...]
    """Skill of each horizon of the forecasts, on all candidates of every session."""

    @property
    def days(self) -> Days:
        """Sessions, shape (S,)."""
        return self.base.days

    def row(self, name: str) -> Comparison | None:
        """Return a comparison by its name, None if it was not made."""
        return next((row for row in self.rows if row.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "evidence": [row.to_json() for row in self.forecast_skill],
        }


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Extent of the comparisons."""

    draws: int = 200
    """Number of random filters, and of shuffled clusters."""
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
    """Run a configuration and its comparisons on one reading of the signals of every session.

    Rows, if they apply to the configuration: ``filter`` (the run itself, if it has one), ``no filter``,
    ``random filter`` (as many candidates on each day, drawn at random), ``shuffled clusters`` (the same clusters, of
    which the best are drawn at random), ``phases`` (started on each session of the horizon), ``lag + 1`` (filled one
    session later), ``delisting`` (each policy), ``gross`` (no costs) and ``benchmark`` (the universe).

    Args:
        config: as for `run_backtest`.
        inputs: as for `run_backtest`; the lookup is read once, for every session.
        settings: extent of the comparisons.
        progress: called with (done, total) steps; the first one is the reading.

    Raises:
        InputError: as `run_backtest`.
        LookaheadError: as `run_backtest`.
    """
    settings = CompareConfig() if settings is None else settings
    variants = _open_variants(config, inputs)
    base = variants.run(config)
    check_missing(config, base.setup, base.signals)
    makers = (_filter, _no_filter, _random, _shuffled, _phases, _lagged, _delistings, _gross, _benchmark)
    rows = []
    for done, maker in enumerate(makers):
        if progress is not None:
            progress(done + 1, len(makers) + 1)
        if (row := maker(variants, base, settings)) is not None:
            rows.append(row)
    named = {row.name: row for row in rows}
    return Comparisons(
        base=base,
        rows=tuple(rows),
        verdict=_verdict(variants, base, named, settings) if "random filter" in named else None,
        forecast_skill=tuple(
            measure_forecast_skill(variants.sessions, variants.signals, horizon)
            for horizon in variants.signals.horizons
        ),
    )


def write_comparisons(comparisons: Comparisons, run_dir: str | Path) -> Path:
    """Write `comparisons.json` (figures) and `comparisons.parquet` (low, median and high equity by date and name).

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
class _Variants:
    """Variants of a run on one reading of the signals of every session."""

    sessions: Sessions
    signals: SignalGrid
    filter: CandidateFilter | None
    lookahead: Literal[False] | str

    def setup(self, config: BacktestConfig) -> RunSetup:
        """Set up the rebalances of a variant."""
        return set_up_run(config, self.sessions)

    def run(self, config: BacktestConfig) -> Outcome:
        """Run a variant with the filter."""
        return run_strategy(config, self.setup(config), self.signals, self.filter)


def _open_variants(config: BacktestConfig, inputs: BacktestInputs) -> _Variants:
    sessions = open_sessions(config, inputs.prices, inputs.candidates)
    first = set_up_run(config, sessions).signal_days[0]
    lookahead = check_lookahead(config, inputs, first)
    setups = [set_up_run(replace(config, phase=phase), sessions) for phase in _possible_phases(config, sessions)]
    horizons = tuple(sorted({config.signal_horizon, *inputs.lookup.horizons}))
    (signals,) = read_signals(setups, inputs.lookup, horizons=horizons, filters=(inputs.filter,))
    return _Variants(sessions=sessions, signals=signals, filter=inputs.filter, lookahead=lookahead)


def _possible_phases(config: BacktestConfig, sessions: Sessions) -> list[int]:
    """Return the phases that leave at least one complete holding period."""
    if config.tranches:
        return [0]
    room = len(sessions.days) - config.lag - config.horizon
    return sorted({config.phase, *range(min(config.horizon, room))})


def _filter(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if variants.filter is None:
        return None
    return _comparison("filter", f"the run itself: {variants.filter.name} filter", [variants.filter.name], [base])


def _no_filter(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison:
    outcome = run_strategy(base.config, base.setup, variants.signals)
    return _comparison("no filter", "the same picks from all candidates", ["no filter"], [outcome])


def _random(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if variants.filter is None:
        return None
    candidates = base.setup.candidates & base.signals.found
    quota = base.kept.sum(axis=1)
    outcomes = (
        run_strategy(base.config, base.setup, variants.signals, kept=kept)
        for kept in random_filters(candidates, quota, draws=settings.draws, seed=settings.seed)
    )
    labels = [f"draw {number}" for number in range(settings.draws)]
    return _comparison("random filter", "as many candidates on each day, drawn at random", labels, outcomes)


def _shuffled(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if variants.filter is None or not variants.filter.decides_by_cluster:
        return None
    candidates = base.setup.candidates & base.signals.found
    kept = shuffled_clusters(variants.filter, base.setup, base.signals, candidates, settings)
    outcomes = (run_strategy(base.config, base.setup, variants.signals, kept=mask) for mask in kept)
    labels = [f"shuffle {number}" for number in range(settings.draws)]
    return _comparison("shuffled clusters", "the same clusters; which are best is drawn at random", labels, outcomes)


def _phases(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison | None:
    if base.config.tranches or base.config.horizon == 1:
        return None
    phases = _possible_phases(base.config, variants.sessions)
    outcomes = (variants.run(replace(base.config, phase=phase)) for phase in phases)
    meaning = "the first rebalance on each session of the horizon"
    return _comparison("phases", meaning, [f"phase {phase}" for phase in phases], outcomes)


def _lagged(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison | None:
    later = replace(base.config, lag=base.config.lag + 1)
    if len(variants.sessions.days) <= later.phase + later.lag + later.horizon:
        return None
    outcome = variants.run(later)
    return _comparison("lag + 1", "every trade one session later", [f"lag {later.lag}"], [outcome])


def _delistings(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison:
    outcomes = [variants.run(replace(base.config, delisting=policy)) for policy in DELISTING_POLICIES]
    return _comparison("delisting", "each policy for tickers that stop trading", DELISTING_POLICIES, outcomes)


def _gross(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison:
    return _of_equities("gross", "the same picks without any cost", ["gross"], base.gross[None], base)


def _benchmark(variants: _Variants, base: Outcome, settings: CompareConfig) -> Comparison:
    meaning = "the universe in equal weights, rebalanced every session, without costs"
    return _of_equities("benchmark", meaning, ["benchmark"], base.benchmark[None], base)


def random_filters(candidates: Bool, quota: np.ndarray, *, draws: int, seed: int) -> Iterator[Bool]:
    """Yield masks that keep a number of candidates of each row, drawn at random from (seed, draw) only.

    Args:
        candidates: shape (R, N).
        quota: number of candidates to keep of each row, shape (R,).
        draws: number of masks.
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
    filter: CandidateFilter, setup: RunSetup, signals: SignalGrid, candidates: Bool, settings: CompareConfig
) -> Iterator[Bool]:
    """Yield the candidates that a filter keeps if other clusters of the same model are the best ones."""
    num_clusters = max(period.model.k for period in filter.periods)
    for draw in range(settings.draws):
        generator = np.random.Generator(np.random.Philox(key=[settings.seed, draw]))
        other: Int32 = np.append(generator.permutation(num_clusters), -1).astype(np.int32)
        days, tickers, cluster = setup.signal_days, setup.sessions.tickers, other[signals.cluster]
        yield filter.keep(days, tickers, candidates, cluster, signals.distance)


def _comparison(
    name: str, meaning: str, labels: Sequence[str], outcomes: Sequence[Outcome] | Iterator[Outcome]
) -> Comparison:
    """Summarize outcomes as one comparison; each is dropped once its equity is known."""
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


def _verdict(variants: _Variants, base: Outcome, rows: Mapping[str, Comparison], settings: CompareConfig) -> FilterTest:
    """Test the run against its random filters."""
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
        lookahead=variants.lookahead,
    )
