"""Survival of a cache: kills at random moments and many concurrent builders lose nothing; figures with pytest -s."""

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from encash.cache import open_cache
from encash.errors import MissingFileError
from encash.testing import MemoryStore

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WORKER = Path(__file__).with_name("survival_worker.py")
KILLS_EACH = 34
"""Number of kills per job: 204 in total for six jobs."""
WRITERS = 8


@pytest.fixture(scope="module")
def jobs():
    """The worker's module, for its data."""
    spec = importlib.util.spec_from_file_location("survival_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Worker:
    """A process that forks one more for each job."""

    def __init__(self):
        command = [sys.executable, "-W", "ignore", str(WORKER)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def start(self, *job) -> int:
        self._input.write("\t".join(map(str, job)) + "\n")
        self._input.flush()
        return int(self._output.readline())

    def wait(self) -> int:
        return int(self._output.readline())

    def run(self, *job) -> None:
        self.start(*job)
        assert self.wait() == 0, f"{job} failed"

    def kill_after(self, seconds: float, *job) -> bool:
        """Kill the job after some seconds; return whether it was killed before its end."""
        process = self.start(*job)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def close(self) -> None:
        self._input.close()
        self._output.close()
        self._process.wait(30)


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


def entries_of(path_or_store):
    """Return (day, ticker) → digest and values of every entry, and check that each key occurs once."""
    store = path_or_store if isinstance(path_or_store, MemoryStore) else open_cache(path_or_store).store
    found = {}
    for part in store.snapshot().by_day(1_000):
        for at in range(len(part)):
            key = str(part.days[at]), str(part.tickers[at])
            assert key not in found, f"duplicate key {key}"
            found[key] = int(part.digest[at]), part.embedding[at].tobytes(), part.forecast[at].tobytes()
    return found


@pytest.fixture(scope="module")
def truth(jobs, tmp_path_factory):
    """Every entry of the old and of the new data, from builds without kills."""
    folder = tmp_path_factory.mktemp("truth")
    jobs.fill(str(folder / "old.lance"), jobs.old_data())
    shutil.copytree(folder / "old.lance", folder / "new.lance")
    jobs.fill(str(folder / "new.lance"), jobs.new_data())
    return folder, entries_of(folder / "old.lance"), entries_of(folder / "new.lance")


def seconds_of(worker, *job) -> float:
    began = time.perf_counter()
    worker.run(*job)
    return time.perf_counter() - began


def show(name: str, killed: int, text: str) -> None:
    sys.stdout.write(f"\n{name}: killed {killed} of {KILLS_EACH} times before its end; {text}\n")


@pytest.mark.parametrize("job", ["build", "update"])
def test_killed_builds_lose_no_committed_entry(job, worker, jobs, truth, tmp_path):
    """After each kill the cache opens, every entry is right, and the next build encodes only what is missing."""
    folder, old, new = truth
    allowed, panel = ([old], jobs.old_data()) if job == "build" else ([old, new], jobs.new_data())
    path = tmp_path / "c.lance"

    def begin():
        shutil.rmtree(path, ignore_errors=True)
        if job == "update":
            shutil.copytree(folder / "old.lance", path)

    begin()
    seconds_of(worker, job, path)
    begin()
    duration, killed, blocks = seconds_of(worker, job, path), 0, []
    for number in range(KILLS_EACH):
        begin()
        if worker.kill_after(random.Random(number).uniform(0, duration), job, path):
            killed += 1
        try:
            left = entries_of(path)
        except MissingFileError:
            assert job == "build", "an existing cache is gone"
            left = {}
        assert all(any(values == known.get(key) for known in allowed) for key, values in left.items())
        assert job == "build" or set(old) <= set(left), "a committed entry is gone"
        cache, encoder = open_cache(path), jobs.make_encoder()
        done = sum(allowed[-1].get(key) == values for key, values in left.items())
        report = cache.build(panel, encoder)
        assert (report.computed, encoder.windows_encoded) == (len(allowed[-1]) - done,) * 2
        assert entries_of(path) == allowed[-1]
        assert cache.verify().passed
        blocks.append(done % jobs.BLOCK_ENTRIES)
    show(job, killed, "every committed entry was there, the next build computed only the rest")
    assert killed > KILLS_EACH // 3, "most jobs had ended before they were killed"
    if job == "build":
        assert set(blocks) <= {0, len(old) % jobs.BLOCK_ENTRIES}, "a partial block was committed"


def test_killed_merges_are_completed_by_the_next(worker, truth, tmp_path):
    """After each kill the target has only right entries, and the next merge adds the rest; sources do not change."""
    folder, old, _ = truth
    path, job = tmp_path / "m.lance", ("merge", tmp_path / "m.lance", folder / "old.lance")
    seconds_of(worker, *job)
    shutil.rmtree(path)
    duration, killed = seconds_of(worker, *job), 0
    for number in range(KILLS_EACH):
        shutil.rmtree(path, ignore_errors=True)
        killed += worker.kill_after(random.Random(number).uniform(0, duration), *job)
        if open_cache(path).exists:
            assert entries_of(path).items() <= old.items()
        worker.run(*job)
        assert entries_of(path) == entries_of(folder / "old.lance") == old
    show("merge", killed, "the sources were untouched, the next merge added the rest")


def test_killed_imports_are_completed_by_the_next(worker, truth, tmp_path):
    folder, old, _ = truth
    worker.run("export", tmp_path / "x.h5", folder / "old.lance")
    path, job = tmp_path / "i.lance", ("import", tmp_path / "i.lance", tmp_path / "x.h5")
    duration, killed = seconds_of(worker, *job), 0
    for number in range(KILLS_EACH):
        shutil.rmtree(path, ignore_errors=True)
        killed += worker.kill_after(random.Random(number).uniform(0, duration), *job)
        worker.run(*job)
        assert entries_of(path) == old
    show("import", killed, "the next import added the rest")


def test_killed_compactions_change_no_entry(worker, truth, tmp_path):
    """After a kill at any moment the entries are the same, and the cache can be compacted again."""
    folder, _, new = truth
    path, killed = tmp_path / "c.lance", 0

    def restore():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(folder / "new.lance", path)

    def seconds_after_restore():
        restore()
        return seconds_of(worker, "compact", path)

    duration = min(seconds_after_restore() for _ in range(5))  # the first is slower than those that are killed
    for number in range(KILLS_EACH):
        restore()
        killed += worker.kill_after(random.Random(number).uniform(0, duration), "compact", path)
        assert entries_of(path) == new
        worker.run("compact", path)
        assert entries_of(path) == new
        assert open_cache(path).verify().passed
    show("compact", killed, "no entry changed")


def test_killed_exports_keep_the_old_file(worker, truth, tmp_path):
    """The complete old export is there until the new one is, and a partial file does not disturb the next export."""
    folder, old, new = truth
    path = tmp_path / "x.h5"
    worker.run("export", path, folder / "old.lance")
    duration, killed = seconds_of(worker, "export", tmp_path / "y.h5", folder / "new.lance"), 0
    worker.run("export", path, folder / "old.lance")
    for number in range(KILLS_EACH):
        was_killed = worker.kill_after(random.Random(number).uniform(0, duration), "export", path, folder / "new.lance")
        killed += was_killed
        assert entries_of(path) in ((old, new) if was_killed else (new,))
        worker.run("export", path, folder / "old.lance")
        assert entries_of(path) == old
    show("export", killed, "the older file was complete each time")
    leftovers = [entry.name for entry in tmp_path.iterdir() if entry.name not in ("x.h5", "y.h5")]
    assert len(leftovers) <= KILLS_EACH, "more temporary files than kills"


def test_eight_builders_of_overlapping_ranges_write_every_key_once(truth, tmp_path):
    """While eight processes build at the same time, a reader sees only right values; at the end every key is there
    once."""
    _, old, _ = truth
    path = tmp_path / "w.lance"
    workers = [Worker() for _ in range(WRITERS)]
    for number, worker in enumerate(workers):
        worker.start("part", path, number)
    reads, done = 0, threading.Event()
    wrong: list[tuple[str, str]] = []

    def watch():
        nonlocal reads
        while not done.is_set():
            try:
                seen = entries_of(path)
            except MissingFileError:
                continue
            reads += 1
            wrong.extend(key for key, values in seen.items() if old.get(key) != values)

    reader = threading.Thread(target=watch)
    reader.start()
    statuses = [worker.wait() for worker in workers]
    done.set()
    reader.join()
    for worker in workers:
        worker.close()
    sys.stdout.write(
        f"\n{WRITERS} builders: statuses {statuses}, {reads} concurrent reads, {len(wrong)} wrong values\n"
    )
    assert statuses == [0] * WRITERS
    assert wrong == []
    assert reads > 0
    assert entries_of(path) == old
    assert open_cache(path).verify().passed
    assert np.array_equal(np.sort(open_cache(path).index().digest), np.sort([values[0] for values in old.values()]))
