"""The parser of ``encash``: which commands there are. Imports no room; a command imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from encash.cli import audit, backtest, caches, clusters, data, demo, similar
from encash.cli.console import Parser, run

GROUPS = (demo, data, caches, clusters, similar, backtest, audit)
"""Files with a function ``register(commands)``; the order is that of the help."""


def parser() -> Parser:
    """The whole command line, as one parser."""
    whole = Parser(
        prog="encash",
        description="Encode every stock on every trading day once, and backtest on it for ever.",
        epilog="start here:\n"
        "  encash demo --out demo        the whole story on real prices\n"
        "  encash COMMAND --help         flags and an example",
    )
    whole.add_argument("--version", action="version", version=_version())
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for group in GROUPS:
        group.register(commands)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 failed or incomplete, 2 bad input, 3 found something)."""
    arguments, unknown = parser().parse_known_args(sys.argv[1:] if argv is None else list(argv))
    below = getattr(arguments, f"{arguments.command}_command", None)  # of `cache` and `clusters`
    name = " ".join(filter(None, ("encash", arguments.command, below)))
    if unknown:  # told by the command, whose help lists what there is
        Parser(prog=name).error(f"unrecognized arguments: {' '.join(unknown)}")
    return run(arguments.handler, arguments, name)


def _version() -> str:
    from importlib.metadata import version

    return f"encash {version('encash')}"
