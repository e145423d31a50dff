"""Translation of Lance's errors into encash's."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import pyarrow as pa
from lance.commit import CommitConflictError

from encash.errors import (
    ConflictError,
    EncashError,
    FormatError,
    InputError,
    MissingFileError,
    WorkError,
    reason,
    unreadable,
)
from encash.object_store_errors import TRY_AGAIN, unreachable
from encash.store.lance.location import Location

T = TypeVar("T")
REMOTE_FAILURES = 10
"""Attempts at a request to an object store. Lance retries most requests, too, but not answers that end early."""
_LONGEST_PAUSE = 1.0


class ObjectStoreError(WorkError):
    """A request to an object store that failed for a reason that may pass."""


def pause(failures: int) -> float:
    """Return the longest pause in seconds after a number of failures in a row.

    >>> [pause(failures) for failures in range(4)]
    [0.0, 0.05, 0.1, 0.2]
    """
    return min(_LONGEST_PAUSE, 0.05 * 2 ** (failures - 1)) if failures else 0.0


def patiently(work: Callable[[], T]) -> T:
    """Retry a read-only operation while the object store fails.

    Raises:
        ObjectStoreError: it failed each time.
    """
    for failures in itertools.count(1):
        try:
            return work()
        except ObjectStoreError:
            if failures == REMOTE_FAILURES:
                raise
        time.sleep(pause(failures))
    raise AssertionError


@contextmanager
def lance_errors(where: Location, doing: str, version: int | str | None = None) -> Iterator[None]:
    """Raise errors that the caller can act on.

    Args:
        where: the store.
        doing: create, open, read, write, …; decides what an error means.
        version: the version being opened or tagged.
    """
    try:
        yield
    except EncashError:
        raise
    except CommitConflictError:
        raise ConflictError(f"{where.text}: a different writer committed first; run this again") from None
    except (ValueError, OSError, RuntimeError, LookupError, pa.ArrowException) as error:
        _translate(error, where, doing, version)
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic inside Lance, on a damaged file, is not an Exception
            raise
        _translate(error, where, doing, version)


def _translate(error: BaseException, where: Location, doing: str, version: int | str | None) -> NoReturn:
    location, text, said = where.text, str(error).split(", /")[0].split("\n")[0], reason(error)
    if doing == "read" and "Not found: " in str(error):
        raise FormatError(
            f"{location}: a file of this version is gone{said}; if a different process has compacted the "
            "cache, refresh to the newest version; otherwise restore the file from a copy"
        ) from None
    if not where.local and "No object store provider found" in str(error):
        raise InputError(f"no cache can be at {location}; expected s3://, gs:// or az://, or a path") from None
    if not where.local and (unanswered := unreachable(str(error))) is not None:
        kind = ObjectStoreError if unanswered.endswith(TRY_AGAIN) else WorkError
        raise kind(f"could not {doing} {location}: {unanswered}") from None
    if doing == "create" and "already exists" in text:
        raise ConflictError(f"{location} already has a store; open it, or choose a different name") from None
    if doing in ("open", "tag") and ("was not found" in text or "not found" in text or "does not exist" in text):
        if version is not None and where.exists():
            raise MissingFileError(
                f"{location} has no version {version!r}; `encash cache versions` lists them"
            ) from None
        where.refuse_other()
        raise MissingFileError(f"there is no cache at {location}; make one with `encash build`") from None
    if doing in ("open", "read"):
        message = f"{location} cannot be read: it is damaged{said}; run `encash cache verify`"
        raise unreadable(location, error, message) from None
    raise WorkError(f"{location}: could not {doing}{said}; nothing was committed") from None
