"""Ctrl-C while a command works: a real process, a real signal, and a line that says what is on the disk afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from encash.cache import open_cache
from encash.cli import main
from encash.errors import EncashError
from encash.panel import toy_panel, write_panel
from encash.testing import MeanEncoder
from tests.cli.test_borders import UNIGNORE

SLOW = """
import time
from encash.testing import MeanEncoder

class Slow(MeanEncoder):
    def __init__(self):
        super().__init__({features}, lookback=5)

    def encode(self, windows):
        time.sleep(len(windows) / 8000)
        return super().encode(windows)
"""
GRID = "[base]\nhorizon = 1\nmax_missing = 1.0\n[grid]\ntop_k = [1, 2, 3, 4]\nseed = [{seeds}]\n"
TICKERS, SESSIONS, LOOKBACK = 60, 420, 5
FEW = ",".join(f"T{number:04}" for number in range(8))
ENTRIES = TICKERS * (SESSIONS - LOOKBACK + 1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, prices, a slow encoder, a table of prices, two caches, and one of them as HDF5."""
    folder = tmp_path_factory.mktemp("stops")
    panel = toy_panel(seed=1, num_tickers=TICKERS, num_sessions=SESSIONS)
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    (folder / "slow.py").write_text(SLOW.format(features=panel.num_features))
    for name in ("a.lance", "b.lance"):
        open_cache(folder / name).build(panel, MeanEncoder(panel.num_features, lookback=LOOKBACK))
    assert main(["cache", "export", str(folder / "a.lance"), str(folder / "a.h5"), "--quiet"]) == 0
    (folder / "g.toml").write_text(GRID.format(seeds=", ".join(map(str, range(100)))))
    rows = [f"{day},T{name:03},{100 + name + at % 7}" for name in range(200) for at, day in enumerate(panel.sessions)]
    (folder / "t.csv").write_text("\n".join(["date,ticker,close", *rows]) + "\n")
    return folder


def stopped(world: Path, when: Callable[[], bool], *words: object) -> str:
    """Send Ctrl-C to a command and all its processes, as a terminal does, once something is there; return its line."""
    process = subprocess.Popen(
        [sys.executable, "-c", UNIGNORE, *map(str, words)],
        cwd=world,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not when() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1].strip().splitlines()
    assert process.returncode == 1, said
    assert not any("Traceback" in line for line in said), said
    return said[-1]


def entries_of(cache: Path) -> int:
    """The entries of a cache; 0 if it does not exist yet, not even in part."""
    with contextlib.suppress(EncashError):
        return open_cache(cache).index().entries
    return 0


def has(path: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(path.glob(pattern))


@pytest.mark.parametrize("resumed_by", ["build", "update"])
def test_a_stopped_build_says_what_is_committed(world: Path, tmp_path: Path, resumed_by: str) -> None:
    """Not what is encoded: entries of the block at work are lost. `update` counts what was there before, too."""
    cache, model = tmp_path / "c.lance", ("--model", "slow:Slow", "--data", "f.h5", "--cache", tmp_path / "c.lance")
    line = stopped(world, lambda: entries_of(cache) > 0, "build", *model)
    kept = entries_of(cache)
    assert 0 < kept < ENTRIES
    assert line.endswith(f"{kept:,} entries are kept, {kept:,} of them from this run: the same command resumes")
    line = stopped(world, lambda: entries_of(cache) > kept, resumed_by, *model)
    found = re.search(r"stopped; ([\d,]+) entries are kept, ([\d,]+) of them from this run", line)
    assert found is not None, line
    both = [int(number.replace(",", "")) for number in found.groups()]
    assert both == [entries_of(cache), entries_of(cache) - kept]


@pytest.mark.parametrize("begun", [False, True], ids=["nothing there", "entries there"])
@pytest.mark.parametrize("words", ["cache merge a.lance b.lance --into", "cache import a.h5"])
def test_a_stopped_copy_says_what_the_cache_holds(world: Path, tmp_path: Path, words: str, begun: bool) -> None:
    """Also if it was stopped before it wrote anything."""
    cache = tmp_path / "c.lance"
    if begun:
        main([*words.replace("a.", f"{world}/a.").replace(" b.", f" {world}/b.").split(), str(cache), "--quiet"])
    began = time.monotonic()
    line = stopped(world, lambda: time.monotonic() - began > 0.4, *words.split(), cache)
    if "before the command began" in line or "what was committed is kept" in line:  # the machine is this slow
        return
    expected = f"{cache} holds {entries_of(cache):,} entries" if cache.exists() else f"{cache} was not created"
    assert expected in line


def test_a_stopped_sweep_says_how_many_runs_are_kept(world: Path, tmp_path: Path) -> None:
    """The number is that of the lines of the journal, and the same command computes the others."""
    journal = tmp_path / "s" / "runs.jsonl"
    sweep = f"sweep g.toml --prices p.h5 --cache a.lance --no-report --tickers {FEW} --out {tmp_path / 's'}".split()

    def runs() -> int:
        return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0

    for _ in range(2):
        before = runs()
        line = stopped(world, lambda: runs() > before, *sweep)  # noqa: B023 - called before the next turn
        assert runs() > before
        assert f"{runs()} of 400 runs are kept in {tmp_path / 's'}: the same command resumes" in line


@pytest.mark.slow
def test_a_stopped_walk_says_which_encoders_are_ready(world: Path, tmp_path: Path) -> None:
    """Ready encoders, and what there is of the next one; also of an earlier walk that was stopped."""
    out = tmp_path / "w"
    walk = "walk --data f.h5 --prices p.h5 --first-train-end 2020-12-31 --every 60 --epochs 1 -k 2 --window 60"
    walk += f" --precision float32 --tickers {FEW} --out"
    line = stopped(world, has(out, "*/model.json"), *walk.split(), out)
    assert "0 of " in line
    assert "encoders are ready, and the checkpoint" in line
    line = stopped(world, has(out, "*/clusters.json"), *walk.split(), out)
    assert f"{len(list(out.glob('*/clusters.json')))} of " in line
    assert "the same command continues from there" in line


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("train --data f.h5 --prices p.h5 --train-end 2021-06-01 --out {}/m.pt", ["m.pt"]),
        ("prepare t.csv --features-out {0}/f.h5 --prices-out {0}/p.h5", ["f.h5", "p.h5", "f.health.json"]),
    ],
)
def test_a_command_that_writes_at_its_end_says_what_is_written(
    world: Path, tmp_path: Path, words: str, outputs: list[str]
) -> None:
    """Nothing if it had not come that far, and then there is not even a temporary file."""
    began = time.monotonic()
    when = has(tmp_path, "?*") if len(outputs) > 1 else lambda: time.monotonic() - began > 2.5
    line = stopped(world, when, *words.format(tmp_path).split())
    written = [str(tmp_path / name) for name in outputs if (tmp_path / name).exists()]
    assert len(written) == len(list(tmp_path.iterdir()))
    expected = f"only {', '.join(written)} was written" if written else "nothing was written"
    assert f"{expected}: the same command starts again" in line
