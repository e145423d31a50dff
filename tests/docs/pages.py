"""Helpers of the tests of the pages: the blocks of a page, a run of all of them in order, and files to run them on.

``encash`` commands in a ``bash`` block exit with 0, those in an ``sh`` block are refused with 2; a ``python`` block is
run; one that begins with the name of a file as a comment is written there; a ``text`` block is what was printed.
Numbers may differ, unless the page says otherwise.
With ``ENCASH_UPDATE_DOCS=1`` in the environment, the ``text`` blocks are rewritten with what was printed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encash.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs"
FIRST, LAST = "2014-01-01", "2016-12-31"
BLOCK = re.compile(r"^```(?P<language>[\w{}-]*)\n(?P<body>.*?)^```", flags=re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w.]+\.\w+)\n")
UPDATE = "ENCASH_UPDATE_DOCS"
REFUSED = 2


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language in a page of docs/."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return [found["body"] for found in BLOCK.finditer(text) if found["language"] == language]


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a block; a backslash joins lines."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def run(line: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Run a command of a page as it stands; return what it printed on stdout, or on stderr if it is refused."""
    words = shlex.split(line, comments=True)
    assert words[0] == "encash", line
    capsys.readouterr()
    try:
        found = main([*words[1:], "--quiet"])
    except SystemExit as stopped:  # a usage error
        found = int(str(stopped.code))
    printed = capsys.readouterr()
    assert found == code, f"{line}: exit code {found}\n{printed.err}"
    return printed.err if code else printed.out


def run_page(
    page: str,
    capsys: pytest.CaptureFixture[str],
    *,
    same: Callable[[str], Any] | None = None,
    after_python: Callable[[], None] = lambda: None,
) -> list[str]:
    """Run a page in the working folder, block by block, and return the commands that were run.

    Args:
        page: its path in docs/.
        capsys: of the test.
        same: what of an output must be as written; numbers may differ if None.
        after_python: called after each block of Python.
    """
    text, update, same = (PAGES / page).read_text(encoding="utf-8"), os.environ.get(UPDATE), same or shape
    names: dict[str, Any] = {"__name__": "__page__"}
    called: list[str] = []
    written, printed, end = "", "", 0
    for found in BLOCK.finditer(text):
        language, body = found["language"], found["body"]
        if language in ("bash", "sh"):
            lines = list(commands(body))
            called += lines
            printed = "".join(run(line, capsys, REFUSED if language == "sh" else 0) for line in lines)
        elif language in ("python", "toml") and (name := FILE_NAME.match(body)):
            Path(name[1]).write_text(body, encoding="utf-8")
        elif language == "python":
            printed = run_python(body, names, page)
            after_python()
        elif language == "text":
            body = tidy(printed) if update else body
            assert same(body) == same(tidy(printed)), f"{page} has an old output:\n{printed}"
        written += text[end : found.start("body")] + body
        end = found.end("body")
    if update:
        (PAGES / page).write_text(written + text[end:], encoding="utf-8")
    return called


def run_python(block: str, names: dict[str, Any], page: str) -> str:
    """Run a block of Python and return what it printed."""
    with redirect_stdout(StringIO()) as out:
        exec(compile(block, page, "exec"), names)  # the code of the page, as a reader would run it
    return out.getvalue()


def tidy(printed: str) -> str:
    """Return an output without trailing spaces and empty lines at its ends."""
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


def shape(output: str) -> str:
    """Return an output without its numbers and without the width of its columns."""
    return " ".join(re.sub(r"[-+−]?\d[\d,.:]*(e-?\d+)?%?|\b[0-9a-f]{12,64}\b|-{3,}", "#", output).split())


def first_words(output: str) -> list[str]:
    """Return the first word of each line that begins with one."""
    return re.findall(r"^[A-Za-z_]+", output, flags=re.MULTILINE)


def without_hashes(output: str) -> str:
    """Return an output without the fingerprints in it."""
    return re.sub(r"\b[0-9a-f]{12,64}\b", "#", output)


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


def write_workflow(folder: Path) -> None:
    """Write what most pages assume: prices.csv of 8 tickers, their features, a model, its cache and ranked clusters."""
    from encash.panel import open_panel
    from encash.testing import write_checkpoint

    write_prices(folder / "prices.csv", 8, first="2015-01-01")
    at = {name: str(folder / name) for name in ("features.h5", "prices.h5", "cache.lance", "clusters", "model.pt")}
    files = ["--features-out", at["features.h5"], "--prices-out", at["prices.h5"]]
    assert main(["prepare", str(folder / "prices.csv"), *files, "--quiet"]) == 0
    panel = open_panel(folder / "features.h5")
    write_checkpoint(folder / "model.pt", num_features=panel.num_features, lookback=8)
    cached = ["--cache", at["cache.lance"]]
    build = ["--model", at["model.pt"], "--data", at["features.h5"], *cached, "--precision", "float32"]
    assert main(["build", *build, "--quiet"]) == 0
    ended = ["--end", "2015-12-31", "--quiet"]
    assert main(["clusters", "fit", *cached, "-k", "4", "--out", at["clusters"], *ended]) == 0
    ranked = ["--clusters", at["clusters"], "--prices", at["prices.h5"], "--horizon", "5", "--top", "2"]
    assert main(["clusters", "rank", *cached, *ranked, *ended]) == 0


def copy_workflow(made: Path, folder: Path) -> None:
    """Copy what `write_workflow` made."""
    shutil.copytree(made, folder, dirs_exist_ok=True)


def business_days(first: str, last: str) -> np.ndarray:
    """Return Mondays to Fridays."""
    days = np.arange(first, np.datetime64(last) + np.timedelta64(1, "D"), dtype="datetime64[D]")
    return days[np.is_busday(days)]
