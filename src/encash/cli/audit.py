"""``audit``: the proofs of honesty, tried on the user's own data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from encash.cli.backtest import configuration, filter_choice
from encash.cli.console import FOUND, Console
from encash.cli.flags import command, day, setting_flags, source_flags, universe_flags
from encash.errors import InputError


def register(commands: Any) -> None:
    """Add the command of this file."""
    parser = command(
        commands,
        "audit",
        "prove that nothing of the past moves with the future; exit 3 where something does",
        "audit --data features.h5 --prices prices.h5 --model model.pt --cache cache.lance \\\n"
        "      --clusters clusters --start 2016-02-01",
        run_audit,
    )
    source_flags(parser.add_argument_group("what it reads"))
    universe_flags(parser.add_argument_group("which stocks"))
    setting_flags(parser.add_argument_group("honesty"), "honesty")
    parser.add_argument(
        "--start",
        type=day,
        default=None,
        metavar="DAY",
        help="cut the future off on days from here on (from where the clusters may be used)",
    )
    parser.add_argument(
        "--days", type=int, default=5, metavar="N", help="random days at which the future is cut off (5)"
    )
    parser.add_argument(
        "--raw",
        type=Path,
        default=None,
        metavar="PRICES",
        help="the table that the features were prepared from; needed where it has more than closes",
    )
    parser.add_argument("--sample", type=int, default=256, metavar="N", help="entries encoded again (256)")


def run_audit(arguments: argparse.Namespace, console: Console) -> int:
    """Try every proof."""
    from encash import pipeline
    from encash.audit import Subject, audit
    from encash.panel.tables import read_bars

    sources = console.sources(arguments)
    if sources.model is None or sources.data is None:
        raise InputError("an audit encodes again; give --model M and --data F")
    panel, cache = sources.the_panel(), sources.open_cache()
    encoder = sources.encoder(cache)
    if cache is not None:
        cache.check(encoder.spec)
    assert panel.prices is not None
    subject = Subject(
        panel=panel,
        encoder=encoder,
        config=configuration(arguments),
        filter=pipeline.open_filter(filter_choice(arguments), panel.prices.days, cache),
        cache=cache,
        clusters=arguments.clusters,
        days=arguments.days,
        sample=arguments.sample,
        bars=None if arguments.raw is None else read_bars(arguments.raw, drop_bad=True).bars,
        seed=arguments.seed,
    )
    with console.progress("from data to picks", "runs") as progress:
        found = audit(subject, progress=progress)
    marks = {True: "passed", False: "FAILED", None: "not tried"}
    text = [f"{marks[check.passed]:<9}  {check.name}: {check.detail}" for check in found.checks]
    untried = [check.name for check in found.checks if check.passed is None]
    passed = "passed" + (f", but not tried: {'; '.join(untried)}" if untried else "")
    console.result(found.to_json(), [*text, "", passed if found.passed else "something knows its future"])
    return 0 if found.passed else FOUND
