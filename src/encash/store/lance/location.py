"""Location of a Lance store: a folder, or a URL that only Lance reads; its lock, and the files of its versions."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lance

from encash.errors import FormatError, WorkError
from encash.store.local.file_checksums import FOLDER as CHECKSUMS
from encash.store.local.file_checksums import check_file, forget_checksum, missing_files, write_checksum
from encash.store.local.fsync import sync_files
from encash.store.local.lock import writer_lock

_LOCK_NAME = "_encash.lock"
ASIDE = "_encash_set_aside"
"""Folder of a store in which `encash cache rollback` keeps damaged manifests."""
_LAST = (1 << 64) - 1
_OWN_NAMES = {_LOCK_NAME, "data", "_versions", "_transactions", "_deletions", "_refs", "_indices", CHECKSUMS, ASIDE}
_LOCK_SECONDS = 120.0
"""How long a writer waits for the lock."""


def _small_session() -> Any:
    """Return a session with small caches: the defaults are gigabytes."""
    return lance.Session(index_cache_size_bytes=1 << 20, metadata_cache_size_bytes=64 << 20)


@dataclass(frozen=True)
class Location:
    """A path or URL, and Lance's session for it."""

    text: str
    session: Any = field(default_factory=_small_session, repr=False, compare=False)
    root: Path = field(init=False, repr=False, compare=False)
    """The folder of a local store, also after the process has changed its working folder."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.text).absolute())

    @cached_property
    def local(self) -> bool:
        """True for a folder of this machine: locked, with checksums, and read through memory maps."""
        return "://" not in self.text

    @property
    def uri(self) -> str:
        """The path or URL that Lance opens."""
        return str(self.root) if self.local else self.text

    def make(self) -> None:
        """Make the folder.

        Raises:
            WorkError: the disk refused.
        """
        if self.local:
            try:
                os.makedirs(self.root, exist_ok=True)
            except OSError as error:
                raise WorkError(f"cannot make {self.text}: {error.strerror}") from None

    def refuse_other(self) -> None:
        """Refuse a path that holds something other than a store.

        Raises:
            FormatError: a file, or a folder of other things.
        """
        root = self.root
        if root.is_file() or (root.is_dir() and not set(os.listdir(root)) & _OWN_NAMES and any(root.iterdir())):
            raise FormatError(f"{self.text} is not a cache; give a folder that `encash build` made")

    def dataset(self, version: int | str | None = None) -> Any:
        """Open the newest version, or the one with a number or tag.

        Raises:
            FormatError: its manifest is damaged (Lance would print messages of its own about it).
        """
        numbers = self.version_numbers() if self.local and not isinstance(version, str) else []
        if (number := max(numbers, default=None) if version is None else version) in numbers:
            self.check_version(int(number))
        return lance.dataset(self.uri, version=version, session=self.session)

    def has_dataset(self) -> bool:
        """Return whether a dataset is there."""
        try:
            self.dataset()
        except ValueError as error:
            if "was not found" in str(error):
                return False
            raise
        return True

    def exists(self) -> bool:
        """Return whether anything is at a path, or a dataset at a URL."""
        return self.root.exists() if self.local else self.has_dataset()

    def lock(self) -> AbstractContextManager[None]:
        """Acquire the lock for writing; at a URL there is none."""
        return writer_lock(self.root / _LOCK_NAME, timeout_seconds=_LOCK_SECONDS) if self.local else nullcontext()

    def check_version(self, number: int) -> None:
        """Compare a version's manifest with its checksum.

        Raises:
            FormatError: it is damaged.
        """
        if self.local:
            check_file(self.root, manifest_path(number))

    def expect_version(self, number: int) -> None:
        """Remove a leftover checksum of the version to be committed, in case an earlier version of that number was
        deleted by hand."""
        if self.local:
            forget_checksum(self.root, manifest_path(number))

    def secure_version(self, number: int) -> None:
        """Wait until a commit is on the disk, then write its checksum."""
        if self.local:
            sync_files(self.root, [manifest_path(number)])
            write_checksum(self.root, manifest_path(number))

    def version_numbers(self) -> list[int]:
        """List the versions of a folder that have a manifest, damaged or not, newest first."""
        try:
            names = os.listdir(self.root / "_versions")
        except FileNotFoundError:
            return []
        found = (re.fullmatch(r"(\d{20})\.manifest", name) for name in names)
        return sorted((_LAST - int(match[1]) for match in found if match), reverse=True)

    def damaged_manifests(self) -> list[str]:
        """Describe each version whose manifest is damaged."""
        problems = []
        for number in self.version_numbers() if self.local else ():
            try:
                self.check_version(number)
            except FormatError as error:
                problems.append(f"version {number} is damaged ({str(error).partition(';')[0]})")
        return problems

    def lost_versions(self) -> list[str]:
        """List manifests that were committed after the newest one present and are gone: readers see older data."""
        if not self.local:
            return []
        there = [name for name in os.listdir(self.root / "_versions") if name.endswith(".manifest")]
        gone = missing_files(self.root, "_versions", ".manifest")
        return [f"_versions/{name}" for name in gone if name < min(there, default="")]


def manifest_path(version: int) -> str:
    """Return the path of a version's manifest below the store; Lance counts down: the newest has the first name."""
    return f"_versions/{_LAST - int(version):020d}.manifest"
