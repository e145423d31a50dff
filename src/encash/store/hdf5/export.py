"""An interchange file made of entries: whole, or not at all. Knows HDF5 and entries; nothing of where they come
from."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t

from encash.arrays import Days, Float32, UInt64
from encash.atomic_write import whole_file
from encash.errors import EncashError, InputError, WorkError, reason
from encash.progress import Progress
from encash.store.base import Entries, StoreSpec
from encash.store.hdf5.layout import SPEC_KEY, escape_ticker
from encash.store.rows import row_checksums

_COMPRESS_ROWS = 256
"""Vectors that one thread compresses in one go."""


def write_hdf5(
    path: str | os.PathLike[str],
    spec: StoreSpec,
    batches: Iterable[Entries],
    *,
    progress: Progress | None = None,
    total: int = 0,
) -> int:
    """Write an interchange file: whole, or not at all; a file that was there before is replaced at the last moment.

    Args:
        path: the file.
        spec: of the store that the entries come from.
        batches: entries in any order, each key once.
        progress: called with (entries written, total).
        total: entries that will come, for progress.

    Returns:
        Entries written.

    Raises:
        InputError: a key comes twice, or vectors of another width.
        WorkError: the disk refused; the file that was there before is kept.
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


@dataclass
class _Ticker:
    """A ticker's open group and what goes beside its vectors."""

    group: Any
    days: list[Days] = field(default_factory=list)
    digest: list[UInt64] = field(default_factory=list)
    checksum: list[UInt64] = field(default_factory=list)
    forecast: list[Float32] = field(default_factory=list)
    confidence: list[Float32] = field(default_factory=list)


class _Export:
    """A file that is being written, by the low-level interface: a dataset a vector is a quarter of a million calls."""

    def __init__(self, path: Path, spec: StoreSpec):
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_libver_bounds(h5f.LIBVER_LATEST, h5f.LIBVER_LATEST)
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        access.set_file_locking(False, True)  # the hidden file is locked by whole_file
        self._file = h5f.create(os.fsencode(path), h5f.ACC_TRUNC, fapl=access)
        self._spec = spec
        self._space = h5s.create_simple((spec.dim,))
        self._layout = h5p.create(h5p.DATASET_CREATE)
        self._layout.set_chunk((spec.dim,))
        self._layout.set_deflate(1)
        self._layout.set_fill_time(h5d.FILL_TIME_NEVER)
        self._layout.set_obj_track_times(False)
        self._tickers: dict[str, _Ticker] = {}
        self.count = 0

    def add(self, batch: Entries, pool: ThreadPoolExecutor) -> None:
        """Write a batch's vectors; keep the rest until the end."""
        if batch.embedding.shape != (len(batch), self._spec.dim):
            raise InputError(f"vectors of shape {batch.embedding.shape}; expected (n, {self._spec.dim})")
        if len(batch) == 0:
            return
        vectors = np.ascontiguousarray(batch.embedding, dtype="<f4")
        pieces = [vectors[at : at + _COMPRESS_ROWS] for at in range(0, len(vectors), _COMPRESS_ROWS)]
        chunks = (chunk for part in pool.map(_deflate, pieces) for chunk in part)
        checksums = row_checksums(batch.embedding, None, batch)
        tickers, days = batch.tickers.tolist(), batch.days.astype(str).tolist()
        for name, day, chunk in zip(tickers, days, chunks, strict=True):
            self._write_vector(self._ticker(name).group, name, day, chunk)
        self._keep(batch, checksums)
        self.count += len(batch)

    def finish(self) -> None:
        """Write what goes beside the vectors, and who made it."""
        for ticker in self._tickers.values():
            order = np.argsort(np.concatenate(ticker.days))
            for name in ("digest", "checksum", "forecast", "confidence"):
                values = np.concatenate(getattr(ticker, name))[order]
                if values.size:
                    _write_attribute(ticker.group, name, values)
        text = np.array(json.dumps(self._spec.describe(), sort_keys=True).encode())
        _write_attribute(h5g.open(self._file, b"/"), SPEC_KEY, text)
        h5f.flush(self._file)

    def close(self) -> None:
        """Let go of the file."""
        self._tickers.clear()
        self._file.close()

    def _ticker(self, name: str) -> _Ticker:
        if name not in self._tickers:
            self._tickers[name] = _Ticker(group=h5g.create(self._file, escape_ticker(name).encode()))
        return self._tickers[name]

    def _write_vector(self, group: Any, ticker: str, day: str, chunk: bytes) -> None:
        try:
            dataset = h5d.create(group, day.encode(), h5t.IEEE_F32LE, self._space, self._layout)
        except (ValueError, OSError) as error:
            if "already exists" in str(error):
                raise InputError(f"({day}, {ticker}) comes twice; each key is exported once") from None
            raise
        dataset.write_direct_chunk((0,), chunk)

    def _keep(self, batch: Entries, checksums: UInt64) -> None:
        """Sort what goes beside the vectors by ticker."""
        names, code = np.unique(batch.tickers, return_inverse=True)
        order = np.argsort(code, kind="stable")
        parts = np.split(order, np.searchsorted(code[order], np.arange(1, len(names))))
        for name, rows in zip(names.tolist(), parts, strict=True):
            ticker = self._tickers[name]
            ticker.days.append(batch.days[rows])
            ticker.digest.append(batch.digest[rows])
            ticker.checksum.append(checksums[rows])
            ticker.forecast.append(batch.forecast[rows])
            ticker.confidence.append(batch.confidence[rows])


def _deflate(vectors: Float32) -> list[bytes]:
    """Each vector as HDF5's gzip filter keeps it. Floats have no repeats to find: coding the bytes alone gives the same
    size in a third of the time, and any reader takes it."""
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
    """HDF5's errors in our words."""
    try:
        yield
    except EncashError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        if (number := _system_error(error)) is not None:
            raise OSError(number, os.strerror(number)) from None  # whole_file says it
        raise WorkError(f"{os.fspath(path)} could not be written{reason(error)}; what was there is kept") from None


def _system_error(error: BaseException | None) -> int | None:
    """The number of what the system said against writing. HDF5 tells it in the text of its first complaint, and on a
    full disk has others about itself when it is closed."""
    while error is not None:
        if said := re.search(r"errno = (\d+)", str(error)):
            return int(said[1])
        error = error.__context__
    return None
