"""Doing the next things while the present one is used. Knows iterators and one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, up to `depth` of them made in a thread before they are asked for.

    What the iterator raises is raised here, in its turn. Closing stops the thread after the item at hand.

    >>> list(read_ahead(iter([1, 2, 3]), depth=2))
    [1, 2, 3]
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="encash-ahead")
    waiting: deque[Future[object]] = deque(pool.submit(next, items, end) for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield cast("Item", item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
