"""A canonical hash of descriptions, and fast digests of rows and files."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from encash.arrays import UInt64

Canonical = (
    None
    | bool
    | int
    | float
    | str
    | bytes
    | np.generic
    | Sequence["Canonical"]
    | Mapping[str, "Canonical"]
    | np.ndarray
)
"""A value that can be fingerprinted: plain and numpy scalars, sequences and mappings of them, numpy arrays."""

RUN_BASE = 0x9E3779B97F4A7C15
"""The odd number nearest to 2⁶⁴ over the golden ratio."""
_NARROW_BYTES = 512
"""Rows up to this width are hashed from copies: making a small `bytes` is three times as fast as a view of an array."""
_COPIED_BYTES = 1 << 18
"""Bytes of rows that are copied at a time; they fit into the processor's cache."""
_LISTED = 8
"""The longest list that a comparison shows as a whole."""
_HASH = re.compile("[0-9a-f]{64}")


def fingerprint(value: Canonical) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of a length-prefixed encoding of a value.

    Two values have the same fingerprint only if their types, shapes and contents are equal; 1, 1.0 and True differ. The
    order of a mapping does not count. A numpy scalar counts as the Python value that it is equal to.

    Raises:
        TypeError: a value of a different type.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    >>> fingerprint(["ab", "c"]) == fingerprint(["a", "bc"])
    False
    """
    hasher = hashlib.sha256()
    for part in _parts(value):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def explain_difference(ours: Mapping[str, Canonical], theirs: Mapping[str, Canonical]) -> list[str]:
    """Return one line for each field that differs between two descriptions, in order of the names.

    A long list is shown by the first item that differs, a hash by its first digits.

    >>> explain_difference({"dim": 64, "pooling": "mean"}, {"dim": 32, "pooling": "mean"})
    ['dim: 64 here, 32 there']
    >>> explain_difference({"names": ["a"] * 9}, {"names": ["a"] * 8 + ["b"]})
    ['names: 1 of 9 items differ, item 8 first: a here, b there']
    """
    absent = "absent"
    return [
        _explain(field, ours.get(field, absent), theirs.get(field, absent))
        for field in sorted({*ours, *theirs})
        if fingerprint(ours.get(field, absent)) != fingerprint(theirs.get(field, absent))
    ]


def _explain(field: str, ours: Canonical, theirs: Canonical) -> str:
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and max(len(ours), len(theirs)) > _LISTED:
        if len(ours) != len(theirs):
            return f"{field}: {len(ours)} items here, {len(theirs)} there"
        differing = [at for at in range(len(ours)) if fingerprint(ours[at]) != fingerprint(theirs[at])]
        at = differing[0]
        return (
            f"{field}: {len(differing)} of {len(ours)} items differ, item {at} first: {ours[at]} here, {theirs[at]} "
            "there"
        )
    return f"{field}: {_short(ours)} here, {_short(theirs)} there"


def _short(value: Canonical) -> str:
    """Return the length of a long list, the first digits of a hash, and the text of any other value."""
    if isinstance(value, list | tuple) and len(value) > _LISTED:
        return f"{len(value)} items"
    text = str(value)
    return text[:12] + "…" if _HASH.fullmatch(text) else text


def row_digests(rows: np.ndarray) -> UInt64:
    """Return a 64-bit digest (XXH3) of the bytes of each row; it detects changes, not an adversary.

    Args:
        rows: shape (n, …), any dtype.

    Returns:
        shape (n,), equal for two rows with the same bytes.

    >>> a, b = row_digests(np.array([[1.0, 2.0], [1.0, 2.0]]))
    >>> bool(a == b)
    True
    """
    rows = np.ascontiguousarray(rows)
    if rows.size == 0:
        return np.zeros(len(rows), dtype=np.uint64)
    digest: Callable[[Any], int] = xxhash.xxh3_64_intdigest
    return np.fromiter(map(digest, _row_buffers(rows)), dtype=np.uint64, count=len(rows))


def run_digests(digests: UInt64, length: int) -> UInt64:
    """Return one digest per run of `length` consecutive digests: Σ dᵢ·b^(length−1−i) modulo 2⁶⁴.

    The base b is odd, so a change of one digest always changes the runs that contain it; two runs of digests that are
    themselves hashes are equal by chance about once in 2⁵⁶.

    Args:
        digests: shape (n,), from `row_digests`.
        length: at most n.

    Returns:
        shape (n − length + 1,); item i depends only on ``digests[i : i + length]``.

    >>> one, two, again = run_digests(np.array([5, 6, 5, 6], dtype=np.uint64), 2)
    >>> bool(one == again), bool(one == two)
    (True, False)
    """
    inverse = pow(RUN_BASE, -1, 2**64)
    powers, inverses = (_powers(base, len(digests)) for base in (RUN_BASE, inverse))
    before = np.concatenate([[np.uint64(0)], np.cumsum(digests * inverses, dtype=np.uint64)])
    runs: UInt64 = (before[length:] - before[: len(before) - length]) * powers[length - 1 :]
    return runs


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of the bytes of a file.

    Raises:
        FileNotFoundError: no such file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row_buffers(rows: np.ndarray) -> Iterator[Any]:
    """Return the bytes of each row."""
    width = rows.nbytes // len(rows)
    flat = rows.reshape(-1).view(np.uint8)
    if width > _NARROW_BYTES:
        return iter(flat.reshape(-1, width))
    narrow, step = flat.view(np.dtype((np.void, width))), max(1, _COPIED_BYTES // width)
    return itertools.chain.from_iterable(narrow[at : at + step].tolist() for at in range(0, len(rows), step))


def _powers(base: int, count: int) -> UInt64:
    """Return 1, b, b², … modulo 2⁶⁴."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _parts(value: Canonical) -> list[bytes | memoryview]:
    """Return the encoding of a value in parts; each is hashed after its length."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU":
        value = value.item()
    match value:
        case None:
            return [b"none"]
        case bool() | int() | float() | str() | bytes():
            text = value if isinstance(value, bytes) else repr(value).encode()
            return [type(value).__name__.encode(), text]
        case np.ndarray():
            array = np.ascontiguousarray(value)
            head = [b"array", array.dtype.str.encode(), repr(array.shape).encode()]
            return [*head, array.reshape(-1).view(np.uint8).data]
        case Mapping():
            parts = [part for key, item in sorted(value.items()) for part in (*_parts(key), *_parts(item))]
            return [b"mapping", str(len(value)).encode(), *parts]
        case Sequence():
            return [b"sequence", str(len(value)).encode(), *(part for item in value for part in _parts(item))]
    raise TypeError(f"cannot fingerprint a {type(value).__name__}; expected scalars, mappings, sequences or arrays")
