"""Backtests, from a cache, clusters and prices: one, compared, under many seeds, by the grid. Knows cache, clusters and
backtest by their public names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.atomic_write import check_folder, writing
from encash.errors import InputError
from encash.pipeline.filters import FilterChoice, open_filter
from encash.pipeline.sources import Sources
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.backtest import BacktestConfig, BacktestResult, Candidates, Comparisons, SweepResult, Trials
    from encash.cache import Cache, Lookup
    from encash.clusters import CandidateFilter
    from encash.panel import Panel, PriceTable

RUNS = Path("runs")
"""Where runs go that nobody gave a folder."""

SPREAD = ("final_capital", "sharpe", "max_drawdown")
"""The figures whose spread over the seeds is told."""


@dataclass(frozen=True, kw_only=True)
class Trading:
    """Everything that a backtest, a comparison, a sweep or a list of the day is run on, opened once."""

    prices: PriceTable
    lookup: Lookup
    filter: CandidateFilter | None
    candidates: Candidates
    """Members by day, or the tickers with prices of which the panel, or else the cache, knows anything at all."""
    without_features: int = 0
    """Tickers with prices that are not among the candidates for want of features."""


def open_trading(sources: Sources, choice: FilterChoice, universe: Path | tuple[str, ...] | None = None) -> Trading:
    """Open prices, panel, cache and filter; the universe is a membership file, a list of tickers, or all there are.

    Raises:
        MismatchError: cache and model do not belong together.
        InputError: no ticker has both prices and features.
    """
    from encash.backtest import read_membership

    panel, cache = sources.panel(), sources.open_cache()
    prices = sources.price_table() if panel is None or panel.prices is None else panel.prices
    known = _known_tickers(panel, cache, prices)
    return Trading(
        prices=prices,
        lookup=sources.lookup(panel, cache),
        filter=open_filter(choice, prices.days, cache),
        candidates=read_membership(universe) if isinstance(universe, Path) else universe or known,
        without_features=len(prices.tickers) - len(known),
    )


def backtest(
    trading: Trading,
    config: BacktestConfig,
    *,
    run_dir: Path | None = None,
    reference: Path | None = None,
    refuse_misses: bool = False,
    progress: Progress | None = None,
) -> tuple[BacktestResult, Path]:
    """One backtest, written into its run folder; beside a series of ``date,value`` where one is given.

    Without a `run_dir` the folder is named after the run's fingerprint: another run never takes its place.
    """
    from encash.backtest import read_series, run_backtest, write_run

    check_folder(run_dir or RUNS)
    series = None if reference is None else read_series(reference)
    result = run_backtest(config, **_parts(trading), reference=series, progress=progress)
    if refuse_misses and trading.lookup.tally.unserved:
        raise InputError(
            f"{trading.lookup.tally.unserved:,} candidates have no valid entry in the cache, and no model may be "
            "loaded; build the cache for these days, or leave --no-model out"
        )
    extra = {"tickers_without_features": trading.without_features}
    result = replace(result, facts={**result.facts, **extra})
    folder = run_dir or RUNS / result.fingerprint[:12]
    return result, write_run(result, folder)


def beside(
    trading: Trading,
    config: BacktestConfig,
    run_dir: Path,
    *,
    num_trials: int = 1,
    draws: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What was asked for beside a run, as plain values: ``trials`` (mean and deviation of each figure over the seeds)
    and ``verdict`` (of the comparison with so many random filters)."""
    from encash.backtest.files import plain

    values: dict[str, Any] = {}
    if num_trials > 1:
        tried = trials(trading, config, num_trials, run_dir, progress=progress)
        values["trials"] = {name: [plain(tried.mean(name)), plain(tried.deviation(name))] for name in SPREAD}
        values["num_trials"] = num_trials
    if draws:
        verdict = compare(trading, config, run_dir, draws=draws, progress=progress).verdict
        values["verdict"] = None if verdict is None else verdict.to_json()
    return values


def compare(
    trading: Trading, config: BacktestConfig, run_dir: Path, *, draws: int = 200, progress: Progress | None = None
) -> Comparisons:
    """What a run must be compared with, on the same days and costs, written beside it."""
    from encash.backtest import CompareConfig, run_comparisons, write_comparisons

    comparisons = run_comparisons(config, **_parts(trading), settings=CompareConfig(draws=draws), progress=progress)
    write_comparisons(comparisons, run_dir)
    return comparisons


def trials(
    trading: Trading, config: BacktestConfig, count: int, run_dir: Path, *, progress: Progress | None = None
) -> Trials:
    """The same run under other seeds; a row of `trials.csv` each, written as it comes."""
    from encash.backtest import run_trials

    return run_trials(config, count, **_parts(trading), path=run_dir / "trials.csv", progress=progress)


def sweep(
    trading: Trading,
    filters: Mapping[str, CandidateFilter],
    grid: Path,
    out: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """All runs of a grid on one reading of the signals."""
    from encash.backtest import read_grid, run_sweep

    points = read_grid(grid)
    result = run_sweep(
        points,
        out,
        prices=trading.prices,
        lookup=trading.lookup,
        filters=filters,
        candidates=trading.candidates,
        workers=workers,
        progress=progress,
    )
    _heat_maps(result, sorted({name for point in points for name, _ in point.varied if name != "seed"}))
    return result


def best_of_sweep(
    result: SweepResult,
    trading: Trading,
    filters: Mapping[str, CandidateFilter],
    grid: Path,
    *,
    progress: Progress | None = None,
) -> Path | None:
    """The run folder of the best run of a sweep, which says among how many it was chosen; None without a best run."""
    from encash.backtest import read_grid, write_best

    return write_best(
        result,
        read_grid(grid),
        prices=trading.prices,
        lookup=trading.lookup,
        filters=filters,
        candidates=trading.candidates,
        progress=progress,
    )


def _known_tickers(panel: Panel | None, cache: Cache | None, prices: PriceTable) -> tuple[str, ...]:
    """The tickers with prices of which the panel, or else the cache, knows anything at all.

    Raises:
        InputError: there are none.
    """
    if panel is not None:
        known = set(panel.tickers)
    else:
        assert cache is not None
        known = set(cache.index().tickers.tolist())
    if not (both := tuple(sorted(known & set(prices.tickers)))):
        raise InputError("no ticker has both prices and features; give files of the same tickers")
    return both


def _parts(trading: Trading) -> dict[str, Any]:
    return {
        "prices": trading.prices,
        "lookup": trading.lookup,
        "filter": trading.filter,
        "candidates": trading.candidates,
    }


def _heat_maps(result: SweepResult, settings: Sequence[str]) -> None:
    """A picture of the Sharpe ratio over each pair of settings that the sweep varied, beside its table; those of an
    earlier table are removed."""
    import pyarrow.parquet as pq

    from encash.backtest import heat_map
    from encash.report import HeatMap, heat_picture

    with writing(result.table):
        for older in result.table.parent.glob("heat_*.svg"):
            older.unlink()
    found = pq.read_table(result.table)
    table = {name: found[name].to_numpy() for name in found.column_names}
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
