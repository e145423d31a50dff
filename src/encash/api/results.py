"""Results in folders, which last as long as a result, and how their figures are written."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encash.display import Shown
from encash.errors import InputError, shown


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folder of a result: one of the user's, or one that is removed with the result."""

    folder: Path
    kept: Any = field(default=None, repr=False, compare=False)
    """Removes the folder when it is collected; None for a folder of the user."""

    def __deepcopy__(self, memo: object) -> Home:
        return self

    def __reduce__(self) -> tuple[type[Home] | Any, tuple[Path]]:
        """Pickle the path.

        Raises:
            InputError: a temporary folder, which would be removed before or while the copy is used.
        """
        if self.kept is not None:
            raise InputError(
                "a result in a temporary folder cannot be pickled, because the folder is removed with it; make it with "
                "out=FOLDER"
            )
        return Home.at, (self.folder,)

    @classmethod
    def at(cls, out: str | Path | None) -> Home:
        """Return the folder that was named, or a new temporary one.

        Raises:
            InputError: not a path.
        """
        if not isinstance(out, str | Path | None):
            raise InputError(f"out is {shown(out)}; expected the path of a folder")
        if out is not None:
            return cls(folder=Path(out))
        kept = tempfile.TemporaryDirectory(prefix="encash-")
        return cls(folder=Path(kept.name) / "result", kept=kept)


@dataclass(frozen=True, kw_only=True, repr=False)
class InFolder(Shown):
    """A result that is stored in a folder."""

    home: Home

    @property
    def folder(self) -> Path:
        """The folder, which other functions take in place of the result."""
        return self.home.folder


def percent(value: float | None) -> str:
    """Format a fraction; a dash if it is not defined.

    >>> percent(0.0672), percent(None)
    ('+6.7%', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:+.1%}"


def number(value: float | None, digits: int = 2) -> str:
    """Format a number; a dash if it is not defined.

    >>> number(0.4049), number(float("nan"))
    ('0.40', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
