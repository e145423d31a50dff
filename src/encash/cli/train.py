"""``train``: fit the reference transformer and write a checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import encash
from encash import training
from encash.cli.console import Console, Parser, spec_of
from encash.cli.flags import command, day


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_train,
        "train --data features.h5 --prices prices.h5 --out model.pt \\\n      --preset tiny --train-end 2015-12-31",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="F", help="features, HDF5")
    parser.add_argument("--prices", type=Path, required=True, metavar="P", help="prices, HDF5")
    parser.add_argument("--out", type=Path, required=True, metavar="M", help="the checkpoint to write (.pt)")
    parser.add_argument("--preset", choices=("tiny", "small", "100m"), default="tiny")
    parser.add_argument("--train-end", type=day, required=True, metavar="DAY", help="last day that training may use")
    parser.add_argument("--epochs", type=int, help="maximum number of passes; training may stop early (the preset's)")
    parser.add_argument("--seed", type=int, default=0)


def run_train(arguments: argparse.Namespace, console: Console) -> None:
    """Train on features and prices up to a day."""
    panel = encash.open_panel(arguments.data, prices=arguments.prices)
    config = spec_of(training.TrainConfig, arguments, train_end=str(arguments.train_end))
    with console.progress("training", "steps") as progress:
        report = training.train(panel, arguments.out, config=config, progress=progress)
    console.facts(asdict(report))
