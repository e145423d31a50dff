"""Backtests, from a cache, clusters and prices: one, compared, under many seeds, by the grid. Knows cache, clusters and
backtest by their public names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.arrays import Days, Int32
from encash.atomic_write import check_folder, writing
from encash.errors import InputError, MismatchError
from encash.pipeline.clusters import assign_entries, is_walk, kept_assignments
from encash.pipeline.sources import Sources
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.backtest import BacktestConfig, BacktestInputs, BacktestResult, Point, SweepResult
    from encash.cache import Cache
    from encash.clusters import Assignments, ClusterModel, FilterModel, Ranking, WalkModel
    from encash.panel import Panel, PriceTable

RUNS = Path("runs")
"""Where runs go that nobody gave a folder."""

TRIAL_FIGURES = ("final_capital", "sharpe", "max_drawdown")
"""Figures of the trials in the result of a backtest."""

NEAREST_SHARE = 0.3
"""What the filter `nearest` keeps where nobody says."""


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """Which filter a backtest uses."""

    clusters: Path | None = None
    """A folder of clusters and their ranking."""
    kind: str | None = None
    """None: hard with clusters, else none."""
    keep: float | None = None
    best_file: Path | None = None
    """Instead of the best clusters of the ranking."""
    horizon: int = 5
    seed: int = 42


def open_inputs(
    sources: Sources, choice: FilterChoice, universe: Path | tuple[str, ...] | None = None
) -> BacktestInputs:
    """Open prices, panel, cache and filter.

    Args:
        sources: prices, and a cache or features.
        choice: the filter.
        universe: a membership file, or a list of tickers; None takes every ticker with prices that the panel, or else
            the cache, contains.

    Raises:
        MismatchError: cache and model do not belong together.
        InputError: no prices, neither a cache nor features, or no ticker has both prices and features.
    """
    from encash.backtest import BacktestInputs, read_membership

    panel, cache = sources.panel(), sources.open_cache()
    prices = sources.price_table() if panel is None or panel.prices is None else panel.prices
    known = _known_tickers(panel, cache, prices)
    return BacktestInputs(
        prices=prices,
        lookup=sources.lookup(panel, cache),
        filter=open_filter(choice, prices.days, cache),
        candidates=read_membership(universe) if isinstance(universe, Path) else universe or known,
        tickers_without_features=len(prices.tickers) - len(known),
    )


def open_filter(choice: FilterChoice, sessions: Days, cache: Cache | None) -> FilterModel | None:
    """The filter of a backtest; None for none.

    Raises:
        InputError: a filter by clusters without clusters, a share for one that keeps whole clusters, or the static one
            without a cache.
        MismatchError: a walk that was ranked over another horizon.
    """
    from encash.clusters import FilterModel, load_clusters, single_term

    kind = choice.kind or ("none" if choice.clusters is None else "hard")
    if kind == "none":
        return None
    if kind == "random" and choice.clusters is None:
        return FilterModel(kind=kind, keep_share=choice.keep, seed=choice.seed)
    if choice.clusters is None:
        raise InputError(f"the filter {kind!r} goes by clusters; give --clusters DIR")
    if choice.keep is not None and kind not in ("nearest", "random"):
        raise InputError(f"the filter {kind!r} keeps whole clusters; leave --keep out, or filter by nearest or random")
    share = NEAREST_SHARE if kind == "nearest" and choice.keep is None else choice.keep
    if is_walk(choice.clusters):
        walk = _walk_over(choice.clusters, choice.horizon)
        kept = kept_assignments(choice.clusters, walk.fingerprint, cache, distances=kind == "nearest")
        return walk.filter(kind, keep_share=share, seed=choice.seed, assignments=kept)
    model = load_clusters(choice.clusters)
    kept = kept_assignments(choice.clusters, model.fingerprint, cache, distances=kind == "nearest")
    ranking, best = _ranking(choice)
    static = _static_clusters(model, cache, kept) if kind == "static" else None
    term = single_term(model, best, ranking, sessions, static=static)
    return FilterModel(kind=kind, terms=(term,), keep_share=share, seed=choice.seed, assignments=kept)


def backtest(
    inputs: BacktestInputs,
    config: BacktestConfig,
    *,
    run_dir: Path | None = None,
    reference: Path | None = None,
    refuse_misses: bool = False,
    progress: Progress | None = None,
) -> tuple[BacktestResult, Path]:
    """Run one backtest and write its run folder.

    Args:
        inputs: from `open_inputs`.
        config: the settings.
        run_dir: the folder; None names it after the run's fingerprint, so that a different run never replaces it.
        reference: a CSV file of ``date,value`` to compare with.
        refuse_misses: fail if a candidate has no valid entry in the cache.
        progress: called with cells read and cells in all.

    Raises:
        InputError: as `run_backtest`, or a refused miss.
    """
    from encash.backtest import read_series, run_backtest, write_run

    check_folder(run_dir or RUNS)
    series = None if reference is None else read_series(reference)
    result = run_backtest(config, inputs, reference=series, progress=progress)
    if refuse_misses and (unserved := inputs.lookup.tally.unserved):
        raise InputError(
            f"{unserved:,} candidates have no valid entry in the cache, and no model may be loaded; build the cache "
            "for these days, or leave --no-model out"
        )
    return result, write_run(result, run_dir or RUNS / result.fingerprint[:12])


def beside(
    inputs: BacktestInputs,
    config: BacktestConfig,
    run_dir: Path,
    *,
    num_trials: int = 1,
    draws: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the trials and comparisons of a run, and write them into its folder.

    Args:
        inputs: those of the run.
        config: that of the run.
        run_dir: its folder.
        num_trials: seeds to run, the run's own included; 1 runs none.
        draws: random filters to compare with; 0 compares with nothing.
        progress: called with steps done and steps in all.

    Returns:
        Plain values: ``trials`` (mean and deviation of each figure over the seeds), ``num_trials``, and ``verdict``
        (of the comparison with the random filters).
    """
    from encash.backtest import CompareConfig, run_comparisons, run_trials, write_comparisons
    from encash.backtest.files import plain

    values: dict[str, Any] = {}
    if num_trials > 1:
        tried = run_trials(config, inputs, num_trials, path=run_dir / "trials.csv", progress=progress)
        values["trials"] = {name: [plain(tried.mean(name)), plain(tried.deviation(name))] for name in TRIAL_FIGURES}
        values["num_trials"] = num_trials
    if draws:
        comparisons = run_comparisons(config, inputs, settings=CompareConfig(draws=draws), progress=progress)
        write_comparisons(comparisons, run_dir)
        verdict = comparisons.verdict
        values["verdict"] = None if verdict is None else verdict.to_json()
    return values


def write_heat_maps(result: SweepResult, points: Sequence[Point]) -> None:
    """Draw the Sharpe ratio over each pair of settings that a sweep varied, beside its table.

    Drawings of an earlier table are removed.
    """
    import pyarrow.parquet as pq

    from encash.backtest import heat_map
    from encash.report import HeatMap, heat_picture

    with writing(result.table):
        for older in result.table.parent.glob("heat_*.svg"):
            older.unlink()
    found = pq.read_table(result.table)
    table = {name: found[name].to_numpy() for name in found.column_names}
    settings = sorted({name for point in points for name, _ in point.varied if name != "seed"})
    for rows, columns in combinations(settings, 2):
        heat = heat_map(table, rows, columns)
        if min(heat["values"].shape) < 2:
            continue
        picture = HeatMap(
            figure="Sharpe ratio",
            row_name=rows,
            rows=tuple(map(str, heat["rows"])),
            column_name=columns,
            columns=tuple(map(str, heat["columns"])),
            values=heat["values"],
        )
        heat_picture(picture, result.table.with_name(f"heat_{rows}_{columns}.svg"))


def _walk_over(folder: Path, horizon: int) -> WalkModel:
    """The walk of a folder; refused if it was ranked over another horizon."""
    from encash.clusters import load_walk  # fits clusters too, and with that imports faiss

    walk = load_walk(folder)
    if (ranked := walk.refits[0].ranking.horizon) != horizon:
        raise MismatchError(
            f"the walk in {folder} was ranked over {ranked} sessions, {horizon} were asked for; "
            f"walk again with --horizon {horizon}, or hold for {ranked}"
        )
    return walk


def _static_clusters(model: ClusterModel, cache: Cache | None, kept: Assignments | None) -> Assignments:
    """The cluster of each ticker by its entries of the days of the fit: kept ones where all of them are, else anew."""
    from encash.clusters import covers, static_clusters

    if cache is None:
        raise InputError("the static filter takes each ticker's cluster from the cache; give --cache C")
    fitted = {"start": model.fit_start, "end": model.fit_end}
    if kept is None or not covers(kept, cache.index(), **fitted):
        return static_clusters(assign_entries(cache, model, **fitted), model.fit_end)
    return static_clusters(kept.between(**fitted), model.fit_end)


def _ranking(choice: FilterChoice) -> tuple[Ranking | None, Int32]:
    """The ranking of a folder, where there is one, and the best clusters."""
    from encash.clusters import load_ranking, read_best_clusters

    assert choice.clusters is not None
    folder, horizon = choice.clusters, choice.horizon
    best = read_best_clusters(choice.best_file or folder / f"best_clusters_{horizon}d.txt")
    known = (folder / f"ranking_{horizon}d.json").is_file()
    return (load_ranking(folder, horizon) if known else None), best


def _known_tickers(panel: Panel | None, cache: Cache | None, prices: PriceTable) -> tuple[str, ...]:
    """Find the tickers with prices that the panel, or else the cache, contains.

    Raises:
        InputError: there are none, or neither a panel nor a cache.
    """
    if panel is not None:
        known = set(panel.tickers)
    elif cache is not None:
        known = set(cache.index().tickers.tolist())
    else:
        raise InputError("no forecasts to rank by; give --cache C, or --data F with --model M")
    if not (both := tuple(sorted(known & set(prices.tickers)))):
        raise InputError("no ticker has both prices and features; give files of the same tickers")
    return both
