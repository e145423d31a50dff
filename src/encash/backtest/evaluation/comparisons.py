"""Comparisons of a run with alternatives: no filter, random filters, phases, lags, policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encash import metrics
from encash.arrays import Days, Float64, Int32, Int64
from encash.atomic_write import write_whole
from encash.backtest.allocation import Sides, sides_of
from encash.backtest.evaluation.cluster_behavior import ClusterBehavior, describe_clusters
from encash.backtest.evaluation.forecast_skill import ForecastSkill, measure_forecast_skill
from encash.backtest.evaluation.groups import explain_by_groups
from encash.backtest.evaluation.persistent_draws import continued, permutations, persistent_filters, volatility_strata
from encash.backtest.evaluation.random_filter_test import (
    FilterTest,
    Performance,
    Subject,
    alpha_statistics,
    contrast,
    percentile_among,
    permutation_p,
)
from encash.backtest.evaluation.replicates import Replicates
from encash.backtest.evaluation.selection import CandidateReturns, candidate_returns, equal, rank_weights
from encash.backtest.files import json_value, table_bytes
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.groups import Groups
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import Sessions, open_sessions, set_up_run
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.outcome import Outcome, run_strategy
from encash.backtest.run_record import add_to_record
from encash.backtest.simulation.costs.proportional import NO_COSTS, Costs
from encash.clusters.filters.base import CandidateFilter
from encash.progress import Progress

COST_LEVELS = (0.0, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01)
"""Fractions of the amount of a trade that the row ``costs`` pays."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Replicates):
    """A variant of a run, once or once per draw, phase or policy.

    The figures are final_capital, total_return, cagr, sharpe and max_drawdown.
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
class Comparisons:
    """Comparisons of one run."""

    base: Outcome
    rows: tuple[Comparison, ...]
    verdict: FilterTest
    """Of the filter, or of the forecasts of a run without one."""
    forecast_skill: tuple[ForecastSkill, ...]
    """Skill of each horizon of the forecasts, on all candidates of every session."""
    details: tuple[Comparison, ...] = ()
    """Variants that divide the return into steps: ``costs`` (each cost of a trade) and ``no filter, gross``."""
    clusters: tuple[ClusterBehavior, ...] = ()
    """Behavior of each cluster in the sessions of the run."""
    groups: Mapping[str, str] | None = None
    """Group of each ticker; None if not given."""

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
            "verdict": self.verdict.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "details": [row.to_json() for row in self.details],
            "evidence": [row.to_json() for row in self.forecast_skill],
            "clusters": [one.to_json() for one in self.clusters],
            "groups": None if self.groups is None else dict(self.groups),
        }


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Extent of the comparisons."""

    draws: int = 200
    """Number of random filters or rankings, and of shuffled clusters."""
    seed: int = 0


def run_comparisons(
    config: BacktestConfig,
    inputs: BacktestInputs,
    *,
    settings: CompareConfig | None = None,
    groups: Groups | None = None,
    progress: Progress | None = None,
) -> Comparisons:
    """Run a configuration and its comparisons on signals that are read once of every session.

    Rows, if they apply to the configuration: ``filter`` (the run itself, if it has one), ``no filter``,
    ``random filter`` (as many candidates on each day, for as long, drawn at random), ``random forecasts`` (of a run
    without a filter: its forecasts, given to other tickers), ``shuffled clusters`` (the same clusters, of which the
    best are drawn at random), ``phases`` (started on each session of the horizon), ``lag + 1`` (filled one session
    later), ``delisting`` (each policy), ``gross`` (no costs) and ``benchmark`` (the universe).

    Args:
        config: as for `run_backtest`.
        inputs: as for `run_backtest`; the lookup is read once, for every session.
        settings: extent of the comparisons.
        groups: group of each ticker, such as its sector; the random filters keep as many of each group. None takes
            those of the inputs.
        progress: called with (done, total) steps; the first one is the reading.

    Raises:
        InputError: as `run_backtest`, or a ticker without a group.
        LookaheadError: as `run_backtest`.
    """
    groups = groups or inputs.groups
    sessions = open_sessions(config, inputs.prices, inputs.candidates, groups)
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
        verdict=_test(variants, rows, lookahead),
        forecast_skill=tuple(
            measure_forecast_skill(sessions, signals, horizon, delisting=config.delisting) for horizon in horizons
        ),
        details=tuple(row for make in _DETAILS if (row := make(variants)) is not None),
        clusters=describe_clusters(sessions, signals, config.horizon, delisting=config.delisting),
        groups=None if groups is None else {ticker: groups.of_ticker[ticker] for ticker in sessions.tickers},
    )


def write_comparisons(comparisons: Comparisons, run_dir: str | Path) -> Path:
    """Write `comparisons.json` (figures), `comparisons.parquet` and `details.parquet` (low, median and high equity by
    date and name), and `skill.parquet` (rank IC and quintile returns by date and horizon).

    Returns:
        The folder.
    """
    folder = Path(run_dir)
    tables = {
        "comparisons.parquet": _bands(comparisons.days, comparisons.rows),
        "details.parquet": _bands(comparisons.days, comparisons.details),
        "skill.parquet": _skill_columns(comparisons.forecast_skill),
    }
    for name, columns in tables.items():
        write_whole(folder / name, table_bytes(columns))
    document = json.dumps(comparisons.to_json(), indent=2, allow_nan=False) + "\n"
    write_whole(folder / "comparisons.json", document.encode())
    for name in (*tables, "comparisons.json"):
        add_to_record(folder / name)
    return folder


def _bands(days: Days, rows: tuple[Comparison, ...]) -> dict[str, np.ndarray]:
    """Return the middle 95% and the median of the equity of each row as columns."""
    bands = np.array([np.percentile(row.equity, [2.5, 50.0, 97.5], axis=0) for row in rows])
    return {
        "date": np.tile(days, len(bands)),
        "name": np.repeat([row.name for row in rows], len(days)),
        **{side: bands[:, place].ravel() for place, side in enumerate(("low", "median", "high"))},
    }


def _skill_columns(skill: tuple[ForecastSkill, ...]) -> dict[str, np.ndarray]:
    """Return the daily skill of all horizons as columns."""
    daily = [one.daily for one in skill]
    quintiles = np.concatenate([one.quantile_returns for one in daily])
    return {
        "date": np.concatenate([one.days for one in daily]),
        "horizon": np.concatenate([np.full(len(one.daily.days), one.horizon, dtype=np.int32) for one in skill]),
        "rank_ic": np.concatenate([one.rank_ic for one in daily]),
        **{f"quintile_{place}": quintiles[:, place - 1].copy() for place in range(1, quintiles.shape[1] + 1)},
    }


@dataclass(frozen=True, kw_only=True)
class _Variants:
    """Variants of a run on signals that are read once of every session."""

    config: BacktestConfig
    settings: CompareConfig
    sessions: Sessions
    signals: SignalGrid
    filter: CandidateFilter | None

    @cached_property
    def base(self) -> Outcome:
        """The run itself."""
        return self.run()

    @cached_property
    def universe(self) -> CandidateReturns:
        """Candidates of the run and their daily returns."""
        return candidate_returns(self.base)

    @cached_property
    def strata(self) -> Int64:
        """Tickers that the random draws may exchange, shape (N,)."""
        return volatility_strata(metrics.forward_returns(self.sessions.close, 1), self.sessions.groups)

    def random_sides(self) -> Iterator[Sides]:
        """Yield the candidates of each side that each random filter keeps.

        Both sides of a draw permute the tickers alike, so that a ticker stands for the same other one on both.
        """
        base, settings = self.base, self.settings
        drawn = partial(persistent_filters, strata=self.strata, draws=settings.draws, seed=settings.seed)
        kept = drawn(base.kept, base.candidates)
        if base.shorted is None:
            return (Sides(kept=mask) for mask in kept)
        if self.config.short == "bottom":
            return (Sides(kept=mask, shorted=mask) for mask in kept)
        return (
            Sides(kept=up, shorted=down) for up, down in zip(kept, drawn(base.shorted, base.candidates), strict=True)
        )

    def random_signals(self) -> Iterator[SignalGrid]:
        """Yield the signals of the run with the forecasts of each ticker given to a different one."""
        signals = self.base.signals
        known = signals.found
        forecast, confidence = (
            np.stack([continued(values, known) for values in grid]).astype(np.float32)
            for grid in (signals.forecast, signals.confidence)
        )
        for tickers in permutations(self.strata, draws=self.settings.draws, seed=self.settings.seed):
            yield replace(signals, forecast=forecast[:, :, tickers], confidence=confidence[:, :, tickers])

    def run(self, **changes: Any) -> Outcome:
        """Run the configuration with some settings changed."""
        config = replace(self.config, **changes)
        return run_strategy(config, set_up_run(config, self.sessions), self.signals, self.filter)

    def equities(self, chosen: Iterable[Sides]) -> Iterator[Float64]:
        """Yield the equity of the run for other candidates of its sides, instead of those of its filter."""
        for sides in chosen:
            yield run_strategy(self.config, self.base.setup, self.signals, kept=sides.kept, shorted=sides.shorted).net

    def compare(self, name: str, meaning: str, labels: Iterable[str], equities: Iterable[Float64]) -> Comparison:
        """Summarize the equities of n runs, each of shape (S,), as one comparison."""
        equity = np.array(list(equities))
        paths, year = self.paths(equity), self.base.sessions_per_year
        figures = {
            "final_capital": paths[:, -1],
            "total_return": np.array([metrics.total_return(path) for path in paths]),
            "cagr": np.array([metrics.cagr(path, year) for path in paths]),
            "sharpe": np.array(
                [metrics.sharpe(metrics.simple_returns(path), sessions_per_year=year) for path in paths]
            ),
            "max_drawdown": np.array([metrics.max_drawdown(path) for path in paths]),
        }
        return Comparison(name=name, meaning=meaning, labels=tuple(labels), equity=equity, figures=figures)

    def draw_names(self) -> Iterator[str]:
        """Yield the label of each random draw."""
        return (f"draw {number}" for number in range(self.settings.draws))

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
    everyone = variants.base.setup.candidates
    shorted = None if variants.base.shorted is None else everyone
    equities = variants.equities([Sides(kept=everyone, shorted=shorted)])
    return variants.compare("no filter", "the same picks from all candidates", ["no filter"], equities)


def _random_filters(variants: _Variants) -> Comparison | None:
    if variants.filter is None:
        return None
    meaning = "as many candidates on each day, for as long, drawn at random"
    return variants.compare("random filter", meaning, variants.draw_names(), variants.equities(variants.random_sides()))


def _random_forecasts(variants: _Variants) -> Comparison | None:
    if variants.filter is not None:
        return None
    config, setup = variants.config, variants.base.setup
    equities = (run_strategy(config, setup, signals).net for signals in variants.random_signals())
    return variants.compare(
        "random forecasts", "the same forecasts, given to other tickers", variants.draw_names(), equities
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


def _costs(variants: _Variants) -> Comparison:
    rules = (Costs(buy_fee=cost, sell_fee=cost) for cost in COST_LEVELS)
    equities = (variants.base.simulate_with(costs=one).equity for one in rules)
    return variants.compare("costs", "the same picks with each cost of a trade", map(cost_label, COST_LEVELS), equities)


def cost_label(cost: float) -> str:
    """Name a cost of a trade.

    >>> cost_label(0.0005)
    '5 bp'
    """
    return f"{cost * 1e4:g} bp"


def _no_filter_gross(variants: _Variants) -> Comparison | None:
    if variants.filter is None:
        return None
    base = variants.base
    run = run_strategy(variants.config, base.setup, variants.signals, kept=base.setup.candidates)
    equity = run.simulate_with(costs=NO_COSTS).equity
    return variants.compare(
        "no filter, gross", "the same picks from all candidates, without any cost", ["no filter, gross"], [equity]
    )


def _gross(variants: _Variants) -> Comparison:
    return variants.compare("gross", "the same picks without any cost", ["gross"], [variants.base.gross])


def _benchmark(variants: _Variants) -> Comparison:
    meaning = "the universe in equal weights, rebalanced every session, without costs"
    return variants.compare("benchmark", meaning, ["benchmark"], [variants.base.benchmark])


_COMPARISONS = (
    _filter,
    _no_filter,
    _random_filters,
    _random_forecasts,
    _shuffled,
    _phases,
    _lagged,
    _delistings,
    _gross,
    _benchmark,
)
"""A comparison that does not apply to a run returns None."""
_DETAILS = (_costs, _no_filter_gross)


def shuffled_clusters(filter: CandidateFilter, base: Outcome, settings: CompareConfig) -> Iterator[Sides]:
    """Yield the candidates of each side if other clusters of the same model are the best (and the worst) ones."""
    setup, signals = base.setup, base.signals
    num_clusters = max(period.model.k for period in filter.periods)
    for draw in range(settings.draws):
        generator = np.random.Generator(np.random.Philox(key=[settings.seed, draw]))
        other: Int32 = np.append(generator.permutation(num_clusters), -1).astype(np.int32)
        yield sides_of(base.config, setup, signals, filter, other[signals.cluster])


def _test(variants: _Variants, rows: Mapping[str, Comparison], lookahead: Literal[False] | str) -> FilterTest:
    """Test the filter of the run, or its forecasts, against the random ones."""
    base, year = variants.base, variants.base.sessions_per_year
    subject: Subject = "forecasts" if variants.filter is None else "filter"
    random = rows["random filter" if subject == "filter" else "random forecasts"]
    benchmark = metrics.simple_returns(base.benchmark)
    paths = np.concatenate([base.path[None, :], variants.paths(random.equity)])
    run = np.nan_to_num([metrics.simple_returns(path) for path in paths])  # an account at 0 earns nothing
    over_random = run[0] - run[1:].mean(axis=0)
    run -= run.mean(axis=0)  # of all of them: without skill, the run and the draws are exchangeable
    selection = _selections(variants)
    statistics = np.column_stack([alpha_statistics(series, benchmark) for series in (run, selection)])
    p_better, p_worse = permutation_p(statistics)
    groups = None
    if (codes := variants.sessions.groups) is not None:
        groups = explain_by_groups(variants.universe, base.weights_by_ticker(), codes, benchmark, year)
    figures = base.summary()
    return FilterTest(
        subject=subject,
        draws=len(random.labels),
        p_better=p_better,
        p_worse=p_worse,
        run=contrast(over_random, benchmark, year),
        selection=contrast(selection[0], benchmark, year),
        percentiles={
            name: percentile_among(random.figures[name], float(figures[name]))
            for name in ("total_return", "sharpe", "max_drawdown")
        },
        performance=_performances(rows, subject),
        lookahead=lookahead,
        groups=groups,
    )


def _selections(variants: _Variants) -> Float64:
    """Return the daily returns of what the run selects, and of what each random draw selects; shape (draws + 1, S − 1).

    Of a filter, the kept candidates less all candidates, or less those in the worst clusters; of forecasts, their upper
    less their lower half by rank.
    """
    base, universe = variants.base, variants.universe
    if variants.filter is not None:
        sides = chain([Sides(kept=base.kept, shorted=base.shorted)], variants.random_sides())
        return np.array([universe.of(_selected(universe, one, variants.config)) for one in sides])
    score = base.picks.score
    known = ~np.isnan(score)
    everyone = continued(score, known)
    tickers = permutations(variants.strata, draws=variants.settings.draws, seed=variants.settings.seed)
    others = (np.where(known, everyone[:, permuted], np.nan) for permuted in tickers)
    return np.array([universe.of(rank_weights(one)) for one in chain([score], others)])


def _selected(universe: CandidateReturns, sides: Sides, config: BacktestConfig) -> Float64:
    """Return the weights of what a filter selects, shape (R, N): the kept candidates less all of them, or, if others
    are sold short, less those."""
    if sides.shorted is None or config.short == "bottom":
        return universe.excess(equal(sides.kept))
    return equal(sides.kept) - equal(sides.shorted)


def _performances(rows: Mapping[str, Comparison], subject: Subject) -> dict[str, Performance]:
    """Return the performance of the run, of the run without its filter, and of all candidates."""
    names = {"all candidates": "benchmark"}
    names |= {"no filter": "no filter", "this run": "filter"} if subject == "filter" else {"this run": "no filter"}
    return {
        name: Performance(**{figure: rows[row].mean(figure) for figure in ("cagr", "sharpe", "max_drawdown")})
        for name, row in names.items()
    }
