"""Caches in a bucket of a local S3 server: the contract, the life of a cache, concurrent writers, and the errors if
the bucket cannot be reached."""

import contextlib
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from encash.cache import Cache, export_hdf5, merge_caches, open_cache
from encash.errors import ConflictError, InputError, MissingFileError, WorkError
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.panel.toy import toy_panel
from encash.store import create_store, ensure_store, open_store
from encash.store.base import EmbeddingStore, StoreSpec
from encash.testing import MeanEncoder, MemoryStore, StoreContract
from encash.testing.store_contract import everything, make_entries, make_spec
from tests.store.faulty_proxy import FAULTS, FaultyProxy
from tests.store.processes import read_line, send_go
from tests.store.s3_server import s3_server
from tests.store.survival_worker import SPEC, TICKERS, own_entries, step_entries

WORKER = Path(__file__).with_name("survival_worker.py")
numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def bucket() -> Iterator[str]:
    """A server with one bucket, configured for Lance as users do: in the environment."""
    with s3_server():
        yield "s3://bucket"


@pytest.fixture
def endpoint(bucket: str) -> str:
    """The address of the server itself."""
    return os.environ["AWS_ENDPOINT_URL"]


@pytest.fixture
def prefix(bucket: str) -> str:
    """An unused prefix of the bucket."""
    return f"{bucket}/{next(numbers)}"


class TestObjectStore(StoreContract):
    """A store in a bucket passes the contract."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        return create_store(f"s3://bucket/contract-{next(numbers)}/a cache ü.lance", spec)

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        return open_store(store.location, version=version)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return toy_panel(seed=1, num_tickers=5, num_sessions=80)


@pytest.fixture
def encoder(panel: Panel) -> MeanEncoder:
    return MeanEncoder(panel.num_features, lookback=8)


def same(left: Cache, right: Cache) -> bool:
    """Return whether two caches have the same entries, bit for bit."""
    return everything(left.store) == everything(right.store)


def test_a_cache_in_a_bucket_equals_a_local_one(tmp_path, prefix, panel, encoder):
    """Built in two parts, read, updated after a restatement, tagged, compacted and verified, a cache in a bucket equals
    a local cache at each step."""
    remote, local = (open_cache(f"{where}/c.lance") for where in (prefix, tmp_path))
    for cache in (remote, local):
        cache.build(panel, encoder, end=panel.sessions[40])
        cache.build(panel, encoder)
    assert same(open_cache(remote.path), local)
    assert open_cache(remote.path).plan(panel, encoder).to_compute == 0
    day, names = panel.sessions[50], list(panel.tickers)
    assert remote.get(day, names)[0].tobytes() == local.get(day, names)[0].tobytes()
    for ours, theirs in zip(remote.days(), local.days(), strict=True):
        assert ours[0] == theirs[0]
        assert ours[2].tobytes() == theirs[2].tobytes()
    remote.tag("before")
    changed = restated(panel)
    assert remote.plan(changed, encoder).stale > 0
    for cache in (remote, local):
        cache.build(changed, encoder)
    assert same(remote, local)
    assert open_cache(remote.path, version="before").index().entries == remote.index().entries
    assert not same(open_cache(remote.path, version="before"), remote)
    remote.compact(keep_versions=2)
    assert same(open_cache(remote.path), local)
    assert remote.store.snapshot().verify().passed
    assert [version.tags for version in remote.versions() if version.tags] == [("before",)]


@pytest.mark.slow
def test_ray_builds_into_a_bucket(tmp_path, prefix, panel, encoder):
    """Workers encode and this process commits: the entries equal those of a local build, bit for bit."""
    pytest.importorskip("ray", reason="ray comes with the dev install")
    from encash.cache.executors.ray import RayExecutor

    remote, local = (open_cache(f"{where}/c.lance") for where in (prefix, tmp_path))
    local.build(panel, encoder)
    features, encoder.windows_encoded = panel.num_features, 0
    with RayExecutor(lambda: MeanEncoder(features, lookback=8), workers=1) as executor:
        report = remote.build(panel, encoder, executor=executor)
    assert (report.computed, report.failed, encoder.windows_encoded) == (local.index().entries, 0, 0)
    assert same(open_cache(remote.path), local)


def restated(panel: Panel) -> Panel:
    """Return the panel with one row of its first ticker changed."""
    parts = {name: panel.rows((name,)) for name in panel.tickers}
    rows = {name: (part.days, part.values.copy()) for name, part in parts.items()}
    rows[panel.tickers[0]][1][30] += 1
    return Panel(ArraySource(rows, panel.feature_names), panel.prices)


def test_caches_are_merged_and_exported(tmp_path, prefix, panel, encoder):
    """A local cache and one in a bucket are merged into either place, equal bit for bit, and then exported."""
    whole, left, right = (
        open_cache(tmp_path / "w.lance"),
        open_cache(tmp_path / "l.lance"),
        open_cache(f"{prefix}/r.lance"),
    )
    whole.build(panel, encoder)
    left.build(panel, encoder, end=panel.sessions[40])
    right.build(panel, encoder, start=panel.sessions[30])
    for into in (tmp_path / "into.lance", f"{prefix}/into.lance"):
        report = merge_caches([left.path, right.path], into)
        assert report.added == whole.index().entries
        assert same(open_cache(into), whole)
    export_hdf5(open_cache(f"{prefix}/into.lance"), tmp_path / "out.h5")
    assert everything(open_store(tmp_path / "out.h5")) == everything(whole.store)
    with pytest.raises(InputError, match="into itself"):
        merge_caches([right.path], right.path)


def test_an_unknown_version_is_not_a_missing_cache(prefix):
    """An unknown version or tag of a cache in a bucket has a different error from a missing cache."""
    create_store(f"{prefix}/a.lance", make_spec())
    for version in ("no-such", 99):
        with pytest.raises(MissingFileError, match=f"has no version {version!r}"):
            open_store(f"{prefix}/a.lance", version=version)
        with pytest.raises(MissingFileError, match="no cache at"):
            open_store(f"{prefix}/none.lance", version=version)


@pytest.mark.parametrize("writers", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_concurrent_writers_in_one_bucket(prefix, writers):
    """Processes that create one cache at the same time and write overlapping blocks leave every key once, with the
    right values."""
    command = [sys.executable, str(WORKER), "contend", f"{prefix}/a.lance"]
    workers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(writers)
    ]
    assert [read_line(worker) for worker in workers] == ["ready\n"] * writers
    for worker in workers:
        send_go(worker)
    assert [worker.communicate(timeout=240)[0] for worker in workers] == ["done\n"] * writers
    store, truth = open_store(f"{prefix}/a.lance"), MemoryStore(SPEC)
    for day in range(12):
        truth.write(make_entries(SPEC, [f"2024-01-{day + 1:02}"], TICKERS, seed=day, digest=day + 1))
    assert everything(store) == everything(truth)
    assert store.snapshot().verify().passed


@pytest.mark.slow
def test_compacting_while_others_write(prefix):
    """A cache in a bucket that is compacted repeatedly while others write loses no row and duplicates no key; a
    compaction that meets a new commit ends with ConflictError and changes nothing."""
    ensure_store(f"{prefix}/a.lance", SPEC)
    command = [sys.executable, str(WORKER), "contend", f"{prefix}/a.lance"]
    workers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in (0, 1)
    ]
    for worker in workers:
        read_line(worker)
        send_go(worker)
    while any(worker.poll() is None for worker in workers):
        with contextlib.suppress(ConflictError):
            open_store(f"{prefix}/a.lance").compact(keep_versions=2)
    assert [worker.returncode for worker in workers] == [0, 0]
    store = open_store(f"{prefix}/a.lance")
    assert (store.snapshot().index().entries, store.snapshot().index().duplicates) == (12 * len(TICKERS), 0)
    assert store.snapshot().verify().passed


@pytest.mark.slow
def test_killed_writers_in_a_bucket_lose_nothing(prefix):
    """After each kill of a writer into a bucket, all announced commits are there and right, and the next writer
    continues from them."""
    rng, expected, step = random.Random(1), MemoryStore(SPEC), 0
    for _ in range(8):
        command = [sys.executable, str(WORKER), "write", f"{prefix}/a.lance", str(step)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert read_line(worker) == "ready\n"
        time.sleep(rng.uniform(0, 0.3))
        worker.kill()
        for _ in worker.communicate()[0].split():
            expected.write(step_entries(step))
            step += 1
        store = open_store(f"{prefix}/a.lance")
        if everything(store) != everything(expected):
            expected.write(step_entries(step))  # committed, but killed before the announcement
            step += 1
            assert everything(store) == everything(expected)
    assert step > 0
    assert store.snapshot().verify().passed


def test_a_missing_bucket_is_named():
    """If the bucket does not exist, the error says so, both for reading and for creating a cache."""
    for work in (open_store, lambda location: ensure_store(location, make_spec())):
        with pytest.raises(WorkError, match="bucket does not exist"):
            work("s3://no-bucket/a.lance")


def test_an_unreachable_server_is_an_error(prefix, monkeypatch):
    """If nothing listens at the address, the error says so after seconds and does not call the cache damaged; when the
    server is back, the same instance can write."""
    store = create_store(f"{prefix}/a.lance", make_spec())
    entries = make_entries(store.spec, ["2024-01-02"], ["A"])
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(WorkError, match="no server answers at its address"):
            open_store(store.location)
    store.write(entries)
    assert np.array_equal(open_store(store.location).snapshot().vectors(np.arange(1)), entries.embedding)


def test_plain_http_must_be_allowed(prefix, monkeypatch):
    """An address without TLS works only if it is allowed; the error says how."""
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(WorkError, match="set AWS_ALLOW_HTTP=true"):
        open_store(f"{prefix}/a.lance")


def test_a_store_that_ignores_conditions_is_refused(prefix, endpoint, monkeypatch):
    """If PUT overwrites in spite of If-None-Match, nothing can be created or written, and the error gives the reason;
    reading goes on."""
    store = create_store(f"{prefix}/a.lance", make_spec())
    store.write(make_entries(store.spec, ["2024-01-02"], ["A"]))
    with FaultyProxy(endpoint, "no conditions") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(WorkError, match="overwrites objects in spite of If-None-Match"):
            create_store(f"{prefix}/b.lance", make_spec())
        opened = open_store(f"{prefix}/a.lance")
        assert opened.snapshot().index().entries == 1
        with pytest.raises(WorkError, match="overwrites objects in spite of If-None-Match"):
            opened.write(make_entries(store.spec, ["2024-01-03"], ["A"]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(MissingFileError):
        open_store(f"{prefix}/b.lance")
    assert open_store(f"{prefix}/a.lance").version == store.version


def test_writing_to_a_bucket_needs_the_probe(prefix, monkeypatch):
    """Without obstore the store's behavior cannot be tested; the error names the extra."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"encash\[object-storage\]"):
        create_store(f"{prefix}/a.lance", make_spec())


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "no conditions"])
def test_concurrent_writers_over_a_bad_connection(prefix, endpoint, monkeypatch, fault):
    """Six processes write overlapping blocks over a connection that fails, and one is killed: every announced block is
    there once, with the right values; a writer that gives up says so."""
    with FaultyProxy(endpoint, fault) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        ensure_store(f"{prefix}/a.lance", SPEC)
        command = [sys.executable, str(WORKER), "contend", f"{prefix}/a.lance"]
        workers = [
            subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for n in range(6)
        ]
        assert [read_line(worker) for worker in workers] == ["ready\n"] * 6
        for worker in workers:
            send_go(worker)
        time.sleep(1.0)
        workers[0].kill()
        ended = [worker.communicate(timeout=240)[0] for worker in workers]
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert ended[1:] == ["done\n"] * 5
    store, truth = open_store(f"{prefix}/a.lance"), MemoryStore(SPEC)
    for day in range(12):
        truth.write(make_entries(SPEC, [f"2024-01-{day + 1:02}"], TICKERS, seed=day, digest=day + 1))
    assert everything(store) == everything(truth)
    assert store.snapshot().verify().passed


BUILDERS = 7
"""Processes that build at the same time; the first is killed."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_builders_of_disjoint_tickers(prefix, endpoint, monkeypatch, fault):
    """Seven processes build tickers of their own and one is killed: of the others every entry is there once, of the
    killed one every announced block; a store that ignores If-None-Match is refused before anything is written."""
    with FaultyProxy(endpoint, fault) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url if fault != "no conditions" else endpoint)
        ensure_store(f"{prefix}/a.lance", SPEC)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        command = [sys.executable, str(WORKER), "disjoint", f"{prefix}/a.lance"]
        pipe = subprocess.PIPE
        workers = [
            subprocess.Popen([*command, str(number)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            for number in range(BUILDERS)
        ]
        assert [read_line(worker) for worker in workers] == ["ready\n"] * BUILDERS
        for worker in workers:
            send_go(worker)
        read_line(workers[0])
        workers[0].kill()
        ended = [worker.communicate(timeout=400) for worker in workers]
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    snapshot = open_store(f"{prefix}/a.lance").snapshot()
    seen, said = everything(snapshot), [[] if fault == "no conditions" else out.split() for out, _ in ended]
    due, allowed = MemoryStore(SPEC), MemoryStore(SPEC)
    for number in range(BUILDERS):
        for day in range(12):
            allowed.write(own_entries(number, day))
            if str(day) in said[number] or (number == 0 and day == 0 and fault != "no conditions"):
                due.write(own_entries(number, day))
    lost, foreign = everything(due).items() - seen.items(), seen.items() - everything(allowed).items()
    refused = sum("If-None-Match" in error for _, error in ended)
    sys.stdout.write(
        f"\n{fault}: {BUILDERS} builders, one killed, {sum(map(len, said))} blocks announced, {refused} refused: "
        f"{len(seen):,} entries, {len(lost)} lost, {snapshot.index().duplicates} doubled, {len(foreign)} wrong\n"
    )
    assert (lost, foreign, snapshot.index().duplicates) == (set(), set(), 0)
    assert snapshot.verify().passed
    if fault == "no conditions":
        assert (len(seen), refused) == (0, BUILDERS)
    else:
        assert said[1:] == [[*map(str, range(12))]] * (BUILDERS - 1), [error for _, error in ended[1:] if error]
