"""Commands that many tests of the command line give, and their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encash.cli import main

LOOKBACK = 8


def models(where: Path) -> list[str]:
    return ["--model", str(where / "m.pt"), "--data", str(where / "f.h5")]


def runs(where: Path, *more: str) -> list[str]:
    days = (where / "days.txt").read_text().split()
    return [
        *("backtest", "--data", str(where / "f.h5"), "--prices", str(where / "p.h5"), "--clusters", str(where / "k")),
        *("--start", days[100], "--end", days[150], "--top-k", "2", "--run-dir", str(where / "run"), "--quiet", *more),
    ]


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    """The one JSON object of a command that succeeds."""
    capsys.readouterr()
    assert main([*command, "--json", "--quiet"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def refusal(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line of a command that is refused with exit code 2."""
    capsys.readouterr()
    assert main([*command, "--quiet"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    return line
