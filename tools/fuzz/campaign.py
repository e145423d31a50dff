"""A run of many cases: make the files, note what each command does on whole files, run cases, count classes."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import encash
from tools.fuzz import case as cases
from tools.fuzz.case import BAD, GOOD, Case, Ran, Verdict
from tools.fuzz.kinds import Kind, needs
from tools.fuzz.pool import Ended, Job, Pool
from tools.fuzz.results import result_of
from tools.fuzz.world import STEPS, days, make_world

TIME_LIMIT = 60.0
"""Seconds after which a command counts as hanging."""
MEMORY_LIMIT = 1_500 * 2**20
"""Bytes of memory that a command may take, beside those of the process that starts it."""
MODULES = (
    "encash.cli.backtest", "encash.cli.build", "encash.cli.cache", "encash.cli.clusters", "encash.cli.picks",
    "encash.cli.plan", "encash.cli.prepare", "encash.cli.report", "encash.cli.similar", "encash.cli.sweep",
    "encash.cli.train", "encash.cli.update", "encash.backtest.sweep", "encash.clusters.walk", "encash.encoders.onnx",
    "encash.encoders.pretrained.transformers_models",
    "encash.encoders.torch.program", "encash.panel.prepare", "encash.pipeline.page", "encash.report.page",
    "encash.store.hdf5", "encash.store.lance", "encash.training.fit", "inference.backtest_simulation",
    "onnxruntime", "faiss", "matplotlib.pyplot", "pandas", "sympy", "torch._export.serde.serialize",
    "torch.export.pt2_archive", "torch.fx.experimental.symbolic_shapes", "transformers.models.patchtst",
)  # fmt: skip
"""Imported once, before the first fork."""


def import_all() -> None:
    """Import what the commands need, so that no forked process has to."""
    for name in MODULES:
        importlib.import_module(name)
    warnings.filterwarnings("ignore", message="lance is not fork-safe")  # it is used in the children only
    gc.collect()
    gc.freeze()  # so that no child copies pages to count references


@dataclass(kw_only=True)
class Campaign:
    """A run of cases."""

    folder: Path
    kinds: tuple[Kind, ...]
    minutes: float
    cases: int | None = None
    seed: int = 0
    processes: int = 2
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _base_bytes: int = 0
    _days: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> Path:
        """The whole files."""
        return self.folder / "world"

    @property
    def work(self) -> Path:
        """The folders of the running cases."""
        return self.folder / "work"

    def run(self) -> list[Verdict]:
        """Run cases until the time is over; return those that must not occur."""
        import_all()
        self.make_files()
        self._days = json.loads((self.folder / "days.json").read_text())
        expected = self._expected()
        print(f"{len(expected)} commands on whole files; cases from seed {self.seed}", file=sys.stderr, flush=True)
        self._base_bytes = _resident()

        def work(job: Case) -> None:
            self._work(job, expected[job.kind, job.command])

        pool = Pool(work=work, processes=self.processes, seconds=TIME_LIMIT)
        return [verdict for ended in pool.run(self._jobs()) if (verdict := self._count(ended)) is not None]

    def _jobs(self) -> Iterator[Case]:
        """Draw cases of all kinds in turn until the time or the number is over."""
        end, number = time.monotonic() + 60 * self.minutes, 0
        while time.monotonic() < end:
            for kind in self.kinds:
                if self.cases is not None and number >= self.cases:
                    return
                yield cases.draw(self.world, kind, self.seed + number // len(self.kinds), self._days)[0]
                number += 1

    def make_files(self) -> None:
        """Make the whole files, unless an earlier run of the same code did."""
        done = self.folder / "days.json"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        texts = " ".join(" ".join((*kind.commands, *kind.files)) for kind in self.kinds)
        wanted = {name for name in STEPS if re.search(rf"\b{re.escape(name)}\b", texts) or not self.kinds}
        stamp = self.folder / "sources.txt"
        same = stamp.exists() and stamp.read_text() == _sources()
        if same and done.exists() and all((self.world / name).exists() for name in wanted):
            return
        shutil.rmtree(self.world, ignore_errors=True)
        self.world.mkdir()

        def make(_: str) -> None:
            os.chdir(self.world)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
            make_world(self.world, wanted)
            done.write_text(json.dumps(days()))
            stamp.write_text(_sources())

        require(Pool(work=make, processes=1, seconds=600), ["make the files"])

    def _expected(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the results of all commands on whole files: what is equal in two runs."""
        jobs = [
            Case(kind=kind.name, seed=0, file=file, command=command.format(file=file, **self._days))
            for kind in self.kinds
            for command in kind.commands
            for file in (kind.files_below(self.world) if "{file}" in command else kind.files_below(self.world)[:1])
        ]
        distinct = {job.command: job for job in jobs}
        target = self.folder / "expected"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        names = {command: target / f"{number}.json" for number, command in enumerate(distinct)}

        def work(job: tuple[Case, int]) -> None:
            one, turn = job
            path = names[one.command]
            ran, result = self._result(one, f"{path.stem}-{turn}")
            if ran.code not in (0, 3) or ran.uncaught:
                raise RuntimeError(f"{one.command} fails on whole files: {ran.err}{ran.uncaught}")
            path.with_suffix(f".{turn}").write_text(json.dumps(result))

        require(
            Pool(work=work, processes=self.processes, seconds=600), [(j, t) for j in distinct.values() for t in (0, 1)]
        )
        equal = {}
        for command, path in names.items():
            first, second = (json.loads(path.with_suffix(f".{turn}").read_text()) for turn in (0, 1))
            equal[command] = {name: value for name, value in first.items() if second.get(name) == value}
        return {(job.kind, job.command): equal[job.command] for job in jobs}

    def _result(self, job: Case, name: str) -> tuple[Ran, dict[str, str]]:
        folder = self.work / name
        folder.mkdir()
        cases.copy(self.world, folder, *needs(job.command, self.world))
        os.chdir(folder)
        ran = cases.run_command(job.command)
        result = result_of(ran.out, folder, job.command)
        self._remove(folder)
        return ran, result

    def _work(self, job: Case, expected: dict[str, str]) -> None:
        """Prepare a case in its own folder and judge it; the verdict goes to a file beside the folder."""
        folder = self.work / f"{job.kind}-{job.seed}"
        folder.mkdir()
        _, random = cases.draw(self.world, cases.kind_of(job.kind), job.seed, self._days)
        drawn = cases.prepare(self.world, folder, job, random)
        folder.with_name(f"{folder.name}.json").write_text(cases.to_json(Verdict(case=drawn, verdict="crash")))
        cases.limit_memory()
        os.chdir(folder)
        verdict = cases.judge(self.world, drawn, expected)
        folder.with_name(f"{folder.name}.json").write_text(cases.to_json(verdict))

    def _count(self, ended: Ended[Case]) -> Verdict | None:
        """Count a case; keep its files and return it if it must not occur."""
        base = self.work / f"{ended.job.kind}-{ended.job.seed}"
        verdict = cases.from_json(base.with_name(f"{base.name}.json").read_text())
        name = verdict.verdict
        if ended.late:
            name = "hang"
        elif ended.status:
            name = "crash"
        elif name in GOOD and ended.peak_bytes > self._base_bytes + MEMORY_LIMIT:
            name = "memory"
        self.counts[verdict.case.kind, name] += 1
        verdict = Verdict(
            case=verdict.case,
            verdict=name,
            code=ended.status or verdict.code,
            detail=f"{verdict.detail} [{ended.seconds:.1f} s, {ended.peak_bytes >> 20} MiB]",
        )
        bad = name in BAD
        if bad:
            self._keep(verdict)
        self._remove(base)
        return verdict if bad else None

    def _remove(self, base: Path) -> None:
        """Remove the folder of a case and the files beside it."""
        for left in self.work.glob(f"{base.name}*"):
            if left.name.removeprefix(base.name)[:1] in ("", "."):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _keep(self, verdict: Verdict) -> None:
        """Prepare a case once more, for a replay."""
        kept = self.folder / "failures" / f"{verdict.case.kind}-{verdict.case.seed}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)

        def prepare(job: Case) -> None:
            drawn, random = cases.draw(self.world, cases.kind_of(job.kind), job.seed, self._days)
            cases.prepare(self.world, kept, drawn, random)

        require(Pool(work=prepare, processes=1, seconds=TIME_LIMIT), [verdict.case])
        (kept.parent / f"{kept.name}.json").write_text(cases.to_json(verdict))

    def table(self) -> str:
        """Format the counts by kind and class."""
        width = max(len(kind.name) for kind in self.kinds)
        head = f"{'':<{width}} " + " ".join(f"{name:>13}" for name in ("cases", *GOOD, *BAD))
        rows = [head]
        for label, named in [*((kind.name, [kind.name]) for kind in self.kinds), ("all", [k.name for k in self.kinds])]:
            counts = [sum(self.counts[one, name] for one in named) for name in (*GOOD, *BAD)]
            rows.append(f"{label:<{width}} " + " ".join(f"{count:>13,}" for count in (sum(counts), *counts)))
        return "\n".join(rows)


def require(pool: Pool[Job], jobs: Iterable[Job]) -> None:
    """Run jobs that must succeed.

    Raises:
        RuntimeError: one failed.
    """
    if failed := [ended for ended in pool.run(jobs) if ended.status]:
        raise RuntimeError(f"{len(failed)} of the jobs above failed, such as {failed[0]}")


def _sources() -> str:
    """List the sources with their times, to tell whether the code has changed."""
    roots = (Path(encash.__file__).parent, Path(__file__).parent)
    return "\n".join(f"{path} {path.stat().st_mtime_ns}" for root in roots for path in sorted(root.rglob("*.py")))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def replay(folder: Path, name: str) -> int:
    """Run a failed case again on a copy of its files, and show everything; return the exit code of the command.

    The copy stays in ``FOLDER/replay`` for a debugger.
    """
    verdict = cases.from_json((folder / "failures" / f"{name}.json").read_text())
    target = folder / "replay"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "failures" / name, target)
    os.chdir(target)
    print(f"cd {target}\n{verdict.case.file}: {verdict.case.story}\n{verdict.verdict} before: {verdict.detail}")
    print(f"$ {verdict.case.command}")
    ran = cases.run_command(verdict.case.command)
    print(f"{ran.out}{ran.err}{ran.uncaught}exit code {ran.code}")
    return ran.code
