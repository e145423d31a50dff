"""``picks``: list the filtered, ranked top-k of one day."""

from __future__ import annotations

import argparse

from encash import backtest
from encash.cli.backtest import configuration, open_inputs
from encash.cli.console import Console, Parser
from encash.cli.flags import command, day, setting_flags, source_flags, universe_flags


def register(parser: Parser) -> None:
    """Add the flags."""
    command(parser, run_picks, "picks --date 2022-12-28 --prices prices.h5 --cache cache.lance --clusters clusters")
    parser.add_argument("--date", type=day, required=True, metavar="DAY")
    source_flags(parser.add_argument_group("inputs"))
    universe_flags(parser.add_argument_group("stocks"))
    setting_flags(parser.add_argument_group("look-ahead and missing entries"), "checks")


def run_picks(arguments: argparse.Namespace, console: Console) -> None:
    """Print the picks of one day."""
    inputs = open_inputs(arguments, console)
    table = backtest.picks_of_day(configuration(arguments), inputs, arguments.date)
    chosen = table.picked_first()
    names = ("ticker", "forecast", "confidence", "cluster", "weight")
    rows = [
        dict(zip(names, row, strict=True))
        for row in zip(*(getattr(chosen, name).tolist() for name in names), strict=True)
    ]
    values = {"date": str(arguments.date), "candidates": len(table), "kept": int(table.kept.sum()), "picks": rows}
    text = [
        f"{row['ticker']:<8}  forecast {row['forecast']:+.3%}  confidence {row['confidence']:.3f}  "
        f"cluster {row['cluster']}  weight {row['weight']:.1%}"
        for row in rows
    ]
    console.result(values, [f"{values['date']}: {values['kept']} of {values['candidates']} candidates kept", *text])
