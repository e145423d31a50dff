"""One thread of torch per core, each with a part of the batch.

By default torch spreads every step of a model over all cores, which wait for each other after each step. A thread that
takes a part of the batch through all steps on one core never waits: a model runs 5% to 20% faster, and its output does
not depend on the number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

from encash.encoders.torch.matmul import save_products
from encash.encoders.torch.memory import keep_freed_memory

P = TypeVar("P")
R = TypeVar("R")

_pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="encash-torch")
_settings = Lock()
"""Torch's settings belong to the whole process: one batch at a time changes them."""


def map_on_threads(function: Callable[[P], R], parts: Sequence[P], *, matmul: str = "highest") -> list[R]:
    """Call a function on each part, each on one thread and one core; return the results in order.

    Args:
        function: computes with torch.
        parts: the arguments.
        matmul: precision of float32 matrix products (``torch.set_float32_matmul_precision``).

    Raises:
        Exception: the error of the first part that failed, after all have ended.

    >>> map_on_threads(lambda part: torch.get_num_threads() * part, [1, 2, 3])
    [1, 2, 3]
    """
    keep_freed_memory()
    with _settings, _one_thread_each(), matmul_precision(matmul):
        running = [_pool.submit(_on_one_core, function, part) for part in parts]
        wait(running)
    return [each.result() for each in running]


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set ``torch.set_float32_matmul_precision`` within a block, then restore the previous setting."""
    restore = save_products()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        restore()


@contextmanager
def only_matmul_precision(precision: str) -> Iterator[None]:
    """Set it within a block like `matmul_precision`, while no other thread changes it."""
    with _settings, matmul_precision(precision):
        yield


def _on_one_core(function: Callable[[P], R], part: P) -> R:
    torch.get_num_threads()  # makes this thread adopt the number that is set at this moment: one
    return function(part)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
