"""``report``: write the page of one or several runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from encash import pipeline
from encash.backtest.run_record import RECORD
from encash.cli.console import Console, Parser, spec_of
from encash.cli.flags import command, count, day
from encash.errors import InputError
from encash.extras import require
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_report,
        "report runs/a --clusters clusters --out report.html\n  encash report runs/a runs/b --out report.html\n"
        "  encash report sweep --out report.html\n"
        "  encash report runs/a --cache cache.lance --prices prices.h5 --day 2020-03-16 --out report.html",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, or that of a sweep")
    parser.add_argument("--clusters", type=Path, metavar="DIR", help="also show these clusters (with one run)")
    parser.add_argument("--horizon", type=count, metavar="H", help="of the ranking that is shown (the run's)")
    parser.add_argument("--groups", type=Path, help=argparse.SUPPRESS)  # of backtest, refused with its name
    parser.add_argument(
        "--same-as",
        type=Path,
        metavar="RUN",
        help="compare the ledger with that of this run, such as one without cache",
    )
    parser.add_argument("--cache", metavar="C", help="with --prices: also show the neighbors of the picks, by day")
    parser.add_argument("--prices", type=path_or_url, metavar="P", help="prices of the run, for --cache")
    parser.add_argument(
        "--day",
        type=day,
        dest="days",
        action="append",
        default=[],
        metavar="DAY",
        help="show the neighbors of this day in any case; may be repeated",
    )
    parser.add_argument(
        "--ticker",
        dest="tickers",
        action="append",
        default=[],
        metavar="TICKER",
        help="show this ticker on each --day, instead of the picks; may be repeated",
    )
    parser.add_argument("--audit", type=Path, metavar="JSON", help="show what encash audit --json printed")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="HTML", help="the page (%(default)s)")


def run_report(arguments: argparse.Namespace, console: Console) -> None:
    """Write the page."""
    require("report", "a page")
    if arguments.groups is not None:
        raise InputError(
            "a run folder has no prices, so its return cannot be divided into groups; give them to the run: "
            f"encash backtest … --compare 200 --groups {arguments.groups}"
        )
    page = pipeline.write_report(arguments.runs, arguments.out, spec_of(pipeline.PageExtras, arguments))
    unchecked = [
        str(run) for run in arguments.runs if not any((run / name).exists() for name in (RECORD, "sweep.json"))
    ]
    lines = [f"report  {page}", *(f"not checked: {run} has no {RECORD}" for run in unchecked)]
    console.result({"report": str(page), "unchecked": unchecked}, lines)
