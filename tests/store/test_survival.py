"""Survival of a store: SIGKILL at any moment, many concurrent writers, and readers at the same time."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from encash.store import create_store, ensure_store, export_hdf5, open_store
from encash.store.lance.snapshot import LanceSnapshot
from encash.testing import MemoryStore
from encash.testing.store_contract import everything, make_entries
from tests.store.processes import read_line, send_go
from tests.store.survival_worker import SPEC, TICKERS, step_entries

WORKER = Path(__file__).with_name("survival_worker.py")
KILLS = int(os.environ.get("ENCASH_KILLS", "25"))
"""Number of kills per kind of job."""

pytestmark = pytest.mark.slow


@pytest.fixture
def report(request):
    """Print a line of figures next to the result of the test."""
    plugins = request.config.pluginmanager

    def show(line: str) -> None:
        with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
            plugins.get_plugin("terminalreporter").write_line(f"\n{line}")

    return show


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a worker, and wait until it is ready."""
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert read_line(worker) == "ready\n"
    return worker


def kill_after(seconds: float, *arguments: object) -> list[str]:
    """Kill a worker after some seconds, and return its announcements."""
    worker = start(*arguments)
    time.sleep(seconds)
    worker.kill()
    announced = worker.communicate()[0].split()
    assert worker.returncode in (0, -9)
    return announced


@pytest.mark.parametrize("task", ["write", "compact"])
def test_killed_writers_lose_nothing(tmp_path, report, task):
    """After each kill of a writer, every announced commit is there and right, a commit is complete or absent, and the
    next writer continues from it."""
    rng, path = random.Random(1), tmp_path / "a.lance"
    expected, step = MemoryStore(SPEC), 0
    for _ in range(KILLS):
        announced = kill_after(rng.uniform(0, 0.12), task, path, step)
        for _ in announced:
            expected.write(step_entries(step))
            step += 1
        store = open_store(path)
        if everything(store) != everything(expected):
            expected.write(step_entries(step))  # committed, but killed before the announcement
            step += 1
            assert everything(store) == everything(expected)
    snapshot = open_store(path).snapshot()
    assert isinstance(snapshot, LanceSnapshot)
    assert snapshot.verify().passed
    assert step > 0
    orphans = len(list((path / "data").iterdir())) - len(snapshot.fragments)
    report(f"  {task}: {KILLS} kills, {step} commits of {len(step_entries(1))} entries, 0 lost, {orphans} orphan files")


def test_killed_merges_are_completed_by_the_next(tmp_path, report):
    """A killed merge leaves only complete commits; merging again completes it; the sources do not change."""
    left, right = (create_store(tmp_path / name, SPEC) for name in ("a.lance", "b.lance"))
    for step in range(12):
        (left if step % 2 else right).write(step_entries(step * 3))
    left.write(step_entries(40))
    right.write(step_entries(40))
    truth = {**everything(left), **everything(right)}
    rng, partial = random.Random(2), 0
    for number in range(KILLS):
        into = tmp_path / f"{number}.lance"
        kill_after(rng.uniform(0, 0.06), "merge", into, left.location, right.location)
        seen = everything(open_store(into))
        assert seen.items() <= truth.items()
        partial += 0 < len(seen) < len(truth)
        worker = start("merge", into, left.location, right.location)
        assert worker.communicate(timeout=60)[0] == "merged\n"
        assert everything(open_store(into)) == truth
    assert everything(left) | everything(right) == truth
    report(f"  merge: {KILLS} kills, {partial} of them partial, all completed by the next run, 0 lost")


def test_killed_exports_keep_the_old_file(tmp_path, report):
    """A killed export leaves the complete old or the complete new file, and at most one partial temporary file, which
    the next export removes."""
    store = create_store(tmp_path / "a.lance", SPEC)
    for step in range(4):
        store.write(step_entries(step))
    target = tmp_path / "out.h5"
    export_hdf5(store.snapshot(), target)
    truth, rng, partial = everything(store), random.Random(3), 0
    for _ in range(KILLS):
        kill_after(rng.uniform(0, 0.9), "export", store.location, target)
        assert everything(open_store(target)) == truth
        partial += len(left := list(tmp_path.glob(".out.h5.*")))
        assert len(left) <= 1
    export_hdf5(store.snapshot(), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.lance", "out.h5"]
    report(f"  export: {KILLS} kills, {partial} left a partial temporary file, the export was complete each time")


def test_many_writers_write_every_key_once(tmp_path, report):
    """8 processes that write overlapping blocks at the same time leave every key once with the right values; readers
    see only complete blocks."""
    path = tmp_path / "a.lance"
    ensure_store(path, SPEC)
    workers = [start("contend", path, number) for number in range(8)]
    stop, reads, torn = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            counts = (open_store(path).snapshot().index().row >= 0).sum(axis=1)
            reads.append(len(counts))
            torn.extend(counts[counts != len(TICKERS)])

    reader = threading.Thread(target=read)
    reader.start()
    for worker in workers:
        send_go(worker)
    ends = [worker.communicate(timeout=120)[0] for worker in workers]
    stop.set()
    reader.join()
    assert ends == ["done\n"] * 8
    store, truth = open_store(path), MemoryStore(SPEC)
    for day in range(12):
        truth.write(make_entries(SPEC, [f"2024-01-{day + 1:02}"], TICKERS, seed=day, digest=day + 1))
    assert everything(store) == everything(truth)
    assert store.snapshot().index().duplicates == 0
    assert store.snapshot().verify().passed
    assert torn == []
    report(f"  8 writers, {12 * len(TICKERS)} keys, every key once; {len(reads)} concurrent reads, 0 torn")


def test_a_killed_writer_releases_its_lock(tmp_path):
    """The lock of a killed writer is released, so that the next writer can commit."""
    path = tmp_path / "a.lance"
    ensure_store(path, SPEC)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path / "_encash.lock")], stdout=subprocess.PIPE, text=True
    )
    assert read_line(holder) == "held\n"
    holder.kill()
    holder.wait()
    assert open_store(path).write(step_entries(0)) == 2


HOLD = """
import sys, time
from pathlib import Path
from encash.store.local.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
