"""``python -m tools.fuzz.kills``: kill commands at random instants; what other commands read then, and the next run."""

from __future__ import annotations

import os

if __name__ == "__main__":  # not where tests collect this file
    os.environ |= {"OMP_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE", "RAYON_NUM_THREADS": "1"}

import argparse
import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.panel import toy_panel, write_panel
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from tools.fuzz import case as cases
from tools.fuzz.campaign import Campaign, import_all, require
from tools.fuzz.kinds import GUIDE, needs
from tools.fuzz.pool import Pool
from tools.fuzz.results import result_of

C = "--prices p.h5 --cache c.lance"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A command that is killed, and one that reads what it leaves."""

    name: str
    command: str
    probe: str


OPERATIONS = (
    Operation(
        name="prepare",
        command="prepare raw/long.csv --features-out out.h5 --prices-out outp.h5",
        probe="plan --model m.pt --data out.h5 --cache out.lance",
    ),
    Operation(
        name="train",
        command="train --data long.h5 --prices longp.h5 --out out.pt --train-end 2020-11-30 --epochs 1",
        probe="plan --model out.pt --data long.h5 --cache out.lance",
    ),
    Operation(name="build", command="build --model m.pt --data f.h5 --cache out.lance", probe="cache verify out.lance"),
    Operation(name="update", command="update --model m.pt --data f2.h5 --cache c.lance", probe="cache verify c.lance"),
    Operation(
        name="guide's cache",
        command="cluster.cache_embeddings --model-path m.pt --dataset-path f.h5 --output-path out.h5",
        probe=f"inference.backtest_simulation {GUIDE} --embeddings-cache out.h5 --test-months 2 --top-k 2 --output run",
    ),
    Operation(
        name="guide's, continued",
        command="cluster.cache_embeddings --model-path m.pt --dataset-path f.h5 --output-path guide.h5 --num-months 1",
        probe=f"inference.backtest_simulation {GUIDE} --embeddings-cache guide.h5 --test-months 2 --top-k 2 "
        "--output run",
    ),
    Operation(name="merge", command="cache merge x.h5 c.lance --into out.lance", probe="cache verify out.lance"),
    Operation(name="import", command="cache import x.h5 out.lance", probe="cache verify out.lance"),
    Operation(name="export", command="cache export c.lance out.h5", probe="cache verify out.h5"),
    Operation(name="compact", command="cache compact c.lance", probe="cache verify c.lance"),
    Operation(
        name="clusters fit", command="clusters fit --cache c.lance -k 3 --end {fit} --out out",
        probe="clusters show out",
    ),
    Operation(
        name="rank",
        command=f"clusters rank --clusters k {C} --end {{fit}} --horizon 5 --top 1",
        probe=f"picks --date latest {C} --clusters k --top-k 2",
    ),
    Operation(
        name="walk",
        command=f"clusters walk {C} --every 20 --horizon 5 --embargo 5 -k 3 --history 60 --top 1 --out out",
        probe=f"picks --date latest {C} --clusters out --top-k 2",
    ),
    Operation(
        name="assign", command="clusters assign --clusters k --cache c.lance",
        probe=f"picks --date latest {C} --clusters k --top-k 2",
    ),
    Operation(
        name="backtest",
        command=f"backtest --data f.h5 {C} --clusters k --start {{start}} --end {{end}} --compare 5 --run-dir out",
        probe="report out --out page.html",
    ),
    Operation(
        name="sweep",
        command=f"sweep g.toml {C} --clusters k --workers 1 --out out",
        probe="report out/best --out page.html",
    ),
    Operation(name="report", command="report run --out out.html", probe="report run --out page.html"),
)  # fmt: skip
"""Commands whose results begin with ``out``, or are in their inputs."""
UNTOUCHED = ("rank", "assign", "update", "compact", "guide's, continued")
"""Operations on what exists, so that the probe must succeed after every kill."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Counts of one operation."""

    name: str
    kills: int
    early: int
    """Kills before the end of the command."""
    refused: int
    """Probes that refused what was left, in one line; the others succeeded."""
    wrong: list[str]
    """What must not occur."""


def run_kills(folder: Path, kills: int, seed: int, processes: int, only: list[str] | None = None) -> list[Row]:
    """Kill each operation, or those that are named, some times; several operations at the same time."""
    import_all()
    campaign = Campaign(folder=folder, kinds=(), minutes=0)
    campaign.make_files()
    _fork(lambda: _more_files(campaign.world))
    day_names = json.loads((folder / "days.json").read_text())
    rows = folder / "rows"
    shutil.rmtree(rows, ignore_errors=True)
    rows.mkdir()

    def work(number: int) -> None:
        one = OPERATIONS[number]
        command = one.command.format(**day_names)
        killer = Killer(operation=one, command=command, world=campaign.world, folder=campaign.work / str(number))
        row = killer.run(kills, np.random.default_rng([seed, number]))
        (rows / f"{number}.json").write_text(json.dumps(asdict(row)))
        print(table([row]).splitlines()[1], *row.wrong[:1], file=sys.stderr, flush=True)

    numbers = [number for number, one in enumerate(OPERATIONS) if not only or one.name in only]
    require(Pool(work=work, processes=processes, seconds=3600), numbers)
    return [Row(**json.loads((rows / f"{number}.json").read_text())) for number in numbers]


def _more_files(world: Path) -> None:
    """Write longer data to train on, and data with restated rows."""
    if (world / "f2.h5").exists():
        return
    os.chdir(world)
    write_panel(toy_panel(seed=2, num_tickers=4, num_sessions=260), world / "long.h5", world / "longp.h5")
    panel = toy_panel(seed=1, num_tickers=6, num_sessions=140)
    rows = {name: (panel.days(name), panel.rows((name,)).values.copy()) for name in panel.tickers}
    for name in panel.tickers[::2]:
        rows[name][1][30:40, 0] += 1
    write_panel(Panel(ArraySource(rows, panel.feature_names), panel.prices), world / "f2.h5", world / "f2p.h5")


def _fork(work: Callable[[], None]) -> None:
    require(Pool(work=lambda _: work(), processes=1, seconds=600), [None])


@dataclass(kw_only=True)
class Killer:
    """Kills one operation."""

    operation: Operation
    command: str
    world: Path
    folder: Path

    def run(self, kills: int, random: np.random.Generator) -> Row:
        """Run the operation twice without a kill, then with kills; compare."""
        runs = [self._whole_run() for _ in range(2)]
        files = {name: value for name, value in runs[0]["files"].items() if runs[1]["files"].get(name) == value}
        duration = min(run["seconds"] for run in runs)
        wrong = [run["wrong"] for run in runs]
        if not files:
            wrong.append(f"no file of it is the same in two runs: {[run['files'] for run in runs]}")
        early = refused = 0
        for _ in range(kills):
            self._prepare()
            early += self._killed_after(random.uniform(0, duration))
            found = self._check(files)
            refused += found["refused"]
            wrong.append(found["wrong"])
        return Row(name=self.operation.name, kills=kills, early=early, refused=refused, wrong=[*filter(None, wrong)])

    def _whole_run(self) -> dict[str, Any]:
        self._prepare()
        return self._check(None)

    def _prepare(self) -> None:
        """Copy what the commands need into an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        cases.copy(self.world, self.folder, *needs(f"{self.command} {self.operation.probe}", self.world))

    def _check(self, expected: dict[str, str] | None) -> dict[str, Any]:
        """Run the probe, and the command once more, in a process of their own."""
        answer = self.folder.with_suffix(".json")

        def work() -> None:
            os.chdir(self.folder)
            probe = None if expected is None else cases.run_command(self.operation.probe)
            began = time.monotonic()
            ran = cases.run_command(self.command)
            seconds, found = time.monotonic() - began, result_of(ran.out, self.folder, self.command)
            files = {name: value for name, value in found.items() if name.startswith("file ")}
            different = [name for name, value in (expected or {}).items() if files.get(name) != value]
            wrong = _wrong_probe(self.operation, probe) or _wrong_run(ran, different)
            refused = probe is not None and probe.code in (1, 2)
            answer.write_text(json.dumps({"seconds": seconds, "files": files, "wrong": wrong, "refused": refused}))

        _fork(work)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found

    def _killed_after(self, seconds: float) -> bool:
        """Run the command in a process that is killed; return whether it was killed before its end."""
        if (process := os.fork()) == 0:
            os.setpgid(0, 0)
            os.chdir(self.folder)
            cases.run_command(self.command)
            os._exit(0)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        return killed


def _wrong_probe(operation: Operation, probe: cases.Ran | None) -> str:
    """Say what a probe must not do; empty if it did nothing of it."""
    if probe is None or (probe.code == 0 and not probe.uncaught):
        return ""
    one_line = probe.err.strip().count("\n") == 0 and not probe.uncaught
    if one_line and probe.code in (1, 2) and operation.name not in UNTOUCHED:
        return ""
    return f"{operation.probe} after a kill: {probe.code} {probe.out}{probe.err}{probe.uncaught}"


def _wrong_run(ran: cases.Ran, different: list[str]) -> str:
    if ran.code or ran.uncaught:
        return f"the next run failed: {ran.err}{ran.uncaught}"
    return f"the next run gave different {different}" if different else ""


def table(rows: list[Row]) -> str:
    """Format the counts."""
    lines = [f"{'':<20}{'kills':>7}{'before its end':>16}{'probe refused':>15}{'wrong':>7}"]
    lines += [f"{row.name:<20}{row.kills:>7}{row.early:>16}{row.refused:>15}{len(row.wrong):>7}" for row in rows]
    sums = [sum(values) for values in zip(*((r.kills, r.early, r.refused, len(r.wrong)) for r in rows), strict=True)]
    return "\n".join([*lines, f"{'all':<20}{sums[0]:>7}{sums[1]:>16}{sums[2]:>15}{sums[3]:>7}"])


def main() -> int:
    """Parse the flags, run and print; return 1 if something must not occur."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=14, help="per operation (14)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("build/kills"))
    parser.add_argument("--only", action="append", choices=[one.name for one in OPERATIONS], help="repeatable")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    rows = run_kills(asked.folder.resolve(), asked.kills, asked.seed, asked.processes, asked.only)
    print(table(rows))
    for row in rows:
        for wrong in row.wrong:
            print(f"{row.name}: {wrong[-2000:]}")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
