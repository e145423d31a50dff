"""``analyze-clusters``, in the guide ``cluster.analyze_clusters``: rank clusters by forward returns, and select."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from encash import legacy_workflow
from encash.cli.clusters import METRICS
from encash.cli.console import Console, Parser, run, spec_of
from encash.cli.flags import common
from encash.input_files import path_or_url

PROGRAM = "python -m cluster.analyze_clusters"


def parser(program: str = PROGRAM) -> Parser:
    """Define the legacy flags, and the held-out months."""
    flags = Parser(
        prog=program,
        description="Rank clusters by forward returns; the last months are held out for the backtest.",
        epilog=f"example:\n  {program} --cluster-dir cluster_results --prices-path prices.h5"
        "\n\nunlike the guide's version: the last --holdout-months are not used; returns count on the days of the\n"
        "sampled entries, clipped to their 0.5% and 99.5% quantiles; --top-k and --min-… hold beside a coverage",
    )
    flags.add_argument(
        "--cluster-dir", type=Path, default=legacy_workflow.CLUSTERS, help="folder of create_clusters (%(default)s)"
    )
    flags.add_argument("--dataset-path", type=path_or_url, help="not used: the assignments are in the cluster folder")
    flags.add_argument(
        "--prices-path", type=path_or_url, default=legacy_workflow.PRICES, help="prices, HDF5 (%(default)s)"
    )
    flags.add_argument(
        "--horizons", type=int, nargs="+", default=legacy_workflow.HORIZONS, help="sessions ahead (1 5 10 20)"
    )
    flags.add_argument(
        "--top-k-percent-coverage",
        dest="coverage",
        type=float,
        metavar="FRACTION",
        help=f"best clusters until they cover this fraction of the distinct tickers, 0.1 is 10%% "
        f"({legacy_workflow.COVERAGE}; none with --top-k)",
    )
    flags.add_argument(
        "--ranking-metric", default="mean_return", choices=METRICS, help="order of the clusters (mean_return)"
    )
    flags.add_argument("--min-return", type=float, help="least mean return over the horizon, a fraction: 0.01 is 1%%")
    flags.add_argument("--min-win-rate", type=float, help="least fraction of returns above 0: 0.5 is half")
    flags.add_argument(
        "--min-sharpe", type=float, help="least mean return / deviation over the horizon, not annualized"
    )
    flags.add_argument("--top-k", type=int, metavar="N", help="at most N clusters, instead of the default coverage")
    flags.add_argument("--output-dir", type=Path, help="(the cluster folder)")
    more = flags.add_argument_group("new flags")
    more.add_argument(
        "--holdout-months",
        type=int,
        default=legacy_workflow.HOLDOUT_MONTHS,
        help="months of 21 sessions at the end that are held out (%(default)s)",
    )
    common(flags)
    return flags


def analyze(arguments: argparse.Namespace, console: Console) -> None:
    """Rank for each horizon."""
    rule = legacy_workflow.selection_rule(
        coverage=arguments.coverage,
        top_k=arguments.top_k,
        min_return=arguments.min_return,
        min_win_rate=arguments.min_win_rate,
        min_sharpe=arguments.min_sharpe,
        say=console.warn,
    )
    options = spec_of(legacy_workflow.AnalyzeClustersOptions, arguments, rule=rule)
    values = legacy_workflow.analyze_clusters(options, say=console.warn)
    text = [
        f"{horizon:>3} sessions: best clusters {found['best']}, returns until {found['rank_end']}"
        for horizon, found in values["horizons"].items()
    ]
    console.result(values, text)


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command; return the exit code."""
    flags = parser(program)
    return run(analyze, flags.parse_args(argv), flags.prog)
