"""Keeps the memory of one batch for the next. Knows the allocator of glibc; no model.

glibc gives large blocks back to the system as soon as they are free, and the system zeroes every page that it hands out
again. A model that makes the same tensors for every batch spends up to a quarter of its time on that, and more of it
outside the main thread, where a build encodes.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Their names and numbers in malloc.h."""
LARGEST_BLOCK = 32 * 2**20
"""The most that glibc takes from its own heap."""
KEPT = 256 * 2**20
"""Free memory at the end of a heap that is not given back."""


def keep_freed_memory() -> bool:
    """Tell the allocator of this process to keep what a batch frees; False where it is not glibc's."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    return bool(libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK) and libc.mallopt(M_TRIM_THRESHOLD, KEPT))
