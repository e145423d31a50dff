"""The batch of an accelerator: as large as pays, fits the memory, and gives the same bits. A CPU stands in."""

from typing import Any

import numpy as np
import pytest
import torch

from encash.encoders import load_encoder
from encash.encoders.batches import BatchedEncoder
from encash.encoders.torch import TorchEncoder, devices
from encash.encoders.torch.batch_tuning import LARGEST_TUNED, SMALLEST_TUNED, tune_batch
from encash.encoders.torch.device_feed import PlainLanes
from encash.testing import MeanEncoder, write_checkpoint
from tests.encoders.test_devices import CachingCard


class Card(BatchedEncoder):
    """A device with a clock of its own: a call takes a fixed time, plus a time per window, more in the first calls."""

    def __init__(self, *, fixed=0.0, odd_from=10**9, fits=10**9, memory=None):
        self._inner = MeanEncoder(2, lookback=3, dim=4)
        super().__init__(self._inner.spec, batch_size=SMALLEST_TUNED, smallest_call=SMALLEST_TUNED)
        self.now, self.calls = 0.0, dict[int, int]()
        self._fixed, self._odd_from, self._fits, self._memory, self.taken = fixed, odd_from, fits, memory, 0

    def call(self, windows):
        size = len(windows)
        if size > self._fits:
            raise MemoryError
        self.calls[size] = self.calls.get(size, 0) + 1
        self.now += (self._fixed + size * 1e-5) * (50 if self.calls[size] == 1 else 1)
        self.taken = max(self.taken, size)
        found = self._inner.encode(windows)
        if size >= self._odd_from:
            found.embedding[-1] *= np.float32(1.000001)
        return found

    def free(self):
        """Bytes of a card on which a window takes one byte."""
        return None if self._memory is None else self._memory - self.taken

    def tune(self):
        """Tune, by the card's own clock."""
        return tune_batch(self, self.free, lambda: self.now)


@pytest.mark.parametrize(
    ("card", "batch"),
    [
        ({}, 256),
        ({"fixed": 1e-3}, 2048),
        ({"fixed": 1.0}, 256),
        ({"fixed": 0.1}, LARGEST_TUNED),
        ({"fixed": 0.1, "odd_from": 1024}, 512),
        ({"fixed": 0.1, "fits": 2000}, 1024),
        ({"fixed": 0.1, "memory": 2000}, 1024),
        ({"fixed": 0.1, "memory": 10**9}, LARGEST_TUNED),
    ],
)
def test_the_batch_that_pays_fits_and_gives_the_same_bits_is_taken(card, batch):
    """Doubled while it is 3% faster, until a call takes a second, memory ends, or a bit differs; the slow first calls
    do not count. Smaller calls, which give the same bits, stay possible for the rest of a task."""
    encoder = Card(**card)
    trials = encoder.tune()
    assert (encoder.batch_size, encoder.busy_call, encoder.smallest_call) == (batch, batch, SMALLEST_TUNED)
    assert [trial.batch for trial in trials] == [SMALLEST_TUNED << number for number in range(len(trials))]
    assert encoder.entries_per_second == pytest.approx(batch / (card.get("fixed", 0) + batch * 1e-5))
    assert all(trial.same_bits == (trial.batch < card.get("odd_from", 10**9)) for trial in trials)


def test_a_card_too_small_for_256_windows_keeps_what_fits():
    """Memory for 100: the batch that the halving led to stays, and nothing was measured."""
    encoder = Card(fits=100)
    assert encoder.tune() == []
    assert encoder.batch_size == 64


def test_a_batch_that_would_fill_the_memory_is_not_tried(monkeypatch):
    """As torch counts the memory of a card: what a batch took is free again when it has ended."""
    memory, tried = CachingCard(2000), list[int]()

    class Counting(Card):
        def call(self, windows):
            tried.append(len(windows))
            memory.call(len(windows))
            return super().call(windows)

    monkeypatch.setattr(devices, "_library", lambda device: memory)
    encoder, device = Counting(fixed=0.1), torch.device("cuda", 0)
    tune_batch(encoder, lambda: devices.least_free_memory(device), lambda: encoder.now)
    assert (encoder.batch_size, max(tried)) == (1024, 1024)


class TestRecordedCalls:
    """Calls that replace those of the model (CUDA graphs), by a stand-in."""

    @pytest.fixture
    def encoder(self, tmp_path):
        path = write_checkpoint(tmp_path / "m.pt", num_features=3, lookback=4, hidden_dim=32, num_layers=2)
        plain: Any = load_encoder(path, device="cpu", precision="float32")
        encoder = TorchEncoder(plain.model, plain.spec, lanes=PlainLanes(), batch_size=8)
        encoder.smallest_call = 4
        return encoder

    @staticmethod
    def recorded(change=1.0):
        """A recording that remembers all answers, and is thus faster than the model."""

        def make(function, example):
            answers = {}

            def call(windows):
                assert windows.shape == example.shape
                if (key := windows.numpy().tobytes()) not in answers:
                    answers[key] = function(windows) * change
                return answers[key].clone()

            return call

        return make

    def test_a_faster_recording_with_the_same_bits_is_taken_for_every_size(self, encoder):
        """Batches and smaller calls alike; the outputs stay."""
        windows = np.random.default_rng(0).standard_normal((20, 4, 3), dtype=np.float32)
        before = encoder.encode(windows)
        assert encoder.record(self.recorded())
        assert set(encoder.graphs) == {8, 4}
        np.testing.assert_array_equal(encoder.encode(windows).embedding, before.embedding)

    def test_a_recording_that_says_something_else_is_not_taken(self, encoder):
        """One bit is enough."""
        assert not encoder.record(self.recorded(1.0000002))
        assert encoder.graphs == {}

    def test_memory_that_runs_out_drops_the_recordings(self, encoder):
        """They hold memory themselves, and are of other sizes than the smaller calls."""

        def fails(windows):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        windows = np.random.default_rng(0).standard_normal((20, 4, 3), dtype=np.float32)
        before = encoder.encode(windows)
        encoder.graphs = {8: fails, 4: fails}
        np.testing.assert_allclose(encoder.encode(windows).embedding, before.embedding, atol=1e-6)
        assert encoder.graphs == {}

    def test_recordings_that_leave_too_little_memory_are_dropped_and_the_batch_stays(self, encoder):
        """They recorded, but the first call has no room for its output; without them it has."""

        def make(function, example):
            def call(windows):
                raise torch.OutOfMemoryError("CUDA out of memory.")

            return call

        assert not encoder.record(make)
        assert (encoder.graphs, encoder.batch_size, encoder.smallest_call) == ({}, 8, 4)

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory."),
            torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing"),
        ],
    )
    def test_recordings_that_cannot_be_made_are_left_out(self, encoder, error):
        """The calls of the model go on."""

        def make(function, example):
            raise error

        assert not encoder.record(make)
        assert encoder.graphs == {}
        assert len(encoder.encode(np.zeros((3, 4, 3), dtype=np.float32)).embedding) == 3
