"""Reuse of the memory of one batch for the next, by settings of glibc's allocator.

glibc returns large blocks to the system as soon as they are free, and the system zeroes every page that it hands out
again. A model that allocates the same tensors for every batch spends up to a quarter of its time on that, and more in
the heap of a thread other than the first, which is returned as a whole.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of ``mallopt`` in malloc.h."""
LARGEST_BLOCK = 32 * 2**20
"""The largest block that is allocated on the heap."""
KEPT = 256 * 2**20
"""Free memory at the end of a heap that is not returned to the system."""


@cache
def keep_freed_memory() -> bool:
    """Let the allocator of this process keep the memory that a batch frees, in one heap for all later threads.

    Returns:
        False if the allocator is not glibc's.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT), (M_ARENA_MAX, 1))
    return all(libc.mallopt(name, value) for name, value in settings)
