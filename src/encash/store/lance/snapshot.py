"""One version of a store: its rows, numbered in the order of its pieces, and all that they hold.
Knows pieces and columns; nothing of commits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Float32, Int32, Int64, UInt64
from encash.store.base import Entries, EntryIndex
from encash.store.codec import decode
from encash.store.keys import build_index
from encash.store.lance.block_cache import BlockCache
from encash.store.lance.columns import column_type, read_spec, to_numpy, value_columns
from encash.store.lance.errors import lance_errors
from encash.store.lance.fragments import SCAN_ROWS, KnownPieces, Piece, batches
from encash.store.lance.location import Place
from encash.store.local.mapped_columns import Bounds, by_start, page_of
from encash.store.rows import row_bounds

_BLOCK_ROWS = 512
_BLOCK_CACHE_BYTES = 256 << 20
"""Memory for what was read last from a remote store."""


class Snapshot:
    """A version as a reader sees it; another version is another snapshot."""

    def __init__(self, place: Place, dataset: Any, known: KnownPieces):
        """Open a version; what `known` holds of pieces that it does not have is forgotten.

        Raises:
            FormatError: it is damaged, or no version of a store.
        """
        with lance_errors(place, "open"):
            place.check_version(dataset.version)
            self.spec = read_spec(place.location, dataset)
            self.pieces = [Piece.of(handle) for handle in dataset.get_fragments()]
        known.keep(self.pieces)
        self.place, self.dataset, self.known = place, dataset, known
        self.version = int(dataset.version)
        self._types = {name: column_type(self.spec, name) for name in value_columns(self.spec)}
        self.starts: Int64 = np.concatenate([[0], np.cumsum([piece.rows for piece in self.pieces])]).astype(np.int64)
        """The first row of each piece, and the number of all rows."""
        self.first_rows: list[int] = self.starts.tolist()
        """The same as a list, which is quicker for one row."""
        self.count = self.first_rows[-1]
        self._indexed: tuple[EntryIndex, Int32, Int32] | None = None
        self._checksums: UInt64 | None = None
        self._blocks = BlockCache(block_rows=_BLOCK_ROWS, capacity_bytes=_BLOCK_CACHE_BYTES)

    def size_bytes(self) -> int:
        """Bytes of its data files."""
        return sum(int(file.file_size_bytes or 0) for piece in self.pieces for file in piece.handle.data_files())

    # Keys

    def index_and_places(self) -> tuple[EntryIndex, Int32, Int32]:
        """The index, and of each row the place of its day and ticker in it; read once, then kept."""
        if self._indexed is None:
            keys = self.known.keys(self.dataset, [piece for piece in self.pieces if piece.rows])
            self._indexed = build_index(keys, self.known.names.names)
        return self._indexed

    # Entries

    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim)."""
        return decode(self._read("embedding", rows), self._scale(rows))

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H)."""
        if not self.spec.horizons:
            row_bounds(rows, self.count)
            return np.empty((len(rows), 0), dtype=np.float32), np.empty((len(rows), 0), dtype=np.float32)
        return self._read("forecast", rows), self._read("confidence", rows)

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches of at most `batch_rows`, in order."""
        for first, codes in self._code_blocks(batch_rows):
            rows = np.arange(first, first + len(codes))
            yield replace(self._bare_entries(rows), embedding=decode(codes, self._scale(rows)))

    def stored(self, rows: Int64) -> tuple[Entries, np.ndarray, Float32 | None]:
        """These rows as entries without vectors, their stored vectors, and scales."""
        codes, scale = self._read("embedding", rows), self._scale(rows)
        return self._bare_entries(rows), codes, scale

    def checksums(self) -> UInt64:
        """The checksum of every row; read when something is copied, then kept."""
        if self._checksums is None:
            with lance_errors(self.place, "read"):
                found = batches(self.dataset, ["checksum"], self.pieces, SCAN_ROWS)
                parts = [batch.column(0).to_numpy(zero_copy_only=False) for batch in found]
            self._checksums = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        return self._checksums

    def _bare_entries(self, rows: Int64) -> Entries:
        """These rows with everything but their vectors."""
        index, day, ticker = self.index_and_places()
        forecast, confidence = self.forecasts(rows)
        return Entries(
            days=index.days[day[rows]],
            tickers=index.tickers[ticker[rows]],
            digest=index.digest[rows],
            embedding=np.empty((len(rows), 0), dtype=np.float32),
            forecast=forecast,
            confidence=confidence,
        )

    def _scale(self, rows: Int64) -> Float32 | None:
        """The scales of these rows, for int8."""
        return self._read("scale", rows) if self.spec.dtype == "int8" else None

    # Stored values

    def _read(self, name: str, rows: Int64) -> np.ndarray:
        """Stored values of these rows in the order asked."""
        dtype, width = self._types[name]
        out = np.empty((len(rows), width) if width else len(rows), dtype=dtype)
        first, last = row_bounds(rows, self.count)
        if len(rows) == 0:
            return out
        number = page_of(self.first_rows, first)
        if number == page_of(self.first_rows, last):
            done = self._read_mapped(name, number, rows, (first, last), out)
            return out if done else self._take(name, rows, out.shape)
        for number, here in by_start(self.starts, rows):
            some, in_place = rows[here], isinstance(here, slice)
            part = out[here] if in_place else np.empty((len(some), *out.shape[1:]), dtype=dtype)
            if not self._read_mapped(name, number, some, row_bounds(some, self.count), part):
                return self._take(name, rows, out.shape)
            if not in_place:
                out[here] = part
        return out

    def _read_mapped(self, name: str, number: int, rows: Int64, bounds: Bounds, out: np.ndarray) -> bool:
        """Copy rows of one piece from its memory map; False where it has no plain pages."""
        piece, start = self.pieces[number], self.first_rows[number]
        columns = self.known.columns(self.dataset, piece, self.spec)
        if columns is None:
            return False
        offsets, rows = self.known.offsets(self.dataset, piece), rows - start if start else rows
        if offsets is None:
            columns[name].gather(rows, (bounds[0] - start, bounds[1] - start), out)
        else:
            rows = offsets[rows]
            columns[name].gather(rows, row_bounds(rows, piece.physical_rows), out)
        return True

    def _take(self, name: str, rows: Int64, shape: tuple[int, ...]) -> np.ndarray:
        """Copy rows with Lance's own reader: each row once, in its order there."""

        def fetch(some: Int64) -> np.ndarray:
            with lance_errors(self.place, "read"):
                column = self.dataset.take(pa.array(some), columns=[name]).column(name)
            return to_numpy(column.combine_chunks()).reshape(len(some), *shape[1:])

        if not self.place.local:
            return self._blocks.read(name, rows, self.count, fetch)
        distinct, place = np.unique(rows, return_inverse=True)
        return fetch(distinct)[place]

    def _code_blocks(self, batch_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """Stored vectors of all rows with the number of the first; without a copy where the pages are plain."""
        for piece, start in zip(self.pieces, self.first_rows, strict=False):
            columns = self.known.columns(self.dataset, piece, self.spec)
            for first in range(0, piece.rows, batch_rows):
                stop = min(first + batch_rows, piece.rows)
                if columns is None or piece.deleted is not None:
                    yield start + first, self._read("embedding", np.arange(start + first, start + stop))
                    continue
                for block in columns["embedding"].blocks(first, stop):
                    yield start + first, block
                    first += len(block)  # noqa: PLW2901 - the place within this batch moves on with its blocks
