"""``python -m inference.backtest_simulation``: the legacy backtest, live or from an embeddings cache."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from encash import backtest, legacy_workflow
from encash.cli.backtest import backtest_lines
from encash.cli.console import Console, Parser, run, spec_of
from encash.cli.flags import beside_flags, common, encoder_flags


def parser() -> Parser:
    """Define the legacy flags."""
    flags = Parser(
        prog="python -m inference.backtest_simulation",
        description="Rebalance into the best forecasts among the stocks of good clusters, over the last months.",
        epilog="example:\n"
        "  python -m inference.backtest_simulation --data data.h5 --model model.pt --prices prices.h5 \\\n"
        "      --embeddings-cache cache.h5",
    )
    _source_flags(flags)
    flags.add_argument("--num-test-stocks", type=int, default=2000, help="the last N by name (2000)")
    flags.add_argument("--subset-size", type=int, help="candidates drawn anew each day (all)")
    flags.add_argument("--top-k", type=int, default=5)
    flags.add_argument(
        "--horizon-idx", type=int, choices=(0, 1, 2, 3), default=1, help="0..3 for 1, 5, 10, 20 sessions (1)"
    )
    flags.add_argument("--confidence-percentile", type=float, default=0.0)
    flags.add_argument(
        "--test-months", type=int, default=6, help="months of 21 sessions, counted back from the end (6)"
    )
    flags.add_argument("--cluster-dir", type=Path)
    flags.add_argument("--best-clusters-file", type=Path)
    flags.add_argument("--cluster-batch-size", type=int, help="the larger of this and --batch-size is used")
    flags.add_argument("--cluster-top-k-percent", type=float, help="keep this share by distance to the best clusters")
    flags.add_argument("--initial-capital", type=float, default=100_000.0)
    flags.add_argument(
        "--compile", action="store_true", help="accepted for old scripts; the engine is chosen by measurement"
    )
    flags.add_argument("--output", type=Path, help="the run folder, or a .json file for only the result")
    flags.add_argument("--seed", type=int, default=42)
    beside_flags(flags)
    flags.add_argument("--features-cache", type=Path, help="accepted for old scripts; rows are read as needed")
    flags.add_argument("--save-features-cache", action="store_true", help="accepted for old scripts")
    flags.add_argument("--no-preload", action="store_true", help="accepted for old scripts")
    flags.add_argument(
        "--max-missing",
        type=float,
        default=0.05,
        help="refuse a run with a larger share of candidates without an entry (0.05)",
    )
    flags.add_argument("--allow-lookahead", nargs="?", const="allowed on the command line", metavar="REASON")
    common(flags)
    flags.set_defaults(cache=None)
    return flags


def _source_flags(flags: Parser) -> None:
    """Add the flags that name the inputs and say how the model is run."""
    flags.add_argument("--data", type=Path, default=legacy_workflow.DATA)
    flags.add_argument("--prices", type=Path, default=legacy_workflow.PRICES)
    flags.add_argument("--model", default=legacy_workflow.MODEL)
    flags.add_argument("--ensemble-models", nargs="*", default=[], help="further checkpoints; forecasts are averaged")
    flags.add_argument("--bin-edges", type=Path, help="adaptive_bin_edges.pt (default: the one beside the model)")
    flags.add_argument(
        "--embeddings-cache",
        dest="caches",
        nargs="+",
        action="extend",
        default=[],
        metavar="C",
        help=".h5 or .lance; several are merged",
    )
    flags.add_argument("--batch-size", type=int)
    flags.add_argument("--device", default="auto")
    encoder_flags(flags)


def simulate(arguments: argparse.Namespace, console: Console) -> None:
    """Run the backtest, write the run folder, print the hit rate and the figures."""
    config = spec_of(backtest.BacktestConfig, arguments)
    options = spec_of(legacy_workflow.SimulationOptions, arguments, config=config)
    with console.progress("backtest", "steps") as progress:
        values = legacy_workflow.simulate(console.sources(arguments), options, progress=progress)
    console.result(values, backtest_lines(values))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    flags = parser()
    return run(simulate, flags.parse_args(argv), flags.prog)


if __name__ == "__main__":
    sys.exit(main())
