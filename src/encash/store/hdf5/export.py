"""Write entries to an interchange file, atomically."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t

from encash.arrays import Float32
from encash.atomic_write import whole_file
from encash.errors import EncashError, InputError, WorkError, reason
from encash.progress import Progress
from encash.store.base import Entries, StoreSpec
from encash.store.hdf5.layout import ENTRIES_KEY, SIGNALS_KEY, SPEC_KEY, TICKERS_KEY, escape_ticker, signals_checksum
from encash.store.rows import row_checksums

_COMPRESS_ROWS = 256
"""Vectors that one thread compresses at a time."""


def write_hdf5(
    path: str | os.PathLike[str],
    spec: StoreSpec,
    batches: Iterable[Entries],
    *,
    progress: Progress | None = None,
    total: int = 0,
) -> int:
    """Write an interchange file atomically: an existing file is replaced when the new one is complete.

    Args:
        path: the file.
        spec: of the store that the entries come from.
        batches: entries in any order, each key once.
        progress: called with (entries written, total).
        total: number of entries to expect, for progress.

    Returns:
        Number of entries written.

    Raises:
        InputError: a duplicate key, or vectors of the wrong width.
        WorkError: the file could not be written; an existing file is kept.
    """
    with whole_file(path) as part, _writing(path), ThreadPoolExecutor(max_workers=2) as pool:
        export = _Export(part, spec)
        try:
            for batch in batches:
                export.add(batch, pool)
                if progress is not None:
                    progress(export.count, total)
            export.finish()
        finally:
            export.close()
    return export.count


class _Export:
    """A file being written. One dataset per vector is a quarter of a million calls: hence h5py's low-level API."""

    def __init__(self, path: Path, spec: StoreSpec):
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_libver_bounds(h5f.LIBVER_LATEST, h5f.LIBVER_LATEST)
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        access.set_file_locking(False, True)  # whole_file locks the temporary file
        root = h5p.create(h5p.FILE_CREATE)
        root.set_obj_track_times(False)  # the same entries give the same bytes
        self._file = h5f.create(os.fsencode(path), h5f.ACC_TRUNC, fcpl=root, fapl=access)
        self._group = h5p.create(h5p.GROUP_CREATE)
        self._group.set_obj_track_times(False)
        self._spec = spec
        self._space = h5s.create_simple((spec.dim,))
        self._layout = h5p.create(h5p.DATASET_CREATE)
        self._layout.set_chunk((spec.dim,))
        self._layout.set_deflate(1)
        self._layout.set_fill_time(h5d.FILL_TIME_NEVER)
        self._layout.set_obj_track_times(False)
        self._groups: dict[str, Any] = {}
        self._columns: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        self.count = 0

    def add(self, batch: Entries, pool: ThreadPoolExecutor) -> None:
        """Write a batch's vectors; keep the other columns until `finish`."""
        if batch.embedding.shape != (len(batch), self._spec.dim):
            raise InputError(f"vectors have shape {batch.embedding.shape}; expected (n, {self._spec.dim})")
        if len(batch) == 0:
            return
        vectors = np.ascontiguousarray(batch.embedding, dtype="<f4")
        parts = [vectors[at : at + _COMPRESS_ROWS] for at in range(0, len(vectors), _COMPRESS_ROWS)]
        chunks = chain.from_iterable(pool.map(_deflate, parts))
        self._keep_columns(batch)  # while the vectors are compressed
        tickers, days = batch.tickers.tolist(), batch.days.astype(str).tolist()
        for name, day, chunk in zip(tickers, days, chunks, strict=True):
            if name not in self._groups:
                self._groups[name] = h5g.create(self._file, escape_ticker(name).encode(), gcpl=self._group)
            self._write_vector(name, day, chunk)
        self.count += len(batch)

    def finish(self) -> None:
        """Write the attributes: the columns of each ticker, and at the root the spec and how much was written."""
        for ticker, columns in self._columns.items():
            order = np.argsort(np.concatenate(columns.pop("days")))
            sorted_columns = {name: np.concatenate(parts)[order] for name, parts in columns.items()}
            if sorted_columns["forecast"].size:
                signals = sorted_columns["forecast"], sorted_columns["confidence"]
                sorted_columns[SIGNALS_KEY] = np.array(signals_checksum(*signals))
            for name, values in sorted_columns.items():
                if values.size:
                    _write_attribute(self._groups[ticker], name, values)
        text = np.array(json.dumps(self._spec.describe(), sort_keys=True).encode())
        root = h5g.open(self._file, b"/")
        _write_attribute(root, SPEC_KEY, text)
        _write_attribute(root, ENTRIES_KEY, np.array(self.count))
        _write_attribute(root, TICKERS_KEY, np.array(len(self._groups)))
        h5f.flush(self._file)

    def close(self) -> None:
        """Close the file."""
        self._groups.clear()
        self._file.close()

    def _write_vector(self, ticker: str, day: str, chunk: bytes) -> None:
        try:
            dataset = h5d.create(self._groups[ticker], day.encode(), h5t.IEEE_F32LE, self._space, self._layout)
        except (ValueError, OSError) as error:
            if "already exists" in str(error):
                raise InputError(f"duplicate key ({day}, {ticker}); expected each key once") from None
            raise
        dataset.write_direct_chunk((0,), chunk)

    def _keep_columns(self, batch: Entries) -> None:
        """Append a batch's other columns to those of its tickers."""
        columns = {
            "days": batch.days,
            "digest": batch.digest,
            "checksum": row_checksums(batch.embedding, None, batch),
            "forecast": batch.forecast,
            "confidence": batch.confidence,
        }
        names, code = np.unique(batch.tickers, return_inverse=True)
        order = np.argsort(code, kind="stable")
        parts = np.split(order, np.searchsorted(code[order], np.arange(1, len(names))))
        for name, rows in zip(names.tolist(), parts, strict=True):
            for column, values in columns.items():
                self._columns[name][column].append(values[rows])


def _deflate(vectors: Float32) -> list[bytes]:
    """Compress each vector as HDF5's gzip filter does.

    Floats rarely repeat: Huffman coding without matching gives the same size in a third of the time, and any reader
    can decode it.
    """
    chunks = []
    for vector in vectors:
        packer = zlib.compressobj(level=1, wbits=12, memLevel=8, strategy=zlib.Z_HUFFMAN_ONLY)
        chunks.append(packer.compress(vector) + packer.flush())
    return chunks


def _write_attribute(group: Any, name: str, values: np.ndarray) -> None:
    space = h5s.create_simple(values.shape) if values.ndim else h5s.create(h5s.SCALAR)
    attribute = h5a.create(group, name.encode(), h5t.py_create(values.dtype), space)
    attribute.write(np.ascontiguousarray(values))


@contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Translate the errors of HDF5."""
    try:
        yield
    except EncashError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        if (number := _system_error(error)) is not None:
            raise OSError(number, os.strerror(number)) from None  # whole_file words it
        raise WorkError(f"{os.fspath(path)} could not be written{reason(error)}; an existing file is kept") from None


def _system_error(error: BaseException | None) -> int | None:
    """Return the errno in the text of an error of HDF5, or None.

    It is in the first error; on a full disk, further errors follow when the file is closed.
    """
    while error is not None:
        if found := re.search(r"errno = (\d+)", str(error)):
            return int(found[1])
        error = error.__context__
    return None
