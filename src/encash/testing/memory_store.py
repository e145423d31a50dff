"""A store in memory: the simplest thing that keeps the contract. For tests; nothing is durable."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from encash.arrays import Bool, Float32, Int64
from encash.errors import ConflictError, InputError, MissingFileError
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, EntryIndex, StoreCheck, StoreSpec, StoreVersion
from encash.store.codec import decode
from encash.store.rows import check_rows, encode_entries


class MemoryStore(EmbeddingStore):
    """Entries sorted by (day, ticker); each commit is kept until `compact`."""

    engine = "memory"

    def __init__(self, spec: StoreSpec, location: str = "memory.lance"):
        self.spec, self.location, self.version = spec, location, 1
        none = np.empty((0, len(spec.horizons)), dtype=np.float32)
        empty = Entries(
            days=np.empty(0, dtype="datetime64[D]"),
            tickers=np.empty(0, dtype=np.str_),
            digest=np.empty(0, dtype=np.uint64),
            embedding=np.empty((0, spec.dim), dtype=np.float32),
            forecast=none,
            confidence=none,
        )
        self._history: dict[int, Entries] = {1: empty}
        self._tags: dict[str, int] = {}

    @property
    def entries(self) -> Entries:
        """All rows of this version."""
        return self._history[self.version]

    def at(self, version: int | str) -> MemoryStore:
        """The store as it was at a version or tag; cannot be written.

        Raises:
            MissingFileError: no such version.
        """
        number = self._tags.get(version, -1) if isinstance(version, str) else version
        if number not in self._history:
            raise MissingFileError(f"{self.location} has no version {version!r}")
        past = MemoryStore(self.spec, self.location)
        past._history, past._tags = self._history, self._tags
        past.version, past.writable = number, False
        return past

    def index(self) -> EntryIndex:
        """Keys and digests of this version."""
        days, day = np.unique(self.entries.days, return_inverse=True)
        tickers, ticker = np.unique(self.entries.tickers, return_inverse=True)
        row = np.full((len(days), len(tickers)), -1, dtype=np.int32)
        row[day, ticker] = np.arange(len(self.entries))
        return EntryIndex(days=days, tickers=tickers, row=row, digest=self.entries.digest)

    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows."""
        vectors: Float32 = self.entries.embedding[check_rows(rows, len(self.entries))]
        return vectors

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows."""
        rows = check_rows(rows, len(self.entries))
        return self.entries.forecast[rows], self.entries.confidence[rows]

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        entries = self.entries
        for first in range(0, len(entries), batch_rows):
            yield entries.take(np.arange(first, min(first + batch_rows, len(entries))))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """All that these rows hold; memory does not rot."""
        rows = check_rows(rows, len(self.entries))
        return self.entries.take(rows), np.ones(len(rows), dtype=np.bool_)

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries; an entry with the same key is replaced."""
        self._check_writable()
        codes, scale = encode_entries(self.spec, entries)
        entries = replace(entries, embedding=decode(codes, scale).copy())
        self.refresh()
        rows = self.index().locate(entries.days, entries.tickers)
        if skip_valid:
            valid = (
                (rows >= 0)
                & (entries.digest != 0)
                & (self.entries.digest[rows] == entries.digest if len(self.entries) else False)
            )
            entries, rows = entries.take(~valid), rows[~valid]
        if len(entries):
            kept = self.entries.take(np.setdiff1d(np.arange(len(self.entries)), rows))
            self._history[self.version + 1] = _join(kept, entries).sorted()
            self.version += 1
        return self.version

    def remove(self, rows: Int64) -> int:
        """Commit the entries without these rows."""
        self._check_writable()
        if self.version != max(self._history):
            raise ConflictError(f"{self.location} has changed since it was looked at; run this again")
        rows = check_rows(rows, len(self.entries))
        if len(rows):
            self._history[self.version + 1] = self.entries.take(np.setdiff1d(np.arange(len(self.entries)), rows))
            self.version += 1
        return self.version

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError(f"{self.location} was opened as of version {self.version}; open the newest to write")

    def refresh(self) -> None:
        """See the newest version."""
        if self.writable:
            self.version = max(self._history)

    def size_bytes(self) -> int:
        """Bytes of the vectors."""
        return len(self.entries) * self.spec.dim * np.dtype(self.spec.dtype).itemsize

    def versions(self) -> list[StoreVersion]:
        """The commits that are kept."""
        never = dt.datetime(1970, 1, 1)
        return [
            StoreVersion(
                number=number,
                time=never,
                entries=len(entries),
                tags=tuple(sorted(name for name, tagged in self._tags.items() if tagged == number)),
            )
            for number, entries in sorted(self._history.items())
        ]

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version."""
        number = self.version if version is None else version
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise InputError(f"{name!r} cannot name a version")
        if number not in self._history:
            raise MissingFileError(f"{self.location} has no version {number}")
        if self._tags.setdefault(name, number) != number:
            raise InputError(f"tag {name!r} names version {self._tags[name]} already")

    def adopt(self, spec: StoreSpec) -> None:
        """Another description of the same rows."""
        self.check_same_rows(spec)
        self.spec = spec

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

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Memory does not rot."""
        return StoreCheck(checked=len(self.entries), corrupt=0, duplicates=0, not_finite=0)


def _join(first: Entries, second: Entries) -> Entries:
    """The rows of both."""
    names = ("days", "tickers", "digest", "embedding", "forecast", "confidence")
    return Entries(**{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names})
