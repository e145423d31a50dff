"""``audit``: test on the user's own data that results do not depend on the future."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

import encash.audit as proofs
from encash import api
from encash.cli.backtest import configuration
from encash.cli.console import FOUND, Console, Parser
from encash.cli.flags import (
    command,
    day,
    groups_flag,
    read_options,
    reading_flags,
    setting_flags,
    source_flags,
    universe_flags,
)
from encash.cli.keywords import check_groups, input_keywords, setting_keywords
from encash.errors import InputError
from encash.input_files import path_or_url

if TYPE_CHECKING:
    from encash.panel import Bars


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_audit,
        "audit --data features.h5 --prices prices.h5 --model model.pt --cache cache.lance "
        "--clusters clusters --start 2016-02-01",
    )
    source_flags(parser.add_argument_group("inputs"))
    stocks = parser.add_argument_group("stocks")
    universe_flags(stocks)
    groups_flag(stocks)
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
        type=path_or_url,
        nargs="+",
        metavar="PRICES",
        help="the table that the features were prepared from, or its files; needed if it has more than closes",
    )
    reading_flags(parser.add_argument_group("what the table does not say", "as given to prepare"))
    parser.add_argument(
        "--features-by",
        metavar="module:function",
        help="the function that computed the features: called with {ticker: Bars}, prices up to a day, and returns "
        "{ticker: (days, values)} or {ticker: table with an index of days}",
    )
    parser.add_argument("--allow-untried", action="store_true", help="exit with 0 although a proof was not tried")
    parser.add_argument("--sample", type=int, default=256, metavar="N", help="entries encoded again (256)")


def run_audit(arguments: argparse.Namespace, console: Console) -> int:
    """Run every check; return 3 if one fails, or was not tried without leave."""
    check_groups(arguments, configuration(arguments))
    if arguments.scores is None and (arguments.model is None or arguments.data is None):
        raise InputError("an audit encodes entries again; give --model M and --data F, or --scores to audit only those")
    bars, adjusted = (None, False) if arguments.raw is None else _raw(arguments)
    report = api.audit(
        **input_keywords(arguments, console),
        **setting_keywords(arguments),
        features_by=arguments.features_by,
        bars=bars,
        adjusted=adjusted,
        days=arguments.days,
        sample=arguments.sample,
        progress=console.progress,
    ).audit
    text = [f"{_MARKS[check.status]:<14}  {check.name}: {check.detail}" for check in report.checks]
    warnings = [f"{'REPORTED':<14}  {warning}" for warning in report.warnings]
    console.result(report.to_json(), [*text, *warnings, "", _summary(report)])
    return 0 if report.passed and (not report.untried or arguments.allow_untried) else FOUND


_MARKS = {"passed": "passed", "failed": "FAILED", "not_tried": "NOT TRIED", "not_applicable": "not applicable"}


def _summary(report: proofs.Audit) -> str:
    """Say in one line whether the audit passed, and what it did not try.

    >>> _summary(proofs.Audit(checks=(proofs.Check.not_tried("hit = miss", "no entries"),)))
    'passed, 1 test not tried: hit = miss'
    """
    untried = [check.name for check in report.checks if check.status == "not_tried"]
    outcome = "passed" if report.passed else "FAILED: a result depends on the future"
    tests = "test" if len(untried) == 1 else "tests"
    return f"{outcome}, {len(untried)} {tests} not tried: {'; '.join(untried)}" if untried else outcome


def _raw(arguments: argparse.Namespace) -> tuple[Mapping[str, Bars], bool]:
    """Read the prices behind the features as prepare does, and whether their closes are adjusted for dividends."""
    from encash.panel.tables import read_bars
    from encash.panel.untraded import traded_bars

    options = read_options(arguments)
    table = read_bars(arguments.raw, options, drop_bad=True)
    return traded_bars(table.bars, options.zero_volume).bars, table.adjusted
