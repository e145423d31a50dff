"""A store in memory: the simplest implementation of the contract. For tests; nothing is durable."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np

from encash.arrays import Bool, Float32, Int64
from encash.errors import ConflictError, InputError, MissingFileError
from encash.progress import Progress
from encash.store.base import (
    CompactReport,
    EmbeddingStore,
    Entries,
    StoreCheck,
    StoreSnapshot,
    StoreSpec,
    StoreVersion,
    VersionRows,
    check_tag,
)
from encash.store.codec import decode
from encash.store.index import EntryIndex, RowKeys, check_rows
from encash.store.rows import encode_entries

_NUMBERS = itertools.count()


class MemorySnapshot(StoreSnapshot):
    """Entries sorted by (day, ticker)."""

    engine = "memory"

    def __init__(self, location: str, spec: StoreSpec, version: int, entries: Entries):
        self.location, self.spec, self.version, self.entries = location, spec, version, entries
        self._number = next(_NUMBERS)

    def index(self) -> EntryIndex:
        """Return keys and digests."""
        names, ticker = np.unique(self.entries.tickers, return_inverse=True)
        return EntryIndex.of(
            RowKeys(
                day=self.entries.days.astype(np.int64).astype(np.int32),
                ticker=ticker.astype(np.int32),
                names=names,
                digest=self.entries.digest,
            )
        )

    def vectors(self, rows: Int64) -> Float32:
        """Return the embeddings of these rows."""
        vectors: Float32 = self.entries.embedding[check_rows(rows, len(self.entries))]
        return vectors

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Return forecasts and confidences of these rows."""
        rows = check_rows(rows, len(self.entries))
        return self.entries.forecast[rows], self.entries.confidence[rows]

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """Iterate over all rows in batches."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        for first in range(0, len(self.entries), batch_rows):
            yield self.entries.take(np.arange(first, min(first + batch_rows, len(self.entries))))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """Return these rows; memory does not rot."""
        rows = check_rows(rows, len(self.entries))
        return self.entries.take(rows), np.ones(len(rows), dtype=np.bool_)

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Find nothing: memory does not rot."""
        none = VersionRows(version=self.version, rows=np.empty(0, dtype=np.int64))
        return StoreCheck(checked=len(self.entries), corrupt=0, duplicates=0, not_finite=0, damaged=none)

    def size_bytes(self) -> int:
        """Return the bytes of the vectors."""
        return len(self.entries) * self.spec.dim * np.dtype(self.spec.dtype).itemsize

    def content_id(self) -> str:
        """Return the number of this snapshot."""
        return str(self._number)


class MemoryStore(EmbeddingStore):
    """All commits are kept until `compact`. Instances made by `reopen` share them."""

    def __init__(self, spec: StoreSpec, location: str = "memory.lance"):
        self.location = location
        none = np.empty((0, len(spec.horizons)), dtype=np.float32)
        empty = Entries(
            days=np.empty(0, dtype="datetime64[D]"),
            tickers=np.empty(0, dtype=np.str_),
            digest=np.empty(0, dtype=np.uint64),
            embedding=np.empty((0, spec.dim), dtype=np.float32),
            forecast=none,
            confidence=none,
        )
        self._snapshot = MemorySnapshot(location, spec, 1, empty)
        self._history = {1: self._snapshot}
        self._tags: dict[str, int] = {}

    def reopen(self, version: int | str | None = None) -> MemoryStore:
        """Open the store anew, read-only if at a version or tag.

        Raises:
            MissingFileError: no such version.
        """
        number = self._tags.get(version, -1) if isinstance(version, str) else version or max(self._history)
        if number not in self._history:
            raise MissingFileError(f"{self.location} has no version {version!r}")
        opened = MemoryStore(self.spec, self.location)
        opened._history, opened._tags = self._history, self._tags
        opened._snapshot, opened.writable = self._history[number], version is None
        return opened

    def snapshot(self) -> MemorySnapshot:
        """Return the version that this instance sees."""
        return self._snapshot

    def refresh(self) -> None:
        """See the newest version."""
        if self.writable:
            self._snapshot = self._history[max(self._history)]

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries; an entry with the same key is replaced."""
        self._check_writable()
        codes, scale = encode_entries(self.spec, entries)
        entries = replace(entries, embedding=decode(codes, scale).copy())
        self.refresh()
        held, index = self._snapshot.entries, self._snapshot.index()
        rows = index.locate(entries.days, entries.tickers)
        if skip_valid:
            wanted = (rows < 0) | (entries.digest == 0) | (index.digests(rows) != entries.digest)
            entries, rows = entries.take(wanted), rows[wanted]
        if len(entries):
            kept = held.take(np.setdiff1d(np.arange(len(held)), rows))
            self._commit(_join(kept, entries).sorted())
        return self.version

    def remove(self, selected: VersionRows) -> int:
        """Commit the entries without these rows."""
        self._check_writable()
        self.refresh()
        if len(selected):
            if selected.version != self.version:
                raise ConflictError(f"{self.location} has changed since version {selected.version} was checked")
            held = self._snapshot.entries
            rows = check_rows(selected.rows, len(held))
            self._commit(held.take(np.setdiff1d(np.arange(len(held)), rows)))
        return self.version

    def adopt(self, spec: StoreSpec) -> None:
        """Commit a different description of the same rows."""
        self.check_same_rows(spec)
        self._commit(self._snapshot.entries, spec)

    def versions(self) -> list[StoreVersion]:
        """List the commits that are kept."""
        never = dt.datetime(1970, 1, 1)
        return [
            StoreVersion(
                number=number,
                time=never,
                entries=len(snapshot.entries),
                tags=tuple(sorted(name for name, tagged in self._tags.items() if tagged == number)),
            )
            for number, snapshot in sorted(self._history.items())
        ]

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version."""
        number = self.version if version is None else version
        check_tag(name)
        if number not in self._history:
            raise MissingFileError(f"{self.location} has no version {number}")
        if self._tags.setdefault(name, number) != number:
            raise InputError(f"tag {name!r} names version {self._tags[name]} already")

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Forget all but the newest and the tagged versions."""
        if keep_versions < 2:
            raise InputError(f"keep_versions is {keep_versions}; keep at least 2")
        self.refresh()
        kept = {*sorted(self._history)[-keep_versions:], *self._tags.values()}
        forgotten = [number for number in self._history if number not in kept]
        for number in forgotten:
            del self._history[number]
        return CompactReport(rows_rewritten=0, versions_removed=len(forgotten), bytes_removed=0)

    def _commit(self, entries: Entries, spec: StoreSpec | None = None) -> None:
        number = max(self._history) + 1
        self._snapshot = MemorySnapshot(self.location, spec or self.spec, number, entries)
        self._history[number] = self._snapshot

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError(f"{self.location} was opened as of version {self.version}; open the newest to write")


def _join(first: Entries, second: Entries) -> Entries:
    """Return the rows of both."""
    columns = {field.name: [getattr(part, field.name) for part in (first, second)] for field in fields(Entries)}
    return Entries(**{name: np.concatenate(parts) for name, parts in columns.items()})
