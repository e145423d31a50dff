"""An interchange file as a store: read-only, with one version."""

from __future__ import annotations

import datetime as dt
import os
from typing import NoReturn

from encash.errors import InputError
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, StoreVersion, VersionRows
from encash.store.hdf5.snapshot import Hdf5Snapshot, content_id


class Hdf5Store(EmbeddingStore):
    """An interchange file, read-only."""

    writable = False

    def __init__(self, location: str | os.PathLike[str]):
        """Open a file.

        Raises:
            MissingFileError: no such file.
            FormatError: not HDF5, truncated, or not a cache of embeddings.
        """
        self.location = os.fspath(location)
        self._snapshot = Hdf5Snapshot(location)

    def snapshot(self) -> Hdf5Snapshot:
        """Return the open file."""
        return self._snapshot

    def refresh(self) -> None:
        """Open the file again if it was replaced."""
        if content_id(self.location) != self._snapshot.content_id():
            self._snapshot = Hdf5Snapshot(self.location)

    def versions(self) -> list[StoreVersion]:
        """Return the file as it is."""
        time = dt.datetime.fromtimestamp(os.path.getmtime(self.location))
        return [StoreVersion(number=1, time=time, entries=self._snapshot.index().entries)]

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Refuse: the format has no atomic writes."""
        self._refuse("written in place; build a .lance cache and export it")

    def remove(self, selected: VersionRows) -> int:
        """Refuse: the format has no atomic writes."""
        self._refuse("changed; import it into a .lance cache, which reports what it leaves out")

    def tag(self, name: str, version: int | None = None) -> None:
        """Refuse: a file has one version."""
        self._refuse("tagged; import it into a .lance cache")

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Refuse: a file has one version."""
        self._refuse("compacted; it has one version and no history")

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.location} is an interchange file and cannot be {what}")
