"""``plan``: show what a build would do."""

from __future__ import annotations

import argparse

from encash import pipeline
from encash.cli.build import build_flags
from encash.cli.console import Console, Parser, lines, plain
from encash.cli.flags import selection


def register(parser: Parser) -> None:
    """Add the flags."""
    build_flags(parser, run_plan)


def run_plan(arguments: argparse.Namespace, console: Console) -> None:
    """Print counts, bytes, seconds and peak memory of a build; encode nothing."""
    plan = pipeline.plan_build(
        console.sources(arguments), selection(arguments), dtype=arguments.dtype, warn=console.warn, say=console.note
    )
    values = plain(plan.summary())
    console.result(
        values,
        [*lines(values), "peak memory is the whole process: libraries, model, a batch, and the arrays"],
    )
