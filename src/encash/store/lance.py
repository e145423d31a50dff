"""The store on Lance: rows in immutable files, one atomic commit a write, versions and tags. The only file that
imports lance. Knows the seam, its codec and Lance's files; no panel, no model, no plan.

Vectors are kept in plain pages (uncompressed, no nulls), and a local store reads those through memory maps, at the
speed of memory and without a second copy. Where a page is not plain, or the store is remote, Lance's own reader is
used; both paths pass the same contract.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import lance
import numpy as np
import pyarrow as pa
from lance.commit import CommitConflictError
from lance.file import LanceFileReader
from lance.fragment import write_fragments

from encash.arrays import Bool, Days, Float32, Float64, Int32, Int64, Text, UInt64
from encash.errors import ConflictError, EncashError, FormatError, InputError, MissingFileError, WorkError, reason
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, EntryIndex, StoreCheck, StoreSpec, StoreVersion
from encash.store.blocks import BlockCache
from encash.store.codec import decode
from encash.store.columns import column_type, read_spec, schema, table, to_numpy, value_columns
from encash.store.durable import sync_files, syncing
from encash.store.keys import PieceKeys, TickerNames, build_index
from encash.store.lock import writer_lock
from encash.store.pages import Bounds, MappedFile, Page, PagedColumn, by_start, join_pages, page_of
from encash.store.plain_pages import plain_pages
from encash.store.reach import unreachable
from encash.store.rows import encode_entries, row_bounds, row_checksums
from encash.store.seal import FOLDER as SEALS
from encash.store.seal import Range, break_seal, check_seal, remove_stale_seals, seal
from encash.store.tally import Tally

_LOCK_NAME = "_encash.lock"
_OWN_NAMES = {_LOCK_NAME, "data", "_versions", "_transactions", "_deletions", "_refs", "_indices", SEALS}
_STORAGE_VERSION = "2.2"
_SCAN_ROWS = 1 << 18
_CHECKED_ROWS = 4096
_LOCK_SECONDS = 120.0
"""How long a writer waits for another."""
_MAPPED_FILES = 256
"""Files mapped at once; each takes a file descriptor."""
_BATCH_BYTES = 2 << 20
_TABLE_BATCHES = 8
"""Batches that are made at once, from one table."""
_ORPHAN_SECONDS = 3600.0
_REMOTE_ATTEMPTS = 60
"""Tries of a commit without a lock; of rivals one succeeds each time."""
_BLOCK_ROWS = 512
_BLOCK_CACHE_BYTES = 256 << 20
"""Memory for what was read last from a remote store."""
_SEARCH_ERROR = 1e-4
"""How much a distance may be wrong that Lance sums in single precision, as a share of it."""
_PIECE_BYTES = 1 << 30
_PIECE_ROWS = 1 << 20
"""Compaction leaves a piece of this many bytes or rows alone, unless rows of it were replaced."""


@dataclass(frozen=True)
class _Piece:
    """One fragment of one version."""

    handle: Any
    number: int
    rows: int
    """Rows that count (not replaced)."""
    physical_rows: int
    deleted: str | None
    """File that names the replaced rows; None where there are none."""

    @property
    def identity(self) -> tuple[int, str | None]:
        """Equal for pieces of two versions with the same rows."""
        return self.number, self.deleted


class LanceStore(EmbeddingStore):
    """A folder or URL of Lance files.

    Rows are numbered in the order of the fragments. One instance is for one thread; it may not cross a fork.
    """

    engine = "lance"

    def __init__(self, location: str, dataset: Any, session: Any, *, pinned: bool = False):
        self.location = location
        self.writable = not pinned
        self._session = session
        self._local = "://" not in location
        self._names = TickerNames()
        self._keys: dict[tuple[int, str | None], PieceKeys] = {}
        self._offsets: dict[tuple[int, str | None], Int64] = {}
        self._mapped: OrderedDict[int, dict[str, PagedColumn] | None] = OrderedDict()
        self._whole: set[str] = set()
        self._blocks = BlockCache(block_rows=_BLOCK_ROWS, capacity_bytes=_BLOCK_CACHE_BYTES)
        self._see(dataset)

    @classmethod
    def create(cls, location: str, spec: StoreSpec) -> LanceStore:
        """A new, empty store.

        Raises:
            InputError: a spec that no store can have.
            ConflictError: a store is there already.
            WorkError: the folder cannot be written.
        """
        columns = schema(spec)
        session = _session()
        if "://" not in location:
            try:
                os.makedirs(location, exist_ok=True)
            except OSError as error:
                raise WorkError(f"{location} cannot be made: {error.strerror}") from None
        with _writer(location), _lance_errors(location, "create"):
            if _exists(location, session):
                raise ConflictError(f"{location} is a store already; open it, or choose another name")
            dataset = lance.write_dataset(
                columns.empty_table(), location, schema=columns, data_storage_version=_STORAGE_VERSION, session=session
            )
            _finish(location, dataset.version)
        return cls(location, dataset, session)

    @classmethod
    def open(cls, location: str, version: int | str | None = None) -> LanceStore:
        """The store as it is, or as it was at a version or tag; at a version it cannot be written.

        Raises:
            MissingFileError: no store there, or no such version.
            FormatError: something else lies there, or it is damaged.
        """
        _check_place(location)
        session = _session()
        with _lance_errors(location, "open", version):
            dataset = lance.dataset(location, version=version, session=session)
        return cls(location, dataset, session, pinned=version is not None)

    # Reading

    def index(self) -> EntryIndex:
        """Keys and digests of this version; read once, then kept."""
        return self._index()[0]

    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim)."""
        rows = np.asarray(rows, dtype=np.int64)
        return decode(self._read("embedding", rows), self._scale(rows))

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H)."""
        rows = np.asarray(rows, dtype=np.int64)
        if not self.spec.horizons:
            row_bounds(rows, self._count)
            return np.empty((len(rows), 0), dtype=np.float32), np.empty((len(rows), 0), dtype=np.float32)
        return self._read("forecast", rows), self._read("confidence", rows)

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches of at most `batch_rows`, in the store's own order."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        for first, codes in self._code_blocks(batch_rows):
            rows = np.arange(first, first + len(codes))
            yield replace(self._bare_entries(rows), embedding=decode(codes, self._scale(rows)))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """All that these rows hold, and which of them are what was written."""
        entries, codes, scale = self._stored(np.asarray(rows, dtype=np.int64))
        sound: Bool = row_checksums(codes, scale, entries) == self._stored_checksums()[rows]
        return replace(entries, embedding=decode(codes, scale)), sound

    def nearest(self, vector: Float32, count: int, *, last_day: np.datetime64) -> tuple[Int64, Float64]:
        """The nearest entries by Lance's own vector search, measured again in float64. It is asked for more until the
        farthest it gives is beyond doubt farther than the last one wanted: so ties are broken as the seam says."""
        if self.spec.dtype == "int8":  # Lance does not know of the scales
            return super().nearest(vector, count, last_day=last_day)
        index, wanted = self.index(), 2 * count + 16
        while True:
            days, tickers, least = self._search(vector, wanted, last_day)
            rows = np.unique(index.locate(days, tickers))
            distance = self.distances_to(vector, rows)
            order = np.lexsort((*self._places(rows), distance))[:count]
            all_found = len(days) < wanted or index.entries <= wanted
            if all_found or np.sqrt(least) * (1 - _SEARCH_ERROR) > distance[order[-1]]:
                return rows[order], distance[order]
            wanted *= 4

    def _search(self, vector: Float32, count: int, last_day: np.datetime64) -> tuple[Days, Text, float]:
        """Keys of the nearest entries as Lance finds them, and the largest squared distance among them."""
        query = {"column": "embedding", "q": vector.astype(self.spec.dtype), "k": count, "metric": "l2"}
        with _lance_errors(self.location, "read"):
            found = self._dataset.to_table(
                columns=["date", "ticker", "_distance"],
                nearest={**query, "use_index": False},
                filter=f"date <= date '{last_day}'",
                prefilter=True,
            )
        days: Days = found["date"].cast(pa.int32()).to_numpy().astype("datetime64[D]")
        tickers = np.array(found["ticker"].to_pylist(), dtype=np.str_)
        return days, tickers, float(found["_distance"].to_numpy().max(initial=0.0))

    def _places(self, rows: Int64) -> tuple[Int32, Int32]:
        """The places of the ticker and of the day of each row in the index."""
        _, day, ticker = self._index()
        return ticker[rows], day[rows]

    def refresh(self) -> None:
        """See the newest version, unless this instance was opened at one on purpose."""
        if not self.writable:
            return
        with _lance_errors(self.location, "open"):
            if self._dataset.latest_version != self.version:
                self._see(lance.dataset(self.location, session=self._session))

    def size_bytes(self) -> int:
        """Bytes of the data files of this version."""
        return sum(int(file.file_size_bytes or 0) for piece in self._pieces for file in piece.handle.data_files())

    def versions(self) -> list[StoreVersion]:
        """The commits that can still be opened, oldest first."""
        with _lance_errors(self.location, "read"):
            tagged = {name: int(tag["version"]) for name, tag in self._dataset.tags.list().items()}
            listed = self._dataset.versions()
        if not listed:
            raise FormatError(f"the versions of {self.location} are gone; restore it from a copy, or build it again")
        return [
            StoreVersion(
                number=int(item["version"]),
                time=item["timestamp"],
                entries=int(item["metadata"]["total_rows"]),
                tags=tuple(sorted(name for name, number in tagged.items() if number == item["version"])),
            )
            for item in sorted(listed, key=lambda item: int(item["version"]))
        ]

    # Writing

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries: all of them or none; an entry with the same key is replaced."""
        self._check_writable()
        codes, scale = encode_entries(self.spec, entries)
        for attempt in range(1 if self._local else _REMOTE_ATTEMPTS):
            try:
                with _writer(self.location), _lance_errors(self.location, "write"):
                    self._write(entries, codes, scale, skip_valid)
                self._check_after_conflict(attempt)
                return self.version
            except ConflictError:
                if self._local or attempt == _REMOTE_ATTEMPTS - 1:
                    raise
                time.sleep(0.02 * random.random() * (attempt + 1))  # noqa: S311 - lets rivals fall out of step
        return self.version

    def remove(self, rows: Int64) -> int:
        """Take rows of this version away in one commit, whole pieces without a look at their files."""
        self._check_writable()
        rows = np.unique(np.asarray(rows, dtype=np.int64))
        row_bounds(rows, self._count)
        if len(rows):
            with _writer(self.location), _lance_errors(self.location, "write"):
                if self._dataset.latest_version != self.version:
                    raise ConflictError(
                        f"{self.location} has changed since it was looked at; nothing was removed: run this again"
                    )
                self._commit(None, rows)
        return self.version

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version, so that it is kept and can be opened by that name."""
        number = self.version if version is None else version
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise InputError(f"{name!r} cannot name a version; use letters, digits, '.', '-' and '_'")
        with _writer(self.location), _lance_errors(self.location, "tag", number):
            held = self._dataset.tags.list().get(name)
            if held is not None and int(held["version"]) != number:
                raise InputError(f"tag {name!r} names version {held['version']} already; choose another name")
            if held is None:
                self._dataset.tags.create(name, number)
                if self._local:
                    sync_files(Path(self.location, "_refs", "tags"), [f"{name}.json"])

    def adopt(self, spec: StoreSpec) -> None:
        """Commit another description of the same rows."""
        self._check_writable()
        self.check_same_rows(spec)
        with _writer(self.location), _lance_errors(self.location, "describe"):
            self.refresh()
            self._forget_seal()
            described = schema(spec).metadata
            self._dataset.update_schema_metadata(
                {key.decode(): text.decode() for key, text in described.items()}, replace=True
            )
            dataset = lance.dataset(self.location, session=self._session)
            _finish(self.location, dataset.version)
            self._see(dataset)

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small pieces, drop replaced rows, forget all but the newest and the tagged versions."""
        self._check_writable()
        if keep_versions < 2:
            raise InputError(f"keep_versions is {keep_versions}; keep at least 2, so that open readers see theirs")
        with _writer(self.location), _lance_errors(self.location, "compact"):
            self.refresh()
            rows = self._rows_to_rewrite()
            for first in range(0, len(rows), _CHECKED_ROWS):
                self.read_sound(rows[first : first + _CHECKED_ROWS])
                if progress is not None:
                    progress(min(first + _CHECKED_ROWS, len(rows)), len(rows))
            if len(rows):
                self._commit(self._sorted_rows(rows, progress), rows)
            stats = self._dataset.cleanup_old_versions(
                retain_versions=keep_versions, error_if_tagged_old_versions=False
            )
            if self._local:
                self._remove_orphans()
                remove_stale_seals(Path(self.location), ["data", "_versions", "_deletions"])
        return CompactReport(
            rows_rewritten=len(rows), versions_removed=int(stats.old_versions), bytes_removed=int(stats.bytes_removed)
        )

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every row with Lance's own reader and compare it with its checksum."""
        tally, done = Tally(self._count, self.mend_damage.format(location=self.location)), 0
        for piece, start in zip(self._pieces, self._first_rows, strict=False):
            done = start
            try:
                self._check_whole(piece, again=True)
                with _lance_errors(self.location, "read"):
                    for batch in _batches(self._dataset, None, [piece], batch_rows):
                        tally.add(batch, self.spec, done)
                        done += batch.num_rows
                        if progress is not None:
                            progress(done, self._count)
            except EncashError as error:
                tally.lose(
                    slice(start, start + piece.rows), f"fragment {piece.number}, {piece.rows:,} entries: {error}"
                )
        try:
            duplicates = self.index().duplicates
        except EncashError as error:
            tally.findings.append(str(error))
            duplicates = 0
        return tally.result(duplicates)

    # One version

    def _see(self, dataset: Any) -> None:
        """Make this version the one that is read; what it shares with the one before stays known."""
        with _lance_errors(self.location, "open"):
            if self._local:
                check_seal(Path(self.location), _manifest(dataset.version))
            self.spec = read_spec(self.location, dataset)
            pieces = [_piece(handle) for handle in dataset.get_fragments()]
        known = {piece.identity for piece in pieces}
        self._blocks.clear()
        self._dataset, self._pieces, self.version = dataset, pieces, int(dataset.version)
        self._starts = np.concatenate([[0], np.cumsum([piece.rows for piece in pieces])]).astype(np.int64)
        self._first_rows: list[int] = self._starts.tolist()
        self._count = self._first_rows[-1]
        self._keys = {identity: keys for identity, keys in self._keys.items() if identity in known}
        self._offsets = {identity: offsets for identity, offsets in self._offsets.items() if identity in known}
        numbers = {piece.number for piece in pieces}
        self._mapped = OrderedDict((number, file) for number, file in self._mapped.items() if number in numbers)
        self._indexed: tuple[EntryIndex, Int32, Int32] | None = None
        self._checksums: UInt64 | None = None

    def _index(self) -> tuple[EntryIndex, Int32, Int32]:
        """The index, and of each row the place of its day and ticker in it."""
        if self._indexed is None:
            self._load_keys([piece for piece in self._pieces if piece.identity not in self._keys and piece.rows])
            pieces = [self._keys[piece.identity] for piece in self._pieces if piece.rows]
            self._indexed = build_index(pieces, self._names.names)
        return self._indexed

    def _check_whole(self, piece: _Piece, *, again: bool = False) -> None:
        """Compare a piece's files with their seals before Lance decodes them; once an instance."""
        if not self._local:
            return
        names = [f"data/{file.path}" for file in piece.handle.data_files()]
        for name in [*names, *([piece.deleted] if piece.deleted else [])]:
            if again or name not in self._whole:
                check_seal(Path(self.location), name)
                self._whole.add(name)

    def _load_keys(self, pieces: list[_Piece]) -> None:
        """Read the keys of pieces in one pass."""
        if not pieces:
            return
        for piece in pieces:
            self._check_whole(piece)
        days, tickers, digests = [], [], []
        with _lance_errors(self.location, "read"):
            for batch in _batches(self._dataset, ["date", "ticker", "digest"], pieces, _SCAN_ROWS):
                days.append(batch.column(0).cast(pa.int32()).to_numpy(zero_copy_only=False))
                coded = batch.column(1).dictionary_encode()
                numbers = self._names.numbers(coded.dictionary.to_pylist())
                tickers.append(numbers[coded.indices.to_numpy(zero_copy_only=False)])
                digests.append(batch.column(2).to_numpy(zero_copy_only=False))
        day, ticker, digest = np.concatenate(days), np.concatenate(tickers), np.concatenate(digests)
        stops = np.cumsum([piece.rows for piece in pieces])
        if len(day) != stops[-1]:
            raise FormatError(f"{self.location}: {len(day):,} keys were read where {stops[-1]:,} rows are promised")
        for piece, stop in zip(pieces, stops.tolist(), strict=True):
            part = slice(stop - piece.rows, stop)
            self._keys[piece.identity] = PieceKeys(day=day[part], ticker=ticker[part], digest=digest[part])

    def _piece_offsets(self, piece: _Piece) -> Int64 | None:
        """The place of each row among the physical rows of its piece; None where the two are the same."""
        if piece.deleted is None:
            return None
        if piece.identity not in self._offsets:
            self._check_whole(piece)
            with _lance_errors(self.location, "read"):
                batches = list(_batches(self._dataset, [], [piece], _SCAN_ROWS, addresses=True))
            addresses = np.concatenate([batch.column("_rowaddr").to_numpy() for batch in batches])
            self._offsets[piece.identity] = (addresses & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return self._offsets[piece.identity]

    # Values

    def _stored(self, rows: Int64) -> tuple[Entries, np.ndarray, Float32 | None]:
        """These rows as entries without vectors, their stored vectors, and scales."""
        codes, scale = self._read("embedding", rows), self._scale(rows)
        return self._bare_entries(rows), codes, scale

    def _bare_entries(self, rows: Int64) -> Entries:
        """These rows with everything but their vectors."""
        index, day, ticker = self._index()
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

    def _stored_checksums(self) -> UInt64:
        """The checksum of every row; read when something is copied."""
        if self._checksums is None:
            with _lance_errors(self.location, "read"):
                batches = _batches(self._dataset, ["checksum"], self._pieces, _SCAN_ROWS)
                parts = [batch.column(0).to_numpy(zero_copy_only=False) for batch in batches]
            self._checksums = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        return self._checksums

    def _read(self, name: str, rows: Int64) -> np.ndarray:
        """Stored values of these rows in the order asked."""
        dtype, width = column_type(self.spec, name)
        out = np.empty((len(rows), width) if width else len(rows), dtype=dtype)
        first, last = row_bounds(rows, self._count)
        if len(rows) == 0:
            return out
        number = page_of(self._first_rows, first)
        if number == page_of(self._first_rows, last):
            done = self._read_mapped(name, number, rows, (first, last), out)
            return out if done else self._take(name, rows, out.shape)
        for number, here in by_start(self._starts, rows):
            some, in_place = rows[here], isinstance(here, slice)
            part = out[here] if in_place else np.empty((len(some), *out.shape[1:]), dtype=dtype)
            if not self._read_mapped(name, number, some, row_bounds(some, self._count), part):
                return self._take(name, rows, out.shape)
            if not in_place:
                out[here] = part
        return out

    def _read_mapped(self, name: str, number: int, rows: Int64, bounds: Bounds, out: np.ndarray) -> bool:
        """Copy rows of one piece from its memory map; False where it has no plain pages."""
        piece, start = self._pieces[number], self._first_rows[number]
        columns = self._columns(piece)
        if columns is None:
            return False
        offsets, rows = self._piece_offsets(piece), rows - start if start else rows
        if offsets is None:
            columns[name].gather(rows, (bounds[0] - start, bounds[1] - start), out)
        else:
            rows = offsets[rows]
            columns[name].gather(rows, row_bounds(rows, piece.physical_rows), out)
        return True

    def _take(self, name: str, rows: Int64, shape: tuple[int, ...]) -> np.ndarray:
        """Copy rows with Lance's own reader: each row once, in its order there."""

        def fetch(some: Int64) -> np.ndarray:
            with _lance_errors(self.location, "read"):
                column = self._dataset.take(pa.array(some), columns=[name]).column(name)
            return to_numpy(column.combine_chunks()).reshape(len(some), *shape[1:])

        if not self._local:
            return self._blocks.read(name, rows, self._count, fetch)
        distinct, place = np.unique(rows, return_inverse=True)
        return fetch(distinct)[place]

    def _columns(self, piece: _Piece) -> dict[str, PagedColumn] | None:
        """The mapped columns of a piece; None where it has to be read by Lance."""
        if not self._local:
            return None
        if piece.number in self._mapped:
            self._mapped.move_to_end(piece.number)
        else:
            self._mapped[piece.number] = _map_columns(self.location, self._dataset, piece, self.spec)
            if len(self._mapped) > _MAPPED_FILES:
                self._mapped.popitem(last=False)
        return self._mapped[piece.number]

    def _code_blocks(self, batch_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        """Stored vectors of all rows with the number of the first; without a copy where the pages are plain."""
        for number, piece in enumerate(self._pieces):
            start, columns = int(self._starts[number]), self._columns(piece)
            for first in range(0, piece.rows, batch_rows):
                stop = min(first + batch_rows, piece.rows)
                if columns is None or piece.deleted is not None:
                    yield start + first, self._read("embedding", np.arange(start + first, start + stop))
                    continue
                for block in columns["embedding"].blocks(first, stop):
                    yield start + first, block
                    first += len(block)  # noqa: PLW2901 - the place within this batch moves on with its blocks

    # Commits

    def _write(self, entries: Entries, codes: np.ndarray, scale: Float32 | None, skip_valid: bool) -> None:
        """Commit what the newest version does not have."""
        self.refresh()
        index = self.index()
        rows = index.locate(entries.days, entries.tickers)
        known = (rows >= 0) & (entries.digest != 0)
        wanted = np.ones(len(rows), dtype=bool)
        if skip_valid and known.any():
            wanted[known] = index.digest[rows[known]] != entries.digest[known]
        if not wanted.any():
            return
        if not wanted.all():
            entries, codes, rows = entries.take(wanted), codes[wanted], rows[wanted]
            scale = None if scale is None else scale[wanted]
        added = table(self._dataset.schema, entries, codes, scale)
        self._commit(added.to_reader(max_chunksize=_batch_rows(self.spec)), rows[rows >= 0])

    def _check_after_conflict(self, conflicts: int) -> None:
        """Say so if two writers without a lock left doubled keys: both replaced whole pieces at the same moment."""
        if conflicts and (doubled := self.index().duplicates):
            raise WorkError(
                f"{self.location}: another writer committed at the same moment; all entries are written, and "
                f"{doubled:,} rows have a key that a later row has too; `encash cache compact` drops them"
            )

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError(f"{self.location} was opened as of version {self.version}; open the newest to write")

    def _commit(self, rows: pa.RecordBatchReader | None, replaced: Int64) -> None:
        """Add rows and take others away in one commit. The lock is held and the newest version is seen."""
        added = [] if rows is None else self._write_pieces(rows)
        removed, updated = self._without(replaced)
        self._secure(added, updated)
        self._forget_seal()
        dataset = lance.LanceDataset.commit(
            self._dataset,
            self._operation(removed, updated, added),
            read_version=self.version,
            max_retries=20 if self._local else 0,
        )
        if not self._local and dataset.version != self.version + 1:
            raise ConflictError(
                f"{self.location}: another writer committed at the same moment; run this again when it has ended"
            )
        _finish(self.location, dataset.version)
        self._see(lance.dataset(self.location, version=dataset.version, session=self._session))

    def _write_pieces(self, rows: pa.RecordBatchReader) -> list[Any]:
        """Write rows to files that no version names yet."""
        with syncing(Path(self.location, "data")) if self._local else nullcontext():
            pieces: list[Any] = write_fragments(
                rows,
                self._dataset,
                mode="append",
                data_storage_version=_STORAGE_VERSION,
                max_rows_per_file=_PIECE_ROWS,
                max_rows_per_group=_batch_rows(self.spec),
            )
        return pieces

    def _operation(self, removed: list[int], updated: list[Any], added: list[Any]) -> Any:
        """The commit. Without a lock it must fail if another came between, which only `Merge` does (it lists all
        fragments); but that one cannot take any away."""
        if not self._local and not removed:
            changed = {fragment.id: fragment for fragment in updated}
            kept = [changed.get(piece.number, piece.handle.metadata) for piece in self._pieces]
            return lance.LanceOperation.Merge([*kept, *added], self._dataset.lance_schema)
        if removed or updated:
            return lance.LanceOperation.Update(
                removed_fragment_ids=removed, updated_fragments=updated, new_fragments=added
            )
        return lance.LanceOperation.Append(added)

    def _secure(self, added: list[Any], updated: list[Any]) -> None:
        """Seal the new files of a commit and wait until they are on the disk, before the commit names them."""
        if not self._local:
            return
        root, names = Path(self.location), list[str]()
        for file in (file for fragment in added for file in fragment.files):
            names.append(f"data/{file.path}")
            seal(root, names[-1], _value_ranges(self.location, self._dataset, file, self.spec))
        for fragment in updated:
            names.append(fragment.deletion_file.path(fragment.id))
            seal(root, names[-1])
        sync_files(root, names)

    def _forget_seal(self) -> None:
        """Whoever wrote the next version before was undone by hand; its seal must not stand for ours."""
        if self._local:
            break_seal(Path(self.location), _manifest(self.version + 1))

    def _without(self, rows: Int64) -> tuple[list[int], list[Any]]:
        """Pieces that these rows fill entirely, and the others they are in, with the rows marked as gone."""
        removed, updated = [], []
        place = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(place).tolist():
            piece = self._pieces[number]
            local = rows[place == number] - self._starts[number]
            if len(local) == piece.rows:
                removed.append(piece.number)
                continue
            offsets = self._piece_offsets(piece)
            updated.append(piece.handle.delete_rows((local if offsets is None else offsets[local]).tolist()))
        return removed, updated

    def _rows_to_rewrite(self) -> Int64:
        """Rows of the pieces that compaction joins: the small ones, and those of which rows were replaced."""
        row_bytes = max(1, self.size_bytes() // max(self._count, 1))
        worn = [
            number
            for number, piece in enumerate(self._pieces)
            if piece.deleted is not None or (piece.rows * row_bytes < _PIECE_BYTES and piece.rows < _PIECE_ROWS)
        ]
        if len(worn) < 2 and all(self._pieces[number].deleted is None for number in worn):
            return np.empty(0, dtype=np.int64)
        parts = [np.arange(self._starts[number], self._starts[number + 1]) for number in worn]
        return np.concatenate(parts)

    def _remove_orphans(self) -> None:
        """Delete data files that no version names: killed writers left them. The lock keeps our own writers out; the
        age spares what a writer of another program, which knows no lock, is about to commit."""
        versions = [self._dataset.checkout_version(version.number) for version in self.versions()]
        named = {file.path for version in versions for piece in version.get_fragments() for file in piece.data_files()}
        folder = Path(self.location, "data")
        for entry in list(os.scandir(folder)) if folder.is_dir() else ():
            if entry.name not in named and time.time() - entry.stat().st_mtime > _ORPHAN_SECONDS:
                os.unlink(entry.path)

    def _sorted_rows(self, rows: Int64, progress: Progress | None) -> pa.RecordBatchReader:
        """These rows by day and ticker, made as they are asked for."""

        def batches() -> Iterator[pa.RecordBatch]:
            done = 0
            for part in self._sorted_tables(rows):
                yield from part.to_batches(max_chunksize=_batch_rows(self.spec))
                done += part.num_rows
                if progress is not None:
                    progress(done, len(rows))

        return pa.RecordBatchReader.from_batches(self._dataset.schema, batches())

    def _sorted_tables(self, rows: Int64) -> Iterator[pa.Table]:
        """These rows by day and ticker, in tables of bounded size."""
        index, day, ticker = self._index()
        rows = rows[index.row[day[rows], ticker[rows]] == rows]  # of doubled keys the row that counts
        rows = rows[np.lexsort((ticker[rows], day[rows]))]
        size = _TABLE_BATCHES * _batch_rows(self.spec)
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            entries, codes, scale = self._stored(part)
            yield table(self._dataset.schema, entries, codes, scale, self._stored_checksums()[part])


def _piece(handle: Any) -> _Piece:
    """What is asked of a fragment again and again."""
    return _Piece(
        handle=handle,
        number=handle.fragment_id,
        rows=handle.physical_rows - handle.num_deletions,
        physical_rows=handle.physical_rows,
        deleted=handle.deletion_file() if handle.num_deletions else None,
    )


def _batches(
    dataset: Any, columns: list[str] | None, pieces: list[_Piece], batch_rows: int, *, addresses: bool = False
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


def _map_columns(location: str, dataset: Any, piece: _Piece, spec: StoreSpec) -> dict[str, PagedColumn] | None:
    """The columns of a piece that can be read without Lance; None unless all pages of all of them are plain."""
    with _lance_errors(location, "read"):
        files = piece.handle.data_files()
        if len(files) != 1 or files[0].base_id is not None:
            return None
        mapped = MappedFile(os.path.join(location, "data", files[0].path), files[0].file_size_bytes)
        pages_of = _value_pages(location, dataset, files[0], spec)
    if any(pages is None or sum(page.rows for page in pages) != piece.physical_rows for pages in pages_of.values()):
        return None
    return {name: mapped.column(pages or [], *column_type(spec, name)) for name, pages in pages_of.items()}


def _value_pages(location: str, dataset: Any, file: Any, spec: StoreSpec) -> dict[str, list[Page] | None]:
    """Where the columns of values lie in a data file; None for a column with a page that is not plain."""
    meta = LanceFileReader(os.path.join(location, "data", file.path)).metadata()
    column_of = dict(zip(file.fields, file.column_indices, strict=True))
    return {
        field.name(): plain_pages(meta.columns[column_of[field.id()]].pages, *column_type(spec, field.name()))
        for field in dataset.lance_schema.fields()
        if field.name() in value_columns(spec)
    }


def _value_ranges(location: str, dataset: Any, file: Any, spec: StoreSpec) -> list[Range]:
    """The bytes of a data file that hold values in plain pages, ascending."""
    ranges = []
    for name, pages in _value_pages(location, dataset, file, spec).items():
        dtype, width = column_type(spec, name)
        row_bytes = dtype.itemsize * max(width, 1)
        for page in join_pages(pages or [], row_bytes):
            ranges.append((page.position, page.position + page.rows * row_bytes))
    return sorted(ranges)


# Lance's ways


def _batch_rows(spec: StoreSpec) -> int:
    """Rows that are handed to Lance at once: some megabytes, several times faster than all at once. Each batch
    becomes a page; a multiple of 64 rows fills its page to the byte, so that the pages lie without a gap."""
    row_bytes = np.dtype(spec.dtype).itemsize * spec.dim
    return max(64, _BATCH_BYTES // row_bytes // 64 * 64)


def _session() -> Any:
    """Small caches: the defaults are gigabytes."""
    return lance.Session(index_cache_size_bytes=1 << 20, metadata_cache_size_bytes=64 << 20)


def _writer(location: str) -> AbstractContextManager[None]:
    """The right to write."""
    return (
        nullcontext() if "://" in location else writer_lock(Path(location, _LOCK_NAME), timeout_seconds=_LOCK_SECONDS)
    )


def _manifest(version: int) -> str:
    """The file that is a version."""
    return f"_versions/{(1 << 64) - 1 - int(version):020d}.manifest"


def _finish(location: str, version: int) -> None:
    """Wait until a commit is on the disk, then seal it."""
    if "://" not in location:
        sync_files(Path(location), [_manifest(version)])
        seal(Path(location), _manifest(version))


def _exists(location: str, session: Any) -> bool:
    """Whether a dataset lies there."""
    try:
        lance.dataset(location, session=session)
    except ValueError as error:
        if "was not found" in str(error):
            return False
        raise
    return True


def _is_there(location: str) -> bool:
    """Whether anything lies at a path, or a dataset at a URL."""
    return _exists(location, _session()) if "://" in location else Path(location).exists()


def _check_place(location: str) -> None:
    """Refuse a place where something else lies."""
    path = Path(location)
    if path.is_file() or (path.is_dir() and not set(os.listdir(path)) & _OWN_NAMES and any(path.iterdir())):
        raise FormatError(f"{location} is no cache; give a folder that `encash build` made")


@contextmanager
def _lance_errors(location: str, doing: str, version: int | str | None = None) -> Iterator[None]:
    """Lance's errors in our words."""
    try:
        yield
    except EncashError:
        raise
    except CommitConflictError:
        raise ConflictError(f"{location}: another writer committed first; run this again") from None
    except (ValueError, OSError, RuntimeError, LookupError, pa.ArrowException) as error:
        _translate(error, location, doing, version)
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic inside Lance, on a damaged file; it is no Exception
            raise
        _translate(error, location, doing, version)


def _translate(error: BaseException, location: str, doing: str, version: int | str | None) -> NoReturn:
    """Raise what the one who catches can act on."""
    text, said = str(error).split(", /")[0].split("\n")[0], reason(error)
    if (unanswered := unreachable(str(error))) is not None:
        raise WorkError(f"could not {doing} {location}: {unanswered}") from None
    if doing == "create" and "already exists" in text:
        raise ConflictError(f"{location} is a store already; open it, or choose another name") from None
    if doing in ("open", "tag") and ("was not found" in text or "not found" in text or "does not exist" in text):
        if version is not None and _is_there(location):
            raise MissingFileError(
                f"{location} has no version {version!r}; `encash cache versions` lists them"
            ) from None
        _check_place(location)
        raise MissingFileError(f"there is no cache at {location}; make one with `encash build`") from None
    if doing in ("open", "read"):
        raise FormatError(f"{location} cannot be read, it is damaged{said}; run `encash cache verify`") from None
    raise WorkError(f"{location}: could not {doing}{said}; nothing of it was committed") from None
