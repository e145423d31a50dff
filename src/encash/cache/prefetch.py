"""Prefetching: the next items of an iterator are made while the current one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], depth: int) -> Generator[Item, None, None]:
    """Iterate over the same items, up to `depth` of them made in a thread before they are requested.

    An error of the iterator is raised here, in order. Closing stops the thread after the current item.

    >>> list(prefetch(iter([1, 2, 3]), depth=2))
    [1, 2, 3]
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="encash-prefetch")
    waiting: deque[Future[object]] = deque(pool.submit(next, items, end) for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield cast("Item", item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
