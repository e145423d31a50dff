"""Commands that reproduce a run or test it, as a shell reads them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise

from encash.report.summary import Run

_QUIET = ("--json", "--quiet", "--debug")
_SHARED = {
    "audit": ("--data", "--prices", "--model", "--cache", "--clusters", "--start"),
    "cache coverage": ("--data",),
    "sweep": ("--prices", "--cache", "--clusters"),
}
"""Flags that a command of its own takes from the command of the run."""


def run_command(run: Run) -> str:
    """Return the command that wrote a run, its words escaped; empty if not recorded."""
    words = [word for word in run.command if word not in _QUIET]
    return shlex.join(["encash", *words]) if words else ""


def test_command(run: Run, words: Sequence[str]) -> str:
    """Return the command that tests something about a run.

    Args:
        run: the run.
        words: flags to add to the command of the run, or a command of its own, which takes the flags of the run that it
            knows; none for the command of the run.
    """
    if not words or words[0].startswith("--"):
        own = list(run.command) if run.command[:1] == ("backtest",) else ["backtest", "…"]
        kept = _without(own, {word for word in words if word.startswith("--")})
        return _joined([*kept, *words])
    flags = _SHARED.get(" ".join(words), ())
    given = _values(run.command)
    found = [part for flag in flags if flag in given for part in (flag, given[flag])]
    return _joined([*words, *(found or ["…"])])


def _joined(words: Sequence[str]) -> str:
    """Join words for a shell; an ellipsis stays one."""
    kept = [word for word in words if word not in _QUIET]
    return " ".join(["encash", *("…" if word == "…" else shlex.quote(word) for word in kept)])


def _values(words: Sequence[str]) -> dict[str, str]:
    """Return the flags of a command that have a value."""
    return {word: after for word, after in pairwise(words) if word.startswith("--") and not after.startswith("--")}


def _without(words: Sequence[str], flags: set[str]) -> list[str]:
    """Return the words without some flags and their values."""
    kept, skipping = list[str](), False
    for word in words:
        if word.startswith("--"):
            skipping = word.partition("=")[0] in flags
        if not skipping:
            kept.append(word)
    return kept
