"""Comparisons of a run with the runs that it must beat: no filter, random filters, phases, lags, policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
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
from encash.backtest.inputs.run_setup import Sessions, open_sessions, set_up_run
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.outcome import Outcome, run_strategy
from encash.clusters.filters.base import CandidateFilter
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Comparison(Replicates):
    """A variant of a run, once or once per draw, phase or policy.

    The figures are final_capital, total_return, sharpe and max_drawdown.
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
        labels = list(self.labels)
        return {"name": self.name, "meaning": self.meaning, "runs": len(labels), "labels": labels, **rows}


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
    sessions = open_sessions(config, inputs.prices, inputs.candidates)
    lookahead = check_lookahead(config, inputs, set_up_run(config, sessions).signal_days[0])
    setups = [set_up_run(replace(config, phase=phase), sessions) for phase in _possible_phases(config, sessions)]
    horizons = tuple(sorted({config.signal_horizon, *inputs.lookup.horizons}))
    (signals,) = read_signals(setups, inputs.lookup, horizons=horizons, filters=(inputs.filter,))
    variants = _Variants(
        config=config,
        settings=settings or CompareConfig(),
        sessions=sessions,
        signals=signals,
        filter=inputs.filter,
        lookahead=lookahead,
    )
    base = variants.base
    check_missing(config, base.setup, base.signals)
    rows = {}
    for done, make in enumerate(_COMPARISONS, start=1):
        if progress is not None:
            progress(done, len(_COMPARISONS) + 1)
        if (row := make(variants)) is not None:
            rows[row.name] = row
    return Comparisons(
        base=base,
        rows=tuple(rows.values()),
        verdict=_test_filter(variants, rows["random filter"], rows["no filter"]) if variants.filter else None,
        forecast_skill=tuple(
            measure_forecast_skill(sessions, signals, horizon, delisting=config.delisting) for horizon in horizons
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

    config: BacktestConfig
    settings: CompareConfig
    sessions: Sessions
    signals: SignalGrid
    filter: CandidateFilter | None
    lookahead: Literal[False] | str

    @cached_property
    def base(self) -> Outcome:
        """The run itself."""
        return self.run()

    def run(self, **changes: Any) -> Outcome:
        """Run the configuration with some settings changed."""
        config = replace(self.config, **changes)
        return run_strategy(config, set_up_run(config, self.sessions), self.signals, self.filter)

    def equities(self, masks: Iterable[Bool]) -> Iterator[Float64]:
        """Yield the equity of the run for each mask of candidates to keep instead of its filter."""
        for kept in masks:
            yield run_strategy(self.config, self.base.setup, self.signals, kept=kept).net

    def compare(self, name: str, meaning: str, labels: Iterable[str], equities: Iterable[Float64]) -> Comparison:
        """Summarize the equities of n runs, each of shape (S,), as one comparison."""
        equity = np.array(list(equities))
        paths = self.paths(equity)
        figures = {
            "final_capital": paths[:, -1],
            "total_return": np.array([metrics.total_return(path) for path in paths]),
            "sharpe": np.array([metrics.sharpe(metrics.simple_returns(path)) for path in paths]),
            "max_drawdown": np.array([metrics.max_drawdown(path) for path in paths]),
        }
        return Comparison(name=name, meaning=meaning, labels=tuple(labels), equity=equity, figures=figures)

    def paths(self, equity: Float64) -> Float64:
        """Return equities that begin with the initial capital, shape (n, S)."""
        paths = equity.copy()
        paths[:, 0] = self.config.initial_capital
        return paths


def _possible_phases(config: BacktestConfig, sessions: Sessions) -> list[int]:
    """Return the phases that leave at least one complete holding period."""
    if config.tranches:
        return [0]
    room = len(sessions.days) - config.lag - config.horizon
    return sorted({config.phase, *range(min(config.horizon, room))})


def _filter(variants: _Variants) -> Comparison | None:
    if variants.filter is None:
        return None
    return variants.compare(
        "filter", f"the run itself: {variants.filter.name} filter", [variants.filter.name], [variants.base.net]
    )


def _no_filter(variants: _Variants) -> Comparison:
    equities = variants.equities([variants.base.setup.candidates])
    return variants.compare("no filter", "the same picks from all candidates", ["no filter"], equities)


def _random(variants: _Variants) -> Comparison | None:
    if variants.filter is None:
        return None
    draws, quota = variants.settings.draws, variants.base.kept.sum(axis=1)
    masks = random_filters(variants.base.candidates, quota, draws=draws, seed=variants.settings.seed)
    labels = (f"draw {number}" for number in range(draws))
    return variants.compare(
        "random filter", "as many candidates on each day, drawn at random", labels, variants.equities(masks)
    )


def _shuffled(variants: _Variants) -> Comparison | None:
    if variants.filter is None or not variants.filter.decides_by_cluster:
        return None
    masks = shuffled_clusters(variants.filter, variants.base, variants.settings)
    labels = (f"shuffle {number}" for number in range(variants.settings.draws))
    meaning = "the same clusters; which are best is drawn at random"
    return variants.compare("shuffled clusters", meaning, labels, variants.equities(masks))


def _phases(variants: _Variants) -> Comparison | None:
    if variants.config.tranches or variants.config.horizon == 1:
        return None
    phases = _possible_phases(variants.config, variants.sessions)
    equities = (variants.run(phase=phase).net for phase in phases)
    meaning = "the first rebalance on each session of the horizon"
    return variants.compare("phases", meaning, (f"phase {phase}" for phase in phases), equities)


def _lagged(variants: _Variants) -> Comparison | None:
    lag = variants.config.lag + 1
    if len(variants.sessions.days) <= variants.config.phase + lag + variants.config.horizon:
        return None
    return variants.compare("lag + 1", "every trade one session later", [f"lag {lag}"], [variants.run(lag=lag).net])


def _delistings(variants: _Variants) -> Comparison:
    equities = (variants.base.simulate_with(delisting=policy).equity for policy in metrics.DELISTING_POLICIES)
    return variants.compare(
        "delisting", "each policy for tickers that stop trading", metrics.DELISTING_POLICIES, equities
    )


def _gross(variants: _Variants) -> Comparison:
    return variants.compare("gross", "the same picks without any cost", ["gross"], [variants.base.gross])


def _benchmark(variants: _Variants) -> Comparison:
    meaning = "the universe in equal weights, rebalanced every session, without costs"
    return variants.compare("benchmark", meaning, ["benchmark"], [variants.base.benchmark])


_COMPARISONS = (_filter, _no_filter, _random, _shuffled, _phases, _lagged, _delistings, _gross, _benchmark)
"""A comparison that does not apply to a run returns None."""


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


def shuffled_clusters(filter: CandidateFilter, base: Outcome, settings: CompareConfig) -> Iterator[Bool]:
    """Yield the candidates that a filter keeps if other clusters of the same model are the best ones."""
    setup, signals = base.setup, base.signals
    num_clusters = max(period.model.k for period in filter.periods)
    for draw in range(settings.draws):
        generator = np.random.Generator(np.random.Philox(key=[settings.seed, draw]))
        other: Int32 = np.append(generator.permutation(num_clusters), -1).astype(np.int32)
        days, tickers, cluster = setup.signal_days, setup.sessions.tickers, other[signals.cluster]
        yield filter.keep(days, tickers, base.candidates, cluster, signals.distance)


def _test_filter(variants: _Variants, random: Comparison, no_filter: Comparison) -> FilterTest:
    """Test the run against its random filters."""
    paths, path = variants.paths(random.equity), variants.base.path
    excess = metrics.simple_returns(path) - np.mean(paths[:, 1:] / paths[:, :-1] - 1.0, axis=0)
    low, high = metrics.block_bootstrap(
        excess,
        lambda drawn: drawn.mean(axis=1),
        block=min(variants.settings.block, len(excess)),
        seed=variants.settings.seed,
    )
    interval = (low * metrics.SESSIONS_PER_YEAR, high * metrics.SESSIONS_PER_YEAR)
    return FilterTest(
        excess=metrics.total_return(path) - float(random.figures["total_return"].mean()),
        excess_interval=interval,
        rank=rank_among(
            random.figures["final_capital"].tolist(),
            float(path[-1]),
            excess_interval=interval,
            no_filter=float(no_filter.figures["final_capital"][0]),
        ),
        lookahead=variants.lookahead,
    )
