"""What "the same" means: one canonical hash of a description, and quick digests of rows. Knows no model and no file."""

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

Canonical = None | bool | int | float | str | bytes | Sequence["Canonical"] | Mapping[str, "Canonical"] | np.ndarray
"""What can be fingerprinted: plain values, sequences and mappings of them, numpy arrays."""


RUN_BASE = 0x9E3779B97F4A7C15
"""The odd number nearest to 2⁶⁴ over the golden ratio."""
_NARROW_BYTES = 512
"""Rows up to this width are hashed from copies: a small `bytes` is made three times as fast as a view of an array."""
_LISTED = 8
"""Items of a list that a line of a comparison shows."""
_HASH = re.compile("[0-9a-f]{64}")
_COPIED_BYTES = 1 << 18
"""Copied at once; it stays in the processor's cache."""


def fingerprint(value: Canonical) -> str:
    """SHA-256 (64 hexadecimal digits) over a length-prefixed encoding of a value.

    Two values have one fingerprint only if their types, shapes and contents are equal; the order in which
    a mapping was filled does not count.

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
    """Two descriptions compared field by field; one line for each field that differs, in order of the names. Of long
    lists the first items that differ are shown, of hashes the first digits.

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
    """How two values of one field differ."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and max(len(ours), len(theirs)) > _LISTED:
        if len(ours) != len(theirs):
            return f"{field}: {len(ours)} items here, {len(theirs)} there"
        places = [
            at for at, pair in enumerate(zip(ours, theirs, strict=True)) if fingerprint(pair[0]) != fingerprint(pair[1])
        ]
        at = places[0]
        return (
            f"{field}: {len(places)} of {len(ours)} items differ, item {at} first: {ours[at]} here, {theirs[at]} there"
        )
    return f"{field}: {_short(ours)} here, {_short(theirs)} there"


def _short(value: Canonical) -> str:
    """A value in a line: of a long list its length, of a hash its first digits."""
    if isinstance(value, list | tuple) and len(value) > _LISTED:
        return f"{len(value)} items"
    text = str(value)
    return text[:12] + "…" if _HASH.fullmatch(text) else text


def row_digests(rows: np.ndarray) -> UInt64:
    """A 64-bit digest (XXH3) of the bytes of each row; for change detection, not against an adversary.

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
    """One digest for each run of `length` neighbours, of all runs at once: Σ dᵢ·b^(length−1−i) modulo 2⁶⁴.

    The base b is odd, so a change of one digest always changes the runs that hold it; two runs of digests that are
    themselves hashes agree by chance about once in 2⁵⁶.

    Args:
        digests: shape (n,), as `row_digests` gives them.
        length: at most n.

    Returns:
        shape (n − length + 1,); item i belongs to ``digests[i : i + length]``, wherever it stands.

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
    """SHA-256 of the bytes of a file.

    Raises:
        FileNotFoundError: no such file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row_buffers(rows: np.ndarray) -> Iterator[Any]:
    """The bytes of each row."""
    width = rows.nbytes // len(rows)
    flat = rows.reshape(-1).view(np.uint8)
    if width > _NARROW_BYTES:
        return iter(flat.reshape(-1, width))
    narrow, step = flat.view(np.dtype((np.void, width))), max(1, _COPIED_BYTES // width)
    return itertools.chain.from_iterable(narrow[at : at + step].tolist() for at in range(0, len(rows), step))


def _powers(base: int, count: int) -> UInt64:
    """1, b, b², … modulo 2⁶⁴."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _parts(value: Canonical) -> list[bytes | memoryview]:
    """The pieces of a value in canonical order; each is hashed behind its length."""
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
            items = sorted(value.items())
            body = [part for key, item in items for part in (*_parts(key), *_parts(item))]
            return [b"mapping", str(len(items)).encode(), *body]
        case Sequence():
            return [b"sequence", str(len(value)).encode(), *(part for item in value for part in _parts(item))]
    raise TypeError(
        f"cannot fingerprint a {type(value).__name__}; expected plain values, mappings, sequences or arrays"
    )
