"""The error tree, grouped by how a caller reacts to an error.

    EncashError
    ├── InputError (ValueError)              the caller fixes the input        exit code 2
    │   ├── MissingFileError (FileNotFoundError)   a path that does not exist
    │   ├── FormatError                            a file with unexpected content
    │   ├── UnknownKeyError (KeyError)             a ticker, day or cluster that does not exist
    │   ├── MismatchError                          two things that do not belong together
    │   ├── LookaheadError                         a run that would know its future
    │   └── MissingExtraError (ImportError)        an optional package that is not installed
    └── WorkError (RuntimeError)             the work failed or is incomplete  exit code 1
        └── ConflictError                          another process wrote first

Every message says what came, what was expected and how to fix it.
"""

from __future__ import annotations


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


def reason(error: BaseException) -> str:
    """Return the first sentence of a third-party error in parentheses after a space; empty if it has no words.

    >>> reason(OSError("no file (address = 1, code 2. Report it.")), reason(KeyError(101)), reason(EOFError())
    (' (no file)', '', '')
    """
    text = str(error).split("\n")[0].split(", /")[0].split(". ")[0].strip(" .:")
    while text.count("(") > text.count(")"):
        text = text[: text.rindex("(")].rstrip(" .:")
    return f" ({text})" if any(map(str.isalpha, text)) else ""
