"""``train``: fit the reference transformer and write a checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import encash
from encash import training
from encash.cli.console import Console, Parser, figure, lines, plain, settled_line, spec_of
from encash.cli.flags import command, day, delisting_flag, ticker_list
from encash.cli.stops import files_kept
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_train,
        "train --data features.h5 --prices prices.h5 --out model.pt --preset tiny --train-end 2015-12-31",
    )
    parser.add_argument("--data", type=path_or_url, required=True, metavar="F", help="features, HDF5: a path or URL")
    parser.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    parser.add_argument("--out", type=_checkpoint, required=True, metavar="M", help="the checkpoint to write (.pt)")
    parser.add_argument("--preset", choices=("tiny", "small", "100m"), default="tiny", help="size of the model (tiny)")
    parser.add_argument("--train-end", type=day, required=True, metavar="DAY", help="last day that training may use")
    parser.add_argument("--epochs", type=int, help="maximum number of passes; training may stop early (the preset's)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    parser.add_argument("--tickers", metavar="A,B|@FILE", help="train on these only (all with features and prices)")
    parser.add_argument("--num-stocks", type=int, metavar="N", help="train on the last N tickers by name (all)")
    delisting_flag(parser)
    parser.add_argument("--verbose", action="store_true", help="print every figure, under its name with --json")


def run_train(arguments: argparse.Namespace, console: Console) -> None:
    """Train on features and prices up to a day."""
    panel = encash.open_panel(arguments.data, prices=arguments.prices)
    tickers = ticker_list(arguments.tickers)
    config = spec_of(training.TrainConfig, arguments, train_end=str(arguments.train_end), tickers=tickers)
    with files_kept(arguments.out), console.progress("training", "steps") as progress:
        report = training.train(panel, arguments.out, config=config, progress=progress)
    if report.outliers:
        console.warn(outlier_line(report.outliers, report.outlier_bars))
    if report.settled_samples:
        console.note(settled_line(report.settled_samples, report.train_samples, arguments.delisting))
    values = plain(asdict(report))
    text = result_lines(values)
    if arguments.verbose:
        rest = {name: one for name, one in values.items() if name not in ("reliability", "outlier_bars")}
        text += ["", *lines({**rest, "reliability": reliability_text(values["reliability"])})]
    console.result(values, text)


def result_lines(values: dict[str, Any]) -> list[str]:
    """Format a training run: its result, its data, and a table of the model beside what needs no model."""
    period, baselines = values["period"], values["baselines"]
    ridge, mean, none = baselines["ridge"], baselines["mean"], dict.fromkeys(values["rank_ic"])
    rows = [
        ("model", values["val_loss"], values["rank_ic"], "+.3f"),
        ("  ± error", values["val_loss_error"], values["rank_ic_error"], ".3f"),
        ("ridge", ridge["loss"], ridge["rank_ic"], "+.3f"),
        ("  ± error", ridge["loss_error"], ridge["rank_ic_error"], ".3f"),
        ("mean", mean["loss"], none, ""),
        ("shrunk to", None, values["shrinkage"], ".0%"),
        ("skill", None, values["skill_probability"], ".0%"),
    ]
    horizons = "".join(f"{horizon:>9}" for horizon in none)
    table = (
        f"  {name:<11}{figure(loss, '.4f'):>8} {''.join(f'{figure(one, form):>9}' for one in figures.values())}"
        for name, loss, figures, form in rows
    )
    return [
        f"result      {values['result']}",
        f"checkpoint  {values['path']}, {values['parameters']:,} parameters, trained up to {values['train_end']}, "
        f"epoch {values['best_epoch']} of {values['epochs']}, {values['seconds']:.1f} s",
        f"data        {values['tickers']:,} tickers; windows {values['train_samples']:,} to train, "
        f"{values['choosing_samples']:,} to choose the epoch, {values['validation_samples']:,} to validate",
        "",
        f"validated on {period['validation_start']} to {period['validation_last_window']}, not used to choose:",
        f"  {'':<11}{'loss':>8}  rank IC, by sessions ahead",
        f"  {'':<11}{'':>8} {horizons}",
        *(line.rstrip() for line in table),
        "",
        "loss       mean squared error, in standard deviations of the returns",
        "ridge      forecasts of a linear regression; mean: the same forecast for all",
        "shrunk to  factor of the forecasts that the evidence leaves",
        "skill      probability that forecasts of later sessions have any",
    ]


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
