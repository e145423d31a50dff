"""One version of a Lance store: its rows, numbered in the order of its fragments."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from encash.arrays import Bool, Float32, Float64, Int64, UInt64
from encash.errors import InputError
from encash.progress import Progress
from encash.store.base import Entries, StoreCheck, StoreSnapshot
from encash.store.codec import decode
from encash.store.index import EntryIndex, join_keys, row_bounds
from encash.store.lance.block_cache import BlockCache
from encash.store.lance.columns import column_type, read_spec, to_numpy, value_columns
from encash.store.lance.errors import lance_errors
from encash.store.lance.fragments import SCAN_ROWS, Fragment, FragmentFiles, batches, read_keys, read_offsets
from encash.store.lance.location import Location
from encash.store.lance.search import nearest
from encash.store.lance.verification import verify
from encash.store.local.mapped_columns import Bounds, by_start, page_of
from encash.store.rows import row_checksums

_BLOCK_ROWS = 512
_BLOCK_CACHE_BYTES = 256 << 20
"""Memory for the rows of a remote store that were read last."""


class LanceSnapshot(StoreSnapshot):
    """One version of a Lance store. Rows are numbered in the order of the fragments."""

    engine = "lance"

    def __init__(self, where: Location, dataset: Any, files: FragmentFiles, previous: LanceSnapshot | None = None):
        """Open a version.

        Args:
            where: the store.
            dataset: the version, as Lance opened it.
            files: the files of the store's fragments, shared by its snapshots.
            previous: an older or newer snapshot; its index is extended instead of reading all keys again.

        Raises:
            FormatError: the version is damaged, or not one of a store.
        """
        with lance_errors(where, "open"):
            where.check_version(dataset.version)
            self.spec = read_spec(where.text, dataset)
            self.fragments = [Fragment.of(handle) for handle in dataset.get_fragments()]
        self.location, self.version = where.text, int(dataset.version)
        self.where, self.dataset, self.files = where, dataset, files
        self._types = {name: column_type(self.spec, name) for name in value_columns(self.spec)}
        self.starts: Int64 = np.concatenate([[0], np.cumsum([one.rows for one in self.fragments])]).astype(np.int64)
        """First row of each fragment, and the number of all rows."""
        self._start_list: list[int] = self.starts.tolist()
        self.count = self._start_list[-1]
        self._lock = threading.RLock()
        self._index: EntryIndex | None = None
        self._checksums: UInt64 | None = None
        self._known: LanceSnapshot | None = None if previous is None else previous._indexed()
        known = {} if previous is None else previous._offsets
        self._offsets: dict[Any, Int64] = {
            one.identity: known[one.identity] for one in self.fragments if one.identity in known
        }
        self._blocks = BlockCache(block_rows=_BLOCK_ROWS, capacity_bytes=_BLOCK_CACHE_BYTES)

    def __reduce__(self) -> tuple[Callable[..., LanceSnapshot], tuple[str, int, str]]:
        return LanceSnapshot._opened_again, (self.where.uri, self.version, self.content_id())

    @classmethod
    def _opened_again(cls, location: str, version: int, content_id: str) -> LanceSnapshot:
        where = Location(location)
        with lance_errors(where, "open", version):
            dataset = where.dataset(version)
        return cls(where, dataset, FragmentFiles(where)).of_content(content_id)

    def size_bytes(self) -> int:
        """Return the bytes of this version's data files."""
        return sum(int(file.file_size_bytes or 0) for one in self.fragments for file in one.handle.data_files())

    def content_id(self) -> str:
        """Return a hash of the names of all files with rows, which are unique and never rewritten."""
        return hashlib.sha256(repr([one.identity for one in self.fragments]).encode()).hexdigest()

    # Keys

    def index(self) -> EntryIndex:
        """Return keys and digests of all rows; read on first use, then kept."""
        with self._lock:
            if self._index is None:
                self._index = self._read_index()
                self._known = None
            return self._index

    def _indexed(self) -> LanceSnapshot | None:
        """Return this snapshot if its index is known, else the one that its index will be made from."""
        with self._lock:
            return self if self._index is not None else self._known

    def _read_index(self) -> EntryIndex:
        """Extend the known index if this version only adds fragments; else join the keys of all fragments."""
        ours = [one for one in self.fragments if one.rows]
        known = {} if self._known is None else self._known._rows_by_fragment()
        kept = [known.get(one.identity) for one in ours]
        unread = [one for one, rows in zip(ours, kept, strict=True) if rows is None]
        added = read_keys(self.dataset, unread, self.files, self.where)
        if self._known is not None and kept[: len(known)] == list(known.values()):
            return self._known.index().extended(added) if len(added) else self._known.index()
        parts, at = [], 0
        for one, rows in zip(ours, kept, strict=True):
            if rows is not None and self._known is not None:
                parts.append(self._known.index().keys_of(rows))
                continue
            here = slice(at, at + one.rows)
            parts.append(replace(added, day=added.day[here], ticker=added.ticker[here], digest=added.digest[here]))
            at += one.rows
        return EntryIndex.of(join_keys(parts))

    def _rows_by_fragment(self) -> dict[Any, slice]:
        """Return the rows of each fragment that has some."""
        spans = zip(self.fragments, self._start_list, strict=False)
        return {one.identity: slice(start, start + one.rows) for one, start in spans if one.rows}

    # Entries

    def vectors(self, rows: Int64) -> Float32:
        """Read the embeddings of these rows in the order requested, shape (n, dim)."""
        rows = np.asarray(rows, dtype=np.int64)
        return decode(self._read("embedding", rows), self._scale(rows))

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of these rows in the order requested, shape (n, H) each.

        They are verified by a checksum of each file's forecasts; in a file that does not match it, by that of each row.

        Raises:
            FormatError: one of these rows is damaged.
        """
        found = self.stored_forecasts(rows)
        self._check_forecasts(np.asarray(rows, dtype=np.int64))
        return found

    def stored_forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of these rows unchecked, shape (n, H) each."""
        rows = np.asarray(rows, dtype=np.int64)
        if not self.spec.horizons:
            row_bounds(rows, self.count)
            return np.empty((len(rows), 0), dtype=np.float32), np.empty((len(rows), 0), dtype=np.float32)
        return self._read("forecast", rows), self._read("confidence", rows)

    def _check_forecasts(self, rows: Int64) -> None:
        """Refuse rows with damaged forecasts.

        Raises:
            FormatError: see `forecasts`.
        """
        if not (self.where.local and self.spec.horizons and len(rows)):
            return
        first, last = page_of(self._start_list, int(rows.min())), page_of(self._start_list, int(rows.max()))
        damaged = [at for at in range(first, last + 1) if not self.files.sound_forecasts(self.fragments[at])]
        if damaged:
            here = np.isin(np.searchsorted(self.starts, rows, side="right") - 1, damaged)
            self.check_rows(rows[here])

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """Iterate over all rows in batches of at most `batch_rows`, row 0 first."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        for first, codes in self._code_blocks(batch_rows):
            rows = np.arange(first, first + len(codes))
            yield self.entries_with(rows, decode(codes, self._scale(rows)))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """Read these rows, and check each against its checksum."""
        rows = np.asarray(rows, dtype=np.int64)
        entries, codes, scale = self.stored(rows)
        distinct, code = np.unique(self.index().ticker[rows], return_inverse=True)
        found = row_checksums(codes, scale, entries, self.index().tickers[distinct], code)
        sound: Bool = found == self.checksums()[rows]
        return replace(entries, embedding=decode(codes, scale)), sound

    def stored(self, rows: Int64) -> tuple[Entries, np.ndarray, Float32 | None]:
        """Read these rows as entries without vectors, their stored vectors, and scales."""
        codes, scale = self._read("embedding", rows), self._scale(rows)
        return self.entries_with(rows, np.empty((len(rows), 0), dtype=np.float32)), codes, scale

    def checksums(self) -> UInt64:
        """Return the checksum of every row; read on first use, then kept."""
        with self._lock:
            if self._checksums is None:
                with lance_errors(self.where, "read"):
                    found = batches(self.dataset, ["checksum"], self.fragments, SCAN_ROWS)
                    parts = [batch.column(0).to_numpy(zero_copy_only=False) for batch in found]
                self._checksums = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
            return self._checksums

    def offsets(self, fragment: Fragment) -> Int64 | None:
        """Return the position of each row among the physical rows of its fragment; None if the two are the same."""
        if fragment.deletions is None:
            return None
        with self._lock:
            if fragment.identity not in self._offsets:
                self._offsets[fragment.identity] = read_offsets(self.dataset, fragment, self.files, self.where)
            return self._offsets[fragment.identity]

    def nearest(self, vector: Float32, count: int, *, last_day: np.datetime64) -> tuple[Int64, Float64]:
        """Find the nearest entries with Lance's own vector search, then measure them again in float64."""
        if self.spec.dtype == "int8":  # Lance does not know about the scales
            return super().nearest(vector, count, last_day=last_day)
        with lance_errors(self.where, "read"):
            return nearest(self, self.dataset, vector, count, last_day=last_day)

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every row with Lance's own reader and compare it with its checksum; look for lost versions."""
        check = verify(self, self.fragments, self._batches_of, batch_rows=batch_rows, progress=progress)
        findings = [
            f"{problem}; the newest version does not need it: `encash cache rollback {self.location}` sets it aside"
            for problem in self.where.damaged_manifests()
        ]
        if lost := self.where.lost_versions():
            findings.append(
                f"{len(lost)} versions newer than the newest one present are gone ({lost[0]}); restore the file from a "
                "copy, or build what is missing again and let `encash cache compact` forget them"
            )
        return replace(check, findings=(*check.findings, *findings))

    def _batches_of(self, fragment: Fragment, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Iterate over the rows of a fragment after its files were checked."""
        self.files.check(fragment, again=True)
        with lance_errors(self.where, "read"):
            yield from batches(self.dataset, None, [fragment], batch_rows)

    def _scale(self, rows: Int64) -> Float32 | None:
        """Read the scales of these rows if the dtype is int8."""
        return self._read("scale", rows) if self.spec.dtype == "int8" else None

    # Stored values

    def _read(self, name: str, rows: Int64) -> np.ndarray:
        """Read stored values of these rows in the order requested."""
        dtype, width = self._types[name]
        out = np.empty((len(rows), width) if width else len(rows), dtype=dtype)
        first, last = row_bounds(rows, self.count)
        if len(rows) == 0:
            return out
        number = page_of(self._start_list, first)
        if number == page_of(self._start_list, last):
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
        """Copy rows of one fragment from its memory map; False if it has no plain pages."""
        fragment, start = self.fragments[number], self._start_list[number]
        columns = self.files.columns(self.dataset, fragment, self.spec)
        if columns is None:
            return False
        offsets, rows = self.offsets(fragment), rows - start if start else rows
        if offsets is None:
            columns[name].gather(rows, (bounds[0] - start, bounds[1] - start), out)
        else:
            rows = offsets[rows]
            columns[name].gather(rows, row_bounds(rows, fragment.physical_rows), out)
        return True

    def _take(self, name: str, rows: Int64, shape: tuple[int, ...]) -> np.ndarray:
        """Copy rows with Lance's own reader: each row once, in Lance's order."""

        def fetch(some: Int64) -> np.ndarray:
            with lance_errors(self.where, "read"):
                column = self.dataset.take(pa.array(some), columns=[name]).column(name)
            return to_numpy(column.combine_chunks()).reshape(len(some), *shape[1:])

        if not self.where.local:
            with self._lock:
                return self._blocks.read(name, rows, self.count, fetch)
        distinct, place = np.unique(rows, return_inverse=True)
        return fetch(distinct)[place]

    def _code_blocks(self, batch_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over stored vectors of all rows with the number of the first; not copied if pages are plain."""
        for fragment, start in zip(self.fragments, self._start_list, strict=False):
            columns = self.files.columns(self.dataset, fragment, self.spec)
            for first in range(0, fragment.rows, batch_rows):
                stop = min(first + batch_rows, fragment.rows)
                if columns is None or fragment.deletions is not None:
                    yield start + first, self._read("embedding", np.arange(start + first, start + stop))
                    continue
                for block in columns["embedding"].blocks(first, stop):
                    yield start + first, block
                    first += len(block)  # noqa: PLW2901 - the position in this batch moves on with its blocks
