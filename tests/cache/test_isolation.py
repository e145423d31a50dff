"""Snapshot isolation: each reader gets the entries of exactly one version, regardless of later commits."""

import itertools
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from encash.cache import Cache, CacheReader, Lookup, export_hdf5, open_cache
from encash.errors import ConflictError, InputError
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.store import create_store, open_store
from encash.store.base import Entries, StoreSpec
from encash.testing import MeanEncoder

DAYS = np.arange("2024-01-01", "2024-01-17", dtype="datetime64[D]")
NAMES = ("A", "B", "C", "D", "E")
FEATURES, LOOKBACK = 2, 3
Truth = dict[tuple[np.datetime64, str], bytes]


def make_encoder() -> MeanEncoder:
    return MeanEncoder(FEATURES, lookback=LOOKBACK, dim=3, batch_size=16)


class Data:
    """Feature rows that can be restated, and the encoder's output for their windows."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.values = {name: random.standard_normal((len(DAYS), FEATURES)).astype(np.float32) for name in NAMES}

    def panel(self) -> Panel:
        return Panel(ArraySource({name: (DAYS, values.copy()) for name, values in self.values.items()}))

    def vector(self, name: str, day: int) -> bytes | None:
        window = self.values[name][day + 1 - LOOKBACK : day + 1]
        if day + 1 < LOOKBACK or not np.isfinite(window).all():
            return None
        return make_encoder().encode(window[None]).embedding[0].tobytes()


Check = Callable[[], None]
"""Reads more from an open reader, and compares it with the version in which it was opened."""


def read_days(cache: Cache, truth: Truth) -> Check:
    sections = cache.days()

    def check() -> None:
        for day, tickers, vectors in itertools.islice(sections, 2):
            for ticker, vector in zip(tickers.tolist(), vectors, strict=True):
                assert vector.tobytes() == truth[day, ticker]

    return check


def read_scan(cache: Cache, truth: Truth) -> Check:
    batches = cache.scan(7)

    def check() -> None:
        for part in itertools.islice(batches, 1):
            for day, ticker, vector in zip(part.days, part.tickers.tolist(), part.embedding, strict=True):
                assert vector.tobytes() == truth[day, ticker]

    return check


def read_arrow(cache: Cache, truth: Truth) -> Check:
    batches = iter(cache.to_arrow(7))

    def check() -> None:
        for batch in itertools.islice(batches, 1):
            for row in batch.to_pylist():
                key = np.datetime64(row["date"], "D"), row["ticker"]
                assert np.array(row["embedding"], np.float32).tobytes() == truth[key]

    return check


def read_dataset(cache: Cache, truth: Truth) -> Check:
    dataset = cache.torch_dataset()

    def check() -> None:
        items = dataset.__getitems__(list(range(len(dataset))))
        found = {(np.datetime64(item["day"], "D"), item["ticker"]): item["embedding"].tobytes() for item in items}
        assert found == truth

    return check


def read_lookup(cache: Cache, truth: Truth) -> Check:
    lookup, keys = Lookup(cache=cache), sorted(truth)

    def check() -> None:
        days, tickers = np.array([day for day, _ in keys]), np.array([ticker for _, ticker in keys])
        for part in lookup.read(days, tickers, embeddings=True):
            assert part.found.all()
            assert part.embedding is not None
            assert [vector.tobytes() for vector in part.embedding] == [truth[key] for key in keys]

    return check


def read_snapshot(cache: Cache, truth: Truth) -> Check:
    snapshot = cache.snapshot()

    def check() -> None:
        for day in DAYS[LOOKBACK - 1 :: 5]:
            compare(snapshot, day, truth)

    return check


def compare(reader: CacheReader, day: np.datetime64, truth: Truth) -> None:
    vectors, found = reader.get(day, NAMES)
    for ticker, vector, there in zip(NAMES, vectors, found.tolist(), strict=True):
        assert (vector.tobytes() if there else None) == truth.get((day, ticker))


READERS = (read_days, read_scan, read_arrow, read_dataset, read_lookup, read_snapshot)


class ForeignWrites(RuleBasedStateMachine):
    """Reads through one cache instance while others restate, build, drop and compact, in any order."""

    @initialize(remote=st.booleans())
    def begin(self, remote: bool) -> None:
        self.folder = tempfile.mkdtemp()
        self.path = f"{'file-object-store://' if remote else ''}{self.folder}/a.lance"
        self.data, self.checks = Data(), list[Check]()
        self.held: Truth = {}
        self.build(10)
        self.cache = open_cache(self.path)
        self.seen = dict(self.held)

    @rule(last=st.integers(6, len(DAYS) - 1))
    def build(self, last: int) -> None:
        open_cache(self.path).build(self.data.panel(), make_encoder(), end=DAYS[last])
        for name in NAMES:
            for day in range(last + 1):
                if (vector := self.data.vector(name, day)) is not None:
                    self.held[DAYS[day], name] = vector

    @rule(name=st.sampled_from(NAMES), day=st.integers(0, len(DAYS) - 1), value=st.sampled_from([1.5, -2.5, 0.25]))
    def restate(self, name: str, day: int, value: float) -> None:
        self.data.values[name][day, 0] = value

    @rule(name=st.sampled_from(NAMES), day=st.integers(4, 9))
    def withdraw_and_drop(self, name: str, day: int) -> None:
        self.data.values[name][day, 0] = np.nan
        open_cache(self.path).verify(self.data.panel(), drop=True)
        for other in NAMES:
            for at in range(len(DAYS)):
                window = self.data.values[other][max(0, at + 1 - LOOKBACK) : at + 1]
                if not np.isfinite(window).all():
                    self.held.pop((DAYS[at], other), None)

    @rule()
    def compact(self) -> None:
        open_cache(self.path).compact()

    @rule()
    def refresh(self) -> None:
        self.cache.refresh()
        self.seen = dict(self.held)

    @rule(read=st.sampled_from(READERS))
    def open_a_reader(self, read: Callable[[Cache, Truth], Check]) -> None:
        self.checks = [*self.checks, read(self.cache, dict(self.seen))][-6:]

    @invariant()
    def every_reader_reads_its_version(self) -> None:
        for check in self.checks:
            check()

    @invariant()
    def the_cache_reads_the_version_that_it_sees(self) -> None:
        compare(self.cache, DAYS[8], self.seen)

    def teardown(self) -> None:
        if hasattr(self, "held"):
            sections = open_cache(self.path).days()
            fresh = {
                (day, t): v.tobytes() for day, names, vs in sections for t, v in zip(names.tolist(), vs, strict=True)
            }
            assert fresh == self.held
            self.checks.clear()
            shutil.rmtree(self.folder)


_QUICK = settings(database=None)

TestForeignWrites = ForeignWrites.TestCase
TestForeignWrites.settings = settings(_QUICK, max_examples=8, stateful_step_count=14, derandomize=True)


@pytest.mark.slow
def test_random_histories():
    """The state machine passes on random examples, which differ from run to run."""
    run_state_machine_as_test(ForeignWrites, settings=settings(_QUICK, max_examples=150, stateful_step_count=30))


# Probes: every vector identifies its key and version.

SESSIONS, TICKERS = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]"), [f"T{i:02}" for i in range(20)]
READS = 100_000


def numbered(days: np.ndarray, version: int) -> Entries:
    """Return entries of all tickers whose vector is (version, day number, ticker number)."""
    day = np.repeat((days - SESSIONS[0]).astype(int), len(TICKERS))
    ticker = np.tile(np.arange(len(TICKERS)), len(days))
    vectors = np.stack([np.full(len(day), version), day, ticker], axis=1).astype(np.float32)
    nothing = np.empty((len(day), 0), dtype=np.float32)
    return Entries(
        days=SESSIONS[day],
        tickers=np.array(TICKERS)[ticker],
        digest=np.full(len(day), version + 1, dtype=np.uint64),
        embedding=vectors,
        forecast=nothing,
        confidence=nothing,
    )


@pytest.fixture(params=["", "file-object-store://"])
def probe(tmp_path: Path, request: pytest.FixtureRequest) -> Cache:
    """A cache of 20 × 20 entries with one commit per five days, on disk and at a URL."""
    path = f"{request.param}{tmp_path}/probe.lance"
    store = create_store(path, StoreSpec(dim=3, dtype="float32", horizons=(), encoder={}, fingerprint="f"))
    for first in range(0, 20, 5):
        store.write(numbered(SESSIONS[first : first + 5], 0))
    return open_cache(path)


def write_foreign(cache: Cache, version: int) -> None:
    """Replace one day in a separate commit through a different instance, and compact after every seventh."""
    other = open_store(cache.path)
    other.write(numbered(SESSIONS[version % 20 : version % 20 + 1], version))
    if version % 7 == 0:
        other.compact()


def test_a_dataset_reads_its_version_after_foreign_writes_and_refreshes(probe):
    """A torch dataset that lives through foreign writes and `refresh` returns the vectors of its version."""
    dataset, wrong, reads = probe.torch_dataset(), 0, 0
    for version in range(1, 11):
        write_foreign(probe, version)
        probe.refresh()
        items = dataset.__getitems__(list(range(400)))
        for number, item in enumerate(items):
            wrong += item["embedding"].tolist() != [0, number // 20, number % 20]
            reads += 1
    assert (wrong, reads) == (0, 4_000)


def test_an_iterator_over_days_reads_its_version(probe):
    """A running iterator over days yields the cross-sections of the version in which it was started."""
    sections = probe.days()
    for number, (day, tickers, vectors) in enumerate(sections):
        write_foreign(probe, number + 1)
        probe.refresh()
        assert (day, tickers.tolist()) == (SESSIONS[number], TICKERS)
        assert vectors.tolist() == [[0, number, ticker] for ticker in range(20)]
    assert number == 19


def count_wrong_reads(cache: Cache, reads: int, seed: int, stop: threading.Event) -> tuple[int, int]:
    """Read random tickers of random days until a number of reads; count vectors of a different key."""
    random, done, wrong = np.random.default_rng(seed), 0, 0
    while done < reads and not stop.is_set():
        day = int(random.integers(20))
        ticker = random.choice(20, 3, replace=False)
        vectors, found = cache.get(SESSIONS[day], [TICKERS[one] for one in ticker])
        wrong += not found.all() or vectors[:, 1].tolist() != [day] * 3 or vectors[:, 2].tolist() != ticker.tolist()
        done += 1
    return done, wrong


@pytest.mark.parametrize("reads", [3_000, pytest.param(READS, marks=pytest.mark.slow)])
def test_threads_read_while_another_refreshes(probe, reads):
    """Threads that call `get` while a different thread refreshes after foreign writes never get the vector of a
    different key, in at least 100,000 reads."""
    if reads == READS and "://" in probe.path:
        reads = READS // 20  # every read from a URL goes through the engine
    stop, version = threading.Event(), 0
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(count_wrong_reads, probe, reads // 2, seed, stop) for seed in range(2)]
        while version < 2 or not all(reader.done() for reader in readers):
            version += 1
            write_foreign(probe, version)
            probe.refresh()
        results = [reader.result() for reader in readers]
    assert sum(done for done, _ in results) >= reads
    assert sum(wrong for _, wrong in results) == 0


def test_a_snapshot_cannot_be_written_and_a_cache_takes_no_row_numbers(probe):
    """Row numbers are accepted by snapshots only, and a snapshot refuses to be written."""
    assert not hasattr(probe, "read")
    snapshot = probe.snapshot()
    vectors, _, _ = snapshot.read(snapshot.index().rows())
    assert len(vectors) == 400
    with pytest.raises(InputError, match="cannot be written"):
        snapshot.write_back(numbered(SESSIONS[:1], 1))


def test_a_pickled_dataset_refuses_a_cache_that_was_replaced(probe):
    """A pickled dataset opens the same version; if a different cache is now at its path, that is an error."""
    if "://" in probe.path:
        pytest.skip("the probe is about a folder")

    dataset = pickle.dumps(probe.torch_dataset())
    assert pickle.loads(dataset)[21]["embedding"].tolist() == [0, 1, 1]
    shutil.rmtree(probe.path)
    store = create_store(probe.path, probe.spec)
    for first in range(0, 20, 5):
        store.write(numbered(SESSIONS[first : first + 5], 9))
    with pytest.raises(ConflictError, match="was replaced"):
        pickle.loads(dataset)


def test_readers_of_a_replaced_interchange_file_keep_theirs(probe, tmp_path):
    """Readers of an `.h5` cache keep the file that they opened when a new export replaces it, until `refresh`."""

    target = tmp_path / "x.h5"
    export_hdf5(probe, target)
    cache = open_cache(target)
    sections, snapshot = cache.days(), cache.snapshot()
    next(sections)
    write_foreign(probe, 3)
    probe.refresh()
    export_hdf5(probe, target)
    assert [vectors[0].tolist() for _, _, vectors in sections] == [[0, day, 0] for day in range(1, 20)]
    assert cache.get(SESSIONS[3], ["T05"])[0].tolist() == [[0, 3, 5]]
    cache.refresh()
    assert cache.get(SESSIONS[3], ["T05"])[0].tolist() == [[3, 3, 5]]
    assert snapshot.get(SESSIONS[3], ["T05"])[0].tolist() == [[0, 3, 5]]
    os.unlink(target)
    assert snapshot.get(SESSIONS[3], ["T05"])[0].tolist() == [[0, 3, 5]]
