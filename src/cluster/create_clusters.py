"""``python -m cluster.create_clusters``: encode a sample of the past of each stock and cluster it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from encash import clusters, legacy_workflow
from encash.cli.console import Console, Parser, run, spec_of
from encash.cli.flags import common, encoder_flags


def parser() -> Parser:
    """Define the legacy flags, and the held-out months."""
    flags = Parser(
        prog="python -m cluster.create_clusters",
        description="Fit clusters on the embeddings of past sessions; the last months are held out for the backtest.",
        epilog="example:\n  python -m cluster.create_clusters --model-path model.pt --dataset-path data.h5",
    )
    flags.add_argument("--model-path", dest="model", default=legacy_workflow.MODEL)
    flags.add_argument("--dataset-path", dest="data", type=Path, default=legacy_workflow.DATA)
    flags.add_argument("--n-clusters", dest="k", type=int, default=50, metavar="N")
    flags.add_argument("--method", default="kmeans")
    flags.add_argument("--standardize", action="store_true", help="scale each dimension to unit variance first")
    flags.add_argument("--use-pca", action="store_true")
    flags.add_argument("--pca-components", type=int, default=50)
    flags.add_argument(
        "--samples-per-stock",
        dest="samples_per_ticker",
        type=int,
        default=100,
        metavar="N",
        help="sessions drawn of each stock (100)",
    )
    flags.add_argument("--max-stocks", type=int, help="the last N by name (all)")
    flags.add_argument("--batch-size", type=int)
    flags.add_argument("--output-dir", type=Path, default=Path("cluster_results"))
    flags.add_argument("--visualize", action="store_true", help="also draw a map of the clusters, clusters.svg")
    flags.add_argument("--device", default="auto")
    more = flags.add_argument_group("new flags")
    more.add_argument(
        "--holdout-months",
        type=int,
        default=legacy_workflow.HOLDOUT_MONTHS,
        help="months of 21 sessions at the end that are held out (%(default)s)",
    )
    more.add_argument("--seed", type=int, default=42)
    encoder_flags(more)
    common(flags)
    return flags


def create(arguments: argparse.Namespace, console: Console) -> None:
    """Encode the sample, fit, save."""
    fit = spec_of(clusters.FitConfig, arguments)
    options = spec_of(legacy_workflow.CreateClustersOptions, arguments, fit=fit)
    with console.progress("encoding", "entries") as progress:
        values = legacy_workflow.create_clusters(console.sources(arguments), options, progress=progress)
    console.facts(values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    flags = parser()
    return run(create, flags.parse_args(argv), flags.prog)


if __name__ == "__main__":
    sys.exit(main())
