"""Write the page of all commands and flags, docs/reference/commands.md: ``python tools/write_command_reference.py``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from encash.cli.main import COMMANDS, parser
from encash.cli.parser import filled
from encash.guide import analyze_clusters, backtest_simulation, cache_embeddings, create_clusters

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"
COMMON = ("--json", "--quiet", "--debug")
GUIDE = (cache_embeddings, create_clusters, analyze_clusters, backtest_simulation)
TITLES = {"options": "flag", "positional arguments": "argument"}
HEAD = """\
# Commands

Every command and its flags. `python tools/write_command_reference.py` writes this page from the parsers, and a test
fails if it is not current. `encash COMMAND --help` shows the same text.

Exit codes: 0 done; 1 the work failed or is incomplete; 2 bad input, in one line; 3 `verify` or `audit` found something.
Results go to stdout, progress to stderr.

Flags of all commands:

| flag | meaning |
|---|---|
"""
GUIDE_HEAD = """\

## The guide's commands

The commands of the HDF5 workflow, also as `python -m encash.guide cache-embeddings` and so on;
[what is different](../guide.md).
"""


def page() -> str:
    """Return the page."""
    top = parser()
    commands = _subparsers(top)
    first = next(iter(commands.values()))
    lines = [HEAD.rstrip(), *(_row(one) for one in first._actions if set(COMMON) & set(one.option_strings)), ""]
    for name, about in COMMANDS.items():
        lines += _command(f"encash {name}", commands[name], about, depth=2)
    lines.append(GUIDE_HEAD)
    for module in GUIDE:
        own = module.parser()
        lines += _command(own.prog, own, own.description or "", depth=3)
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _command(name: str, command: argparse.ArgumentParser, about: str, depth: int) -> Iterator[str]:
    """Yield the lines of a command: its purpose, its example and a table per group of flags."""
    yield f"\n{'#' * depth} `{name}`\n\n{_sentence(about)}\n"
    if command.description and command.description != about:
        yield f"{_sentence(command.description)}\n"
    if command.epilog:
        yield f"```text\n{filled(command.epilog, 118).strip()}\n```\n"
    for group in command._action_groups:
        shown = [one for one in group._group_actions if _is_shown(one)]
        if shown:
            title = TITLES.get(group.title or "options", group.title)
            yield "\n".join([f"| {title} | meaning |", "|---|---|", *(_row(one) for one in shown), ""])
    for own, subparser in _subparsers(command).items():
        yield from _command(f"{name} {own}", subparser, _help_of(command, own), depth + 1)


def _is_shown(action: argparse.Action) -> bool:
    if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
        return False
    return not set(action.option_strings) & {"-h", *COMMON}


def _row(action: argparse.Action) -> str:
    """Return a row: the names and the values of a flag, what it means, and whether it is required."""
    formatter = argparse.HelpFormatter("")
    values = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
    names = " ".join(filter(None, (", ".join(action.option_strings), values)))
    text = formatter._expand_help(action) if action.help else _default(action)
    needed = "required" if action.required and action.option_strings else ""
    return f"| `{_code(names)}` | {_cell('; '.join(filter(None, (needed, text))))} |"


def _default(action: argparse.Action) -> str:
    """Return what stands for the help of a flag whose name says it all."""
    return "" if action.default in (None, False, argparse.SUPPRESS) else f"({action.default})"


def _code(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _cell(text: str) -> str:
    """Return text for a cell of a table: one line, without a bar that would end it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _sentence(text: str) -> str:
    """Return text with a capital letter and a period."""
    words = " ".join(text.split())
    ended = words if words.endswith((".", ")", ":")) else f"{words}."
    return ended[:1].upper() + ended[1:]


def _subparsers(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands below a command by name; empty if it has none."""
    found = [one for one in command._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _help_of(command: argparse.ArgumentParser, name: str) -> str:
    """Return the help line of a command below a command."""
    found = [one for one in command._actions if isinstance(one, argparse._SubParsersAction)]
    return next(str(one.help) for one in found[0]._choices_actions if one.dest == name)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
