"""``prepare``: convert a table of prices to the two HDF5 files."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from encash import panel
from encash.cli.console import Console, Parser
from encash.cli.flags import command
from encash.panel.formats.registry import FORMATS


def register(parser: Parser) -> None:
    """Add the flags."""
    command(parser, run_prepare, "prepare prices.csv --features-out features.h5 --prices-out prices.h5")
    parser.add_argument(
        "prices_file", metavar="PRICES", type=Path, help=f"{', '.join(FORMATS)}; long or wide; OHLCV or close only"
    )
    parser.add_argument("--features-out", type=Path, default=Path("features.h5"), metavar="F")
    parser.add_argument("--prices-out", type=Path, default=Path("prices.h5"), metavar="P")
    parser.add_argument(
        "--drop-bad",
        action="store_true",
        help="drop bars with a price of zero or below, and count them, instead of refusing the file",
    )


def run_prepare(arguments: argparse.Namespace, console: Console) -> None:
    """Write the features and prices files."""
    with console.progress("features", "tickers") as progress:
        report = panel.prepare(
            arguments.prices_file,
            features_out=arguments.features_out,
            prices_out=arguments.prices_out,
            drop_bad=arguments.drop_bad,
            progress=progress,
        )
    console.facts(asdict(report))
