"""Commands that reproduce a run or test it, as a shell reads them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from encash.report.summary import Run

_QUIET = ("--json", "--quiet", "--debug")
_STOCKS = ("--tickers", "--membership", "--groups")
_SOURCES = (
    *("--data", "--prices", "--clusters", "--cache", "--as-of", "--encoders", "--head", "--scores", "--average"),
    *("--average-by", "--model", "--batch-size", "--device", "--engine", "--precision", "--lookback", "--pooling"),
    *("--bin-edges", "--bin-unit", "--model-config", "--ignore-keys", "--ensemble-models"),
)
_DECISIONS = (
    *("--start", "--horizon", "--forecast-horizon", "--top-k", "--num-test-stocks", "--subset-size", "--weights"),
    *("--confidence-percentile", "--volatility-sessions", "--seed", "--group-neutral", "--max-weight", "--filter"),
    *("--min-dollar-volume", "--volume-sessions", "--short", "--short-weight", "--keep"),
    *("--max-per-group", "--max-missing", "--allow-lookahead"),
)
TAKEN = {
    "audit": (*_SOURCES, *_STOCKS, *_DECISIONS),
    "cache coverage": ("--data", "--as-of", "--tickers", "--start", "--end"),
    "sweep": (*_SOURCES, *_STOCKS, "--horizon", "--keep"),
}
"""Command → flags that it takes from the command of the run."""


_NEEDED = {
    "audit": {"--data": "FEATURES", "--prices": "PRICES", "--model": "MODEL"},
    "cache coverage": {"--data": "FEATURES"},
    "sweep": {"--prices": "PRICES"},
}
"""Command → flags that it needs, and the words that stand for what the run does not record."""
_STAND_INS = {"FEATURES", "PRICES", "MODEL", "CACHE", "GRID.toml", "FLAGS"}


class Command(NamedTuple):
    """A command that tests something about a run."""

    text: str
    missing: tuple[str, ...]
    """Words of it to replace, because the run does not record them."""


def run_command(run: Run) -> str:
    """Return the command that wrote a run, its words escaped; empty if not recorded."""
    words = [word for word in run.command if word not in _QUIET]
    return shlex.join(["encash", *words]) if words else ""


def test_command(run: Run, words: Sequence[str]) -> Command:
    """Return the command that tests something about a run.

    Args:
        run: the run.
        words: flags to add to the command of the run, or a command of its own, which takes the flags of the run that it
            knows; none for the command of the run.
    """
    known = run.command[:1] == ("backtest",)
    flags = [(flag[0].partition("=")[0], flag) for flag in _flags(run.command[1:] if known else ("FLAGS",))]
    given = dict(flags)
    if not words or words[0].startswith("--"):
        dropped = {*_QUIET, "--no-report", *words}
        kept = [word for name, flag in flags if name not in dropped for word in flag]
        return _command(["backtest", *kept, *words])
    name = " ".join(words)
    taken = [word for own, flag in flags if own in TAKEN[name] for word in flag]
    absent = {flag: stand_in for flag, stand_in in _NEEDED[name].items() if flag not in given}
    if name == "audit" and "--scores" in given:  # which audits only these
        absent = {}
    more = [word for flag in absent.items() for word in flag]
    if name == "sweep":
        more += ["GRID.toml", "--out", "SWEEP"]
    if name == "cache coverage":
        more.append("=".join(given.get("--cache", ["", "CACHE"])).partition("=")[2])
    return _command([*words, *taken, *more])


def _command(words: Sequence[str]) -> Command:
    return Command(shlex.join(["encash", *words]), tuple(word for word in words if word in _STAND_INS))


def _flags(words: Sequence[str]) -> Iterator[list[str]]:
    """Divide the words of a command into flags with their values."""
    group = list[str]()
    for word in words:
        if word.startswith("--") and group:
            yield group
            group = []
        group.append(word)
    if group:
        yield group
