"""How results print themselves, and folders that last as long as a result."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from encash.errors import InputError, shown


class Shown:
    """A result that prints itself: lines in a console, a small table in a notebook."""

    def title(self) -> str:
        """Return one sentence."""
        raise NotImplementedError

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values, in order."""
        return ()

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self.facts()), default=0)
        return "\n".join([self.title(), *(f"  {name:<{width}}  {value}" for name, value in self.facts())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self.facts()
        )
        return f"<p><strong>{escape(self.title())}</strong></p><table>{rows}</table>"


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folder of a result: one of the user's, or one that is removed with the result."""

    folder: Path
    kept: Any = field(default=None, repr=False, compare=False)
    """Removes the folder when it is collected; None for a folder of the user."""

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
