"""``backtest``: run one backtest and write its run folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from encash import backtest, pipeline
from encash.cli.console import Console, Parser, figure, spec_of
from encash.cli.flags import (
    beside_flags,
    command,
    groups_flag,
    setting_flags,
    source_flags,
    ticker_list,
    universe_flags,
)
from encash.errors import InputError

SHOWN = {
    "final_capital": ("final capital", ",.0f"),
    "sharpe": ("Sharpe", ".2f"),
    "max_drawdown": ("max drawdown", ".1%"),
}
"""Figures that summarize several runs: their labels and formats."""


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_backtest,
        "backtest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters \\\n"
        "      --horizon 5 --top-k 5 --start 2016-02-01 --end 2022-12-28\n"
        "  encash backtest … --groups sectors.csv --group-neutral --max-weight 0.2 --short --borrow-rate 0.01",
    )
    source_flags(parser.add_argument_group("inputs"))
    stocks = parser.add_argument_group("stocks")
    universe_flags(stocks)
    groups_flag(stocks)
    trading = parser.add_argument_group("trading and costs")
    setting_flags(trading, "money")
    trading.add_argument("--reference", type=Path, metavar="CSV", help="a series to compare with: date,value")
    setting_flags(parser.add_argument_group("look-ahead and missing entries"), "checks")
    beside_flags(parser)
    parser.add_argument("--no-report", dest="page", action="store_false", help="do not write report.html")
    parser.add_argument(
        "--spreadsheet",
        action="store_true",
        help="also write ledger_spreadsheet.csv, in which tickers such as =A1, +B, -X and @C are text, not formulas",
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="the run folder (runs/ and a fingerprint of the run)"
    )


def configuration(arguments: argparse.Namespace) -> backtest.BacktestConfig:
    """Return the flags as a configuration."""
    return spec_of(backtest.BacktestConfig, arguments)


def open_inputs(
    arguments: argparse.Namespace,
    console: Console,
    choice: pipeline.FilterChoice | None = None,
    *,
    needed: Sequence[backtest.BacktestConfig],
) -> backtest.BacktestInputs:
    """Open the inputs that the flags name and some configurations need; `choice` replaces the filter of the flags."""
    if arguments.no_model and arguments.encoders is not None:
        raise InputError("--no-model is for --model; leave the key model out of the list of --encoders instead")
    overrides: dict[str, Any] = {"model": None} if arguments.no_model else {}
    sources = console.sources(arguments, price_columns=price_columns(needed), **overrides)
    groups = read_groups(arguments, needed)
    universe = getattr(arguments, "membership", None) or ticker_list(getattr(arguments, "tickers", None))
    return replace(pipeline.open_inputs(sources, choice or filter_choice(arguments), universe), groups=groups)


def price_columns(needed: Sequence[backtest.BacktestConfig]) -> tuple[str, ...]:
    """Return the columns of the prices that some configurations need beside the closes."""
    return ("open", "dollars") if any(config.needs_dollars for config in needed) else ("open",)


def read_groups(arguments: argparse.Namespace, needed: Sequence[backtest.BacktestConfig]) -> backtest.Groups | None:
    """Read the groups of the flags; None without them.

    Raises:
        InputError: nothing uses them.
    """
    if arguments.groups is None:
        return None
    if not (getattr(arguments, "compare", 0) or any(config.needs_groups for config in needed)):
        raise InputError("--groups is for --compare, --group-neutral or --max-per-group; give both it and one of these")
    return backtest.read_groups(arguments.groups)


def filter_choice(arguments: argparse.Namespace) -> pipeline.FilterChoice:
    """Return the filter that the flags name."""
    return spec_of(pipeline.FilterChoice, arguments, name=getattr(arguments, "filter", None))


def run_backtest(arguments: argparse.Namespace, console: Console) -> None:
    """Run one backtest and write its run folder."""
    config = configuration(arguments)
    inputs = open_inputs(arguments, console, needed=(config,))
    with console.progress("entries", "cells") as progress:
        result, folder = pipeline.backtest(
            inputs,
            config,
            run_dir=arguments.run_dir,
            reference=arguments.reference,
            refuse_misses=arguments.no_model,
            spreadsheet=arguments.spreadsheet,
            progress=progress,
        )
    values = {**result.to_json(), "run_dir": str(folder), "torch_imported": "torch" in sys.modules}
    with console.progress("comparisons", "steps") as progress:
        values |= pipeline.evaluate_run(
            inputs,
            config,
            folder,
            num_trials=arguments.num_trials,
            draws=arguments.compare,
            progress=progress,
        )
    warn_of_prices(values, console)
    if arguments.page:
        extras = pipeline.PageExtras(clusters=arguments.clusters, horizon=config.horizon)
        pipeline.write_report([folder], folder / "report.html", extras)
    console.result(values, backtest_lines(values))


def entries_line(values: dict[str, Any]) -> str:
    """Say if entries were compared with the present data, and how many no longer belong to them.

    >>> entries_line({"staleness": "checked", "stale": 2})
    'staleness checked: 2 stale, not used as they are'
    """
    if values["staleness"] == "checked":
        return f"staleness checked: {values['stale']:,} stale{', not used as they are' if values['stale'] else ''}"
    return "staleness NOT CHECKED: a restated price or feature would not be noticed; give --data F"


def ranked_by(values: dict[str, Any]) -> str:
    """Say where the forecasts of a run come from.

    >>> ranked_by({"forecast_source": "encoder"})
    'forecasts of the encoder'
    >>> ranked_by({"forecast_source": "scores", "scores": {"scores": 90, "joined": 80}})
    'scores of a file: 80 of 90 are of these days and tickers'
    """
    source = values["forecast_source"]
    if source == "head":
        facts = values["head"]
        return f"a {facts['kind']} head fitted on returns up to {facts['last_end']}"
    if source == "scores":
        facts = values["scores"]
        return f"scores of a file: {facts['joined']:,} of {facts['scores']:,} are of these days and tickers"
    return "forecasts of the encoder"


def warn_of_prices(values: dict[str, Any], console: Console) -> None:
    """Warn if the clusters were ranked on prices that are not those of the run, and add the warnings to the result."""
    if values["ranking_prices"] == "other":
        console.warn(
            "the clusters were ranked on prices that differ from these in the same days; rank again with these prices "
            "(encash clusters rank), or give the prices of the ranking"
        )
    values["warnings"] = console.warnings


def backtest_lines(values: dict[str, Any]) -> list[str]:
    """Format the result of a backtest: comparisons, entries, period, performance."""
    seeds, verdict = values.get("trials"), values.get("verdict")
    comparisons = [trials_line(seeds, values["num_trials"])] if seeds else []
    comparisons += [verdict["sentence"]] if verdict else []
    warning = [f"LOOK-AHEAD: {values['lookahead']}"] if values["lookahead"] else []
    warning += ["RANKING        made on other prices than these"] if values["ranking_prices"] == "other" else []
    looked_up = values["hits"] + values["misses"] + (values["stale"] or 0)
    hit_rate = values["hits"] / looked_up if looked_up else 0.0
    reason = "no --data" if values["verified"] else "the provenance of the cache is not recorded"
    stale = f"not checked ({reason})" if values["stale"] is None else f"{values['stale']:,}"
    forecasts = values["forecasts_computed"]
    of_hits = f", {forecasts:,} of them hits without a cached forecast" if forecasts else ""
    training = values["training_period"]
    return [
        *comparisons,
        *warning,
        f"entries        hits {values['hits']:,}, misses {values['misses']:,}, stale {stale}, "
        f"unavailable {values['unavailable']:,}",
        f"hit rate       {hit_rate:.1%}   ({values['computed']:,} computed{of_hits}, "
        f"model loaded: {'yes' if values['model_loaded'] else 'no'})",
        f"ranked by      {ranked_by(values)}",
        f"period         {values['start']} to {values['end']}, {values['sessions']:,} sessions",
        f"final capital  ${values['final_capital']:,.2f}",
        f"total return   {figure(values['total_return'], '.2%')}",
        f"CAGR           {figure(values['cagr'], '.2%')}",
        f"Sharpe         {figure(values['sharpe'], '.2f')}",
        f"alpha          {figure(values['alpha'], '.2%')} a year, t {figure(values['alpha_t'], '.1f')}, "
        f"beta {figure(values['beta'], '.2f')}, to {values['benchmark']}",
        f"max drawdown   {figure(values['max_drawdown'], '.2%')}",
        f"trades         {values['trades']:,}   win rate {figure(values['win_rate'], '.1%')}, "
        f"kept by the filter {figure(values['keep_rate'], '.1%')}",
        *book_lines(values),
        f"model          {training if 'unknown' in training else f'trained up to {training}'}",
        f"seconds        {values['seconds']:.3f}",
        f"run            {values['run_dir']}",
    ]


def book_lines(values: dict[str, Any]) -> list[str]:
    """Format what only a book with shorts, or with limits of volume, has.

    >>> book_lines({"limited_by_volume": 3})
    ['volume         3 orders cut or put off']
    """
    found = []
    if "short_exposure" in values:
        found.append(
            f"exposure       long {figure(values['long_exposure'], '.1%')}, short "
            f"{figure(values['short_exposure'], '.1%')} of the equity; borrow fees ${values['borrow_fees']:,.2f}, "
            f"margin calls {values['margin_calls']:,}"
        )
    if "limited_by_volume" in values:
        found.append(f"volume         {values['limited_by_volume']:,} orders cut or put off")
    return found


def trials_line(spreads: dict[str, list[float | None]], seeds: int) -> str:
    """Format several seeds: mean ± standard deviation of each figure.

    >>> trials_line({"final_capital": [120_000.0, 0.0]}, 3)
    '3 seeds        all end at 120,000: nothing in this run is random'
    """
    title = f"{f'{seeds:,} seeds':<14}"
    capital, deviation = spreads["final_capital"]
    if deviation == 0.0:
        return f"{title} all end at {figure(capital, ',.0f')}: nothing in this run is random"
    figures = (
        f"{SHOWN[name][0]} {figure(mean, SHOWN[name][1])} ± {figure(sd, SHOWN[name][1])}"
        for name, (mean, sd) in spreads.items()
    )
    return f"{title} {', '.join(figures)}"
