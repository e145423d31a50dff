"""``cache-embeddings``, in the guide ``cluster.cache_embeddings``: encode stocks, day by day, into a cache."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from encash import legacy_workflow
from encash.cli.build import report_build
from encash.cli.console import Console, Parser, run
from encash.cli.flags import common, encoder_flags, selection
from encash.cli.stops import entries_kept
from encash.input_files import path_or_url

PROGRAM = "python -m cluster.cache_embeddings"


def parser(program: str = PROGRAM) -> Parser:
    """Define the legacy flags, and a few new ones."""
    flags = Parser(
        prog=program,
        description="Encode every stock on every day once and store the embeddings.",
        epilog=f"example:\n  {program} --model-path model.pt --dataset-path data.h5 "
        "--output-path cache.h5 --num-months 6",
    )
    flags.add_argument("--model-path", dest="model", default=legacy_workflow.MODEL, help="checkpoint (%(default)s)")
    flags.add_argument(
        "--dataset-path",
        dest="data",
        type=path_or_url,
        default=legacy_workflow.DATA,
        help="features, HDF5 (%(default)s)",
    )
    flags.add_argument(
        "--output-path",
        dest="cache",
        default=legacy_workflow.CACHE,
        help=".h5 for the layout file[ticker][date], or .lance (%(default)s)",
    )
    flags.add_argument("--num-months", dest="months", type=int, default=6, help="months of 30 calendar days (6)")
    flags.add_argument("--num-stocks", type=int, help="the last N by name (all)")
    flags.add_argument("--batch-size", type=int, default=32, help="windows per call (32)")
    flags.add_argument("--device", default="auto", help="cpu, cuda, … (auto: a GPU if there is one)")
    more = flags.add_argument_group("new flags")
    more.add_argument("--skip", type=int, help="skip the first N by name; --num-stocks then counts from there")
    more.add_argument("--tickers", metavar="A,B|@FILE")
    more.add_argument(
        "--bin-edges", type=Path, help="adaptive_bin_edges.pt (the model's, else the one beside the model or the data)"
    )
    encoder_flags(more)
    common(flags)
    flags.set_defaults(start=None, end=None)
    return flags


def build(arguments: argparse.Namespace, console: Console) -> int:
    """Build a cache in the format that its suffix names."""
    beside = str(legacy_workflow.cache_beside(Path(arguments.cache)))
    with entries_kept(beside, arguments.cache), console.progress("encoding", "entries") as progress:
        sources = console.sources(arguments)
        report = legacy_workflow.build_cache(sources, selection(arguments), say=console.warn, progress=progress)
    return report_build(report, console)


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command; return the exit code."""
    flags = parser(program)
    return run(build, flags.parse_args(argv), flags.prog)
