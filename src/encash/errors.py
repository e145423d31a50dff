"""The error tree. Knows nothing of what failed; groups errors by what the one who catches them does.

    EncashError
    ├── InputError (ValueError)              the caller mends the input        exit code 2
    │   ├── MissingFileError (FileNotFoundError)   a path that is not there
    │   ├── FormatError                            a file that is not what its name says
    │   ├── UnknownKeyError (KeyError)             a ticker, day or cluster that does not exist
    │   ├── MismatchError                          two things that do not belong together
    │   ├── LookaheadError                         a run that would know its future
    │   └── MissingExtraError (ImportError)        an optional package that is not installed
    └── WorkError (RuntimeError)             the work failed or is incomplete  exit code 1
        └── ConflictError                          another writer was there first

Every message says what came, what was expected and how to mend it.
"""

from __future__ import annotations


class EncashError(Exception):
    """Whatever encash raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """The message alone; `KeyError` would print its repr."""
        return str(self.args[0]) if self.args else ""


class InputError(EncashError, ValueError):
    """What was given is wrong; the message says what was expected."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """A path that does not exist."""


class FormatError(InputError):
    """A file that is not what its name or its place says."""


class UnknownKeyError(InputError, KeyError):
    """A ticker, day, cluster or field that does not exist."""


class MismatchError(InputError):
    """Two things that do not belong together: a cache and another encoder, a panel and another width."""


class LookaheadError(InputError):
    """A run that would use what was not known on its first day."""


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message holds the line that installs it."""


class WorkError(EncashError, RuntimeError):
    """The input was right and the work failed, in whole or in part; what is committed is kept."""


class ConflictError(WorkError):
    """Another process wrote first."""


def reason(error: BaseException) -> str:
    """What a foreign error says in its first sentence, in brackets behind a space; empty where that is no words.

    >>> reason(OSError("no file (address = 1, code 2. Report it.")), reason(KeyError(101)), reason(EOFError())
    (' (no file)', '', '')
    """
    said = str(error).split("\n")[0].split(", /")[0].split(". ")[0].strip(" .:")
    while said.count("(") > said.count(")"):
        said = said[: said.rindex("(")].rstrip(" .:")
    return f" ({said})" if any(map(str.isalpha, said)) else ""
