"""``prepare``: convert a table of prices to the two HDF5 files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from encash import panel
from encash.cli.console import Console, Parser, lines, plain
from encash.cli.flags import command
from encash.panel.formats.registry import FORMATS
from encash.panel.health import Case, Health
from encash.panel.untraded import ZeroVolume


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
    parser.add_argument(
        "--zero-volume",
        choices=get_args(ZeroVolume),
        default=get_args(ZeroVolume)[0],
        help="untraded: a bar with a volume of zero has no price and can be neither bought nor sold (untraded)",
    )


def run_prepare(arguments: argparse.Namespace, console: Console) -> None:
    """Write the features and prices files."""
    with console.progress("features", "tickers") as progress:
        report = panel.prepare(
            arguments.prices_file,
            features_out=arguments.features_out,
            prices_out=arguments.prices_out,
            drop_bad=arguments.drop_bad,
            zero_volume=arguments.zero_volume,
            progress=progress,
        )
    if severe := report.health.severe:
        console.warn(severe_line(severe, report.health_out))
    values = plain({one.name: getattr(report, one.name) for one in fields(report) if one.name != "health"})
    console.result({**values, "health": report.health.to_json()}, [*lines(values), *health_lines(report.health)])


def severe_line(cases: tuple[Case, ...], where: str) -> str:
    """Format moves that decide what a backtest earns as one line.

    >>> severe_line((Case(ticker="A", day="2024-01-02", size=999.0, what="reverts on 2024-01-03"),), "h.json")
    'warning: suspicious prices were kept: A on 2024-01-02 (×1000, reverts on 2024-01-03); see h.json'
    """
    more = f", and {len(cases) - 3:,} more" if len(cases) > 3 else ""
    return f"warning: suspicious prices were kept: {', '.join(map(_move, cases[:3]))}{more}; see {where}"


def health_lines(health: Health) -> list[str]:
    """Format what is suspicious as a short table; one line if nothing is."""
    rows: dict[str, str] = {
        name.replace("_", " "): _finding(name, health)
        for name, finding in health.findings.items()
        if finding.suspicious
    }
    if health.all_alive_at_the_end:
        ended = f"all but {health.tickers_ended:,}" if health.tickers_ended else "all"
        rows["survivors"] = (
            f"{ended} of {health.tickers:,} tickers trade to the end: a list of survivors flatters results"
        )
    if not rows:
        return ["health: nothing suspicious"]
    width = max(map(len, rows))
    return ["health: suspicious, and kept as it is", *(f"  {name:<{width}}  {text}" for name, text in rows.items())]


def _finding(name: str, health: Health) -> str:
    finding = health.findings[name]
    worst = ", ".join(_CASES.get(name, _span)(case) for case in finding.worst[:3])
    share = f" ({finding.share:.1%} of bars)" if finding.share >= 0.0005 else ""
    if name == "unchanged_runs":
        return f"{finding.share:.1%} of bars repeat a close; {finding.count:,} long runs: {worst}".removesuffix(": ")
    tickers = "1 ticker" if finding.tickers == 1 else f"{finding.tickers:,} tickers"
    return f"{finding.count:,}{share} in {tickers}: {worst}"


def _move(case: Case) -> str:
    """Format a move as a ratio of closes."""
    return f"{case.ticker} on {case.day} (×{1 + case.size:.4g}{', ' if case.what else ''}{case.what})"


def _span(case: Case) -> str:
    """Format a span of sessions or bars."""
    return f"{case.ticker} {case.day}" + (f" to {case.until} ({case.size:,.0f})" if case.until else "")


def _excess(case: Case) -> str:
    return f"{case.ticker} on {case.day} ({case.size:.1%} outside)"


_CASES: Mapping[str, Any] = {"largest_moves": _move, "out_of_bounds": _excess}
"""Findings that are not spans → format of their cases."""
