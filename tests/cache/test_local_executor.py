"""Tasks on all devices of this machine at the same time."""

import copy
import threading
from dataclasses import replace

import pytest

from encash.cache.executors.local import LocalExecutor
from encash.cache.task import run_task
from encash.testing import MeanEncoder
from encash.testing.executor_contract import _assert_same, _tasks


class Together(MeanEncoder):
    """An encoder on several devices; each call waits until all callers of all devices are in one."""

    def __init__(self, replicas, callers):
        super().__init__(3, lookback=4, dim=5, batch_size=3)
        self.callers, self.used = callers, set()
        self.barrier = threading.Barrier(replicas * callers, timeout=30)
        self.others = []
        for _ in range(replicas - 1):
            self.others.append(other := copy.copy(self))
            other.others = []

    def replicas(self):
        return (self, *self.others)

    def encode_rows(self, rows, starts):
        self.barrier.wait()
        self.used.add(id(self))
        yield from super().encode_rows(rows, starts)


@pytest.mark.parametrize(("replicas", "callers"), [(1, 2), (3, 1), (2, 2)])
def test_every_device_and_caller_works_at_the_same_time(replicas, callers):
    """As many tasks as replicas times callers run together on all replicas; results and count are those of one."""
    encoder = Together(replicas, callers)
    tasks = [replace(task, encoder=encoder.spec.fingerprint) for task in _tasks()[:1] * (2 * replicas * callers)]
    with LocalExecutor(encoder) as executor:
        assert executor.workers == replicas * callers
        results = [future.result(60) for future in [executor.submit(task) for task in tasks]]
    plain = MeanEncoder(3, lookback=4, dim=5)
    for task, result in zip(tasks, results, strict=True):
        _assert_same(result.entries, run_task(task, plain).entries)
    assert executor.encoded == sum(len(task.cells) for task in tasks)
    assert len(encoder.used) == replicas
