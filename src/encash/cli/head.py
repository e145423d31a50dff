"""``head``: fit forecasts on cached embeddings, and show what was fitted."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from encash import api, heads
from encash.cli.console import Console, Parser, figure, plain
from encash.cli.flags import command, day, delisting_flag
from encash.cli.keywords import given
from encash.heads.registry import KINDS
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    _fit(commands)
    _show(commands)


def _fit(commands: Any) -> None:
    parser = commands.add_parser("fit", help="fit a head on the embeddings of a cache")
    command(
        parser,
        run_fit,
        "head fit --cache cache.lance --prices prices.h5 --end 2015-12-31 --horizon 5 20 --out head\n"
        "  encash backtest --prices prices.h5 --cache cache.lance --head head --start 2016-02-01",
        about="Fit forecasts of returns on cached embeddings. Nothing after --end is read: an entry counts only if its "
        "longest return has ended by then, and the head may be used an embargo later.",
    )
    parser.add_argument("--cache", required=True, metavar="C", help="path or URL of the cache")
    parser.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last day that may be known")
    parser.add_argument("--start", type=day, metavar="DAY", help="first day of entries (all)")
    parser.add_argument(
        "--horizon",
        dest="horizons",
        type=int,
        nargs="+",
        default=list(heads.HeadConfig.horizons),
        metavar="H",
        help="sessions ahead (1 5 10 20)",
    )
    parser.add_argument("--kind", choices=tuple(KINDS), default="ridge", help="ridge: linear; boosted: trees (ridge)")
    parser.add_argument(
        "--every", type=int, metavar="N", help="fit again every N sessions up to --end (once, at --end)"
    )
    parser.add_argument("--history", type=int, metavar="N", help="with --every: sessions before the first fit (504)")
    parser.add_argument("--embargo", type=int, metavar="N", help="sessions until a fit is used (the longest horizon)")
    parser.add_argument("--max-entries", type=int, metavar="N", help="most entries of a boosted head (200,000)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    delisting_flag(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="the folder")


def _show(commands: Any) -> None:
    parser = commands.add_parser("show", help="summarize a head")
    command(parser, run_show, "head show head")
    parser.add_argument("head", type=Path, metavar="HEAD", help="a folder of head fit")


def run_fit(arguments: argparse.Namespace, console: Console) -> None:
    """Fit a head."""
    settings = given(arguments, [one.name for one in fields(heads.HeadConfig)])
    fitted = api.fit_head(arguments.cache, arguments.prices, out=arguments.out, progress=console.progress, **settings)
    values, text = describe(fitted.head)
    console.result({**values, "out": str(arguments.out)}, [*text, f"head {arguments.out}"])


def run_show(arguments: argparse.Namespace, console: Console) -> None:
    """Print what a head holds."""
    console.result(*describe(heads.load_head(arguments.head)))


def describe(head: heads.Head) -> tuple[dict[str, Any], list[str]]:
    """Return a head as values and as lines."""
    fits = [
        {"end": one.end, "first_day": one.first_day, "skill": [_plain_skill(found) for found in one.skill]}
        for one in head.periods
    ]
    values = {
        "kind": head.kind,
        "horizons": head.horizons,
        "encoder": head.encoder,
        "head": head.fingerprint,
        "price_end": head.price_end,
        "fits": fits,
    }
    last = head.periods[-1]
    return plain(values), [
        f"{head.kind} head on embeddings of {head.dim} dimensions: {len(head.periods)} "
        f"fit{'s' if len(head.periods) > 1 else ''}, usable from {head.periods[0].first_day}",
        f"rank IC on sessions up to {last.end} that were held out:",
        *(skill_line(found) for found in last.skill),
    ]


def skill_line(found: heads.HeldOutSkill) -> str:
    """Format the skill of one horizon.

    >>> from encash.heads import HeldOutSkill
    >>> skill_line(HeldOutSkill(horizon=5, ic=0.03, ic_error=0.01, slope=0.9, sessions=500, entries=50_000))
    '  5 sessions ahead  IC +0.030 ± 0.010  t +3.0   500 sessions, 50,000 entries'
    """
    weak = "" if found.t > 2 else "  not significant"
    return (
        f"{found.horizon:>3} sessions ahead  IC {figure(found.ic, '+.3f')} ± {figure(found.ic_error, '.3f')}  "
        f"t {figure(found.t, '+.1f')}   {found.sessions:,} sessions, {found.entries:,} entries{weak}"
    )


def _plain_skill(found: heads.HeldOutSkill) -> dict[str, Any]:
    values = {**asdict(found), "t": found.t}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
