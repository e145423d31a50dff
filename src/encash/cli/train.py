"""``train``: fit the reference transformer and write a checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import encash
from encash import training
from encash.cli.console import Console, Parser, lines, plain, settled_line, spec_of
from encash.cli.flags import command, day, delisting_flag, ticker_list
from encash.input_files import place


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_train,
        "train --data features.h5 --prices prices.h5 --out model.pt \\\n      --preset tiny --train-end 2015-12-31",
    )
    parser.add_argument("--data", type=place, required=True, metavar="F", help="features, HDF5")
    parser.add_argument("--prices", type=place, required=True, metavar="P", help="prices, HDF5")
    parser.add_argument("--out", type=_checkpoint, required=True, metavar="M", help="the checkpoint to write (.pt)")
    parser.add_argument("--preset", choices=("tiny", "small", "100m"), default="tiny")
    parser.add_argument("--train-end", type=day, required=True, metavar="DAY", help="last day that training may use")
    parser.add_argument("--epochs", type=int, help="maximum number of passes; training may stop early (the preset's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tickers", metavar="A,B|@FILE", help="train on these only (all with features and prices)")
    parser.add_argument("--num-stocks", type=int, metavar="N", help="train on the last N tickers by name (all)")
    delisting_flag(parser)


def run_train(arguments: argparse.Namespace, console: Console) -> None:
    """Train on features and prices up to a day."""
    panel = encash.open_panel(arguments.data, prices=arguments.prices)
    tickers = ticker_list(arguments.tickers)
    config = spec_of(training.TrainConfig, arguments, train_end=str(arguments.train_end), tickers=tickers)
    with console.progress("training", "steps") as progress:
        report = training.train(panel, arguments.out, config=config, progress=progress)
    if report.outliers:
        console.warn(outlier_line(report.outliers, report.outlier_bars))
    if report.settled_samples:
        console.note(settled_line(report.settled_samples, report.train_samples, arguments.delisting))
    values = plain({**asdict(report), "warnings": console.warnings})
    shown = {name: value for name, value in values.items() if name not in ("reliability", "outlier_bars", "warnings")}
    console.result(values, lines({**shown, "reliability": reliability_text(values["reliability"])}))


def _checkpoint(text: str) -> Path:
    """Parse the flag that names the checkpoint to write."""
    if text.endswith(".safetensors"):
        raise argparse.ArgumentTypeError(
            f"{text!r} names a safetensors file, and training writes torch's; end it in .pt"
        )
    return Path(text)


def outlier_line(count: int, largest: list[dict[str, Any]]) -> str:
    """Name the closes that look like wrong prices.

    >>> outlier_line(1, [{"ticker": "A", "day": "2020-01-02", "move": 99.0}])
    '1 close moved by a factor of 2 or more in a session: A on 2020-01-02 (+9,900.0%); its effect on the training is \
limited, but check it'
    """
    named = ", ".join(f"{one['ticker']} on {one['day']} ({one['move']:+,.1%})" for one in largest[:3])
    more = f" and {count - 3} more" if count > 3 else ""
    subject, one = ("1 close", "its effect") if count == 1 else (f"{count} closes", "their effect")
    them = "it" if count == 1 else "them"
    return (
        f"{subject} moved by a factor of 2 or more in a session: {named}{more}; {one} on the training is limited, but "
        f"check {them}"
    )


def reliability_text(groups: list[dict[str, float]]) -> str:
    """Format claimed and realized frequencies.

    >>> reliability_text([{"confidence": 0.52, "right": 0.51, "count": 100}])
    '52.0% confident, 51.0% right'
    """
    return "; ".join(f"{one['confidence']:.1%} confident, {one['right']:.1%} right" for one in groups)
