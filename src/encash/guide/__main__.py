"""``python -m encash.guide COMMAND``: the guide's commands under a name that no other package has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from encash.cli.console import Parser
from encash.command_start import finish, stop_at_once
from encash.legacy_workflow.shims import GUIDE_COMMANDS, command_name


def parser() -> Parser:
    """Define the commands; the flags of each are those of its module."""
    top = Parser(
        prog="python -m encash.guide",
        description="The commands of the guide, with its flags, units and defaults.",
        epilog="example:\n  python -m encash.guide cache-embeddings --help\n\n"
        "`encash guide shims DIR` writes files for the names python -m cluster.…, python -m inference.…",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module, text in GUIDE_COMMANDS.items():
        commands.add_parser(command_name(module), help=text, add_help=False)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the guide, or show the list of them; return the exit code."""
    words, top = list(sys.argv[1:] if argv is None else argv), parser()
    if not words:
        top.print_help()
        return 0
    name: str = top.parse_args(words[:1]).command
    command = import_module(f"encash.guide.{name.replace('-', '_')}")
    code: int = command.main(words[1:], f"{top.prog} {name}")
    return code


if __name__ == "__main__":
    stop_at_once()
    finish(main)
