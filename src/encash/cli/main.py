"""The command line: the table of commands, and the entry point that runs one."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module

from encash import __version__
from encash.cli.console import Parser, failure, is_expected, run, tolerate_any_console
from encash.command_start import STOPPED
from encash.errors import EncashError, WorkError

COMMANDS = {
    "demo": "run the whole workflow on real prices",
    "prepare": "convert CSV, Parquet or Feather prices to the two HDF5 files, with features that use only the past",
    "train": "fit the reference transformer on data up to a day",
    "plan": "show what a build would do",
    "build": "make every missing or stale entry valid; an interrupted build resumes",
    "update": "nightly run: encode what is new or restated, nothing else",
    "cache": "inspect, verify, merge, convert and compact caches",
    "clusters": "fit and rank clusters on the past",
    "head": "fit forecasts on cached embeddings, so that any encoder gives a backtest",
    "walk": "train encoders over the years, each with its cache and clusters, for backtest --encoders",
    "similar": "find the nearest past entries by embedding, and with --prices what happened next",
    "backtest": "run one backtest and write a run folder",
    "sweep": "run hundreds of backtests on one cache",
    "picks": "list the filtered, ranked top-k of one day",
    "report": "write the page of one or several runs",
    "guide": "write the files that give the guide's commands their own names in a folder",
    "doctor": "examine versions, extras, devices, disk and locks; exit 1 if something is broken",
    "completion": "print the script that completes commands and flags in bash, zsh or fish",
    "audit": "test that results do not depend on the future; exit 3 if they do",
}
"""Each command and its line in ``encash --help``. The module ``encash.cli.<command>`` has a function ``register`` that
adds its flags; it is imported only when its command is called."""


def parser(only: str | None = None) -> Parser:
    """Return the parser of the whole command line.

    Args:
        only: the command that will be parsed; the modules of the other commands are not imported, and these have no
            flags. None registers all of them.
    """
    top = Parser(
        prog="encash",
        description="Encode every stock on every trading day once, and backtest on the cached embeddings.",
        epilog="start here:\n"
        "  encash demo --out demo        the whole workflow on real prices\n"
        "  encash COMMAND --help         flags and an example",
    )
    top.add_argument("--version", action="version", version=f"encash {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if only in (None, name):
            import_module(f"encash.cli.{name}").register(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (0 done, 1 failed or incomplete, 2 bad input, 3 findings)."""
    tolerate_any_console()
    try:
        return _main(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:
        print(f"encash: {STOPPED}", file=sys.stderr)
        return 1
    except (EncashError, OSError, MemoryError, ImportError) as error:  # while the command was imported
        if not is_expected(error):
            raise
        message, code = failure(error)
        print(f"encash: {message}", file=sys.stderr)
        return code


def _check_address_space() -> None:
    """Refuse a limit under which libraries fail when they start threads: some print their own lines, some never end.

    Raises:
        WorkError: the limit is below 1 GiB and 64 MiB per core.
    """
    needed = (1 << 30) + (os.cpu_count() or 1) * (64 << 20)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise WorkError(
            f"not enough memory: this process may address {limit >> 20:,} MiB, and needs at least {needed >> 20:,} "
            "MiB; raise the limit (ulimit -v)"
        )


def _main(words: list[str]) -> int:
    _check_address_space()
    called = next((word for word in words if not word.startswith("-")), "")
    arguments, unknown = parser(called).parse_known_args(words)
    arguments.words = words
    name = " ".join(filter(None, ("encash", arguments.command, getattr(arguments, "subcommand", None))))
    if unknown:  # reported by the parser of the subcommand, which knows its flags
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return run(arguments.handler, arguments, name)
