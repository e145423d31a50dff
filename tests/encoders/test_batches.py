"""Fixed calls, and memory that runs out."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encash.encoders import load_encoder
from encash.encoders.batches import BatchedEncoder
from encash.errors import WorkError
from encash.testing import MeanEncoder, write_checkpoint


class Counting(BatchedEncoder):
    """Remembers the sizes of its calls; runs out of memory above a number of windows."""

    def __init__(self, batch_size, smallest_call, most=10**9):
        self._inner, self.sizes, self._most = MeanEncoder(2, lookback=1), [], most
        super().__init__(self._inner.spec, batch_size=batch_size, smallest_call=smallest_call)

    def call(self, windows):
        if len(windows) > self._most:
            raise MemoryError("too many")
        self.sizes.append(len(windows))
        return self._inner.encode(windows)


def numbered(count):
    return np.arange(2 * count, dtype=np.float32).reshape(count, 1, 2)


@given(count=st.integers(1, 300), batch=st.integers(1, 70), smallest=st.integers(1, 70))
def test_calls_have_few_sizes_and_windows_their_places(count, batch, smallest):
    """Each call has the batch's size or a half of it of at least the smallest; the results are in order."""
    encoder = Counting(batch, smallest)
    result = encoder.encode(numbered(count))
    halves = {batch >> bit for bit in range(8)}
    assert set(encoder.sizes) <= {size for size in halves if size >= min(smallest, batch)}
    assert sum(encoder.sizes) < count + max(min(smallest, batch), 1) * 2
    np.testing.assert_array_equal(result.embedding, MeanEncoder(2, lookback=1).encode(numbered(count)).embedding)


def test_memory_that_runs_out_halves_the_batch_and_says_so():
    """Batches of 64 do not fit, 16 do: two halvings, each told, all results there; the smaller batch stays."""
    encoder, told = Counting(64, 64, most=20), list[str]()
    encoder.notify = told.append
    result = encoder.encode(numbered(100))
    np.testing.assert_array_equal(result.embedding, MeanEncoder(2, lookback=1).encode(numbered(100)).embedding)
    assert told == ["memory ran out: continuing with batches of 32", "memory ran out: continuing with batches of 16"]
    assert encoder.batch_size == 16
    assert set(encoder.sizes) == {16}


def test_memory_that_runs_out_with_one_window_is_an_error():
    """There is nothing left to halve: WorkError."""
    with pytest.raises(WorkError, match="a single window"):
        Counting(4, 1, most=0).encode(numbered(3))


def test_torch_running_out_of_memory_is_recognised(tmp_path, monkeypatch):
    """What torch raises on a CPU and on a GPU halves the batch; any other of its errors is passed on."""
    encoder: Any = load_encoder(write_checkpoint(tmp_path / "m.pt", num_features=3), device="cpu", batch_size=8)
    windows = np.random.default_rng(0).normal(size=(8, 8, 3)).astype(np.float32)
    whole, states = encoder.encode(windows), encoder._states
    for error in (
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
    ):

        def fails(batch, error=error):
            if len(batch) > 4:
                raise error
            return states(batch)

        encoder.batch_size = 8
        monkeypatch.setattr(encoder, "_states", fails)
        np.testing.assert_array_equal(encoder.encode(windows).embedding, whole.embedding)
        assert encoder.batch_size == 4
    monkeypatch.setattr(encoder, "_states", lambda batch: batch @ batch[:, :1])
    with pytest.raises(RuntimeError, match="size"):
        encoder.encode(windows)
