"""What the tests of the pages share: blocks of a page, a run of its commands, and prices to run them on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encash.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs"
FIRST, LAST = "2014-01-01", "2016-12-31"


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language in a page of docs/."""
    return [block for kind, block in all_blocks(page) if kind == language]


def all_blocks(page: str) -> list[tuple[str, str]]:
    """Return all fenced blocks of a page with their languages, in order."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(r"^```([\w{}-]*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def lines(block: str) -> Iterator[str]:
    """Yield the commands of a block; a backslash joins lines."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def run(line: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    """Run a command of a page as it stands, and return what it printed on stdout and on stderr."""
    words = shlex.split(line, comments=True)
    assert words[0] == "encash", line
    capsys.readouterr()
    try:
        found = main([*words[1:], "--quiet"])
    except SystemExit as stopped:  # a usage error
        found = int(str(stopped.code))
    printed = capsys.readouterr()
    assert found == code, f"{line}: exit code {found}\n{printed.err}"
    return printed.out, printed.err


def write_prices(path: Path, tickers: int, *, first: str = FIRST, last: str = LAST, seed: int = 0) -> None:
    """Write bars of random walks, one row per business day and ticker (T00, T01, …)."""
    rng, days = np.random.default_rng(seed), business_days(first, last)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (len(days), tickers)), axis=0))
    rows = [
        f"{day},T{number:02d},{price:.4f},{price * 1.01:.4f},{price * 0.99:.4f},{price:.4f},{2e5 + 1e4 * number:.0f}"
        for day, prices in zip(days, close, strict=True)
        for number, price in enumerate(prices)
    ]
    path.write_text("\n".join(["date,ticker,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")


def write_scores(path: Path, tickers: int, *, first: str = FIRST, last: str = LAST) -> None:
    """Write random scores of the same tickers and days."""
    rng = np.random.default_rng(1)
    rows = [f"{day},T{n:02d},{rng.normal():.4f}" for day in business_days(first, last) for n in range(tickers)]
    path.write_text("\n".join(["date,ticker,score", *rows]) + "\n", encoding="utf-8")


def business_days(first: str, last: str) -> np.ndarray:
    """Return Mondays to Fridays."""
    days = np.arange(first, np.datetime64(last) + 1, dtype="datetime64[D]")
    return days[np.is_busday(days)]
