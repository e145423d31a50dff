"""The error tree, grouped by how a caller reacts to an error::

    EncashError
    ├── InputError (ValueError)              the caller fixes the input        exit code 2
    │   ├── MissingFileError (FileNotFoundError)   a path that does not exist
    │   ├── FormatError                            a file with unexpected content
    │   ├── AccessError (PermissionError)          a file that may not be read, or that a different process has locked
    │   ├── UnknownKeyError (KeyError)             a ticker, day or cluster that does not exist
    │   ├── MismatchError                          two things that do not belong together
    │   ├── LookaheadError                         a run that would have look-ahead bias
    │   └── MissingExtraError (ImportError)        an optional package that is not installed
    └── WorkError (RuntimeError)             the work failed or is incomplete  exit code 1
        └── ConflictError                          another process wrote first

Every message says what came, what was expected and how to fix it.
"""

from __future__ import annotations

import re

_SHOWN = 80
"""Characters of an invalid value in a message."""


class EncashError(Exception):
    """Base class of all errors that encash raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; `KeyError` would return its repr."""
        return str(self.args[0]) if self.args else ""


class InputError(EncashError, ValueError):
    """Invalid input; the message says what was expected."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """A path that does not exist."""


class FormatError(InputError):
    """A file with unexpected content."""


class AccessError(InputError, PermissionError):
    """A file that is there and cannot be read now: no permission, or a lock of a different process."""


class UnknownKeyError(InputError, KeyError):
    """A ticker, day, cluster or field that does not exist."""


class MismatchError(InputError):
    """Two things that do not belong together, such as a cache and a different encoder."""


class LookaheadError(InputError):
    """A run that would use information from after its first day."""


class MissingExtraError(InputError, ImportError):
    """An optional package that is not installed; the message holds the command that installs it."""


class WorkError(EncashError, RuntimeError):
    """Work that failed in whole or in part on valid input; what is committed is kept."""


class ConflictError(WorkError):
    """Another process wrote first."""


def unreadable(path: object, error: BaseException, otherwise: str) -> InputError:
    """Return the error of a file that a library could not read: `AccessError`, or else `FormatError`.

    Libraries report a missing permission or a lock in their own words; neither is damage.

    Args:
        path: the file.
        error: what the library raised.
        otherwise: the message if the file itself is at fault.

    >>> unreadable("a.h5", PermissionError(13, "Permission denied"), "a.h5 is damaged; make it again")
    AccessError('no permission to read a.h5; let its owner grant it, or run this as a user who has it')
    >>> unreadable("a.h5", OSError("truncated file"), "a.h5 is damaged; make it again")
    FormatError('a.h5 is damaged; make it again')
    """
    text = str(error)
    if "unable to lock file" in text:
        return AccessError(
            f"{path} is locked by another process, which has it open for writing; wait until it is closed (on a "
            "network disk without locks, set HDF5_USE_FILE_LOCKING=FALSE)"
        )
    if isinstance(error, PermissionError) or re.search(r"[Pp]ermission denied|os error 13\b", text):
        return AccessError(f"no permission to read {path}; let its owner grant it, or run this as a user who has it")
    return FormatError(otherwise)


def reason(error: BaseException) -> str:
    """Return the first sentence of a third-party error in parentheses after a space; empty if it has no words.

    >>> reason(OSError("no file (address = 1, code 2. Report it.")), reason(KeyError(101)), reason(EOFError())
    (' (no file)', '', '')
    """
    text = str(error).split("\n")[0].split(", /")[0].split(". ")[0].strip(" .:")
    while text.count("(") > text.count(")"):
        text = text[: text.rindex("(")].rstrip(" .:")
    return f" ({text})" if any(map(str.isalpha, text)) else ""


def shown(value: object) -> str:
    """Return an invalid value as one line of an error, of at most 80 characters.

    >>> shown("a" * 100)[-4:]
    'aaa…'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
