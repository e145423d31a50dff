"""The store on Lance, as everybody sees it: it reads the version it has seen, and writes under the lock what makes the
next one. Knows the seam and this folder's parts; Lance itself only by way of them."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from encash.arrays import Bool, Float32, Float64, Int64
from encash.errors import ConflictError, FormatError, InputError, WorkError
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, EntryIndex, StoreCheck, StoreSpec, StoreVersion
from encash.store.codec import decode
from encash.store.lance.columns import schema, table
from encash.store.lance.commit import batch_rows, commit_empty, commit_rows, commit_spec
from encash.store.lance.compact import remove_leftovers, rows_to_rewrite, sorted_rows
from encash.store.lance.errors import lance_errors
from encash.store.lance.fragments import KnownPieces
from encash.store.lance.location import Place
from encash.store.lance.search import nearest
from encash.store.lance.snapshot import Snapshot
from encash.store.lance.verify import verify
from encash.store.local.fsync import sync_files
from encash.store.rows import check_rows, encode_entries, row_checksums

_CHECKED_ROWS = 4096
_REMOTE_ATTEMPTS = 60
"""Tries of a commit without a lock; of rivals one succeeds each time."""


class LanceStore(EmbeddingStore):
    """A folder or URL of Lance files.

    Rows are numbered in the order of the fragments. One instance is for one thread; it may not cross a fork.
    """

    engine = "lance"

    def __init__(self, place: Place, dataset: Any, *, pinned: bool = False):
        self.location = place.location
        self.writable = not pinned
        self._place = place
        self._known = KnownPieces(place)
        self._see(dataset)

    @classmethod
    def create(cls, location: str, spec: StoreSpec) -> LanceStore:
        """A new, empty store.

        Raises:
            InputError: a spec that no store can have.
            ConflictError: a store is there already.
            WorkError: the folder cannot be written.
        """
        columns, place = schema(spec), Place(location)
        place.make()
        with place.lock(), lance_errors(place, "create"):
            if place.has_dataset():
                raise ConflictError(f"{location} is a store already; open it, or choose another name")
            dataset = commit_empty(place, columns)
        return cls(place, dataset)

    @classmethod
    def open(cls, location: str, version: int | str | None = None) -> LanceStore:
        """The store as it is, or as it was at a version or tag; at a version it cannot be written.

        Raises:
            MissingFileError: no store there, or no such version.
            FormatError: something else lies there, or it is damaged.
        """
        place = Place(location)
        place.refuse_other()
        with lance_errors(place, "open", version):
            dataset = place.dataset(version)
        return cls(place, dataset, pinned=version is not None)

    # Reading

    def index(self) -> EntryIndex:
        """Keys and digests of this version; read once, then kept."""
        return self._snapshot.index_and_places()[0]

    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim)."""
        return self._snapshot.vectors(np.asarray(rows, dtype=np.int64))

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H)."""
        return self._snapshot.forecasts(np.asarray(rows, dtype=np.int64))

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches of at most `batch_rows`, in the store's own order."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        yield from self._snapshot.scan(batch_rows)

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """All that these rows hold, and which of them are what was written."""
        entries, codes, scale = self._snapshot.stored(np.asarray(rows, dtype=np.int64))
        sound: Bool = row_checksums(codes, scale, entries) == self._snapshot.checksums()[rows]
        return replace(entries, embedding=decode(codes, scale)), sound

    def nearest(self, vector: Float32, count: int, *, last_day: np.datetime64) -> tuple[Int64, Float64]:
        """The nearest entries by Lance's own vector search, measured again in float64."""
        if self.spec.dtype == "int8":  # Lance does not know of the scales
            return super().nearest(vector, count, last_day=last_day)
        return nearest(self._snapshot, vector, count, last_day=last_day, distances_to=self.distances_to)

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every row with Lance's own reader and compare it with its checksum."""
        mend = self.mend_damage.format(location=self.location)
        return verify(self._snapshot, mend, batch_rows=batch_rows, progress=progress)

    def size_bytes(self) -> int:
        """Bytes of the data files of this version."""
        return self._snapshot.size_bytes()

    # Versions

    def refresh(self) -> None:
        """See the newest version, unless this instance was opened at one on purpose."""
        if not self.writable:
            return
        with lance_errors(self._place, "open"):
            if self._snapshot.dataset.latest_version != self.version:
                self._see(self._place.dataset())

    def _see(self, dataset: Any) -> None:
        """Make this version the one that is read; the pieces it shares with the one before stay known."""
        self._snapshot = Snapshot(self._place, dataset, self._known)
        self.spec, self.version = self._snapshot.spec, self._snapshot.version

    def versions(self) -> list[StoreVersion]:
        """The commits that can still be opened, oldest first."""
        with lance_errors(self._place, "read"):
            tagged = {name: int(tag["version"]) for name, tag in self._snapshot.dataset.tags.list().items()}
            listed = self._snapshot.dataset.versions()
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

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version, so that it is kept and can be opened by that name."""
        number = self.version if version is None else version
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise InputError(f"{name!r} cannot name a version; use letters, digits, '.', '-' and '_'")
        with self._place.lock(), lance_errors(self._place, "tag", number):
            tags = self._snapshot.dataset.tags
            held = tags.list().get(name)
            if held is not None and int(held["version"]) != number:
                raise InputError(f"tag {name!r} names version {held['version']} already; choose another name")
            if held is None:
                tags.create(name, number)
                if self._place.local:
                    sync_files(self._place.root / "_refs" / "tags", [f"{name}.json"])

    # Writing

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries: all of them or none; an entry with the same key is replaced."""
        self._check_writable()
        codes, scale = encode_entries(self.spec, entries)
        for attempt in range(1 if self._place.local else _REMOTE_ATTEMPTS):
            try:
                with self._writing("write"):
                    self.refresh()
                    self._write(entries, codes, scale, skip_valid)
                self._check_after_conflict(attempt)
                return self.version
            except ConflictError:
                if self._place.local or attempt == _REMOTE_ATTEMPTS - 1:
                    raise
                time.sleep(0.02 * random.random() * (attempt + 1))  # noqa: S311 - lets rivals fall out of step
        return self.version

    def _write(self, entries: Entries, codes: np.ndarray, scale: Float32 | None, skip_valid: bool) -> None:
        """Commit what the newest version does not have."""
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
        added = table(self._snapshot.dataset.schema, entries, codes, scale)
        batches = added.to_reader(max_chunksize=batch_rows(self.spec))
        self._see(commit_rows(self._snapshot, batches, rows[rows >= 0]))

    def _check_after_conflict(self, conflicts: int) -> None:
        """Say so if two writers without a lock left doubled keys: both replaced whole pieces at the same moment."""
        if conflicts and (doubled := self.index().duplicates):
            raise WorkError(
                f"{self.location}: another writer committed at the same moment; all entries are written, and "
                f"{doubled:,} rows have a key that a later row has too; `encash cache compact` drops them"
            )

    def remove(self, rows: Int64) -> int:
        """Take rows of this version away in one commit, whole pieces without a look at their files."""
        self._check_writable()
        rows = np.unique(check_rows(rows, self._snapshot.count))
        if len(rows):
            with self._writing("write"):
                if self._snapshot.dataset.latest_version != self.version:
                    raise ConflictError(
                        f"{self.location} has changed since it was looked at; nothing was removed: run this again"
                    )
                self._see(commit_rows(self._snapshot, None, rows))
        return self.version

    def adopt(self, spec: StoreSpec) -> None:
        """Commit another description of the same rows."""
        self._check_writable()
        self.check_same_rows(spec)
        with self._writing("describe"):
            self.refresh()
            self._see(commit_spec(self._snapshot, spec))

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small pieces, drop replaced rows, forget all but the newest and the tagged versions."""
        self._check_writable()
        if keep_versions < 2:
            raise InputError(f"keep_versions is {keep_versions}; keep at least 2, so that open readers see theirs")
        with self._writing("compact"):
            self.refresh()
            rows = rows_to_rewrite(self._snapshot)
            self._check_sound(rows, progress)
            if len(rows):
                self._see(commit_rows(self._snapshot, sorted_rows(self._snapshot, rows, progress), rows))
            dataset = self._snapshot.dataset
            stats = dataset.cleanup_old_versions(retain_versions=keep_versions, error_if_tagged_old_versions=False)
            if self._place.local:
                remove_leftovers(self._place, [dataset.checkout_version(kept.number) for kept in self.versions()])
        return CompactReport(
            rows_rewritten=len(rows), versions_removed=int(stats.old_versions), bytes_removed=int(stats.bytes_removed)
        )

    def _check_sound(self, rows: Int64, progress: Progress | None) -> None:
        """Refuse rows that are not what was written, before any of them is copied."""
        for first in range(0, len(rows), _CHECKED_ROWS):
            self.read_sound(rows[first : first + _CHECKED_ROWS])
            if progress is not None:
                progress(min(first + _CHECKED_ROWS, len(rows)), len(rows))

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        """The right to write, and what goes wrong in our words."""
        with self._place.lock(), lance_errors(self._place, doing):
            yield

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError(f"{self.location} was opened as of version {self.version}; open the newest to write")
