"""``python -m cluster.analyze_clusters``: rank clusters by forward returns, and select the best."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from encash import clusters, legacy_workflow
from encash.cli.clusters import METRICS
from encash.cli.console import Console, Parser, run, spec_of
from encash.cli.flags import common


def parser() -> Parser:
    """Define the legacy flags, and the held-out months."""
    flags = Parser(
        prog="python -m cluster.analyze_clusters",
        description="Rank clusters by forward returns; the last months are held out for the backtest.",
        epilog="example:\n  python -m cluster.analyze_clusters --cluster-dir cluster_results --prices-path prices.h5",
    )
    flags.add_argument("--cluster-dir", type=Path, default=Path("cluster_results"))
    flags.add_argument("--dataset-path", type=Path, help="not used: the assignments are in the cluster folder")
    flags.add_argument("--prices-path", type=Path, default=legacy_workflow.PRICES)
    flags.add_argument("--horizons", type=int, nargs="+", default=legacy_workflow.HORIZONS)
    flags.add_argument(
        "--top-k-percent-coverage",
        dest="coverage",
        type=float,
        default=0.1,
        help="select best clusters until this share of entries is covered (0.1)",
    )
    flags.add_argument("--ranking-metric", default="mean_return", choices=METRICS)
    flags.add_argument("--min-return", type=float)
    flags.add_argument("--min-win-rate", type=float)
    flags.add_argument("--min-sharpe", type=float)
    flags.add_argument("--top-k", type=int, help="number of clusters, instead of a coverage")
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
    coverage = arguments.coverage if arguments.top_k is None else None
    rule = spec_of(clusters.SelectionRule, arguments, coverage=coverage)
    values = legacy_workflow.analyze_clusters(spec_of(legacy_workflow.AnalyzeClustersOptions, arguments, rule=rule))
    text = [
        f"{horizon:>3} sessions: best clusters {found['best']}, returns until {found['rank_end']}"
        for horizon, found in values["horizons"].items()
    ]
    console.result(values, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    flags = parser()
    return run(analyze, flags.parse_args(argv), flags.prog)


if __name__ == "__main__":
    sys.exit(main())
