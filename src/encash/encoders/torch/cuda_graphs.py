"""Calls recorded as CUDA graphs: all kernels of a call are launched at once.

A small model spends more time in launches than in kernels; a large one hides its launches behind them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3
"""Calls before the recording, in which libraries choose kernels and take workspace."""


class RecordedCall:
    """A function of one tensor as a CUDA graph; for tensors of one shape, in one stream at a time."""

    @torch.inference_mode()
    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor):
        """Record the function, which must not wait for the device.

        Args:
            function: returns one tensor.
            example: an argument on the device.
        """
        self._input, self._graph = example.clone(), torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]  # torch has no type for it
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                function(self._input)
        stream.synchronize()
        # "thread_local": other threads may allocate pinned memory meanwhile
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._output = function(self._input)
        torch.cuda.synchronize(example.device)

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the output for a tensor of the same shape; in the current stream."""
        self._input.copy_(windows)
        self._graph.replay()
        return self._output.clone()
