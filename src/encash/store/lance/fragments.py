"""The pieces that versions are made of: one immutable data file each, and the rows of it that were replaced since. What
is read of a piece stays known from version to version. Knows Lance's data files; nothing of how a version numbers rows.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader

from encash.arrays import Int64
from encash.errors import FormatError
from encash.store.base import StoreSpec
from encash.store.keys import PieceKeys, TickerNames
from encash.store.lance.columns import column_type, value_columns
from encash.store.lance.errors import lance_errors
from encash.store.lance.location import Place
from encash.store.lance.plain_pages import plain_pages
from encash.store.local.file_checksums import Range, check_seal
from encash.store.local.mapped_columns import MappedFile, Page, PagedColumn, join_pages

SCAN_ROWS = 1 << 18
"""Rows that Lance reads at once where few bytes are asked of each."""
_MAPPED_FILES = 256
"""Files mapped at once; each takes a file descriptor."""


@dataclass(frozen=True)
class Piece:
    """One fragment of one version."""

    handle: Any
    number: int
    rows: int
    """Rows that count (not replaced)."""
    physical_rows: int
    deleted: str | None
    """File that names the replaced rows; None where there are none."""

    @classmethod
    def of(cls, handle: Any) -> Piece:
        """What is asked of a fragment again and again."""
        return cls(
            handle=handle,
            number=handle.fragment_id,
            rows=handle.physical_rows - handle.num_deletions,
            physical_rows=handle.physical_rows,
            deleted=handle.deletion_file() if handle.num_deletions else None,
        )

    @property
    def identity(self) -> tuple[int, str | None]:
        """Equal for pieces of two versions with the same rows."""
        return self.number, self.deleted


class KnownPieces:
    """What was read of the pieces of a store; shared by its versions, as most of their pieces are the same."""

    def __init__(self, place: Place):
        self.names = TickerNames()
        self._place = place
        self._keys: dict[tuple[int, str | None], PieceKeys] = {}
        self._offsets: dict[tuple[int, str | None], Int64] = {}
        self._mapped: OrderedDict[int, dict[str, PagedColumn] | None] = OrderedDict()
        self._whole: set[str] = set()

    def keep(self, pieces: list[Piece]) -> None:
        """Forget all pieces but these."""
        identities, numbers = {piece.identity for piece in pieces}, {piece.number for piece in pieces}
        self._keys = {identity: keys for identity, keys in self._keys.items() if identity in identities}
        self._offsets = {identity: offsets for identity, offsets in self._offsets.items() if identity in identities}
        self._mapped = OrderedDict((number, file) for number, file in self._mapped.items() if number in numbers)

    def check_whole(self, piece: Piece, *, again: bool = False) -> None:
        """Compare a piece's files with their seals before Lance decodes them; once, unless it is asked for again."""
        if not self._place.local:
            return
        names = [f"data/{file.path}" for file in piece.handle.data_files()]
        for name in [*names, *([piece.deleted] if piece.deleted else [])]:
            if again or name not in self._whole:
                check_seal(self._place.root, name)
                self._whole.add(name)

    def keys(self, dataset: Any, pieces: list[Piece]) -> list[PieceKeys]:
        """The keys of the rows of each piece; what is not known yet is read in one pass."""
        self._load_keys(dataset, [piece for piece in pieces if piece.identity not in self._keys])
        return [self._keys[piece.identity] for piece in pieces]

    def _load_keys(self, dataset: Any, pieces: list[Piece]) -> None:
        if not pieces:
            return
        for piece in pieces:
            self.check_whole(piece)
        days, tickers, digests = [], [], []
        with lance_errors(self._place, "read"):
            for batch in batches(dataset, ["date", "ticker", "digest"], pieces, SCAN_ROWS):
                days.append(batch.column(0).cast(pa.int32()).to_numpy(zero_copy_only=False))
                coded = batch.column(1).dictionary_encode()
                numbers = self.names.numbers(coded.dictionary.to_pylist())
                tickers.append(numbers[coded.indices.to_numpy(zero_copy_only=False)])
                digests.append(batch.column(2).to_numpy(zero_copy_only=False))
        day, ticker, digest = np.concatenate(days), np.concatenate(tickers), np.concatenate(digests)
        stops = np.cumsum([piece.rows for piece in pieces])
        if len(day) != stops[-1]:
            raise FormatError(
                f"{self._place.location}: {len(day):,} keys were read where {stops[-1]:,} rows are promised"
            )
        for piece, stop in zip(pieces, stops.tolist(), strict=True):
            part = slice(stop - piece.rows, stop)
            self._keys[piece.identity] = PieceKeys(day=day[part], ticker=ticker[part], digest=digest[part])

    def offsets(self, dataset: Any, piece: Piece) -> Int64 | None:
        """The place of each row among the physical rows of its piece; None where the two are the same."""
        if piece.deleted is None:
            return None
        if piece.identity not in self._offsets:
            self.check_whole(piece)
            with lance_errors(self._place, "read"):
                found = list(batches(dataset, [], [piece], SCAN_ROWS, addresses=True))
            addresses = np.concatenate([batch.column("_rowaddr").to_numpy() for batch in found])
            self._offsets[piece.identity] = (addresses & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return self._offsets[piece.identity]

    def columns(self, dataset: Any, piece: Piece, spec: StoreSpec) -> dict[str, PagedColumn] | None:
        """The mapped columns of a piece; None where it has to be read by Lance."""
        if not self._place.local:
            return None
        if piece.number in self._mapped:
            self._mapped.move_to_end(piece.number)
        else:
            self._mapped[piece.number] = _map_columns(self._place, dataset, piece, spec)
            if len(self._mapped) > _MAPPED_FILES:
                self._mapped.popitem(last=False)
        return self._mapped[piece.number]


def batches(
    dataset: Any, columns: list[str] | None, pieces: list[Piece], batch_rows: int, *, addresses: bool = False
) -> Iterator[pa.RecordBatch]:
    """Rows of some pieces, in order, by Lance's own reader."""
    scanner = dataset.scanner(
        columns=columns,
        fragments=[piece.handle for piece in pieces],
        batch_size=batch_rows,
        scan_in_order=True,
        with_row_address=addresses,
    )
    yield from scanner.to_batches()


def _map_columns(place: Place, dataset: Any, piece: Piece, spec: StoreSpec) -> dict[str, PagedColumn] | None:
    """The columns of a piece that can be read without Lance; None unless all pages of all of them are plain."""
    with lance_errors(place, "read"):
        files = piece.handle.data_files()
        if len(files) != 1 or files[0].base_id is not None:
            return None
        mapped = MappedFile(os.path.join(place.location, "data", files[0].path), files[0].file_size_bytes)
        pages_of = _value_pages(place, dataset, files[0], spec)
    if any(pages is None or sum(page.rows for page in pages) != piece.physical_rows for pages in pages_of.values()):
        return None
    return {name: mapped.column(pages or [], *column_type(spec, name)) for name, pages in pages_of.items()}


def value_ranges(place: Place, dataset: Any, file: Any, spec: StoreSpec) -> list[Range]:
    """The bytes of a data file that hold values in plain pages, ascending."""
    ranges = []
    for name, pages in _value_pages(place, dataset, file, spec).items():
        dtype, width = column_type(spec, name)
        row_bytes = dtype.itemsize * max(width, 1)
        for page in join_pages(pages or [], row_bytes):
            ranges.append((page.position, page.position + page.rows * row_bytes))
    return sorted(ranges)


def _value_pages(place: Place, dataset: Any, file: Any, spec: StoreSpec) -> dict[str, list[Page] | None]:
    """Where the columns of values lie in a data file; None for a column with a page that is not plain."""
    meta = LanceFileReader(os.path.join(place.location, "data", file.path)).metadata()
    column_of = dict(zip(file.fields, file.column_indices, strict=True))
    return {
        field.name(): plain_pages(meta.columns[column_of[field.id()]].pages, *column_type(spec, field.name()))
        for field in dataset.lance_schema.fields()
        if field.name() in value_columns(spec)
    }
