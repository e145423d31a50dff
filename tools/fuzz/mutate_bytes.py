"""Mutations of bytes: flips, runs, truncation, growth, splices and extreme integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EXTREME = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
"""Sizes and offsets that break what trusts them."""
Mutation = Callable[[bytes, bytes, np.random.Generator], tuple[bytes, str]]
"""Called with the bytes of a file, those of a different file, and random numbers; returns new bytes and their story."""


def _offset(data: bytes, random: np.random.Generator) -> int:
    """Draw an offset: anywhere, near the start or near the end, where formats keep what describes the rest."""
    size = max(len(data), 1)
    match random.integers(4):
        case 0:
            return int(random.integers(min(size, 256)))
        case 1:
            return size - 1 - int(random.integers(min(size, 512)))
    return int(random.integers(size))


def flip_bits(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Flip one bit, or up to sixteen."""
    count = int(random.choice([1, 1, 1, 2, 4, 16]))
    changed, at = bytearray(data or b"\0"), []
    for _ in range(count):
        at.append(_offset(data, random))
        changed[at[-1]] ^= 1 << int(random.integers(8))
    return bytes(changed), f"{count} bits flipped at {at}"


def overwrite_run(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Overwrite a run with zeros, ones or noise."""
    start, length = _offset(data, random), int(random.choice([2, 16, 200, 4096]))
    length = min(length, len(data) - start)
    fill = [bytes(length), b"\xff" * length, random.bytes(length)][int(random.integers(3))]
    return data[:start] + fill + data[start + length :], f"{length} bytes overwritten at {start}"


def write_integer(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Overwrite an integer of two, four or eight bytes with an extreme one."""
    width, value = int(random.choice([2, 4, 8])), int(random.choice(np.array(EXTREME, dtype=np.uint64)))
    start = _offset(data, random) // width * width if random.integers(2) else _offset(data, random)
    number = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return data[:start] + number + data[start + width :], f"integer {number.hex()} at {start}"


def truncate(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Keep only the start, sometimes nothing."""
    end = int(random.choice([0, 1, len(data) // 2, max(len(data) - 1, 0), int(random.integers(len(data) + 1))]))
    return data[:end], f"truncated to {end} of {len(data)} bytes"


def grow(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Append zeros, noise or the file itself."""
    size = int(random.choice([1, 8, 1000]))
    tail = [bytes(size), random.bytes(size), data][int(random.integers(3))]
    return data + tail, f"{len(tail)} bytes appended"


def splice(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Continue with the bytes of a different file."""
    at = _offset(data, random)
    return data[:at] + other[at if random.integers(2) else int(random.integers(len(other) + 1)) :], f"spliced at {at}"


def move_block(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Remove a block, or insert it a second time."""
    start, length = _offset(data, random), int(random.choice([1, 8, 64, 1000]))
    block, to = data[start : start + length], int(random.integers(len(data) + 1))
    if random.integers(2):
        return data[:start] + data[start + length :], f"{len(block)} bytes removed at {start}"
    return data[:to] + block + data[to:], f"{len(block)} bytes of {start} inserted at {to}"


def replace_file(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Take the content of a different file."""
    return other, "replaced by a different file"


BYTES: tuple[Mutation, ...] = (
    flip_bits, flip_bits, flip_bits, overwrite_run, overwrite_run, write_integer, write_integer, truncate, grow, splice,
    move_block, replace_file,
)  # fmt: skip
"""Mutations of bytes; those that are listed more often are drawn more often."""
