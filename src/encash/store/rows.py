"""What entries must be before they are written, and the checksum that proves a row read is the row written.
Knows arrays alone; nothing of files."""

from __future__ import annotations

import numpy as np
import xxhash

from encash.arrays import Days, Float32, Int64, Text, UInt64
from encash.errors import InputError
from encash.fingerprint import row_digests
from encash.store.base import Entries, StoreSpec
from encash.store.codec import encode, is_rounded


def encode_entries(spec: StoreSpec, entries: Entries) -> tuple[np.ndarray, Float32 | None]:
    """Check entries against the store they are meant for and encode their vectors.

    Raises:
        InputError: shapes, order, keys or values that a store of this spec cannot take.
    """
    _check_shapes(spec, entries)
    _check_keys(entries.days, entries.tickers)
    for name, values in (("forecast", entries.forecast), ("confidence", entries.confidence)):
        if not np.isfinite(values).all():
            raise InputError(f"a {name} is NaN or infinite; a store keeps finite values only")
    codes, scale = encode(entries.embedding, spec.dtype)
    if spec.dtype != "float32" and not is_rounded(entries.embedding, codes, scale):
        raise InputError(f"the vectors are not rounded to {spec.dtype}; pass them through round_vectors first")
    return codes, scale


def check_rows(rows: Int64, count: int) -> Int64:
    """Row numbers as int64, each within 0 … count − 1.

    Raises:
        InputError: a row outside.
    """
    rows = np.asarray(rows, dtype=np.int64)
    row_bounds(rows, count)
    return rows


def row_bounds(rows: Int64, count: int) -> tuple[int, int]:
    """The smallest and the largest row, each within 0 … count − 1; (0, 0) of none.

    Raises:
        InputError: a row outside.
    """
    if len(rows) == 0:
        return 0, 0
    first, last = int(rows.min()), int(rows.max())
    if first < 0 or last >= count:
        raise InputError(f"rows {first} … {last} were asked of a store of {count:,}; take them from index()")
    return first, last


def row_checksums(
    codes: np.ndarray, scale: Float32 | None, entries: Entries, names: Text | None = None, code: Int64 | None = None
) -> UInt64:
    """A 64-bit checksum of everything that a row holds: key, digest, stored vector, scale, forecasts.

    Args:
        codes: the stored vectors, shape (n, D).
        scale: of each row for int8, shape (n,).
        entries: the rows; their `embedding` is not looked at.
        names: the distinct tickers, where they are known already.
        code: place of each row's ticker among `names`.
    """
    if names is None or code is None:
        names, code = np.unique(entries.tickers, return_inverse=True)
    name_digests = text_digests(names)
    parts: list[np.ndarray] = [
        row_digests(codes),
        name_digests[code],
        entries.digest,
        entries.days.astype("datetime64[D]").astype(np.int64),
        np.ascontiguousarray(entries.forecast, dtype=np.float32),
        np.ascontiguousarray(entries.confidence, dtype=np.float32),
    ]
    if scale is not None:
        parts.append(scale)
    return row_digests(np.concatenate([_row_bytes(part) for part in parts], axis=1))


def text_digests(texts: Text) -> UInt64:
    """A 64-bit digest of each text's UTF-8 bytes."""
    return np.array([xxhash.xxh3_64_intdigest(text.encode()) for text in texts.tolist()], dtype=np.uint64)


def _row_bytes(part: np.ndarray) -> np.ndarray:
    """The bytes of each row, shape (n, bytes)."""
    if not part.size:
        return np.empty((len(part), 0), dtype=np.uint8)
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).reshape(len(part), -1)


def _check_shapes(spec: StoreSpec, entries: Entries) -> None:
    count, horizons = len(entries), len(spec.horizons)
    wanted = {
        "days": (count,),
        "tickers": (count,),
        "digest": (count,),
        "embedding": (count, spec.dim),
        "forecast": (count, horizons),
        "confidence": (count, horizons),
    }
    for name, shape in wanted.items():
        if getattr(entries, name).shape != shape:
            raise InputError(f"{name} has shape {getattr(entries, name).shape}; this store takes {shape}")


def _check_keys(days: Days, tickers: Text) -> None:
    """Days known, tickers not empty, keys strictly ascending."""
    if np.isnat(days).any():
        raise InputError("a day is not a time (NaT); every entry has a day")
    if (tickers == "").any():
        raise InputError("a ticker is empty; every entry has one")
    same_day = days[1:] == days[:-1]
    ascending = (days[1:] > days[:-1]) | (same_day & (tickers[1:] > tickers[:-1]))
    if not ascending.all():
        at = int(np.argmin(ascending))
        problem = "twice" if same_day[at] and tickers[at] == tickers[at + 1] else "out of order"
        raise InputError(
            f"({days[at + 1]}, {tickers[at + 1]}) comes {problem}; entries are written sorted by day, then ticker "
            "(Entries.sorted), each key once"
        )
