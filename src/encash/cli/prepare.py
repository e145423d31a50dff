"""``prepare``: convert a table of prices to the two HDF5 files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from encash import panel
from encash.cli.console import Console, Parser, lines, plain, run
from encash.cli.flags import command, read_options, reading_flags
from encash.cli.stops import files_kept
from encash.input_files import path_or_url
from encash.panel.formats.registry import FORMATS

if TYPE_CHECKING:
    from encash.panel.health import Case, Health


def register(parser: Parser) -> None:
    """Add the flags."""
    command(parser, run_prepare, "prepare prices.csv --features-out features.h5 --prices-out prices.h5")
    parser.add_argument(
        "prices_file",
        nargs="+",
        metavar="PRICES",
        type=path_or_url,
        help=f"a file or its URL, several, or a folder of them (one per ticker, or hive-partitioned): "
        f"{', '.join(FORMATS)}, plain or in .gz, .bz2, .xz or .zip; long or wide; OHLCV or close only",
    )
    parser.add_argument(
        "--features-out", type=Path, default=Path("features.h5"), metavar="F", help="HDF5 (%(default)s)"
    )
    parser.add_argument("--prices-out", type=Path, default=Path("prices.h5"), metavar="P", help="HDF5 (%(default)s)")
    parser.add_argument(
        "--drop-bad",
        action="store_true",
        help="drop bars with a price of zero or below, and count them, instead of refusing the file",
    )
    reading_flags(parser.add_argument_group("what the table does not say"))
    _feature_flags(parser)


def _feature_flags(parser: Parser) -> None:
    """Add the flags that choose features."""
    from encash.panel.features import FEATURE_SETS

    features = parser.add_argument_group("features")
    features.add_argument(
        "--feature-set",
        choices=tuple(FEATURE_SETS),
        default=panel.FeatureConfig().feature_set,
        help="; ".join(f"{name}: {one.summary}" for name, one in FEATURE_SETS.items()) + " (%(default)s)",
    )
    features.add_argument(
        "--membership",
        type=path_or_url,
        metavar="CSV",
        help="universe with the columns ticker,from,until: add ranks among the members of each day (no ranks)",
    )
    features.add_argument("--no-ranks", action="store_true", help="no ranks, whatever the default of the set")
    features.add_argument(
        "--max-gap",
        type=int,
        metavar="N",
        help="start a ticker anew after more than N weekdays without a bar, so that no window bridges them (no limit)",
    )
    features.add_argument(
        "--list-features", action=_ListFeatures, nargs=0, help="print name, formula, unit and sessions of all features"
    )


class _ListFeatures(argparse.Action):
    """Print the reference of the features and exit, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the reference."""
        parser.exit(run(_print_reference, argparse.Namespace(), parser.prog))


def _print_reference(arguments: argparse.Namespace, console: Console) -> None:
    from encash.panel.features.reference import text

    print(text())


def _feature_config(arguments: argparse.Namespace, console: Console) -> panel.FeatureConfig:
    """Return the choice of features, and warn of what a set knows."""
    from encash.panel.features import FEATURE_SETS

    if warning := FEATURE_SETS[arguments.feature_set].warning:
        console.warn(warning)
    return panel.FeatureConfig(
        feature_set=arguments.feature_set,
        ranks=False if arguments.no_ranks else None,
        membership=None if arguments.membership is None else panel.read_membership(arguments.membership),
        max_gap=arguments.max_gap,
    )


def run_prepare(arguments: argparse.Namespace, console: Console) -> None:
    """Write the features and prices files."""
    config = _feature_config(arguments, console)
    outputs = arguments.features_out, arguments.prices_out, panel.health_file(arguments.features_out)
    with files_kept(*outputs), console.progress("features", "tickers") as progress:
        report = panel.prepare(
            arguments.prices_file,
            features_out=arguments.features_out,
            prices_out=arguments.prices_out,
            config=config,
            options=read_options(arguments),
            drop_bad=arguments.drop_bad,
            progress=progress,
        )
    if severe := report.health.severe:
        console.warn(severe_line(severe, report.health_out))
    values = plain({one.name: getattr(report, one.name) for one in fields(report) if one.name != "health"})
    console.result({**values, "health": report.health.to_json()}, [*lines(values), *health_lines(report.health)])


def severe_line(cases: tuple[Case, ...], where: str) -> str:
    """Format moves that decide what a backtest earns as one line.

    >>> from encash.panel.health import Case
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
