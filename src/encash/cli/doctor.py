"""``doctor``: examine the installation and the working folder; exit 1 if something is broken."""

from __future__ import annotations

import argparse
from pathlib import Path

from encash import pipeline
from encash.cli.console import Console, Parser
from encash.cli.flags import command


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_doctor,
        "doctor",
        about="Examine versions, extras, devices, disk and locks, and measure which engine and precision are fastest "
        "here. Exit code 1 if something is broken; each finding says how to fix it.",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="DIR", help="where caches are written (the working folder)"
    )
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="do not load a model")


def run_doctor(arguments: argparse.Namespace, console: Console) -> int:
    """Print what was found, faults last."""
    with console.progress("examining", "steps") as progress:
        found = pipeline.examine(arguments.folder, measure=arguments.measure, progress=progress)
    faults = [one for one in found if one.fix]
    width = max(len(one.subject) for one in found)
    values = {
        "findings": [{"subject": one.subject, "detail": one.detail, "fix": one.fix or None} for one in found],
        "passed": not faults,
    }
    text = [f"{one.subject:<{width}}  {one.detail}" for one in found]
    broken = [f"BROKEN  {one.subject}: {one.detail}; {one.fix}" for one in faults]
    console.result(values, [*text, "", *(broken or ["nothing is broken"])])
    return 1 if faults else 0
