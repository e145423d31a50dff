"""A fed device: rows uploaded once, windows gathered there, outputs in order. A CPU stands in for the device."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.arrays import runs_of_rows
from encash.cache import Selection, open_cache
from encash.encoders import load_encoder
from encash.encoders.torch import TorchEncoder
from encash.encoders.torch.device_feed import IN_FLIGHT, DeviceFeed, Lane, Lanes, PlainLanes, StreamLanes
from encash.errors import MismatchError, WorkError
from encash.panel import ArraySource, Panel
from encash.testing import EncoderContract, write_checkpoint

CPU = torch.device("cpu")


class Reached(threading.Event):
    """The mark of a lane of `LateLanes`."""

    error: BaseException | None = None

    def synchronize(self):
        """Wait, and raise what the work raised."""
        assert self.wait(30)
        if self.error is not None:
            raise self.error


class LateLanes(Lanes):
    """Lanes like those of a GPU: a thread does the work of each lane some time after it was submitted, in any order
    with the other lanes except for the marks."""

    overlapping = True

    def __init__(self, delays=None):
        self.delays = delays or dict.fromkeys(Lane, 0.001)
        self.queues = {lane: queue.SimpleQueue[Any]() for lane in Lane}
        self.threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in Lane]
        self.uploads = self.buffers = 0
        self.marks = list[Reached]()
        for thread in self.threads:
            thread.start()
        self.running.append(self)

    running: ClassVar[list["LateLanes"]] = []

    def stop(self):
        """End the threads."""
        for lane in Lane:
            self.queues[lane].put(None)
        for thread in self.threads:
            thread.join()

    def submit(self, lane, work, after=()):
        """Queue the work."""
        self.uploads += lane is Lane.UPLOAD
        self.marks.append(mark := Reached())
        self.queues[lane].put((work, after, mark))
        return mark

    def _work(self, lane):
        while True:
            if (item := self.queues[lane].get()) is None:
                return
            work, after, mark = item
            for other in after:
                other.wait(30)
            time.sleep(self.delays[lane])
            try:
                work()
            except BaseException as error:  # noqa: BLE001  the caller raises it
                mark.error = error
            mark.set()

    def host_buffer(self, shape, dtype):
        """Count the memory that is taken."""
        self.buffers += 1
        return super().host_buffer(shape, dtype)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    while LateLanes.running:
        LateLanes.running.pop().stop()


def sums(windows):
    """The sum of each window, and its first value."""
    return torch.stack([windows.sum((1, 2)), windows[:, 0, 0]], dim=1)


def expected(rows, starts, lookback):
    return sums(torch.from_numpy(runs_of_rows(rows, starts, lookback))).numpy()


def numbers(count, features=3):
    return np.random.default_rng(0).standard_normal((count, features)).astype(np.float32)


def run(feed, rows, starts, sizes, out_of_memory=lambda size: pytest.fail("out of memory")):
    return np.concatenate([part.copy() for part in feed.run(rows, starts, sizes, out_of_memory)])


@settings(max_examples=30)
@given(count=st.integers(1, 90), size=st.integers(1, 20), lookback=st.integers(1, 7), seed=st.integers(0, 9))
def test_any_windows_in_any_call_size_come_back_in_order(count, size, lookback, seed):
    """Starts in any order and number, padded or not: one output each, in their order."""
    rows = numbers(40)
    starts = np.random.default_rng(seed).integers(0, 40 - lookback + 1, count)
    feed = DeviceFeed(PlainLanes(), CPU, sums, lookback=lookback, width=2)
    np.testing.assert_array_equal(run(feed, rows, starts, lambda left: size), expected(rows, starts, lookback))


@pytest.mark.parametrize("slow", [None, *Lane])
def test_lanes_that_work_later_never_read_what_is_not_there(slow):
    """Whichever lane lags behind, marks keep the order: rows before windows, outputs before copies, copies before the
    host reads or a buffer is used again."""
    delays = {lane: 0.004 if lane is slow else 0.0 for lane in Lane}
    lanes, rows, starts = LateLanes(delays), numbers(300), np.arange(280)
    feed = DeviceFeed(lanes, CPU, sums, lookback=20, width=2)
    np.testing.assert_array_equal(run(feed, rows, starts, lambda left: 16), expected(rows, starts, 20))
    assert lanes.uploads == 1


def test_two_callers_share_the_lanes():
    """Two tasks at the same time on one device: each has its own outputs."""
    lanes = LateLanes()
    feed = DeviceFeed(lanes, CPU, sums, lookback=5, width=2)
    tasks = [(numbers(60) + number, np.arange(50)) for number in range(6)]
    with ThreadPoolExecutor(2) as callers:
        found = list(callers.map(lambda task: run(feed, task[0], task[1], lambda left: 8), tasks))
    for task, one in zip(tasks, found, strict=True):
        np.testing.assert_array_equal(one, expected(*task, 5))


def test_the_device_has_its_next_batches_before_the_host_takes_one():
    """When the first outputs are handed out, all calls that may be in flight were submitted: the device never waits."""
    computed = list[int]()

    def compute(windows):
        computed.append(len(windows))
        return sums(windows)

    feed = DeviceFeed(PlainLanes(), CPU, compute, lookback=2, width=2)
    outputs = feed.run(numbers(60), np.arange(50), lambda left: 4, lambda size: None)
    next(outputs)
    assert len(computed) == IN_FLIGHT
    next(outputs)
    assert len(computed) == IN_FLIGHT + 1
    outputs.close()


def test_a_closed_feed_waits_for_the_device():
    """A caller that stops in the middle, or an error, leaves no work on memory that is freed."""
    lanes = LateLanes({lane: 0.05 if lane is Lane.FETCH else 0.0 for lane in Lane})
    done = list[int]()

    def compute(windows):
        outputs = sums(windows)
        done.append(len(windows))
        return outputs

    feed = DeviceFeed(lanes, CPU, compute, lookback=2, width=2)
    outputs = feed.run(numbers(60), np.arange(50), lambda left: 4, lambda size: None)
    next(outputs)
    outputs.close()
    assert all(mark.is_set() for mark in lanes.marks)
    assert len(done) == IN_FLIGHT


def test_memory_of_the_host_does_not_grow_with_the_task():
    """A ring of output buffers serves any number of calls, beside the rows and their starts."""
    lanes = LateLanes(dict.fromkeys(Lane, 0.0))
    feed = DeviceFeed(lanes, CPU, sums, lookback=2, width=2)
    run(feed, numbers(300), np.arange(290), lambda left: 4)
    assert lanes.buffers <= 2 + IN_FLIGHT + 1


def test_memory_that_runs_out_in_a_call_loses_nothing():
    """Calls above 8 windows do not fit from the second on: what was in flight is handed out first, then smaller calls
    follow, in order."""
    size, failed, calls = [32], [], []

    def compute(windows):
        calls.append(len(windows))
        if len(calls) > 1 and len(windows) > 8:
            raise MemoryError
        return sums(windows)

    def halve(at):
        failed.append(at)
        size[0] //= 2

    rows, starts = numbers(90), np.arange(80)
    feed = DeviceFeed(PlainLanes(), CPU, compute, lookback=4, width=2)
    np.testing.assert_array_equal(run(feed, rows, starts, lambda left: size[0], halve), expected(rows, starts, 4))
    assert failed == [32, 16]
    assert set(calls[3:]) == {8}


class Library:
    """Torch's module of a kind of device, which writes down what is called."""

    def __init__(self):
        self.calls = []

    def Stream(self, device):
        """A stream that writes down its waits and records."""
        library, name = self, f"stream {sum(call[0] == 'made' for call in self.calls)}"
        self.calls.append(("made", name))

        class Stream:
            def wait_event(self, event):
                library.calls.append((name, "waits", event))

            def record_event(self):
                library.calls.append((name, "records"))
                return f"event of {name}"

            def __str__(self):
                return name

        return Stream()

    @contextmanager
    def stream(self, stream):
        """Write down the block."""
        self.calls.append((str(stream), "begins"))
        yield
        self.calls.append((str(stream), "ends"))


def test_streams_wait_for_marks_before_the_work_and_record_after_it():
    """Each lane has its stream; work is enqueued in it, after the events of other lanes, and followed by an event."""
    library = Library()
    lanes = StreamLanes(torch.device("cuda", 0), library)
    first = lanes.submit(Lane.UPLOAD, lambda: library.calls.append("upload"))
    lanes.submit(Lane.COMPUTE, lambda: library.calls.append("compute"), (first,))
    assert str(first) == "event of stream 0"
    assert library.calls[-5:] == [
        ("stream 1", "begins"),
        ("stream 1", "waits", "event of stream 0"),
        "compute",
        ("stream 1", "records"),
        ("stream 1", "ends"),
    ]


def on_device(path, lanes=None, **options):
    """The encoder of a checkpoint as on an accelerator."""
    plain: Any = load_encoder(path, device="cpu", precision=options.pop("precision", "float32"))
    return TorchEncoder(plain.model, plain.spec, lanes=lanes or PlainLanes(), **options)


class TestOnADevice(EncoderContract):
    """The contract of encoders, with every call of one size."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = write_checkpoint(tmp_path / "m.pt", num_features=5, hidden_dim=32, num_layers=2)

    def make_encoder(self):
        return on_device(self.path, batch_size=16)


class TestInLateLanes(TestOnADevice):
    def make_encoder(self):
        return on_device(self.path, LateLanes(), batch_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return write_checkpoint(folder / "m.pt", num_features=4, lookback=6, hidden_dim=32, num_layers=2)


class TestTheEncoder:
    """The encoder of an accelerator."""

    def test_rows_and_windows_give_what_the_cpu_gives(self, path):
        """Gathered on the device or cut on the host, embeddings, forecasts and confidences agree with the CPU's."""
        rows, starts = numbers(100, 4), np.random.default_rng(1).integers(0, 95, 70)
        plain, device = (
            load_encoder(path, device="cpu", precision="float32"),
            on_device(path, LateLanes(), batch_size=16),
        )
        windows = runs_of_rows(rows, starts, 6)
        ours, same = list(device.encode_rows(rows, starts)), device.encode(windows)
        theirs = plain.encode(windows)
        assert [len(part.embedding) for part in ours] == [16, 16, 16, 16, 6]
        for name in ("embedding", "forecast", "confidence"):
            joined = np.concatenate([getattr(part, name) for part in ours])
            np.testing.assert_allclose(joined, getattr(theirs, name), atol=1e-5)
            np.testing.assert_array_equal(joined, getattr(same, name))

    def test_rows_outside_the_windows_may_be_nan(self, path):
        """A row that no window holds changes nothing."""
        rows = numbers(40, 4)
        spoiled = rows.copy()
        spoiled[20] = np.nan
        starts = np.array([0, 14, 21, 34])
        device = on_device(path, batch_size=4)
        found = [next(device.encode_rows(values, starts)).embedding for values in (rows, spoiled)]
        np.testing.assert_array_equal(*found)

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("out of memory")])
    def test_too_large_a_batch_is_halved_with_a_notice_and_the_work_is_finished(self, path, monkeypatch, error):
        """A device that has memory for fewer than 8 windows: 64, 32, 16 and 8 fail, 4 at a time are enough."""
        device, told = on_device(path, batch_size=64), list[str]()
        whole, states = (
            on_device(path, batch_size=4).encode(runs_of_rows(numbers(60, 4), np.arange(50), 6)),
            device._states,
        )

        def short_of_memory(windows):
            if len(windows) >= 8:
                raise error
            return states(windows)

        device.notify = told.append
        monkeypatch.setattr(device, "_states", short_of_memory)
        parts = list(device.encode_rows(numbers(60, 4), np.arange(50)))
        np.testing.assert_array_equal(np.concatenate([part.embedding for part in parts]), whole.embedding)
        assert told == [f"memory ran out: continuing with batches of {size}" for size in (32, 16, 8, 4)]
        monkeypatch.setattr(device, "_states", lambda windows: windows @ windows)
        with pytest.raises(RuntimeError, match="size"):
            device.encode(np.zeros((1, 6, 4), dtype=np.float32))

    def test_a_device_that_others_use_is_left_out_with_a_notice(self, path, monkeypatch):
        """Of three equal cards, the second has no memory left: two share the work."""
        device, told = on_device(path, batch_size=4), list[str]()

        def to(model, where):
            if where.index == 1:
                raise torch.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 20.00 MiB.\nOf the allocated memory"
                )
            return model

        monkeypatch.setattr(type(device.model), "to", to)
        device.also_on, device.notify = (torch.device("cuda", 1), torch.device("cuda", 2)), told.append
        replicas = device.replicas()
        assert len(replicas) == 2
        assert replicas[0] is device
        assert len(told) == 1
        assert told[0].startswith("continuing without cuda:1 (CUDA out of memory")

    def test_memory_for_no_window_is_an_error(self, path, monkeypatch):
        """There is nothing left to halve: WorkError."""
        device = on_device(path, batch_size=4)

        def fails(_):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(device, "_states", fails)
        with pytest.raises(WorkError, match="a single window"):
            device.encode(np.zeros((3, 6, 4), dtype=np.float32))

    def test_windows_of_another_shape_are_refused(self, path):
        """Rows with a feature too many are not encoded."""
        with pytest.raises(MismatchError, match="shape"):
            next(on_device(path).encode_rows(numbers(10, 5), np.array([0])))

    def test_a_build_on_the_device_is_verified_on_the_cpu(self, path, tmp_path):
        """Two tasks at a time in lanes that lag: the same entries as on the CPU up to rounding; verification passes
        for the model."""
        days = np.datetime64("2024-01-01", "D") + np.arange(30)
        panel = Panel(ArraySource({name: (days, numbers(30, 4) + number) for number, name in enumerate("ABCDEF")}))
        device, plain = (
            on_device(path, LateLanes(), batch_size=16),
            load_encoder(path, device="cpu", precision="float32"),
        )
        cache = open_cache(tmp_path / "c.lance")
        report = cache.build(panel, device, Selection())
        assert (report.computed, report.failed) == (6 * 25, 0)
        checked = cache.verify(panel, plain, sample="all")
        assert checked.passed
        assert checked.sampled == 150
