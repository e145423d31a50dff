"""``backtest-simulation``, in the guide ``inference.backtest_simulation``: the backtest, live or from a cache."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import encash.backtest as engine
from encash import legacy_workflow
from encash.cli.backtest import backtest_lines
from encash.cli.console import Console, Parser, run, spec_of
from encash.cli.flags import beside_flags, common, encoder_flags, filter_name
from encash.input_files import path_or_url

PROGRAM = "python -m inference.backtest_simulation"
IDLE: dict[str, dict[str, Any]] = {
    "--cluster-batch-size": {"type": int, "metavar": "N"},
    "--compile": {"action": "store_true"},
    "--features-cache": {"type": Path, "metavar": "FILE"},
    "--save-features-cache": {"action": "store_true"},
    "--no-preload": {"action": "store_true"},
}
"""Flags of the guide about how fast its version reads and encodes; they decide no result."""


def parser(program: str = PROGRAM) -> Parser:
    """Define the legacy flags."""
    flags = Parser(
        prog=program,
        description="Rebalance into the best forecasts among the stocks of good clusters, over the last months.",
        epilog=f"example:\n  {program} --data data.h5 --model model.pt --prices prices.h5 "
        "--embeddings-cache cache.h5\n\n"
        "unlike the guide's version: the score is expected return × confidence, without the 1 that was added to the\n"
        "return; a stock without a price at its sale is sold at the next one, else settled at its last one; the\n"
        "subset of a day follows from --seed and the day; a run that clusters or model know ahead is refused",
    )
    _source_flags(flags)
    _universe_flags(flags)
    flags.add_argument("--initial-capital", type=float, default=100_000.0, help="currency units (100000)")
    flags.add_argument(
        "--output",
        type=Path,
        help="FILE.pt: the guide's result, a dict for torch.load(weights_only=True); FILE.json: ours; both with the "
        "run folder FILE beside them; or a run folder (runs/ and a fingerprint of the run)",
    )
    flags.add_argument("--seed", type=int, default=42, help="seed of the daily subsets (42)")
    beside_flags(flags)
    for name, options in IDLE.items():
        flags.add_argument(name, help="accepted for old scripts, without effect", **options)
    flags.add_argument(
        "--max-missing",
        type=float,
        default=0.25,
        metavar="FRACTION",
        help="refuse a run with a larger fraction of candidates without a full window; more than 0.05 is announced "
        "(0.25)",
    )
    flags.add_argument(
        "--allow-lookahead",
        nargs="?",
        const="allowed on the command line",
        metavar="REASON",
        help="run even if clusters or model may know the future; the report shows the reason",
    )
    common(flags)
    flags.set_defaults(cache=None)
    return flags


def _universe_flags(flags: Parser) -> None:
    """Add the flags that choose the days and the stocks which may be bought."""
    flags.add_argument("--num-test-stocks", type=int, default=2000, help="the last N by name (2000)")
    flags.add_argument("--subset-size", type=int, default=1024, help="candidates drawn anew each day (1024)")
    flags.add_argument("--top-k", type=int, default=5, help="most stocks held (5)")
    flags.add_argument(
        "--horizon-idx", type=int, choices=(0, 1, 2, 3), default=0, help="0..3: hold for 1, 5, 10, 20 sessions (0)"
    )
    flags.add_argument(
        "--confidence-percentile",
        type=float,
        default=0.03,
        metavar="FRACTION",
        help="drop this fraction of the day's candidates, the least confident ones: 0.6 keeps the top 40%% (0.03)",
    )
    flags.add_argument(
        "--test-months", type=int, default=4, help="months of 21 sessions, counted back from the end (4)"
    )
    flags.add_argument(
        "--cluster-dir", type=Path, help=f"folder of clusters ({legacy_workflow.CLUSTERS}, if it exists)"
    )
    flags.add_argument(
        "--best-clusters-file", type=Path, help="(best_clusters_1d.txt in the cluster folder, whatever the horizon)"
    )
    flags.add_argument(
        "--cluster-top-k-percent",
        type=float,
        metavar="FRACTION",
        help="keep this fraction of the day's candidates, the nearest to the best clusters, rounded down to at least "
        f"one stock: 0.3 keeps 30%% ({legacy_workflow.NEAREST_SHARE})",
    )
    flags.add_argument(
        "--filter",
        type=filter_name,
        metavar="NAME",
        help="new: hard (stocks in the best clusters), static, random, none or module:attribute, instead of nearest",
    )


def _source_flags(flags: Parser) -> None:
    """Add the flags that name the inputs and say how the model is run."""
    flags.add_argument("--data", type=path_or_url, default=legacy_workflow.DATA, help="features, HDF5 (%(default)s)")
    flags.add_argument(
        "--prices",
        type=path_or_url,
        help=f"prices, HDF5 ({legacy_workflow.CLEAN_PRICES}, else {legacy_workflow.PRICES})",
    )
    flags.add_argument("--model", default=legacy_workflow.MODEL, help="checkpoint (%(default)s)")
    flags.add_argument(
        "--ensemble-models",
        nargs="+",
        default=[],
        metavar="M",
        help="checkpoints, instead of --model; forecasts are averaged",
    )
    flags.add_argument(
        "--bin-edges", type=Path, help="adaptive_bin_edges.pt (the model's, else the one beside the model or the data)"
    )
    flags.add_argument(
        "--embeddings-cache",
        dest="caches",
        nargs="+",
        action="extend",
        default=[],
        metavar="C",
        help=".h5 or .lance; several are merged",
    )
    flags.add_argument("--batch-size", type=int, help="windows per call (by the size of the model)")
    flags.add_argument("--device", default="auto", help="cpu, cuda, … (auto: a GPU if there is one)")
    encoder_flags(flags)


def simulate(arguments: argparse.Namespace, console: Console) -> None:
    """Run the backtest, write the run folder, print the hit rate and the figures."""
    if idle := [name for name in IDLE if getattr(arguments, name[2:].replace("-", "_"))]:
        console.warn(f"without effect here: {', '.join(idle)}")
    config = spec_of(engine.BacktestConfig, arguments)
    options = spec_of(legacy_workflow.SimulationOptions, arguments, config=config)
    with console.progress("backtest", "steps") as progress:
        values = legacy_workflow.simulate(console.sources(arguments), options, say=console.warn, progress=progress)
    console.result(values, backtest_lines(values))


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command; return the exit code."""
    flags = parser(program)
    return run(simulate, flags.parse_args(argv), flags.prog)
