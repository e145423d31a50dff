"""The Ray executor on several nodes, one of which is killed: a test cluster of Ray on one machine."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encash.cache import Cache, open_cache
from encash.cache.build import Work, build
from encash.cache.identity import store_spec
from encash.cache.plan import BlockSize
from encash.encoders.options import GPU_SHARE
from encash.panel.panel import Panel
from encash.store import ensure_store
from encash.testing import MeanEncoder
from tests.cache.conftest import LOOKBACK
from tests.cache.test_ray import assert_same

ray = pytest.importorskip("ray", reason="ray comes with the dev install")
from ray.cluster_utils import Cluster  # noqa: E402  after the test for ray

from encash.cache.executors.ray import RayExecutor, RayWorkers  # noqa: E402  likewise
from encash.cache.executors.ray.cluster import ADDRESS  # noqa: E402  likewise
from encash.cache.executors.ray.worker import Worker  # noqa: E402  likewise

pytestmark = pytest.mark.slow
SMALL_GPU_NODE = {"num_cpus": 2, "num_gpus": 1}


@pytest.fixture(scope="module")
def joined() -> Iterator[Any]:
    """A head without GPUs, and two nodes with a GPU and two CPUs each; the environment names it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**SMALL_GPU_NODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS, cluster.address)
        yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize(("requested", "gpus", "cpus"), [(None, 1.0, 2.0), (3, 0.5, 1.0)])
def test_workers_run_on_small_gpu_nodes_below_a_large_head(requested: int | None, gpus: float, cpus: float):
    """All run at the same time: an equal part of all CPUs would be more than a GPU node has. Workers know their share
    of a GPU."""
    with RayWorkers(requested) as workers:
        assert (workers.demand.gpus, workers.demand.cpus) == (gpus, cpus)
        running = [Worker(workers.demand) for _ in range(workers.demand.workers)]
        assert len(running) == (requested or 2)
        assert all(worker.wait(60) for worker in running)
        assert {worker.load(Sharing).choice for worker in running} == {"" if gpus == 1.0 else str(gpus)}


class Sharing(MeanEncoder):
    """An encoder that says the share of its GPU."""

    def __init__(self):
        super().__init__(3, lookback=4)
        self.choice = os.environ.get(GPU_SHARE, "")


class Slow(MeanEncoder):
    """An encoder whose build lasts long enough to be disturbed."""

    def encode(self, windows: np.ndarray):
        time.sleep(0.05)
        return super().encode(windows)


def test_a_killed_node_changes_nothing(joined: Any, panel: Panel, cache: Cache, encoder: MeanEncoder, tmp_path: Path):
    """Its tasks are done on the node that is left; entries equal those of the local executor, bit for bit."""
    features, other = panel.num_features, open_cache(tmp_path / "ray.lance")
    victims = list(joined.worker_nodes)[:1]

    def kill(done: int, total: int) -> None:
        if done and victims:
            joined.remove_node(victims.pop(), allow_graceful=False)

    plan = other.plan(panel, encoder)
    store = ensure_store(other.path, store_spec(encoder.spec, "float32"))
    block = BlockSize(entries=64, feature_bytes=4096)  # a few windows of a ticker per task, so that both nodes are busy
    said: list[str] = []
    make = partial(Slow, features, lookback=LOOKBACK, dim=6, batch_size=4)
    with RayExecutor(make, say=said.append) as executor:
        assert executor.workers == 2
        work = Work(panel=panel, spec=encoder.spec, store=store, plan=plan, executor=executor, block=block)
        report = build(work, progress=kill)
    joined.add_node(**SMALL_GPU_NODE)
    assert not victims, "no node was killed"
    assert any(text.startswith("a worker died, its task is repeated") for text in said)
    assert (report.computed, report.failed) == (cache.index().entries, 0)
    assert_same(cache, open_cache(other.path))
