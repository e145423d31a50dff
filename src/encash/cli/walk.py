"""``walk``: train → build → fit → rank again over the years, each time on the past only."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from encash import clusters, pipeline, training
from encash.api.clusters import fit_config, selection_rule
from encash.cli.clusters import fit_flags, fit_settings, rule_flags, rule_settings
from encash.cli.console import Console, Parser, lines, plain, spec_of
from encash.cli.flags import command, day, ticker_list
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_walk,
        "walk --data features.h5 --prices prices.h5 --first-train-end 2010-12-31 --every 1y --out walk\n"
        "  encash backtest --data features.h5 --prices prices.h5 --encoders walk/encoders.toml --start 2011-02-01",
        about="Train the reference transformer on data up to a day, build its cache for the days on which it is used, "
        "fit and rank clusters on its last sessions, and again an interval later. A backtest uses on each day the "
        "newest encoder that may be used: an embargo of the longest horizon (20 sessions) after its training. Clusters "
        "of different encoders are not matched, but ranked anew. The same command continues a walk that was stopped, "
        "and extends it when the data have grown.",
    )
    parser.add_argument("--data", type=path_or_url, required=True, metavar="F", help="features, HDF5: a path or URL")
    parser.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the walk")
    parser.add_argument("--plan", action="store_true", help="print what the walk would cost, and do nothing")
    when = parser.add_argument_group("when encoders are trained")
    when.add_argument(
        "--first-train-end", type=day, required=True, metavar="DAY", help="last day that the first training may use"
    )
    when.add_argument(
        "--every",
        type=interval,
        required=True,
        metavar="N|Ny",
        help="sessions, or years, from one training to the next",
    )
    when.add_argument("--end", type=day, metavar="DAY", help="last day on which an encoder is used (the last session)")
    how = parser.add_argument_group("how encoders are trained and run")
    how.add_argument("--preset", choices=("tiny", "small", "100m"), default="tiny", help="size of the models (tiny)")
    how.add_argument("--epochs", type=int, help="maximum number of passes; training may stop early (the preset's)")
    how.add_argument("--tickers", metavar="A,B|@FILE", help="only these (all with features)")
    how.add_argument("--device", default="auto", help="cpu, cuda, … (auto)")
    how.add_argument(
        "--precision",
        default="float32",
        help="as of encash build; auto measures each encoder, and may choose differently in a repeated walk (float32)",
    )
    how.add_argument(
        "--dtype", choices=("float32", "float16", "int8"), default="float32", help="type of stored vectors"
    )
    fit_flags(parser)
    rule_flags(parser)
    parser.add_argument(
        "--horizon", dest="horizons", type=int, nargs="+", default=[5], metavar="H", help="of the rankings (5)"
    )
    parser.add_argument(
        "--window",
        type=int,
        default=252,
        metavar="N",
        help="sessions up to the end of a training on which its clusters are fitted and ranked (252)",
    )


def interval(text: str) -> pipeline.Interval:
    """Parse a flag that takes a number of sessions, or of years.

    >>> interval("250")
    Interval(count=250, unit='sessions')
    >>> interval("2y")
    Interval(count=2, unit='years')
    """
    if not (found := re.fullmatch(r"([0-9]{1,6})(y?)", text)) or not int(found[1]):
        raise argparse.ArgumentTypeError(f"invalid interval {text!r}: expected 250 (sessions) or 1y (years)")
    return pipeline.Interval(count=int(found[1]), unit="years" if found[2] else "sessions")


def run_walk(arguments: argparse.Namespace, console: Console) -> None:
    """Show the costs; without ``--plan``, walk."""
    walk = pipeline.EncoderWalk.open(console.sources(arguments), walk_config(arguments), arguments.out)
    costs = pipeline.plan_walk(walk)
    if arguments.plan:
        console.result(plain({**costs.totals(), "encoders": costs.rows()}), cost_lines(costs))
        return
    console.note("\n".join(cost_lines(costs)))
    found = walk.run(warn=console.warn, stages=console.progress)
    rows = plain([describe(one) for one in found])
    listed = str(arguments.out / pipeline.ENCODERS_LIST)
    console.result(
        {"encoders": rows, "list": listed},
        [
            *(f"{row['train_end']}: used from {row['first_day']} to {row['last_day']}; {done(row)}" for row in rows),
            f"list  {listed}   (encash backtest --encoders {listed} …)",
        ],
    )


def walk_config(arguments: argparse.Namespace) -> pipeline.EncoderWalkConfig:
    """Return the settings that the flags give."""
    train = spec_of(
        training.TrainConfig,
        arguments,
        train_end=str(arguments.first_train_end),
        tickers=ticker_list(arguments.tickers),
    )
    rule = rule_settings(arguments)
    return spec_of(
        pipeline.EncoderWalkConfig,
        arguments,
        train=train,
        fit=fit_config(arguments.k, fit_settings(arguments)),
        counts=arguments.k if len(arguments.k) > 1 else (),
        rule=selection_rule(rule.pop("top"), rule),
        winsorize=clusters.RankConfig.winsorize if arguments.winsorize else None,
    )


def describe(one: pipeline.WalkedEncoder) -> dict[str, Any]:
    """Return an encoder of a walk as values."""
    names = ("train_end", "first_entry", "first_day", "last_day")
    days = {name: getattr(one.stretch, name) for name in names}
    counts = {name: getattr(one, name) for name in ("trained", "computed", "reused", "fitted", "best")}
    return {**days, "folder": one.folder, **counts}


def done(row: dict[str, Any]) -> str:
    """Say what a walk did for an encoder.

    >>> done({"trained": False, "computed": 0, "reused": 1200, "fitted": False, "best": {"5": [2, 0]}})
    '1,200 entries reused, best clusters over 5 sessions 2, 0'
    """
    parts = ["trained"] if row["trained"] else []
    parts += [f"{row[name]:,} entries {name}" for name in ("computed", "reused") if row[name]]
    parts += ["clusters fitted"] if row["fitted"] else []
    best = (f"best clusters over {horizon} sessions {', '.join(map(str, ids))}" for horizon, ids in row["best"].items())
    return ", ".join([*parts, *best])


def cost_lines(costs: pipeline.WalkCosts) -> list[str]:
    """Format the costs of a walk: a line per encoder, then the totals."""
    return [
        *(
            f"{row['train_end']}: used from {row['first_day']} to {row['last_day']}, windows to train at most "
            f"{row['windows']:,}, entries to encode {row['entries']:,}"
            for row in costs.rows()
        ),
        *lines(plain(costs.totals())),
    ]
