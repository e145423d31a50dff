"""The argument parser: errors of one line that suggest what was meant, and help that keeps the layout of examples."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any, NoReturn

from encash.errors import nearest

_CHOICE = re.compile(r"argument (?P<name>[^:]+): invalid choice: (?P<given>'.*') \(choose from (?P<choices>.*)\)")
_REQUIRED, _UNRECOGNIZED = "the following arguments are required: ", "unrecognized arguments: "
_LONGEST_LINE = 2000
_COMMAND = "COMMAND"
"""The metavar of subcommands."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that fits the terminal: prose is filled, commands of an example continue on the next line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in filled(text, width - len(indent)).splitlines())


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors that suggest what was meant; without a subcommand it shows its help."""

    def __init__(self, *args: Any, **keywords: Any):
        keywords.setdefault("formatter_class", HelpFormatter)
        keywords.setdefault("allow_abbrev", False)
        super().__init__(*args, **keywords)
        self._words: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keep the words for `error`, then parse them."""
        self._words = [str(word) for word in args or ()]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with code 2; if only a subcommand is missing, print the help and exit 0."""
        if message == _REQUIRED + _COMMAND and not self._words:
            self.print_help()
            self.exit(0)
        self.exit(2, f"{self.prog}: {one_line(self._explained(message))} (see {self.prog} --help)\n")

    def _explained(self, message: str) -> str:
        """Name an unknown flag rather than the required one that it was meant to be, and suggest what was meant."""
        if found := _CHOICE.fullmatch(message):
            return _unknown_choice(**found.groupdict())
        if not message.startswith((_REQUIRED, _UNRECOGNIZED)):
            return message
        flags = unknown_flags(self._words, self._option_string_actions)
        meant = [name for flag in flags if (name := nearest(flag, self._option_string_actions))]
        if message.startswith(_REQUIRED) and flags:
            message = f"{_UNRECOGNIZED}{' '.join(flags)}"
        return f"{message}; did you mean {', '.join(dict.fromkeys(meant))}?" if meant else message


def filled(text: str, width: int) -> str:
    r"""Fill the lines of a text to a width: prose by words, commands before flags, other indented lines not at all.

    >>> print(filled("Build it now.\n  encash build --model m.pt --data f.h5\n  a = 1 # as it is, however long", 26))
    Build it now.
      encash build \
          --model m.pt \
          --data f.h5
      a = 1 # as it is, however long
    """
    lines = []
    for line in text.splitlines():
        if line.startswith(("  encash ", "  python ")):
            lines += _continued(line, width)
        else:
            lines += [line] if line.startswith(" ") else wrap(line, max(width, 11)) or [""]
    return "\n".join(lines)


def _continued(command: str, width: int) -> list[str]:
    first, *flags = re.split(" (?=-)", command)
    lines = [first]
    for flag in flags:
        if len(lines[-1]) + len(flag) + len("  \\") > width:
            lines[-1] += " \\"
            lines.append(f"      {flag}")
        else:
            lines[-1] += f" {flag}"
    return lines


def unknown_flags(words: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return the long flags among words that a parser does not know.

    >>> unknown_flags(["--modle=m.pt", "--data", "f.h5", "--", "--x"], ["--model", "--data"])
    ['--modle']
    """
    ours = words[: words.index("--")] if "--" in words else words
    names = [word.split("=")[0] for word in ours if word.startswith("--") and " " not in word]
    return [name for name in names if name not in known]


def _unknown_choice(name: str, given: str, choices: str) -> str:
    """Return the message of a value that is not one of the choices of an argument."""
    known = re.findall(r"[^\s',]+", choices)
    what = f"unknown command {given}" if name == _COMMAND else f"argument {name}: unknown value {given}"
    meant = nearest(given.strip("'"), known)
    return f"{what}: expected {', '.join(known)}" if meant is None else f"{what}; did you mean {meant}?"


def one_line(text: str) -> str:
    r"""Replace line breaks by spaces and other control characters by ``?``, and shorten a very long text.

    >>> one_line("a\n  b\x00"), len(one_line("x" * 10**6))
    ('a b?', 2003)
    """
    line = "".join(
        letter if letter.isprintable() else "?" for letter in re.sub(r"\s*[\n\r\t\v\f]\s*", " ", text).strip()
    )
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
