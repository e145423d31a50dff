"""``sweep``: run a grid of backtests on one cache, and report the best of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import fill
from typing import Any

from encash import api, pipeline
from encash.backtest.inputs.config import settings
from encash.cli.backtest import SHOWN, entries_line, warn_of_prices
from encash.cli.console import Console, Parser, figure
from encash.cli.flags import command, count, groups_flag, keep_flag, source_flags, ticker_flags
from encash.cli.keywords import input_keywords
from encash.extras import require

SETTINGS = (*settings(), "filter", "keep")
"""Settings of a grid: the fields of `BacktestConfig`, and the filter."""


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_sweep,
        "sweep grid.toml --prices prices.h5 --cache cache.lance --clusters clusters --out sweep\n\n"
        "grid.toml:\n"
        '  [base]\n  start = "2016-02-01"\n  filter = "hard"\n'
        "  [grid]\n  top_k = [3, 5, 10]\n  horizon = [5, 10]\n  seed = [1, 2, 3]\n\n"
        "[grid] runs every combination. Instead or in addition, [random] draws N runs:\n"
        '  [random]\n  runs = 20\n  seed = 0\n  keep = {low = 0.1, high = 0.5}\n  weights = ["equal", "forecast"]\n\n'
        "filter is hard with --clusters, otherwise none, as in backtest\n\n"
        f"settings:\n{fill(', '.join(SETTINGS), 78, initial_indent='  ', subsequent_indent='  ')}",
    )
    parser.add_argument("grid", type=Path, metavar="GRID.toml", help="the settings to combine, as below")
    source_flags(parser.add_argument_group("inputs"))
    parser.add_argument("--horizon", type=int, default=5, metavar="H", help="use the ranking of this horizon (5)")
    keep_flag(parser)
    stocks = parser.add_argument_group("stocks")
    ticker_flags(stocks)
    groups_flag(stocks)
    parser.add_argument("--workers", type=count, metavar="N", help="processes (one per core)")
    parser.add_argument("--no-report", dest="page", action="store_false", help="no page of the best run, no heat maps")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the runs and their table")


def run_sweep(arguments: argparse.Namespace, console: Console) -> None:
    """Run a grid and write the page of its best run."""
    if arguments.page:
        require("report", "the page of the best run (without it: --no-report)")
    inputs = input_keywords(arguments, console)
    swept = api.sweep(
        arguments.grid,
        **inputs,
        horizon=arguments.horizon,
        workers=arguments.workers,
        out=arguments.out,
        progress=console.progress,
    )
    if arguments.page:
        pipeline.write_heat_maps(swept.result, swept.points)
    if swept.result.unchecked:
        console.warn(
            f"{swept.result.unchecked:,} runs in {arguments.out} were written by an earlier version without checksums: "
            "a change of their figures would not be noticed; sweep into a new folder to have them checked"
        )
    values = {**swept.to_json(), "report": None}
    warn_of_prices(values, console)
    if swept.best_run is not None and arguments.page:
        pipeline.record_command(swept.best_run, arguments.words)
        page = swept.best_run / "report.html"
        values["report"] = str(
            api.report(swept.best_run, out=page, clusters=arguments.clusters, horizon=arguments.horizon)
        )
    console.result(values, sweep_lines(values))


def sweep_lines(values: dict[str, Any]) -> list[str]:
    """Format the result of a sweep: what was tried, the best run, and how likely it is luck."""
    best, deflated, risk = values["best"], values["deflated_sharpe"], values["probability_of_overfitting"]
    chosen, performance = "none: no run has a Sharpe ratio", []
    if best is not None:
        shown = [name for name in SETTINGS if best.get(name) is not None and name != "sessions_per_year"]
        chosen = ", ".join(f"{name} {best[name]}" for name in shown)
        figures = ", ".join(f"{label} {figure(best[name], form)}" for name, (label, form) in SHOWN.items())
        performance = [f"performance      {figures}, {best['first_session']} to {best['last_session']}"]
    evidence = [f"chosen by luck?  not judged: {values['note']}"]
    if deflated is not None:
        evidence = [
            f"deflated Sharpe  {deflated:.1%}: probability that its true Sharpe ratio is above "
            f"{values['expected_best_sharpe']:.2f}, the best of {values['distinct_trials']:,} worthless runs",
            f"overfitting      {risk:.1%}: probability that the best run of one half is below the median in the other "
            "(50% is chance)",
        ]
    return [
        f"runs             {values['runs']:,} ({values['computed']:,} computed), {values['trials']:,} tried in this "
        "folder",
        f"best             {chosen}",
        *performance,
        *evidence,
        f"entries          {_entries(values)}",
        f"table            {values['table']}",
        *([f"report           {values['report']}"] if values["report"] else []),
        f"seconds          {values['seconds']:.3f}",
    ]


def _entries(values: dict[str, Any]) -> str:
    """Say if the entries of all runs were compared with the data."""
    if values["staleness"] == "checked" and values["stale"] is None:
        return "staleness checked when the runs were computed"
    return entries_line(values)
