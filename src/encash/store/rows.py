"""Check entries before they are written, and compute the checksums of rows."""

from __future__ import annotations

import numpy as np
import xxhash

from encash.arrays import Days, Float32, Int64, Text, UInt64
from encash.errors import InputError
from encash.fingerprint import row_digests
from encash.store.base import Entries, StoreSpec
from encash.store.codec import encode, is_rounded


def encode_entries(spec: StoreSpec, entries: Entries) -> tuple[np.ndarray, Float32 | None]:
    """Check entries against the spec of their store, and encode their vectors.

    Returns:
        Codes (n, D) and, for int8, scales (n,), as `codec.encode` returns them.

    Raises:
        InputError: shapes, order, keys or values that a store of this spec cannot take.
    """
    _check_shapes(spec, entries)
    _check_keys(entries.days, entries.tickers)
    for name, values in (("forecast", entries.forecast), ("confidence", entries.confidence)):
        if not np.isfinite(values).all():
            raise InputError(f"a {name} is NaN or infinite; expected finite values")
    codes, scale = encode(entries.embedding, spec.dtype)
    if spec.dtype != "float32" and not is_rounded(entries.embedding, codes, scale):
        raise InputError(f"the vectors are not rounded to {spec.dtype}; pass them through round_vectors first")
    return codes, scale


def row_checksums(
    codes: np.ndarray, scale: Float32 | None, entries: Entries, names: Text | None = None, code: Int64 | None = None
) -> UInt64:
    """Return a 64-bit checksum of all values of each row: key, digest, stored vector, scale, forecasts; shape (n,).

    Args:
        codes: the stored vectors, shape (n, D).
        scale: of each row for int8, shape (n,).
        entries: the rows; their `embedding` is ignored.
        names: the distinct tickers, if known already.
        code: position of each row's ticker among `names`, shape (n,).
    """
    if names is None or code is None:
        names, code = np.unique(entries.tickers, return_inverse=True)
    name_digests = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names.tolist()], dtype=np.uint64)
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


def _row_bytes(part: np.ndarray) -> np.ndarray:
    """Return the bytes of each row, shape (n, bytes)."""
    if not part.size:
        return np.empty((len(part), 0), dtype=np.uint8)
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).reshape(len(part), -1)


def _check_shapes(spec: StoreSpec, entries: Entries) -> None:
    count, horizons = len(entries), len(spec.horizons)
    expected = {
        "days": (count,),
        "tickers": (count,),
        "digest": (count,),
        "embedding": (count, spec.dim),
        "forecast": (count, horizons),
        "confidence": (count, horizons),
    }
    for name, shape in expected.items():
        if getattr(entries, name).shape != shape:
            raise InputError(f"{name} has shape {getattr(entries, name).shape}; expected {shape}")


def _check_keys(days: Days, tickers: Text) -> None:
    """Refuse unknown days, empty tickers, and keys that are not strictly ascending."""
    if np.isnat(days).any():
        raise InputError("a day is NaT; expected a date for each entry")
    if (tickers == "").any():
        raise InputError("a ticker is empty; expected a name for each entry")
    same_day = days[1:] == days[:-1]
    ascending = (days[1:] > days[:-1]) | (same_day & (tickers[1:] > tickers[:-1]))
    if not ascending.all():
        at = int(np.argmin(ascending))
        problem = "occurs twice" if same_day[at] and tickers[at] == tickers[at + 1] else "is out of order"
        raise InputError(
            f"({days[at + 1]}, {tickers[at + 1]}) {problem}; expected each key once, sorted by day, then ticker "
            "(Entries.sorted)"
        )
