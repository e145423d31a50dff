"""Where a store lies: a folder, or a URL that only Lance reads; its lock, and the files that are its versions.
Knows the names in a folder of Lance's; nothing of rows."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lance

from encash.errors import FormatError, WorkError
from encash.store.local.file_checksums import FOLDER as SEALS
from encash.store.local.file_checksums import break_seal, check_seal, seal, sealed_and_gone
from encash.store.local.fsync import sync_files
from encash.store.local.lock import writer_lock

_LOCK_NAME = "_encash.lock"
_OWN_NAMES = {_LOCK_NAME, "data", "_versions", "_transactions", "_deletions", "_refs", "_indices", SEALS}
_LOCK_SECONDS = 120.0
"""How long a writer waits for another."""


def _small_session() -> Any:
    """Small caches: the defaults are gigabytes."""
    return lance.Session(index_cache_size_bytes=1 << 20, metadata_cache_size_bytes=64 << 20)


@dataclass(frozen=True)
class Place:
    """A path or URL, and what Lance keeps in memory of it."""

    location: str
    session: Any = field(default_factory=_small_session, repr=False, compare=False)

    @cached_property
    def local(self) -> bool:
        """Whether it is a folder of this machine: locked, sealed, and read through memory maps."""
        return "://" not in self.location

    @cached_property
    def root(self) -> Path:
        """The folder of a local store."""
        return Path(self.location)

    def make(self) -> None:
        """Make the folder.

        Raises:
            WorkError: the disk refused.
        """
        if self.local:
            try:
                os.makedirs(self.location, exist_ok=True)
            except OSError as error:
                raise WorkError(f"{self.location} cannot be made: {error.strerror}") from None

    def refuse_other(self) -> None:
        """Refuse a place where something else lies.

        Raises:
            FormatError: a file, or a folder of other things.
        """
        root = self.root
        if root.is_file() or (root.is_dir() and not set(os.listdir(root)) & _OWN_NAMES and any(root.iterdir())):
            raise FormatError(f"{self.location} is no cache; give a folder that `encash build` made")

    def dataset(self, version: int | str | None = None) -> Any:
        """The newest version as Lance sees it, or the one of a number or tag."""
        return lance.dataset(self.location, version=version, session=self.session)

    def has_dataset(self) -> bool:
        """Whether a dataset lies there."""
        try:
            self.dataset()
        except ValueError as error:
            if "was not found" in str(error):
                return False
            raise
        return True

    def is_there(self) -> bool:
        """Whether anything lies at a path, or a dataset at a URL."""
        return self.root.exists() if self.local else self.has_dataset()

    def lock(self) -> AbstractContextManager[None]:
        """The right to write; behind a URL anybody has it."""
        return writer_lock(self.root / _LOCK_NAME, timeout_seconds=_LOCK_SECONDS) if self.local else nullcontext()

    def check_version(self, number: int) -> None:
        """Compare a version with its seal.

        Raises:
            FormatError: it is not what was committed.
        """
        if self.local:
            check_seal(self.root, _manifest(number))

    def expect_version(self, number: int) -> None:
        """Forget the seal of the version that is to be committed: whoever wrote one of that number before was undone by
        hand, and its seal must not stand for ours."""
        if self.local:
            break_seal(self.root, _manifest(number))

    def secure_version(self, number: int) -> None:
        """Wait until a commit is on the disk, then seal it."""
        if self.local:
            sync_files(self.root, [_manifest(number)])
            seal(self.root, _manifest(number))

    def lost_versions(self) -> list[str]:
        """Files of versions that were committed after the newest that is there, and are gone: what is read is older
        than it was."""
        if not self.local:
            return []
        there = [name for name in os.listdir(self.root / "_versions") if name.endswith(".manifest")]
        gone = sealed_and_gone(self.root, "_versions", ".manifest")
        return [f"_versions/{name}" for name in gone if name < min(there, default="")]


def _manifest(version: int) -> str:
    """The file that is a version."""
    return f"_versions/{(1 << 64) - 1 - int(version):020d}.manifest"
