"""``prepare`` and ``train``: from prices to the two HDF5 files, and from these to a checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encash.arrays import day_text
from encash.cli.console import Console
from encash.cli.flags import command, day


def register(commands: Any) -> None:
    """Add the commands of this file."""
    prepare = command(
        commands,
        "prepare",
        "CSV or Parquet prices → the two HDF5 files, with features that use the past only",
        "prepare prices.csv --features-out features.h5 --prices-out prices.h5",
        run_prepare,
    )
    prepare.add_argument(
        "prices_file", metavar="PRICES", type=Path, help="CSV, CSV.gz or Parquet; long or wide; OHLCV or close only"
    )
    prepare.add_argument("--features-out", type=Path, default=Path("features.h5"), metavar="F")
    prepare.add_argument("--prices-out", type=Path, default=Path("prices.h5"), metavar="P")
    prepare.add_argument(
        "--drop-bad",
        action="store_true",
        help="drop bars with a price of zero or below, and count them, instead of refusing the file",
    )

    train = command(
        commands,
        "train",
        "fit the reference transformer on the past, split by date",
        "train --data features.h5 --prices prices.h5 --out model.pt \\\n      --preset tiny --train-end 2015-12-31",
        run_train,
    )
    train.add_argument("--data", type=Path, required=True, metavar="F", help="features, HDF5")
    train.add_argument("--prices", type=Path, required=True, metavar="P", help="prices, HDF5")
    train.add_argument("--out", type=Path, required=True, metavar="M", help="the checkpoint to write (.pt)")
    train.add_argument("--preset", choices=("tiny", "small", "100m"), default="tiny")
    train.add_argument("--train-end", type=day, required=True, metavar="DAY", help="last day that training may see")
    train.add_argument(
        "--epochs", type=int, default=None, help="at most this many passes (early stopping may end before)"
    )
    train.add_argument("--seed", type=int, default=0)


def run_prepare(arguments: argparse.Namespace, console: Console) -> int:
    """Prices → features and prices files."""
    from encash.panel import prepare

    with console.progress("features", "tickers") as progress:
        report = prepare(
            arguments.prices_file,
            features_out=arguments.features_out,
            prices_out=arguments.prices_out,
            drop_bad=arguments.drop_bad,
            progress=progress,
        )
    console.facts(asdict(report))
    return 0


def run_train(arguments: argparse.Namespace, console: Console) -> int:
    """Features and prices → a checkpoint."""
    from encash.panel import open_panel
    from encash.training import TrainConfig, train

    panel = open_panel(arguments.data, prices=arguments.prices)
    chosen = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    config = TrainConfig(
        preset=arguments.preset, train_end=day_text(arguments.train_end), seed=arguments.seed, **chosen
    )
    with console.progress("training", "steps") as progress:
        report = train(panel, arguments.out, config=config, progress=progress)
    console.facts(asdict(report))
    return 0
