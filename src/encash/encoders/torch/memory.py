"""Keeps the memory of one batch for the next. Knows the allocator of glibc; no model.

glibc gives large blocks back to the system as soon as they are free, and the system zeroes every page that it hands out
again. A model that makes the same tensors for every batch spends up to a quarter of its time on that, and more of it
in a heap of another thread than the first, which is given back as a whole.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Their names and numbers in malloc.h."""
LARGEST_BLOCK = 32 * 2**20
"""The most that glibc takes from its own heap."""
KEPT = 256 * 2**20
"""Free memory at the end of a heap that is not given back."""


@cache
def keep_freed_memory() -> bool:
    """Tell the allocator of this process to keep what a batch frees, in one heap for all threads that begin later;
    False where it is not glibc's."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT), (M_ARENA_MAX, 1))
    return all(libc.mallopt(name, value) for name, value in settings)
