"""``completion bash|zsh|fish``: print the script that completes commands, flags and their values in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from encash.cli.console import Console, Parser
from encash.cli.flags import command

SHELLS = ("bash", "zsh", "fish")


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_completion,
        "completion bash > ~/.local/share/bash-completion/completions/encash\n"
        "  encash completion zsh > ~/.zfunc/_encash\n"
        "  encash completion fish > ~/.config/fish/completions/encash.fish\n\n"
        "zsh also needs fpath+=~/.zfunc before compinit in ~/.zshrc",
    )
    parser.add_argument("shell", choices=SHELLS, help="whose completion")


def run_completion(arguments: argparse.Namespace, console: Console) -> None:
    """Print the script."""
    script = completion_script(arguments.shell)
    console.result({"shell": arguments.shell, "script": script}, [script])


def completion_script(shell: str) -> str:
    """Return the script of a shell, made from the parser; values without choices complete to files."""
    import shtab

    from encash.cli.main import parser
    from encash.input_files import path_or_url

    top = parser()
    for action in _actions(top):
        if action.type in (None, Path, path_or_url) and action.nargs != 0 and not action.choices:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
    script: str = shtab.complete(top, shell=shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Return the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subcommand in action.choices.values():
                yield from _actions(subcommand)
        else:
            yield action
