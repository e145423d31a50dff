"""``audit``: test on the user's own data that results do not depend on the future."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from encash import audit, pipeline
from encash.cli.backtest import configuration, filter_choice
from encash.cli.console import FOUND, Console, Parser
from encash.cli.flags import command, day, read_options, reading_flags, setting_flags, source_flags, universe_flags
from encash.errors import InputError

if TYPE_CHECKING:
    from encash.panel import Bars


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_audit,
        "audit --data features.h5 --prices prices.h5 --model model.pt --cache cache.lance \\\n"
        "      --clusters clusters --start 2016-02-01",
    )
    source_flags(parser.add_argument_group("inputs"))
    universe_flags(parser.add_argument_group("stocks"))
    setting_flags(parser.add_argument_group("look-ahead and missing entries"), "checks")
    parser.add_argument(
        "--start",
        type=day,
        metavar="DAY",
        help="first day at which the future may be cut off (the first day that the clusters may be used)",
    )
    parser.add_argument(
        "--days", type=int, default=5, metavar="N", help="random days at which the future is cut off (5)"
    )
    parser.add_argument(
        "--raw",
        type=Path,
        nargs="+",
        metavar="PRICES",
        help="the table that the features were prepared from, or its files; needed if it has more than closes",
    )
    reading_flags(parser.add_argument_group("what the table does not say", "as given to prepare"))
    parser.add_argument("--sample", type=int, default=256, metavar="N", help="entries encoded again (256)")


def _bars(arguments: argparse.Namespace) -> Mapping[str, Bars]:
    """Read the table that the features were prepared from, as prepare does."""
    from encash.panel.tables import read_bars
    from encash.panel.untraded import traded_bars

    options = read_options(arguments)
    return traded_bars(read_bars(arguments.raw, options, drop_bad=True).bars, options.zero_volume).bars


def run_audit(arguments: argparse.Namespace, console: Console) -> int:
    """Run every check; return 3 if one fails."""
    sources = console.sources(arguments)
    if sources.model is None or sources.data is None:
        raise InputError("an audit encodes entries again; give --model M and --data F")
    panel, cache = sources.the_panel(), sources.open_cache()
    encoder = sources.encoder(cache)
    if cache is not None:
        cache.check(encoder.spec)
    assert panel.prices is not None
    subject = audit.Subject(
        panel=panel,
        encoder=encoder,
        config=configuration(arguments),
        filter=pipeline.open_filter(filter_choice(arguments), panel.prices.days, cache),
        cache=cache,
        clusters=arguments.clusters,
        days=arguments.days,
        sample=arguments.sample,
        bars=None if arguments.raw is None else _bars(arguments),
        seed=arguments.seed,
    )
    with console.progress("from data to picks", "runs") as progress:
        report = audit.audit(subject, progress=progress)
    marks = {True: "passed", False: "FAILED", None: "not tried"}
    text = [f"{marks[check.passed]:<9}  {check.name}: {check.detail}" for check in report.checks]
    untried = "; ".join(check.name for check in report.checks if check.passed is None)
    passed = f"passed, but not tried: {untried}" if untried else "passed"
    console.result(report.to_json(), [*text, "", passed if report.passed else "FAILED: a result depends on the future"])
    return 0 if report.passed else FOUND
