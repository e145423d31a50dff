"""``backtest``, ``sweep``, ``picks`` and ``report``: what the cache is for."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from encash.cli.caches import model_flags
from encash.cli.console import Console, common, day

CONFIGURED = (
    "start",
    "end",
    "horizon",
    "top_k",
    "num_test_stocks",
    "subset_size",
    "confidence_percentile",
    "seed",
    "initial_capital",
    "buy_fee",
    "sell_fee",
    "slippage",
    "fixed_fee",
    "tranches",
    "lag",
    "delisting",
    "max_missing",
    "allow_lookahead",
)
"""The flags that are fields of the configuration."""


def register(commands: Any) -> None:
    """Add the commands of this file."""
    _backtest(commands)
    _report(commands)


def _backtest(commands: Any) -> None:
    parser = commands.add_parser(
        "backtest",
        help="one run → a run folder",
        epilog="example:\n"
        "  encash backtest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters \\\n"
        "      --horizon 5 --top-k 5 --start 2016-02-01 --end 2022-12-28",
    )
    source_flags(parser.add_argument_group("what it reads"))
    universe_flags(parser.add_argument_group("which stocks"))
    money_flags(parser.add_argument_group("the money"))
    honesty_flags(parser.add_argument_group("honesty"))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--no-report", dest="page", action="store_false", help="write no report.html into the run folder"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=None, metavar="DIR", help="where the run is written (runs/ and its fingerprint)"
    )
    common(parser)
    parser.set_defaults(handler=run_backtest)


def source_flags(sources: Any) -> None:
    """What a backtest reads."""
    sources.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="F",
        help="features, HDF5; lets it find stale entries and encode misses",
    )
    sources.add_argument("--prices", type=Path, required=True, metavar="P", help="prices, HDF5")
    sources.add_argument(
        "--cache", default=None, metavar="C", help=".lance, .h5 or a URL; without it every entry is encoded live"
    )
    sources.add_argument("--model", default=None, metavar="M", help="loaded only where an entry is missing or stale")
    sources.add_argument("--no-model", action="store_true", help="refuse misses instead of encoding them")
    model_flags(sources)


def universe_flags(chosen: Any) -> None:
    """Which stocks may be picked."""
    chosen.add_argument("--num-test-stocks", type=int, default=None, metavar="N", help="the last N by name (all)")
    chosen.add_argument(
        "--subset-size", type=int, default=None, metavar="N", help="drawn anew each day from (seed, day) alone (all)"
    )
    chosen.add_argument(
        "--clusters", type=Path, default=None, metavar="DIR", help="a folder of clusters fit and clusters rank"
    )
    chosen.add_argument(
        "--filter",
        choices=("hard", "nearest", "static", "random", "none"),
        default=None,
        help="hard with --clusters, else none",
    )
    chosen.add_argument(
        "--keep", type=float, default=None, metavar="SHARE", help="share kept by the filters nearest and random"
    )
    chosen.add_argument("--confidence-percentile", type=float, default=None, metavar="P")


def money_flags(money: Any) -> None:
    """When and how much is traded, and what it costs."""
    money.add_argument("--start", type=day, default=None, metavar="DAY")
    money.add_argument("--end", type=day, default=None, metavar="DAY")
    money.add_argument("--horizon", type=int, default=5, metavar="H", help="sessions held (5)")
    money.add_argument("--top-k", type=int, default=5, metavar="K")
    money.add_argument("--tranches", action="store_true", help="H overlapping portfolios, one started each session")
    money.add_argument("--initial-capital", type=float, default=100_000.0)
    money.add_argument("--buy-fee", type=float, default=0.0005, help="share of the value bought (0.0005)")
    money.add_argument("--sell-fee", type=float, default=0.0005, help="share of the value sold (0.0005)")
    money.add_argument("--slippage", type=float, default=0.0, help="share of the price lost at each fill")
    money.add_argument("--fixed-fee", type=float, default=0.0, help="currency units a trade")
    money.add_argument(
        "--lag", type=int, default=0, metavar="N", help="sessions between signal and fill (0: the same close)"
    )
    money.add_argument(
        "--delisting", default="last", help="last, -30%%, zero or flat: the price of a ticker that stopped trading"
    )


def honesty_flags(honesty: Any) -> None:
    """What a run may do without being refused."""
    honesty.add_argument(
        "--max-missing", type=float, default=0.05, help="refuse a run with a larger share of missing candidates (0.05)"
    )
    honesty.add_argument(
        "--allow-lookahead", nargs="?", const="allowed on the command line", default=None, metavar="REASON"
    )


def _report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="the page of one or several runs",
        epilog="example:\n  encash report runs/a runs/b --out report.html",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    common(parser)
    parser.set_defaults(handler=run_report)


def run_backtest(arguments: argparse.Namespace, console: Console) -> int:
    """Run one backtest and write its folder."""
    from encash import pipeline
    from encash.backtest import BacktestConfig

    given = {name: getattr(arguments, name) for name in CONFIGURED if getattr(arguments, name) is not None}
    config = BacktestConfig(**given)
    choice = pipeline.FilterChoice(
        clusters=arguments.clusters,
        kind=arguments.filter,
        keep=arguments.keep,
        horizon=arguments.horizon,
        seed=arguments.seed,
    )
    sources = pipeline.Sources.of(arguments)
    if arguments.no_model:
        sources = replace(sources, model=None)
    with console.progress("entries", "cells") as progress:
        result, folder = pipeline.backtest(sources, config, choice, run_dir=arguments.run_dir, progress=progress)
    if arguments.page:
        pipeline.write_report([folder], folder / "report.html")
    values = {**result.to_json(), "run_dir": str(folder), "torch_imported": "torch" in sys.modules}
    console.result(values, backtest_lines(values))
    return 0


def run_report(arguments: argparse.Namespace, console: Console) -> int:
    """Write the page of some runs."""
    from encash import pipeline

    page = pipeline.write_report(arguments.runs, arguments.out)
    console.result({"report": str(page)}, [f"report  {page}"])
    return 0


def backtest_lines(values: dict[str, Any]) -> list[str]:
    """The result of a backtest for people: where the entries came from, then the money."""
    looked_up = values["hits"] + values["misses"] + (values["stale"] or 0)
    rate = values["hits"] / looked_up if looked_up else 0.0
    stale = "not checked (no --data)" if values["stale"] is None else f"{values['stale']:,}"
    warning = [f"LOOK-AHEAD: {values['lookahead']}"] if values["lookahead"] else []
    training = values["training_period"]
    return [
        *warning,
        f"entries        hits {values['hits']:,}, misses {values['misses']:,}, stale {stale}, "
        f"unavailable {values['unavailable']:,}",
        f"hit rate       {rate:.1%}   ({values['computed']:,} computed, "
        f"model loaded: {'yes' if values['model_loaded'] else 'no'})",
        f"period         {values['start']} to {values['end']}, {values['sessions']:,} sessions",
        f"final capital  ${values['final_capital']:,.2f}",
        f"total return   {figure(values['total_return'], '.2%')}",
        f"CAGR           {figure(values['cagr'], '.2%')}",
        f"Sharpe         {figure(values['sharpe'], '.2f')}",
        f"max drawdown   {figure(values['max_drawdown'], '.2%')}",
        f"trades         {values['trades']:,}   win rate {figure(values['win_rate'], '.1%')}, "
        f"kept by the filter {figure(values['keep_rate'], '.1%')}",
        f"model          {training if 'unknown' in training else f'trained up to {training}'}",
        f"seconds        {values['seconds']:.3f}",
        f"run            {values['run_dir']}",
    ]


def figure(value: float | None, form: str) -> str:
    """A number in a format, or a dash where it is not defined.

    >>> figure(0.123, ".1%"), figure(None, ".1%")
    ('12.3%', '–')
    """
    return "–" if value is None else format(value, form)
