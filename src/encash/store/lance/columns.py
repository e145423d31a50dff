"""Convert the rows of a store to Arrow and back, and define its schema.

The text of two metadata keys is Lance's: for the primary key, and for columns that are written as plain pages.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Days, Float32, UInt64
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint
from encash.store.base import Entries, StoreSpec
from encash.store.codec import check_dtype
from encash.store.rows import row_checksums

_SPEC_KEY = "encash"
"""Metadata key of the schema for the spec, as JSON."""
_DIGEST_KEY = "encash-digest"
"""Metadata key for the fingerprint of that JSON: a flipped bit must not go unnoticed."""
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
_PLAIN = {"lance-encoding:structural-encoding": "fullzip", "lance-encoding:compression": "none"}
"""Lance's encoding of a column as plain row-major pages."""


def schema(spec: StoreSpec) -> pa.Schema:
    """Return the Arrow schema of a store.

    Raises:
        InputError: an invalid dim or dtype.
    """
    if spec.dim < 1:
        raise InputError(f"dim is {spec.dim}; expected 1 or more")
    check_dtype(spec.dtype)
    plain = []
    for name in value_columns(spec):
        dtype, width = column_type(spec, name)
        value = pa.from_numpy_dtype(dtype)
        kind = pa.list_(value, width) if width else value
        plain.append(pa.field(name, kind, nullable=False, metadata=_PLAIN))
    return pa.schema(
        [
            pa.field("date", pa.date32(), nullable=False, metadata=_PRIMARY_KEY),
            pa.field("ticker", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
            pa.field("digest", pa.uint64(), nullable=False),
            pa.field("checksum", pa.uint64(), nullable=False),
            *plain,
        ],
        metadata={_SPEC_KEY: (text := json.dumps(spec.describe(), sort_keys=True)), _DIGEST_KEY: fingerprint(text)},
    )


def value_columns(spec: StoreSpec) -> list[str]:
    """List the columns that are written as plain pages, in order."""
    scale = ["scale"] if spec.dtype == "int8" else []
    return [*scale, *(["forecast", "confidence"] if spec.horizons else []), "embedding"]


def column_type(spec: StoreSpec, name: str) -> tuple[np.dtype[np.generic], int]:
    """Return numpy type and width of a column; width 0 means one value per row."""
    if name == "embedding":
        return np.dtype(spec.dtype), spec.dim
    return np.dtype(np.float32), 0 if name == "scale" else len(spec.horizons)


def read_spec(location: str, dataset: Any) -> StoreSpec:
    """Read the spec in a dataset's schema, and check it against its columns.

    Raises:
        FormatError: a missing or damaged spec, or columns that do not match it.
    """
    metadata = {key.decode(): value.decode() for key, value in (dataset.schema.metadata or {}).items()}
    text = metadata.get(_SPEC_KEY)
    if text is None:
        raise FormatError(
            f"{location} is a Lance dataset, but not a cache of encash; give a cache that `encash build` made"
        )
    if metadata.get(_DIGEST_KEY) != fingerprint(text):
        raise FormatError(f"the description in {location} is damaged: its digest differs; restore it from a copy")
    spec = StoreSpec.from_description(json.loads(text), what=f"the description in {location}")
    if not dataset.schema.equals(schema(spec)):
        raise FormatError(f"the columns of {location} are not those of a cache of {spec.dtype} × {spec.dim}")
    return spec


def table(
    columns: pa.Schema, entries: Entries, codes: np.ndarray, scale: Float32 | None, checksum: UInt64 | None = None
) -> pa.Table:
    """Return entries as rows of the store; rows that are moved keep the given checksums, shape (n,)."""
    coded = pa.array(entries.tickers).dictionary_encode()
    if checksum is None:
        names = np.array(coded.dictionary.to_pylist(), dtype=np.str_)
        checksum = row_checksums(codes, scale, entries, names, coded.indices.to_numpy())
    values = {
        "date": pa.array(entries.days),
        "ticker": coded.dictionary_decode(),
        "digest": pa.array(entries.digest),
        "checksum": pa.array(checksum),
        "scale": scale,
        "forecast": entries.forecast,
        "confidence": entries.confidence,
        "embedding": codes,
    }
    arrays = [_to_arrow(values[field.name], field.type) for field in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


def _to_arrow(values: Any, kind: pa.DataType) -> pa.Array:
    """Convert values to a column's type, without a copy of vectors."""
    if isinstance(values, pa.Array):
        return values if values.type == kind else values.cast(kind)
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.array(values, type=kind)


def to_numpy(column: pa.Array) -> np.ndarray:
    """Return the values of a column, flat."""
    column = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def from_batch(batch: pa.RecordBatch, spec: StoreSpec) -> tuple[Entries, np.ndarray, Float32 | None]:
    """Return rows of the store as entries without vectors, their stored vectors (n, D), and for int8 scales (n,)."""
    count = batch.num_rows
    none = np.empty((count, 0), dtype=np.float32)

    def column(name: str) -> np.ndarray:
        return to_numpy(batch.column(name)).reshape(count, -1)

    days: Days = batch.column("date").cast(pa.int32()).to_numpy().astype(np.int64).astype("datetime64[D]")
    entries = Entries(
        days=days,
        tickers=np.array(batch.column("ticker").to_pylist(), dtype=np.str_),
        digest=batch.column("digest").to_numpy(),
        embedding=none,
        forecast=column("forecast") if spec.horizons else none,
        confidence=column("confidence") if spec.horizons else none,
    )
    return entries, column("embedding"), column("scale")[:, 0] if spec.dtype == "int8" else None
