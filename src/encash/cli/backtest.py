"""``backtest``: run one backtest and write its run folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import encash.backtest as engine
from encash import api, pipeline
from encash.cli.console import Console, Parser, figure, spec_of
from encash.cli.flags import beside_flags, command, groups_flag, setting_flags, source_flags, universe_flags
from encash.cli.keywords import check_groups, input_keywords, setting_keywords
from encash.extras import require
from encash.input_files import path_or_url

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
        "backtest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters "
        "--horizon 5 --top-k 5 --start 2016-02-01 --end 2022-12-28\n"
        "  encash backtest … --groups sectors.csv --group-neutral --max-weight 0.2 --short --borrow-rate 0.01",
    )
    source_flags(parser.add_argument_group("inputs"))
    stocks = parser.add_argument_group("stocks")
    universe_flags(stocks)
    groups_flag(stocks)
    trading = parser.add_argument_group("trading and costs")
    setting_flags(trading, "money")
    trading.add_argument("--reference", type=path_or_url, metavar="CSV", help="a series to compare with: date,value")
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


def configuration(arguments: argparse.Namespace) -> engine.BacktestConfig:
    """Return the flags as a configuration."""
    return spec_of(engine.BacktestConfig, arguments)


def run_backtest(arguments: argparse.Namespace, console: Console) -> None:
    """Run one backtest and write its run folder."""
    if arguments.page:
        require("report", "report.html (without it: --no-report)")
    check_groups(arguments, configuration(arguments))
    run = api.backtest(
        **input_keywords(arguments, console),
        **setting_keywords(arguments),
        reference=arguments.reference,
        run_dir=arguments.run_dir,
        refuse_misses=arguments.no_model,
        spreadsheet=arguments.spreadsheet,
        progress=console.progress,
    )
    pipeline.record_command(run.folder, arguments.words)
    values = {**run.to_json(), "torch_imported": "torch" in sys.modules}
    compared = api.compare(run, draws=arguments.compare, num_trials=arguments.num_trials, progress=console.progress)
    values |= compared.values
    warn_of_prices(values, console)
    if arguments.page:
        api.report(run, out=run.folder / "report.html")
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
    if source == "average":
        facts = values["average"]
        return f"the mean of {len(facts['caches'])} caches, by {facts['by']}"
    if source == "scores":
        facts = values["scores"]
        return f"scores of a file: {facts['joined']:,} of {facts['scores']:,} are of these days and tickers"
    if source == "mixed":
        return f"the encoders, and a {values['head']['kind']} head in place of some of them"
    return "forecasts of the encoder"


def skill_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Format the rank IC of forecasts beside each other.

    >>> skill_lines([{"name": "head", "rank_ic": 0.031, "rank_ic_t": 2.1}, {"name": "encoder", "rank_ic": None,
    ...               "rank_ic_t": None}])
    ['rank IC        head +0.031 (t +2.1), encoder – (t –)']
    """
    each = (f"{row['name']} {figure(row['rank_ic'], '+.3f')} (t {figure(row['rank_ic_t'], '+.1f')})" for row in rows)
    return [f"rank IC        {', '.join(each)}"] if rows else []


def warn_of_prices(values: dict[str, Any], console: Console) -> None:
    """Warn if the clusters were ranked on prices that are not those of the run."""
    if values["ranking_prices"] == "other":
        console.warn(
            "the clusters were ranked on prices that differ from these in the same days; rank again with these prices "
            "(encash clusters rank), or give the prices of the ranking"
        )


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
        *skill_lines(values.get("forecast_ic", [])),
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
