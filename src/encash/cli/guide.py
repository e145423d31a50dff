"""``guide shims``: give the guide's commands their own names in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from encash.cli.console import Console, Parser
from encash.cli.flags import command
from encash.legacy_workflow.shims import GUIDE_COMMANDS, write_shims


def register(parser: Parser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    _shims(commands)


def _shims(commands: Any) -> None:
    parser = commands.add_parser("shims", help="write the files of the guide's commands into a folder")
    command(
        parser,
        run_shims,
        "guide shims .",
        about="Write cluster/….py and inference/….py, so that `python -m cluster.cache_embeddings` works in DIR, "
        "even if other packages are called cluster or inference. Elsewhere: python -m encash.guide cache-embeddings",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files are written")


def run_shims(arguments: argparse.Namespace, console: Console) -> None:
    """Write the files and print their commands."""
    files = write_shims(arguments.folder)
    text = [f"in {arguments.folder}:", *(f"  python -m {module}" for module in GUIDE_COMMANDS)]
    console.result({"files": [str(file) for file in files]}, text)
