"""Commands without an optional package: one line that names the extra, before any work; the core reads a cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from encash.extras import EXTRAS
from encash.panel import open_panel
from tests.cli.commands import runs

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = "jinja2 matplotlib faiss torch onnxruntime chronos lightgbm ray purgedcv obstore xarray skfolio scipy pandas"
"""What a plain `pip install encash` may lack."""
START = """
import sys
from importlib.machinery import PathFinder
missing = set(sys.argv.pop(1).split())
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in missing else find(name, *rest)
from encash.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without(packages: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where these packages are not installed."""
    call = [sys.executable, "-c", START, packages, *command]
    return subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})


def test_the_table_of_extras_is_that_of_the_project() -> None:
    """Each extra of users has its modules in the table, and `all` includes every one."""
    declared = set(PROJECT["optional-dependencies"]) - {"dev", "docs", "all"}
    assert declared == set(EXTRAS)
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(everything.removeprefix("encash[").removesuffix("]").split(",")) == declared


NEEDS = [
    ("faiss", "clusters", ["clusters", "fit", "--cache", "c.lance", "--end", "2030-01-01", "--out", "new"]),
    *(
        (
            "sklearn faiss",
            "clusterers",
            ["clusters", "fit", "--cache", "c.lance", "--end", "2030-01-01", "--out", "new", "--clusterer", name],
        )
        for name in ("mixture", "hdbscan")
    ),
    (
        "faiss",
        "clusters",
        [
            *("walk", "--data", "f.h5", "--prices", "p.h5", "--first-train-end", "2030-01-01", "--every", "1y"),
            *("--horizon", "5", "--out", "new"),
        ],
    ),
    (
        "faiss",
        "clusters",
        [
            *("clusters", "walk", "--cache", "c.lance", "--prices", "p.h5", "--every", "20", "--horizon", "5"),
            *("--embargo", "5", "--history", "60", "--out", "new"),
        ],
    ),
    ("jinja2", "report", ["backtest", "--cache", "c.lance", "--prices", "p.h5", "--run-dir", "new"]),
    ("matplotlib", "report", ["backtest", "--cache", "c.lance", "--prices", "p.h5", "--run-dir", "new"]),
    ("matplotlib", "report", ["sweep", "g.toml", "--cache", "c.lance", "--prices", "p.h5", "--out", "new"]),
    ("jinja2", "report", ["report", "run", "--out", "new"]),
    ("matplotlib", "report", ["cache", "coverage", "c.lance", "--data", "f.h5", "--out", "new"]),
    ("torch", "torch", ["train", "--data", "f.h5", "--prices", "p.h5", "--out", "new", "--train-end", "2030-01-01"]),
    ("torch", "torch", ["build", "--model", "m.pt", "--data", "f.h5", "--cache", "new.lance"]),
    ("torch", "torch", ["plan", "--model", "m.pt", "--data", "f.h5", "--cache", "new.lance"]),
    ("torch", "torch", ["backtest", "--model", "m.pt", "--data", "f.h5", "--prices", "p.h5", "--no-report"]),
    ("chronos", "chronos", ["build", "--model", "chronos:m", "--data", "f.h5", "--cache", "new.lance"]),
    ("onnxruntime", "onnx", ["build", "--model", "x.onnx", "--data", "f.h5", "--cache", "new.lance"]),
    (
        "lightgbm",
        "boosted",
        [
            *("head", "fit", "--cache", "c.lance", "--prices", "p.h5", "--end", "2030-01-01", "--kind", "boosted"),
            *("--out", "new"),
        ],
    ),
    (
        "ray",
        "ray",
        ["build", "--model", "m.pt", "--data", "f.h5", "--cache", "new.lance", "--executor", "ray"],
    ),
    ("faiss", "clusters", ["demo", "--out", "new"]),
    ("torch", "torch", ["demo", "--out", "new"]),
]


@pytest.mark.parametrize(("package", "extra", "command"), NEEDS)
def test_a_missing_package_is_one_line_before_any_work(
    folder: Path, tmp_path: Path, package: str, extra: str, command: list[str]
) -> None:
    """Exit 2, the extra to install, and nothing written."""
    for name in ("c.lance", "f.h5", "p.h5", "m.pt"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "x.onnx").write_bytes(b"model")
    (tmp_path / "g.toml").write_text("[grid]\ntop_k = [1, 2]\n")
    words = [str(tmp_path / word) if (tmp_path / word).exists() or word.startswith("new") else word for word in command]
    done = without(package, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"encash[{extra}]" in done.stderr
    assert not done.stdout
    assert not list(tmp_path.glob("new*"))


def test_the_core_reads_a_cache(folder: Path, tmp_path: Path) -> None:
    """Info, verify, coverage, a backtest and its comparisons, a sweep, picks, similar: none needs an extra."""
    run, days = str(tmp_path / "run"), (folder / "days.txt").read_text().split()
    cache, prices = ["--cache", str(folder / "c.lance")], ["--prices", str(folder / "p.h5")]
    (tmp_path / "g.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2]\nhorizon = [5, 10]\n')
    clusters, tickers = ["--clusters", str(folder / "k")], open_panel(folder / "f.h5").tickers
    for command in (
        ["cache", "info", str(folder / "c.lance")],
        ["cache", "verify", str(folder / "c.lance")],
        ["cache", "coverage", str(folder / "c.lance"), "--data", str(folder / "f.h5")],
        ["clusters", "show", str(folder / "k")],
        [*runs(folder, *cache, "--no-report", "--compare", "5")[:-1], "--run-dir", run],
        ["sweep", str(tmp_path / "g.toml"), *cache, *prices, *clusters, "--no-report", "--out", str(tmp_path / "s")],
        ["picks", "--date", days[120], *cache, *prices, *clusters],
        ["similar", tickers[0], days[120], *cache, *prices],
        ["audit", "--scores", str(scores(tmp_path, tickers, days)), *prices, "--allow-untried"],
    ):
        done = without(CORE, *command, "--json", "--quiet")
        assert done.returncode == 0, (command, done.stderr)
        assert json.loads(done.stdout)


def scores(where: Path, tickers: tuple[str, ...], days: list[str]) -> Path:
    """Write random scores."""
    random, path = np.random.default_rng(0), where / "scores.csv"
    lines = [f"{day},{ticker},{random.normal():.6f}" for day in days for ticker in tickers]
    path.write_text("\n".join(["date,ticker,score", *lines]) + "\n")
    return path
