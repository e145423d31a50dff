import pytest

from encash.cache.executors.local import LocalExecutor
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
