"""Return to a intact version, if the newest one is damaged or unwanted. Nothing is deleted."""

from __future__ import annotations

import os
from typing import NoReturn

from encash.errors import AccessError, EncashError, FormatError, InputError, MissingFileError
from encash.store.base import Rollback
from encash.store.lance.errors import lance_errors
from encash.store.lance.fragments import FragmentFiles
from encash.store.lance.location import ASIDE, Location, manifest_path
from encash.store.lance.snapshot import LanceSnapshot
from encash.store.local.file_checksums import forget_checksum
from encash.store.local.fsync import sync_files


def rollback(where: Location, to: int | None = None) -> Rollback:
    """Make an earlier version the newest.

    Damaged versions are set aside in the folder ``_encash_set_aside``. If a intact version is newer than the
    requested one, the latter is committed again on top, so that the history stays.

    Args:
        where: a store in a folder.
        to: the version to return to; the newest one that is whole if None.

    Raises:
        InputError: a URL; or the requested version is damaged.
        MissingFileError: no store there, or no such version.
        FormatError: no version is intact.
    """
    if not where.local:
        raise InputError(
            f"{where.text} is a URL; copy the version with `encash cache merge {where.text} --into DIR.lance`, or "
            "remove the damaged object of _versions with the tools of the object store"
        )
    with where.lock():
        numbers = where.version_numbers()
        if to is not None and to not in numbers:
            raise MissingFileError(f"{where.text} has no version {to}; it has {', '.join(map(str, numbers)) or 'none'}")
        damaged = damaged_versions(where)
        if to in damaged:
            raise InputError(f"version {to} of {where.text} is damaged too ({damaged[to]}); choose a different one")
        whole = max(set(numbers) - set(damaged), default=None)
        if whole is None:
            raise FormatError(f"no version of {where.text} is intact; restore the folder from a copy")
        for number in damaged:
            _set_aside(where, number)
        content = whole if to is None else to
        version = whole if content == whole else _restore(where, content)
        entries = _snapshot(where, version).index().entries
        return Rollback(version=version, content_of=content, set_aside=tuple(damaged), entries=entries)


def damaged_versions(where: Location) -> dict[int, str]:
    """Return the versions of a folder that cannot be opened, and why; none for a URL."""
    numbers = where.version_numbers() if where.local else []
    return {number: problem for number in numbers if (problem := _damage(where, number)) is not None}


def refuse_damaged(where: Location, problem: str) -> NoReturn:
    """Refuse a store with a damaged version, and name the version to go back to.

    Raises:
        FormatError: always.
    """
    damaged, numbers = damaged_versions(where), where.version_numbers()
    whole = max(set(numbers) - set(damaged), default=None)
    if whole is None:
        raise FormatError(f"{problem}; no version of {where.text} is intact: restore the folder from a copy") from None
    if not damaged:
        raise FormatError(problem) from None
    worst = max(damaged)
    back = "makes it the newest again" if worst > whole else f"sets version {worst} aside"
    raise FormatError(
        f"version {worst} of {where.text} is damaged ({damaged[worst].partition(';')[0]}); version {whole} is intact: "
        f"`encash cache rollback {where.text}` {back}, and --as-of {whole} reads it"
    ) from None


def _damage(where: Location, number: int) -> str | None:
    """Return why a version cannot be opened; None if it is intact."""
    try:
        _snapshot(where, number)
    except AccessError:
        raise
    except EncashError as error:
        return str(error)
    return None


def _snapshot(where: Location, number: int) -> LanceSnapshot:
    with lance_errors(where, "open", number):
        dataset = where.dataset(number)
    return LanceSnapshot(where, dataset, FragmentFiles(where))


def _set_aside(where: Location, number: int) -> None:
    """Move a manifest out of Lance's sight; the data files that it names stay until the next compaction."""
    name = manifest_path(number)
    aside = where.root / ASIDE
    aside.mkdir(exist_ok=True)
    os.replace(where.root / name, aside / os.path.basename(name))
    forget_checksum(where.root, name)
    sync_files(where.root, [f"{ASIDE}/{os.path.basename(name)}"])
    sync_files(where.root / "_versions", [])


def _restore(where: Location, number: int) -> int:
    """Commit an earlier version again as the newest one."""
    with lance_errors(where, "restore"):
        where.expect_version(int(where.dataset().version) + 1)
        dataset = where.dataset(number)
        dataset.restore()
        version = int(where.dataset().version)
    where.secure_version(version)
    return version
