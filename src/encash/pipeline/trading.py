"""Backtests from files: open the inputs, run, compare, repeat under other seeds, and draw the maps of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.atomic_write import check_folder, writing
from encash.errors import InputError
from encash.pipeline.encoders import open_encoders
from encash.pipeline.filters import FilterChoice, open_filter
from encash.pipeline.sources import Sources
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.backtest import BacktestConfig, BacktestInputs, BacktestResult, Candidates, Groups, Point, SweepResult
    from encash.cache import Cache
    from encash.panel import Panel, PriceTable

RUNS = Path("runs")
"""Folder of runs without a `run_dir`."""

TRIAL_FIGURES = ("final_capital", "sharpe", "max_drawdown")
"""Figures of the trials in the result of a backtest."""


def open_inputs(
    sources: Sources, choice: FilterChoice, universe: str | Path | tuple[str, ...] | None = None
) -> BacktestInputs:
    """Open prices, panel, cache and filter.

    Args:
        sources: prices, and a cache or features.
        choice: the filter.
        universe: a membership file, or a list of tickers; None takes every ticker with prices. One without entries
            counts as missing (`--max-missing`), with and without the features alike.

    Raises:
        MismatchError: the cache was built with a different model.
        InputError: no prices, neither a cache nor features, or no ticker has both prices and features.
    """
    from encash.backtest import BacktestInputs

    panel, cache = sources.panel(), sources.open_cache()
    prices = sources.price_table() if panel is None or panel.prices is None else panel.prices
    if sources.encoders is not None:
        return _open_several(sources, choice, universe, prices)
    known = _known_tickers(panel, cache, sources.scores, prices)
    without = () if panel is None else tuple(sorted(set(prices.tickers) - known))
    return BacktestInputs(
        prices=prices,
        lookup=sources.lookup(panel, cache),
        filter=open_filter(choice, prices.days, cache),
        candidates=_candidates(universe, prices),
        tickers_without_features=without,
    )


def _open_several(
    sources: Sources, choice: FilterChoice, universe: str | Path | tuple[str, ...] | None, prices: PriceTable
) -> BacktestInputs:
    """Open the inputs of a backtest whose encoders change in the course of time."""
    from encash.backtest import BacktestInputs

    lookup, periods = open_encoders(sources, choice, prices.days)
    return BacktestInputs(
        prices=prices,
        lookup=lookup,
        filter=open_filter(replace(choice, periods=periods), prices.days, None),
        candidates=_candidates(universe, prices),
    )


def _candidates(universe: str | Path | tuple[str, ...] | None, prices: PriceTable) -> Candidates:
    from encash.backtest import read_membership

    return read_membership(universe) if isinstance(universe, str | Path) else universe or tuple(sorted(prices.tickers))


def backtest(
    inputs: BacktestInputs,
    config: BacktestConfig,
    *,
    run_dir: Path | None = None,
    reference: str | Path | None = None,
    refuse_misses: bool = False,
    spreadsheet: bool = False,
    progress: Progress | None = None,
) -> tuple[BacktestResult, Path]:
    """Run one backtest and write its run folder.

    Args:
        inputs: from `open_inputs`.
        config: the settings.
        run_dir: the folder; None names it after the run's fingerprint, so that a different run never replaces it.
        reference: a CSV file of ``date,value`` to compare with.
        refuse_misses: fail if a candidate has no valid entry in the cache.
        spreadsheet: also write the ledger so that a spreadsheet shows every ticker as text.
        progress: called with (done, total) cells.

    Raises:
        InputError: as `run_backtest`, or a refused miss.
    """
    from encash.backtest import compare_forecasts, read_series, run_backtest, write_run

    check_folder(run_dir or RUNS)
    series = None if reference is None else read_series(reference)
    result = run_backtest(config, inputs, reference=series, progress=progress)
    if refuse_misses and (unserved := inputs.lookup.stats.unserved):
        raise InputError(
            f"{unserved:,} candidates have no valid entry in the cache, and no model may be loaded; build the cache "
            "for these days, or leave --no-model out"
        )
    if beside := compare_forecasts(result.outcome, inputs.lookup):
        result = replace(result, facts={**result.facts, "forecast_ic": beside})
    return result, write_run(result, run_dir or RUNS / result.fingerprint[:12], spreadsheet=spreadsheet)


def record_command(run_dir: Path, words: Sequence[str]) -> None:
    """Record the command that wrote a run in its folder, `command.json`, so that its page can say how to repeat it.

    Args:
        run_dir: the run folder.
        words: the words after ``encash``.
    """
    import json

    from encash.atomic_write import write_whole
    from encash.backtest.run_record import add_to_record

    document = json.dumps({"words": list(words)}, ensure_ascii=False) + "\n"
    add_to_record(write_whole(run_dir / "command.json", document.encode()))


def evaluate_run(
    inputs: BacktestInputs,
    config: BacktestConfig,
    run_dir: Path,
    *,
    num_trials: int = 1,
    draws: int = 0,
    groups: Groups | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the trials and comparisons of a run, and write them into its folder.

    Args:
        inputs: those of the run.
        config: that of the run.
        run_dir: its folder.
        num_trials: seeds to run, the run's own included; 1 runs none.
        draws: random filters (or rankings) to compare with; 0 compares with nothing.
        groups: such as sectors: the verdict says what bets on them explain.
        progress: called with (done, total) steps.

    Returns:
        Plain values: ``trials`` (mean and deviation of each figure over the seeds), ``num_trials``, and ``verdict``
        (of the comparison with the random filters).

    Raises:
        InputError: a candidate without a group.
    """
    from encash.backtest import CompareConfig, run_comparisons, run_trials, write_comparisons
    from encash.backtest.files import json_value

    values: dict[str, Any] = {}
    if num_trials > 1:
        tried = run_trials(config, inputs, num_trials, path=run_dir / "trials.csv", progress=progress)
        values["trials"] = {
            name: [json_value(tried.mean(name)), json_value(tried.deviation(name))] for name in TRIAL_FIGURES
        }
        values["num_trials"] = num_trials
    if draws:
        settings = CompareConfig(draws=draws)
        comparisons = run_comparisons(config, inputs, settings=settings, groups=groups, progress=progress)
        write_comparisons(comparisons, run_dir)
        values["verdict"] = comparisons.verdict.to_json()
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


def _known_tickers(panel: Panel | None, cache: Cache | None, scores: str | Path | None, prices: PriceTable) -> set[str]:
    """Find the tickers with prices that the panel, or else the cache, contains; with only scores, all with prices.

    Raises:
        InputError: there are none, or neither a panel nor a cache nor scores.
    """
    if panel is not None:
        known = set(panel.tickers)
    elif cache is not None:
        known = set(cache.index().tickers.tolist())
    elif scores is not None:
        known = set(prices.tickers)
    else:
        raise InputError("no forecasts to rank by; give --cache C, --data F with --model M, or --scores FILE")
    if not (both := known & set(prices.tickers)):
        raise InputError("no ticker has both prices and features; give files of the same tickers")
    return both
