"""Fragments: the immutable pieces of a Lance dataset, and memory-mapped access to their files."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader

from encash.arrays import Int64
from encash.errors import FormatError
from encash.store.base import StoreSpec
from encash.store.index import RowKeys
from encash.store.lance.columns import column_type, value_columns
from encash.store.lance.errors import lance_errors
from encash.store.lance.location import Location
from encash.store.lance.plain_pages import plain_pages
from encash.store.local.file_checksums import Range, check_file, has_sound_forecasts
from encash.store.local.mapped_columns import MappedFile, Page, PagedColumn, join_pages

SCAN_ROWS = 1 << 18
"""Rows per batch when Lance reads few bytes of each."""
_MAPPED_FILES = 256
"""Files mapped at once; each takes a file descriptor."""


@dataclass(frozen=True)
class Fragment:
    """One fragment of one version: a data file, and the rows of it that were replaced since."""

    handle: Any
    number: int
    rows: int
    """Rows that are not deleted."""
    physical_rows: int
    files: tuple[str, ...]
    """Data files below the store's folder."""
    deletions: str | None
    """File that lists the deleted rows; None if no row is deleted."""

    @classmethod
    def of(cls, handle: Any) -> Fragment:
        """Read what is needed of a fragment's metadata."""
        return cls(
            handle=handle,
            number=handle.fragment_id,
            rows=handle.physical_rows - handle.num_deletions,
            physical_rows=handle.physical_rows,
            files=tuple(f"data/{file.path}" for file in handle.data_files()),
            deletions=handle.deletion_file() if handle.num_deletions else None,
        )

    @property
    def identity(self) -> tuple[tuple[str, ...], str | None]:
        """Equal for fragments of two versions exactly if they have the same rows: files are never rewritten."""
        return self.files, self.deletions


class FragmentFiles:
    """The files of all fragments of one store, checked once each and mapped into memory; safe to share by threads."""

    def __init__(self, location: Location):
        self._location = location
        self._lock = threading.RLock()
        self._mapped: OrderedDict[tuple[str, ...], dict[str, PagedColumn] | None] = OrderedDict()
        self._checked: set[str] = set()
        self._sound: dict[tuple[str, ...], bool] = {}

    def check(self, fragment: Fragment, *, again: bool = False) -> None:
        """Compare a fragment's files with their checksums before Lance decodes them; once each unless `again`.

        Raises:
            FormatError: a file is gone or damaged.
        """
        if not self._location.local:
            return
        for name in (*fragment.files, *([fragment.deletions] if fragment.deletions else [])):
            if again or name not in self._checked:
                check_file(self._location.root, name)
                self._checked.add(name)

    def sound_forecasts(self, fragment: Fragment) -> bool:
        """Return whether the forecasts of a fragment are those that were written, replaced rows included; read once.

        True as well for files without such a checksum: at a URL, or written before there was one.
        """
        if not self._location.local:
            return True
        if fragment.files not in self._sound:
            self._sound[fragment.files] = all(has_sound_forecasts(self._location.root, one) for one in fragment.files)
        return self._sound[fragment.files]

    def columns(self, dataset: Any, fragment: Fragment, spec: StoreSpec) -> dict[str, PagedColumn] | None:
        """Return the mapped columns of a fragment; None if only Lance can read it."""
        if not self._location.local:
            return None
        with self._lock:
            if fragment.files in self._mapped:
                self._mapped.move_to_end(fragment.files)
            else:
                self._mapped[fragment.files] = _map_columns(self._location, dataset, fragment, spec)
                if len(self._mapped) > _MAPPED_FILES:
                    self._mapped.popitem(last=False)
            return self._mapped[fragment.files]


def read_keys(dataset: Any, fragments: Sequence[Fragment], files: FragmentFiles, location: Location) -> RowKeys:
    """Read the keys of some fragments in one pass.

    Raises:
        FormatError: a file is damaged.
    """
    for fragment in fragments:
        files.check(fragment)
    days, tickers, digests, names = [], [], [], dict[str, int]()
    with lance_errors(location, "read"):
        for batch in batches(dataset, ["date", "ticker", "digest"], fragments, SCAN_ROWS):
            days.append(batch.column(0).cast(pa.int32()).to_numpy(zero_copy_only=False))
            coded = batch.column(1).dictionary_encode()
            numbers = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
            tickers.append(np.array(numbers, dtype=np.int32)[coded.indices.to_numpy(zero_copy_only=False)])
            digests.append(batch.column(2).to_numpy(zero_copy_only=False))
    keys = RowKeys(
        day=np.concatenate([np.empty(0, dtype=np.int32), *days]),
        ticker=np.concatenate([np.empty(0, dtype=np.int32), *tickers]),
        names=np.array(list(names), dtype=np.str_),
        digest=np.concatenate([np.empty(0, dtype=np.uint64), *digests]),
    )
    if len(keys) != (expected := sum(fragment.rows for fragment in fragments)):
        raise FormatError(f"{location.text}: read {len(keys):,} keys, expected {expected:,}; run `encash cache verify`")
    return keys


def read_offsets(dataset: Any, fragment: Fragment, files: FragmentFiles, location: Location) -> Int64:
    """Read the position of each row that is not deleted among the physical rows of its fragment; shape (rows,)."""
    files.check(fragment)
    with lance_errors(location, "read"):
        found = list(batches(dataset, [], [fragment], SCAN_ROWS, addresses=True))
    addresses = np.concatenate([batch.column("_rowaddr").to_numpy() for batch in found])
    return (addresses & np.uint64(0xFFFFFFFF)).astype(np.int64)


def batches(
    dataset: Any, columns: list[str] | None, fragments: Sequence[Fragment], batch_rows: int, *, addresses: bool = False
) -> Iterator[pa.RecordBatch]:
    """Iterate over the rows of some fragments, in order, with Lance's own reader."""
    if not fragments:
        return
    scanner = dataset.scanner(
        columns=columns,
        fragments=[fragment.handle for fragment in fragments],
        batch_size=batch_rows,
        scan_in_order=True,
        with_row_address=addresses,
    )
    yield from scanner.to_batches()


def value_ranges(location: Location, dataset: Any, file: Any, spec: StoreSpec) -> dict[str, list[Range]]:
    """Return the byte ranges of a data file that hold values in plain pages, by column."""
    ranges = {}
    for name, pages in _value_pages(location, dataset, file, spec).items():
        dtype, width = column_type(spec, name)
        row_bytes = dtype.itemsize * max(width, 1)
        joined = join_pages(pages or [], row_bytes)
        ranges[name] = [(page.position, page.position + page.rows * row_bytes) for page in joined]
    return ranges


def _map_columns(
    location: Location, dataset: Any, fragment: Fragment, spec: StoreSpec
) -> dict[str, PagedColumn] | None:
    """Map the columns of a fragment; None unless all pages of all of them are plain."""
    with lance_errors(location, "read"):
        files = fragment.handle.data_files()
        if len(files) != 1 or files[0].base_id is not None:
            return None
        mapped = MappedFile(os.path.join(location.text, "data", files[0].path), files[0].file_size_bytes)
        pages_of = _value_pages(location, dataset, files[0], spec)
    if any(pages is None or sum(page.rows for page in pages) != fragment.physical_rows for pages in pages_of.values()):
        return None
    return {name: mapped.column(pages or [], *column_type(spec, name)) for name, pages in pages_of.items()}


def _value_pages(location: Location, dataset: Any, file: Any, spec: StoreSpec) -> dict[str, list[Page] | None]:
    """Find the pages of the value columns in a data file; None for a column with a page that is not plain."""
    meta = LanceFileReader(os.path.join(location.text, "data", file.path)).metadata()
    column_of = dict(zip(file.fields, file.column_indices, strict=True))
    return {
        field.name(): plain_pages(meta.columns[column_of[field.id()]].pages, *column_type(spec, field.name()))
        for field in dataset.lance_schema.fields()
        if field.name() in value_columns(spec)
    }
