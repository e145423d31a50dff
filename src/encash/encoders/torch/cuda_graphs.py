"""Calls recorded as CUDA graphs: all kernels of a call are launched at once.

A small model spends more time in launches than in kernels; a large one hides its launches behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3
"""Calls before the recording, in which libraries choose kernels and take workspace."""


class RecordedCall:
    """A function of one tensor as a CUDA graph; for tensors of one shape, in one stream at a time."""

    @torch.inference_mode()
    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor, pool: Any = None):
        """Record the function, which must not wait for the device.

        Args:
            function: returns one tensor.
            example: an argument on the device.
            pool: of `torch.cuda.graph_pool_handle`, for recordings that never run at the same time.
        """
        self._input, self._graph = example.clone(), torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]  # torch has no type for it
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                function(self._input)
        stream.synchronize()
        # "thread_local": other threads may allocate pinned memory meanwhile
        recording = torch.cuda.graph(self._graph, pool, stream, capture_error_mode="thread_local")
        before = torch.cuda.stream(torch.cuda.current_stream(example.device))  # restored also if the recording fails
        with torch.cuda.device(example.device), before, recording:
            self._output = function(self._input)
        torch.cuda.synchronize(example.device)

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the output for a tensor of the same shape; in the current stream."""
        self._input.copy_(windows)
        self._graph.replay()
        return self._output.clone()


def recorder() -> Callable[[Callable[[Tensor], Tensor], Tensor], RecordedCall]:
    """Return a function that records calls which share their memory."""
    return partial(RecordedCall, pool=torch.cuda.graph_pool_handle())
