"""Caches in a bucket, through a real S3 server on this machine: the contract, the life of a cache, rivals, and what a
user is told when the bucket is not there."""

import contextlib
import itertools
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

moto = pytest.importorskip("moto.server", reason="the S3 server comes with moto[s3], flask and flask-cors")
boto3 = pytest.importorskip("boto3", reason="likewise")

sys.path.insert(0, str(Path(__file__).parent))
from survival_worker import SPEC, TICKERS, step_entries  # noqa: E402 - what comes before may skip this file

WORKER = Path(__file__).with_name("survival_worker.py")
numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def bucket() -> Iterator[str]:
    """A server with one bucket, told to Lance as users tell it: by the environment."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def place(bucket: str) -> str:
    """A part of the bucket that nothing else uses."""
    return f"{bucket}/{next(numbers)}"


class TestObjectStore(StoreContract):
    """A store in a bucket keeps the contract."""

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
    """Whether two caches have the same entries, bit for bit."""
    return everything(left.store) == everything(right.store)


def test_the_life_of_a_cache(tmp_path, place, panel, encoder):
    """Built in two parts, read, brought up to date after a restatement, tagged, compacted and verified, a cache in a
    bucket is at each step what a cache on the disk is."""
    remote, local = (open_cache(f"{where}/c.lance") for where in (place, tmp_path))
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


def restated(panel: Panel) -> Panel:
    """The panel with one row of its first ticker changed."""
    parts = {name: panel.rows((name,)) for name in panel.tickers}
    rows = {name: (part.days, part.values.copy()) for name, part in parts.items()}
    rows[panel.tickers[0]][1][30] += 1
    return Panel(ArraySource(rows, panel.feature_names), panel.prices)


def test_merged_and_exported(tmp_path, place, panel, encoder):
    """Parts from the disk and the bucket are merged into either, equal bit for bit, and exported from the bucket."""
    whole, left, right = (
        open_cache(tmp_path / "w.lance"),
        open_cache(tmp_path / "l.lance"),
        open_cache(f"{place}/r.lance"),
    )
    whole.build(panel, encoder)
    left.build(panel, encoder, end=panel.sessions[40])
    right.build(panel, encoder, start=panel.sessions[30])
    for into in (tmp_path / "into.lance", f"{place}/into.lance"):
        report = merge_caches([left.path, right.path], into)
        assert report.added == whole.index().entries
        assert same(open_cache(into), whole)
    export_hdf5(open_cache(f"{place}/into.lance"), tmp_path / "out.h5")
    assert everything(open_store(tmp_path / "out.h5")) == everything(whole.store)
    with pytest.raises(InputError, match="into itself"):
        merge_caches([right.path], right.path)


def test_versions_that_are_not_there(place):
    """An unknown version or tag of a cache in a bucket is told from a cache that is not there."""
    create_store(f"{place}/a.lance", make_spec())
    for version in ("no-such", 99):
        with pytest.raises(MissingFileError, match=f"has no version {version!r}"):
            open_store(f"{place}/a.lance", version=version)
        with pytest.raises(MissingFileError, match="no cache at"):
            open_store(f"{place}/none.lance", version=version)


@pytest.mark.parametrize("writers", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_rivals_in_one_bucket(place, writers):
    """Processes that make one cache at once and write overlapping blocks end with every key once, and right."""
    command = [sys.executable, str(WORKER), "contend", f"{place}/a.lance"]
    rivals = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(writers)
    ]
    assert [rival.stdout.readline() for rival in rivals] == ["ready\n"] * writers
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    assert [rival.communicate(timeout=240)[0] for rival in rivals] == ["done\n"] * writers
    store, truth = open_store(f"{place}/a.lance"), MemoryStore(SPEC)
    for day in range(12):
        truth.write(make_entries(SPEC, [f"2024-01-{day + 1:02}"], TICKERS, seed=day, digest=day + 1))
    assert everything(store) == everything(truth)
    assert store.snapshot().verify().passed


@pytest.mark.slow
def test_compacting_beside_writers(place):
    """A cache in a bucket that is compacted again and again while others write loses no row and doubles no key; a
    compaction that a commit came before ends with a clear error and has changed nothing."""
    ensure_store(f"{place}/a.lance", SPEC)
    command = [sys.executable, str(WORKER), "contend", f"{place}/a.lance"]
    rivals = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for number in (0, 1)
    ]
    for rival in rivals:
        rival.stdout.readline()
        rival.stdin.write(b"go\n")
        rival.stdin.flush()
    while any(rival.poll() is None for rival in rivals):
        with contextlib.suppress(ConflictError):
            open_store(f"{place}/a.lance").compact(keep_versions=2)
    assert [rival.returncode for rival in rivals] == [0, 0]
    store = open_store(f"{place}/a.lance")
    assert (store.snapshot().index().entries, store.snapshot().index().duplicates) == (12 * len(TICKERS), 0)
    assert store.snapshot().verify().passed


@pytest.mark.slow
def test_killed_writers_in_a_bucket_lose_nothing(place):
    """However often a writer into a bucket is killed, what it announced is there and right, and the next goes on."""
    rng, expected, step = random.Random(1), MemoryStore(SPEC), 0
    for _ in range(8):
        command = [sys.executable, str(WORKER), "write", f"{place}/a.lance", str(step)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert worker.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.3))
        worker.kill()
        for _ in worker.communicate()[0].split():
            expected.write(step_entries(step))
            step += 1
        store = open_store(f"{place}/a.lance")
        if everything(store) != everything(expected):
            expected.write(step_entries(step))  # committed, and killed before it could say so
            step += 1
            assert everything(store) == everything(expected)
    assert step > 0
    assert store.snapshot().verify().passed


def test_no_bucket():
    """A bucket that does not exist is named as the reason, for reading and for making a cache."""
    for work in (open_store, lambda location: ensure_store(location, make_spec())):
        with pytest.raises(WorkError, match="bucket does not exist"):
            work("s3://no-bucket/a.lance")


def test_nobody_answers(place, monkeypatch):
    """An address at which nothing listens is a clear error after seconds, not a damaged cache; once the server is back,
    the same instance writes on."""
    store = create_store(f"{place}/a.lance", make_spec())
    entries = make_entries(store.spec, ["2024-01-02"], ["A"])
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(WorkError, match="nothing answers at its address"):
            open_store(store.location)
    store.write(entries)
    assert np.array_equal(open_store(store.location).snapshot().vectors(np.arange(1)), entries.embedding)


def test_plain_http_is_allowed_or_told(place, monkeypatch):
    """An address without TLS works only where it is allowed; the error says how."""
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(WorkError, match="set AWS_ALLOW_HTTP=true"):
        open_store(f"{place}/a.lance")
