"""``build``: make every missing or stale entry of a cache valid."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from encash import cache, pipeline
from encash.cli.console import Console, Handler, Parser, lines, plain, spec_of
from encash.cli.flags import command, count, dtype_flags, model_flags, range_flags, selection
from encash.cli.stops import entries_kept
from encash.encoders.registry import MODEL_NAMES
from encash.input_files import path_or_url
from encash.live_progress import bytes_below


def register(parser: Parser) -> None:
    """Add the flags."""
    build_flags(parser, run_build)


def build_flags(parser: Parser, handler: Handler) -> None:
    """Add the flags that plan, build and update share."""
    name = parser.prog.removeprefix("encash ")
    command(parser, handler, f"{name} --model model.pt --data features.h5 --cache cache.lance --months 6")
    pretrained = "; a pretrained model and the features that it reads: chronos:FOLDER?feature=return_1,volume_20"
    parser.add_argument("--model", required=True, metavar="M", help=MODEL_NAMES + pretrained)
    parser.add_argument("--data", type=path_or_url, required=True, metavar="F", help="features, HDF5: a path or URL")
    parser.add_argument("--cache", required=True, metavar="C", help="the cache, a path ending in .lance or a URL")
    range_flags(parser)
    model_flags(parser)
    dtype_flags(parser, "float32")
    parser.add_argument(
        "--executor", choices=("local", "ray"), default="local", help="encode in this process, or on Ray (local)"
    )
    parser.add_argument("--workers", type=count, metavar="N", help="Ray workers (one per GPU, else one per two cores)")
    parser.add_argument("--ray-wait", type=count, metavar="S", help="most seconds until a Ray worker starts (120)")


def run_build(arguments: argparse.Namespace, console: Console, *, renew: bool = False) -> int:
    """Build the chosen range; with `renew`, only what the cache covers already and new sessions and tickers."""
    options = spec_of(pipeline.BuildOptions, arguments, renew=renew, say=console.note, warn=console.warn)
    before = bytes_below(arguments.cache)
    written = None if "://" in arguments.cache else lambda: bytes_below(arguments.cache) - before
    with entries_kept(arguments.cache), console.progress("encoding", "entries", written) as progress:
        report = pipeline.build_cache(console.sources(arguments), selection(arguments), options, progress=progress)
    return report_build(report, console)


def report_build(report: cache.BuildReport, console: Console) -> int:
    """Print the report of a build; return 1 if a block failed."""
    for failure in report.failures:
        console.note(str(failure))
    if report.failed and console.quiet:
        console.hand_over()
        print(f"{report.failed:,} entries failed; the first: {report.failures[0]}", file=sys.stderr)
    values = plain({name: value for name, value in asdict(report).items() if name != "failures"})
    console.result(values, lines(values))
    return 1 if report.failed else 0
