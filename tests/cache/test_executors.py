import os
from pathlib import Path

import numpy as np
import pytest

from encash.cache import open_cache
from encash.cache.executors.local import LocalExecutor
from encash.errors import InputError
from encash.testing import ExecutorContract, MeanEncoder, RaiseIfRun


class TestLocalExecutor(ExecutorContract):
    def make_executor(self, make_encoder):
        return LocalExecutor(make_encoder())


def test_raise_if_run_refuses_any_task():
    """A build that computes something fails with `RaiseIfRun`."""
    from encash.testing.executor_contract import _tasks

    with pytest.raises(AssertionError, match="windows were submitted"):
        RaiseIfRun().submit(_tasks()[0])


def test_a_shutdown_stops_after_the_current_batch():
    """Ctrl-C does not wait for a whole task of a slow model."""
    import threading

    from encash.testing.executor_contract import _tasks, make_encoder

    class Slow(MeanEncoder):
        def encode(self, windows):
            begun.set()
            go_on.wait(10)
            return super().encode(windows)

    begun, go_on = threading.Event(), threading.Event()
    task = _tasks()[0]
    encoder = Slow(3, lookback=4, dim=5, batch_size=1)
    executor = LocalExecutor(encoder)
    future = executor.submit(task)
    begun.wait(10)
    stopper = threading.Thread(target=executor.shutdown)
    stopper.start()
    while not executor._stopping:
        pass
    go_on.set()
    stopper.join(10)
    assert future.exception() is not None
    assert encoder.windows_encoded == 1 < len(task.cells)
    assert make_encoder().spec.lookback == task.lookback


class DiesOnce(MeanEncoder):
    """An encoder whose first process ends during its second call, as if killed; a marker file records that."""

    def __init__(self, num_features: int, marker: Path):
        super().__init__(num_features, lookback=8, dim=6, batch_size=32)
        self._marker = marker

    def encode(self, windows: np.ndarray):
        if self.windows_encoded and not self._marker.exists():
            self._marker.touch()
            os._exit(1)
        return super().encode(windows)


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="ray comes with the dev install")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.usefixtures("ray")
class TestRayExecutor(ExecutorContract):
    def make_executor(self, make_encoder):
        from encash.cache.executors.ray import RayExecutor

        return RayExecutor(make_encoder, workers=2)


def test_ray_builds_the_same_cache_if_a_worker_dies(ray, panel, cache, encoder, tmp_path):
    """The task of a dead worker is repeated; entries equal those of the local executor, bit for bit."""
    from encash.cache.executors.ray import RayExecutor

    marker, features = tmp_path / "died", panel.num_features
    other = open_cache(tmp_path / "ray.lance")
    with RayExecutor(lambda: DiesOnce(features, marker), workers=2) as executor:
        report = other.build(panel, encoder, executor=executor)
    assert marker.exists()
    assert encoder.windows_encoded == 0, "a window was encoded in this process"
    assert (report.computed, report.failed) == (cache.index().entries, 0)
    for ours, theirs in zip(cache.store.snapshot().by_day(100), other.store.snapshot().by_day(100), strict=True):
        for name in ("days", "tickers", "digest", "embedding", "forecast", "confidence"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))


class Halves(MeanEncoder):
    """An encoder that notifies once that memory ran out."""

    def encode(self, windows: np.ndarray):
        if self.windows_encoded == 0:
            assert self.notify is not None
            self.notify("memory ran out: going on with batches of 2")
        return super().encode(windows)


@pytest.mark.usefixtures("ray")
def test_notices_of_a_workers_encoder_reach_the_driver():
    """`say` is called in the driver with the notices of an encoder in a worker process."""
    from encash.cache.executors.ray import RayExecutor
    from encash.testing.executor_contract import _tasks

    notices: list[str] = []
    with RayExecutor(lambda: Halves(3, lookback=4, dim=5), workers=1, say=notices.append) as executor:
        for task in _tasks():
            executor.submit(task).result(60)
    assert notices == ["memory ran out: going on with batches of 2"]


@pytest.mark.parametrize("workers", [0, -1])
def test_ray_without_a_worker_is_refused(workers):
    """Fewer than one worker is refused: a task would wait forever."""
    pytest.importorskip("ray", reason="ray comes with the dev install")
    from encash.cache.executors.ray import RayExecutor

    with pytest.raises(InputError, match=f"workers is {workers}; expected 1 or more"):
        RayExecutor(lambda: MeanEncoder(3), workers=workers)
