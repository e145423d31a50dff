"""The Ray executor on clusters that these tests start: nodes of one machine with resources that are only claimed."""

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.cache import Cache, open_cache
from encash.encoders.base import Encoder
from encash.errors import InputError, WorkError
from encash.panel.panel import Panel
from encash.testing import ExecutorContract, MeanEncoder
from encash.testing.executor_contract import _tasks, make_encoder, make_other
from tests.cache.conftest import LOOKBACK

ray = pytest.importorskip("ray", reason="ray comes with the dev install")
from ray.cluster_utils import Cluster  # noqa: E402  after the test for ray

from encash.cache.executors.ray import RayExecutor, RayWorkers  # noqa: E402  likewise
from encash.cache.executors.ray import cluster as cluster_module  # noqa: E402  likewise
from encash.cache.executors.ray.cluster import ADDRESS, _temporary_folder  # noqa: E402  likewise
from encash.cache.executors.ray.demand import Demand, Node, fitting_demand  # noqa: E402  likewise
from encash.cache.executors.ray.worker import Worker  # noqa: E402  likewise

nodes = st.lists(st.builds(Node, cpus=st.integers(0, 64), gpus=st.integers(0, 8)), min_size=1, max_size=6)


@given(nodes=nodes, workers=st.none() | st.integers(1, 40), use_gpus=st.booleans())
def test_workers_fit_the_nodes_at_the_same_time(nodes: list[Node], workers: int | None, use_gpus: bool):
    """However Ray spreads them: a node that has less than its part of the workers has room for one more."""
    demand = fitting_demand(nodes, workers, use_gpus=use_gpus)
    assert demand.workers == (workers or demand.workers) >= 1
    per_gpu = int(1.00001 / demand.gpus) if demand.gpus else 0
    room = [
        min(
            int(node.cpus / demand.cpus + 1e-9) if demand.cpus else 10**6,
            int(node.gpus) * per_gpu if demand.gpus else 10**6,
        )
        for node in nodes
    ]
    has_gpus, has_cpus = use_gpus and any(node.gpus for node in nodes), any(node.cpus for node in nodes)
    assert bool(demand.gpus) == has_gpus
    if has_gpus or has_cpus:
        assert sum(room) >= demand.workers


@pytest.mark.parametrize(
    ("cluster", "workers", "expected"),
    [
        ([Node(cpus=8, gpus=2)], 3, Demand(workers=3, cpus=2, gpus=0.5)),
        ([Node(cpus=16), Node(cpus=2, gpus=1), Node(cpus=2, gpus=1)], None, Demand(workers=2, cpus=2, gpus=1)),
        ([Node(cpus=64, gpus=8), Node(cpus=4, gpus=1)], None, Demand(workers=9, cpus=4, gpus=1)),
        ([Node(cpus=2)], 3, Demand(workers=3, cpus=0.6666)),
        ([Node(cpus=16), Node(cpus=4)], None, Demand(workers=10, cpus=2)),
        ([Node(cpus=1), Node(cpus=1), Node(cpus=1)], None, Demand(workers=3, cpus=1)),
        ([Node(cpus=0)], 2, Demand(workers=2, cpus=1)),
    ],
)
def test_demands_of_typical_clusters(cluster: list[Node], workers: int | None, expected: Demand):
    """Fractions of GPUs for more workers than GPUs; the CPUs of the smallest node with a GPU; one CPU if none is there
    yet."""
    assert fitting_demand(cluster, workers) == expected


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers: int):
    """A task would wait forever."""
    with pytest.raises(InputError, match=f"workers is {workers}; expected 1 or more"):
        RayExecutor(lambda: MeanEncoder(3), workers=workers)


def test_more_workers_than_ray_can_count_are_refused():
    """A demand that is rounded to nothing would start them all on one CPU."""
    with pytest.raises(InputError, match="30,000 workers are more than this cluster can run"):
        fitting_demand([Node(cpus=2)], 30_000)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing, like a cluster that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dead_address() -> str:
    """An address at which nothing listens anymore."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def quick_probe(monkeypatch: pytest.MonkeyPatch):
    """A shorter wait for a server that says nothing."""
    monkeypatch.setattr("encash.cache.executors.ray.cluster.PROBE_SECONDS", 0.2)


@pytest.mark.usefixtures("quick_probe")
@pytest.mark.parametrize("server", ["dead_address", "silent_server"])
def test_a_cluster_that_does_not_answer_is_refused(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    """One line names the address and its source; Ray would try for minutes."""
    address = request.getfixturevalue(server)
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(InputError, match=rf"no Ray cluster answers at {address} \(named by RAY_ADDRESS\)") as caught:
        RayWorkers()
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_the_address_file_of_a_dead_cluster_is_refused(
    dead_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The line names the file that `ray start` left, and how to run on this machine instead."""
    monkeypatch.delenv(ADDRESS)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    noted = tmp_path / "ray" / "ray_current_cluster"
    noted.parent.mkdir()
    noted.write_text(dead_address)
    with pytest.raises(InputError, match=f"answers at {dead_address}.*{noted}.*RAY_ADDRESS=local to run"):
        RayWorkers()


@pytest.mark.parametrize(("given", "joined"), [({}, "auto"), ({ADDRESS: "10.0.0.2:6379"}, "10.0.0.2:6379")])
def test_ray_itself_finds_the_cluster_of_this_machine(
    given: dict[str, str], joined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After its address was seen to answer: with an address, Ray would not take the token that `ray start` requires."""
    monkeypatch.delenv(ADDRESS)
    for name, address in {"RAY_TMPDIR": str(tmp_path), **given}.items():
        monkeypatch.setenv(name, address)
    noted = tmp_path / "ray" / "ray_current_cluster"
    noted.parent.mkdir()
    noted.write_text("10.0.0.1:6379")
    asked: list[str] = []

    def answers(host: str, port: int) -> bool:
        asked.append(f"{host}:{port}")
        return True

    monkeypatch.setattr(cluster_module, "_answers", answers)
    monkeypatch.setattr(ray, "init", lambda address, **options: asked.append(address))
    cluster_module.Cluster()
    assert asked == [given.get(ADDRESS, "10.0.0.1:6379"), joined]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("given", [{}, {"TMPDIR": "/scratch"}, {"TMPDIR": "/scratch", "RAY_TMPDIR": "/rays"}])
def test_the_address_file_is_the_one_that_ray_writes(
    platform: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Ray's folder is not that of Python on every system: on macOS, Python's is a different one for each user."""
    from ray._common.utils import get_ray_address_file

    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("tempfile.tempdir", "/folders")
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in given.items():
        monkeypatch.setenv(name, folder)
    assert str(_temporary_folder() / "ray" / "ray_current_cluster") == get_ray_address_file(None)


@pytest.mark.parametrize("address", ["nonsense", "host:port", "http://127.0.0.1"])
def test_an_invalid_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch):
    """The line says what an address looks like."""
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(InputError, match=r"invalid RAY_ADDRESS .*: expected HOST:PORT"):
        RayWorkers()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node with four CPUs and two GPUs that are only claimed."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 2, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Any:
    """That cluster, to which this process is connected."""
    if not ray.is_initialized():
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    return cluster


@pytest.mark.usefixtures("connected")
class TestRayExecutor(ExecutorContract):
    def make_executor(self, make_encoder):
        return RayExecutor(make_encoder, workers=2)


@pytest.mark.slow
def test_it_joins_the_cluster_of_the_environment(cluster: Any, monkeypatch: pytest.MonkeyPatch):
    """The first line has its address, its nodes, and what each worker gets; at the end it is left."""
    ray.shutdown()
    monkeypatch.setenv(ADDRESS, cluster.address)
    said: list[str] = []
    with RayExecutor(make_encoder, say=said.append) as executor:
        assert executor.workers == 2
        executor.submit(_tasks()[0]).result(60)
    assert said[0] == f"Ray at {cluster.address} (1 node, 2 GPUs and 4 CPUs): 2 workers with 1 GPU and 2 CPUs each"
    assert not ray.is_initialized()


def test_a_connection_of_the_process_is_kept(connected: Any):
    """It is used instead of any address, and stays open at the end."""
    with RayWorkers(1) as workers:
        assert workers.cluster.address == connected.address
    assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_three_workers_share_two_gpus():
    """All three run at the same time, with half a GPU and a CPU each."""
    with RayWorkers(3) as workers:
        assert (workers.demand.gpus, workers.demand.cpus) == (0.5, 1.0)
        running = [Worker(workers.demand) for _ in range(3)]
        assert all(worker.wait(60) for worker in running)


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_workers_of_a_cpu_encoder_leave_the_gpus_alone():
    """Without GPUs, there is a worker per two CPUs."""
    with RayWorkers(use_gpus=False) as workers:
        assert (workers.demand.workers, workers.demand.cpus, workers.demand.gpus) == (2, 2, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_a_demand_that_is_not_met_ends_with_its_name(monkeypatch: pytest.MonkeyPatch):
    """If other workers have all GPUs, notices say so while it waits, and the error names the demand and the cluster."""
    monkeypatch.setattr("encash.cache.executors.ray.workers._NOTICE_SECONDS", 0.2)
    said: list[str] = []
    with RayWorkers(2) as others:
        busy = [others.start(lambda: False) for _ in range(2)]
        waiting = RayWorkers(2, wait_seconds=1.0, say=said.append)
        with pytest.raises(
            WorkError,
            match="no worker started within 1 s: it demands 1 GPU and 2 CPUs, of which Ray "
            rf"at {others.cluster.address} \(1 node, .*\) has 0 GPUs and 0 CPUs free",
        ):
            waiting.load_first(make_encoder)
        assert any(text.endswith(f"Ray at {others.cluster.address} has 0 GPUs and 0 CPUs free") for text in said)
        with RayExecutor(make_encoder, workers=waiting) as executor:
            error = executor.submit(_tasks()[0]).exception(60)
        assert "no worker started" in str(error)
        assert len(busy) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_results_do_not_stay_in_the_object_store():
    """They are the driver's own arrays: a view would keep Ray's memory until a block is committed."""
    tasks = _tasks()
    wide = lambda: MeanEncoder(3, lookback=4, dim=20_000, batch_size=8)  # noqa: E731  a closure is sent by value
    mine = [replace_encoder(task, wide()) for task in tasks[:2]]
    with RayExecutor(wide, workers=1) as executor:
        results = [executor.submit(task).result(60) for task in mine]
    for result in results:
        assert result.entries.embedding.nbytes > 1_000_000
        assert result.entries.embedding.flags.owndata
        assert result.entries.embedding.flags.writeable


def replace_encoder(task: Any, encoder: Encoder) -> Any:
    from dataclasses import replace

    return replace(task, encoder=encoder.spec.fingerprint)


class DiesOnce(MeanEncoder):
    """An encoder whose first process ends during its second call, as if killed; a marker file records that."""

    def __init__(self, num_features: int, marker: Path):
        super().__init__(num_features, lookback=LOOKBACK, dim=6, batch_size=32)
        self._marker = marker

    def encode(self, windows: np.ndarray):
        if self.windows_encoded and not self._marker.exists():
            self._marker.touch()
            os._exit(1)
        return super().encode(windows)


def assert_same(ours: Cache, theirs: Cache) -> None:
    """Check that entries are equal, bit for bit."""
    for a, b in zip(ours.store.snapshot().by_day(100), theirs.store.snapshot().by_day(100), strict=True):
        for name in ("days", "tickers", "digest", "embedding", "forecast", "confidence"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_a_dead_worker_changes_nothing(panel: Panel, cache: Cache, encoder: MeanEncoder, tmp_path: Path):
    """Its task is repeated; entries equal those of the local executor, bit for bit."""
    marker, features = tmp_path / "died", panel.num_features
    other = open_cache(tmp_path / "ray.lance")
    with RayExecutor(lambda: DiesOnce(features, marker), workers=2) as executor:
        report = other.build(panel, encoder, executor=executor)
    assert marker.exists()
    assert encoder.windows_encoded == 0, "a window was encoded in this process"
    assert (report.computed, report.failed) == (cache.index().entries, 0)
    assert_same(cache, other)


class AlwaysDies(MeanEncoder):
    """An encoder whose process ends at every call."""

    def encode(self, windows: np.ndarray):
        os._exit(1)


@pytest.mark.slow
@pytest.mark.usefixtures("connected")
def test_a_task_over_which_workers_always_die_fails():
    """It is tried on three workers; a build reports it and goes on."""
    task = _tasks()[0]
    with RayExecutor(lambda: AlwaysDies(3, lookback=4, dim=5, batch_size=3), workers=1) as executor:
        error = executor.submit(task).exception(120)
    assert isinstance(error, WorkError)
    assert "3 workers died over this task" in str(error)


class Halves(MeanEncoder):
    """An encoder that notifies once that memory ran out."""

    def encode(self, windows: np.ndarray):
        if self.windows_encoded == 0:
            assert self.notify is not None
            self.notify("memory ran out: going on with batches of 2")
        return super().encode(windows)


@pytest.mark.usefixtures("connected")
def test_notices_of_a_workers_encoder_reach_the_driver():
    """`say` is called in the driver with the notices of an encoder in a worker process."""
    notices: list[str] = []
    with RayExecutor(lambda: Halves(3, lookback=4, dim=5), workers=1, say=notices.append) as executor:
        for task in _tasks():
            executor.submit(task).result(60)
    assert notices[-1:] == ["memory ran out: going on with batches of 2"]


class Chosen(MeanEncoder):
    """An encoder that says which process made it, as a measurement would say what it chose."""

    def __init__(self):
        super().__init__(3, lookback=4, dim=5, batch_size=3)
        self.choice = f"made by process {os.getpid()}"


@pytest.mark.usefixtures("connected")
def test_the_first_worker_chooses():
    """The model is measured where the work is done: this process gets the choice, not the model."""
    with RayWorkers(1) as workers:
        encoder = workers.load_first(Chosen)
        assert encoder.choice.startswith("made by process ")
        assert encoder.choice != f"made by process {os.getpid()}"
        windows = np.ones((2, 4, 3), dtype=np.float32)
        assert np.array_equal(encoder.encode(windows).embedding, Chosen().encode(windows).embedding)
        with RayExecutor(make_encoder, workers=workers) as executor:
            assert len(executor.submit(_tasks()[0]).result(60).entries), "the first worker loads nothing again"


@pytest.mark.usefixtures("connected")
def test_an_error_of_loading_names_the_node():
    """The caller gets the error of the first worker as its own, with the node on which it happened."""

    def missing() -> Encoder:
        raise InputError("no such model")

    with RayWorkers(1) as workers, pytest.raises(InputError, match=r"no such model \(on node [0-9.]+\)"):
        workers.load_first(missing)


def lacks_int8() -> Encoder:
    """Fail like a device that does not have the precision of the first worker."""
    raise InputError("precision 'int8' is not available on cpu here")


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("load", "text"),
    [
        (lacks_int8, r"node [0-9.]+ cannot run numpy in float32 .*: precision 'int8' is not available"),
        (make_other, r"node [0-9.]+ loaded numpy in float32 .*nodes must agree on one"),
    ],
)
def test_a_node_that_cannot_run_what_was_chosen_is_left_out(load: Callable[[], Encoder], text: str):
    """One line names the node and the precision; the first worker does all the work."""
    said: list[str] = []
    left_out = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("continuing with 1 of 2 workers"):
            left_out.set()

    with RayWorkers(2, say=say) as workers:
        workers.load_first(make_encoder)
        with RayExecutor(load, workers=workers, say=say) as executor:
            assert left_out.wait(60)
            assert all(executor.submit(task).result(60) for task in _tasks())
    assert re.search(rf"^continuing with 1 of 2 workers: {text}", said[-1])
