"""The page on nightly jobs: its commands parse, and those of the service and of cron run."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from encash.cli import main
from encash.cli.main import parser
from encash.testing import write_checkpoint
from tests.docs.pages import blocks
from tests.docs.test_models import folder

__all__ = ["folder"]
PAGE = "nightly.md"


def commands(line: str) -> list[list[str]]:
    """The words of each command of encash in a line of a shell."""
    parts = re.split(r"&&|>>", line)
    words = [shlex.split(part) for part in parts]
    return [one[1:] for one in words if one and one[0].split("/")[-1] == "encash"]


def service() -> list[list[str]]:
    lines = [
        line.removeprefix("ExecStart=") for line in blocks(PAGE, "ini")[0].splitlines() if line.startswith("ExecStart=")
    ]
    return [words for line in lines for words in commands(line)]


def test_every_command_parses() -> None:
    """With the flags that there are."""
    found = service()
    assert len(found) == 4
    same = [[word for word in words if word != "--quiet"] for words in commands(blocks(PAGE, "cron")[0])]
    assert same == [[word for word in words if word != "--quiet"] for words in found], "cron does what systemd does"
    found += same
    found += [words for block in blocks(PAGE, "sh") for line in block.splitlines() for words in commands(line)]
    assert len(found) == 10
    for words in found:
        parser().parse_args(words)


def test_units_and_schedule_have_their_sections() -> None:
    """One service, one timer; five fields before the command of cron."""
    names = [
        configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
        for _ in range(len(blocks(PAGE, "ini")))
    ]
    for unit, text in zip(names, blocks(PAGE, "ini"), strict=True):
        unit.read_string(text)
    assert [unit.sections() for unit in names] == [["Unit", "Service"], ["Unit", "Timer", "Install"]]
    line = blocks(PAGE, "cron")[0].splitlines()[1]
    assert re.match(r"[0-9]+ [0-9]+ \* \* 1-5 cd ", line)
    assert "%" not in line, "cron ends a command at a percent sign"


def test_the_service_runs_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a first build, fit and ranking; the second night finds nothing to encode."""
    write_checkpoint("model.pt", num_features=64)
    cache, files = ["--cache", "cache.lance"], ["--data", "features.h5"]
    fit, rank = ["--end", "2016-06-30", "-k", "3"], ["--end", "2016-06-30", "--horizon", "5", "--top", "2"]
    for words in (
        ["build", "--model", "model.pt", *files, *cache, "--start", "2016-01-01"],
        ["clusters", "fit", *cache, *fit, "--out", "clusters"],
        ["clusters", "rank", "--clusters", "clusters", *cache, "--prices", "prices.h5", *rank],
    ):
        assert main([*words, "--quiet"]) == 0
    for _ in range(2):
        for words in service():
            assert main(words) == 0, capsys.readouterr().err
    assert Path("orders.csv").read_text().startswith("ticker,side,shares,price")
