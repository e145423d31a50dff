"""The store on Lance: snapshots to read, and commits under a lock."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from encash.arrays import Float32, Int64
from encash.errors import ConflictError, FormatError, InputError, WorkError
from encash.progress import Progress
from encash.store.base import (
    CompactReport,
    EmbeddingStore,
    Entries,
    Rollback,
    StoreSpec,
    StoreVersion,
    VersionRows,
    check_tag,
)
from encash.store.index import check_rows
from encash.store.lance.columns import schema, table
from encash.store.lance.commit import batch_rows, commit_empty, commit_rows, commit_spec
from encash.store.lance.compact import remove_leftovers, remove_old_versions, rows_to_rewrite, sorted_rows
from encash.store.lance.errors import REMOTE_FAILURES, ObjectStoreError, lance_errors, patiently, pause
from encash.store.lance.fragments import FragmentFiles
from encash.store.lance.location import Location
from encash.store.lance.overwrite_probe import check_overwrites_refused
from encash.store.lance.recovery import refuse_damaged, rollback
from encash.store.lance.snapshot import LanceSnapshot
from encash.store.local.fsync import sync_files
from encash.store.rows import encode_entries

_CHECKED_ROWS = 4096
_REMOTE_ATTEMPTS = 60
"""Attempts at a commit without a lock; of several rivals one succeeds each time."""


class LanceStore(EmbeddingStore):
    """A folder or URL of Lance files. May not cross a fork."""

    def __init__(self, where: Location, dataset: Any, *, pinned: bool = False):
        self.location = where.text
        self.writable = not pinned
        self._where = where
        self._files = FragmentFiles(where)
        self._overwrites_refused = where.local  # a lock protects a folder; an object store is tested at the first write
        self._lock = threading.RLock()
        self._snapshot = LanceSnapshot(where, dataset, self._files)

    @classmethod
    def create(cls, location: str, spec: StoreSpec) -> LanceStore:
        """Create an empty store.

        Raises:
            InputError: a spec that no store can have.
            ConflictError: there is a store already.
            WorkError: the folder cannot be written.
        """
        columns, where = schema(spec), Location(location)
        where.make()
        with where.lock(), lance_errors(where, "create"):
            if not where.local:
                check_overwrites_refused(where.text)
            if where.has_dataset():
                raise ConflictError(f"{location} already has a store; open it, or choose a different name")
            dataset = commit_empty(where, columns)
        store = cls(where, dataset)
        store._overwrites_refused = True
        return store

    @classmethod
    def open(cls, location: str, version: int | str | None = None) -> LanceStore:
        """Open the store as it is, or read-only as it was at a version or tag.

        Raises:
            MissingFileError: no store there, or no such version.
            FormatError: something else is there, or it is damaged.
        """
        where = Location(location)
        where.refuse_other()
        try:
            dataset = patiently(lambda: _opened(where, version))
            return cls(where, dataset, pinned=version is not None)
        except FormatError as error:
            if version is None and where.local:
                refuse_damaged(where, str(error))
            raise

    @staticmethod
    def rollback(location: str, to: int | None = None) -> Rollback:
        """Make an earlier version the newest; see `encash.store.lance.recovery`."""
        where = Location(location)
        where.refuse_other()
        return rollback(where, to)

    # Versions

    def snapshot(self) -> LanceSnapshot:
        """Return the version that this instance sees."""
        return self._snapshot

    def refresh(self) -> None:
        """See the newest version, unless this instance was opened at one on purpose."""
        if not self.writable:
            return
        with self._lock, lance_errors(self._where, "open"):
            if self._snapshot.dataset.latest_version != self.version:
                self._see(self._where.dataset())

    def _see(self, dataset: Any) -> LanceSnapshot:
        """Make this version the one that this instance sees."""
        self._snapshot = LanceSnapshot(self._where, dataset, self._files, self._snapshot)
        return self._snapshot

    def versions(self) -> list[StoreVersion]:
        """List the commits that can still be opened, oldest first."""
        dataset = self._snapshot.dataset
        with self._whole_history(), lance_errors(self._where, "read"):
            tagged = {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}
            listed = dataset.versions()
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

    @contextmanager
    def _whole_history(self) -> Iterator[None]:
        """Name the damaged version if the history cannot be read."""
        try:
            yield
        except FormatError as error:
            if self._where.local:
                refuse_damaged(self._where, str(error))
            raise

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version, so that it is kept and can be opened by that name."""
        number = self.version if version is None else version
        check_tag(name)
        with self._where.lock(), lance_errors(self._where, "tag", number):
            tags = self._snapshot.dataset.tags
            held = tags.list().get(name)
            if held is not None and int(held["version"]) != number:
                raise InputError(f"tag {name!r} names version {held['version']} already; choose a different name")
            if held is None:
                tags.create(name, number)
                if self._where.local:
                    sync_files(self._where.root / "_refs" / "tags", [f"{name}.json"])

    # Writing

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries: all of them or none; an entry with the same key is replaced."""
        self._check_writable()
        codes, scale = encode_entries(self.spec, entries)
        attempts, conflicts, failures = 1 if self._where.local else _REMOTE_ATTEMPTS, 0, 0
        while True:
            try:
                with self._writing("write") as newest:
                    self._write(newest, entries, codes, scale, skip_valid)
                self._check_after_conflict(conflicts)
                return self.version
            except ConflictError:
                conflicts, failures = conflicts + 1, 0
                if conflicts == attempts:
                    raise
            except ObjectStoreError:  # also if the commit succeeded and its answer was lost: the same keys again
                failures += 1
                if failures == REMOTE_FAILURES:
                    raise
            time.sleep((0.02 * conflicts + pause(failures)) * random.random())  # noqa: S311 - rivals fall out of step

    def _write(
        self, newest: LanceSnapshot, entries: Entries, codes: np.ndarray, scale: Float32 | None, skip_valid: bool
    ) -> None:
        """Commit what the newest version does not have."""
        index = newest.index()
        rows = index.locate(entries.days, entries.tickers)
        if skip_valid:
            wanted = (rows < 0) | (entries.digest == 0) | (index.digests(rows) != entries.digest)
            if not wanted.any():
                return
            if not wanted.all():
                entries, codes, rows = entries.take(wanted), codes[wanted], rows[wanted]
                scale = None if scale is None else scale[wanted]
        if not len(entries):
            return
        added = table(newest.dataset.schema, entries, codes, scale)
        batches = added.to_reader(max_chunksize=batch_rows(self.spec))
        self._see(commit_rows(newest, batches, rows[rows >= 0]))

    def _check_after_conflict(self, conflicts: int) -> None:
        """Report duplicate keys, which two writers without a lock leave if both replace whole fragments at once."""
        if conflicts and (duplicates := self._snapshot.index().duplicates):
            raise WorkError(
                f"{self.location}: a different writer committed at the same moment; all entries are written, and "
                f"{duplicates:,} rows have a key that a later row repeats; `encash cache compact` drops them"
            )

    def remove(self, selected: VersionRows) -> int:
        """Remove rows in one commit; fragments that lose all their rows are dropped without reading their files."""
        self._check_writable()
        if not len(selected):
            return self.version
        with self._writing("remove") as newest:
            if newest.version != selected.version:
                raise ConflictError(
                    f"{self.location} has changed since version {selected.version} was checked; nothing was removed: "
                    "run this again"
                )
            rows: Int64 = np.unique(check_rows(selected.rows, newest.count))
            self._see(commit_rows(newest, None, rows))
        return self.version

    def adopt(self, spec: StoreSpec) -> None:
        """Commit a different description of the same rows."""
        self._check_writable()
        self.check_same_rows(spec)
        with self._writing("describe") as newest:
            self._see(commit_spec(newest, spec))

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small fragments, drop replaced rows, and forget all but the newest and the tagged versions."""
        self._check_writable()
        if keep_versions < 2:
            raise InputError(f"keep_versions is {keep_versions}; keep at least 2, so that open readers see theirs")
        with self._writing("compact") as newest:
            self.versions()  # refuses a damaged history before anything is rewritten
            rows = rows_to_rewrite(newest)
            _check_sound(newest, rows, progress)
            if len(rows):
                self._see(commit_rows(newest, sorted_rows(newest, rows, progress), rows))
            dataset = self._snapshot.dataset
            versions_removed, bytes_removed = remove_old_versions(dataset, self.versions(), keep_versions)
            if self._where.local:
                kept = [dataset.checkout_version(version.number) for version in self.versions()]
                remove_leftovers(self._where, kept, keep=keep_versions)
        return CompactReport(rows_rewritten=len(rows), versions_removed=versions_removed, bytes_removed=bytes_removed)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[LanceSnapshot]:
        """Hold the lock, hand out the newest version, and translate errors."""
        with self._lock, self._where.lock(), lance_errors(self._where, doing):
            if not self._overwrites_refused:
                check_overwrites_refused(self.location)
                self._overwrites_refused = True
            self.refresh()
            yield self._snapshot

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError(f"{self.location} was opened as of version {self.version}; open the newest to write")


def _opened(where: Location, version: int | str | None) -> Any:
    with lance_errors(where, "open", version):
        return where.dataset(version)


def _check_sound(snapshot: LanceSnapshot, rows: Int64, progress: Progress | None) -> None:
    """Refuse damaged rows before any of them is copied."""
    for first in range(0, len(rows), _CHECKED_ROWS):
        snapshot.read_sound(rows[first : first + _CHECKED_ROWS])
        if progress is not None:
            progress(min(first + _CHECKED_ROWS, len(rows)), len(rows))
