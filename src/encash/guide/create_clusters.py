"""``create-clusters``, in the guide ``cluster.create_clusters``: encode a sample of the past and cluster it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from encash import clusters, legacy_workflow
from encash.cli.console import Console, Parser, lines, plain, run, spec_of
from encash.cli.flags import common, encoder_flags
from encash.input_files import path_or_url

PROGRAM = "python -m cluster.create_clusters"


def parser(program: str = PROGRAM) -> Parser:
    """Define the legacy flags, and the held-out months."""
    flags = Parser(
        prog=program,
        description="Fit clusters on the embeddings of past sessions; the last months are held out for the backtest.",
        epilog=f"example:\n  {program} --model-path model.pt --dataset-path data.h5\n\n"
        "unlike the guide's version: the last --holdout-months are not used",
    )
    flags.add_argument("--model-path", dest="model", default=legacy_workflow.MODEL, help="checkpoint (%(default)s)")
    flags.add_argument(
        "--dataset-path",
        dest="data",
        type=path_or_url,
        default=legacy_workflow.DATA,
        help="features, HDF5 (%(default)s)",
    )
    flags.add_argument("--n-clusters", dest="k", type=int, default=50, metavar="N", help="number of clusters (50)")
    flags.add_argument("--method", default="kmeans", help="kmeans, or as of encash clusters fit --clusterer")
    flags.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="scale each dimension to mean 0 and deviation 1 first: always, unless --no-standardize is given",
    )
    flags.add_argument("--use-pca", action="store_true", help="then project on --pca-components")
    flags.add_argument("--pca-components", type=int, default=50, metavar="N", help="with --use-pca (50)")
    flags.add_argument(
        "--samples-per-stock",
        dest="samples_per_ticker",
        type=int,
        default=100,
        metavar="N",
        help="sessions drawn of each stock (100)",
    )
    flags.add_argument("--max-stocks", type=int, help="the last N by name (all)")
    flags.add_argument("--batch-size", type=int, help="windows per call (by the size of the model)")
    flags.add_argument("--output-dir", type=Path, default=legacy_workflow.CLUSTERS, help="folder (%(default)s)")
    flags.add_argument("--visualize", action="store_true", help="also draw a map of the clusters, clusters.svg")
    flags.add_argument("--device", default="auto", help="cpu, cuda, … (auto: a GPU if there is one)")
    more = flags.add_argument_group("new flags")
    more.add_argument(
        "--holdout-months",
        type=int,
        default=legacy_workflow.HOLDOUT_MONTHS,
        help="months of 21 sessions at the end that are held out (%(default)s)",
    )
    more.add_argument("--seed", type=int, default=42, help="seed of the sample and of k-means (42)")
    encoder_flags(more)
    common(flags)
    return flags


def create(arguments: argparse.Namespace, console: Console) -> None:
    """Encode the sample, fit, save."""
    fit = spec_of(clusters.FitConfig, arguments)
    options = spec_of(legacy_workflow.CreateClustersOptions, arguments, fit=fit)
    with console.progress("encoding", "entries") as progress:
        values = legacy_workflow.create_clusters(
            console.sources(arguments), options, say=console.warn, progress=progress
        )
    console.result(plain(values), lines(plain(values)))


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command; return the exit code."""
    flags = parser(program)
    return run(create, flags.parse_args(argv), flags.prog)
