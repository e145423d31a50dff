"""The registered formats of price tables, by suffix; importing this file imports none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from encash.errors import FormatError
from encash.plugins import find_plugin

if TYPE_CHECKING:
    from encash.panel.formats.base import TableFormat

ENTRY_POINTS = "encash.formats"
"""The entry point group in which a package offers formats; the name of an entry point is the suffix."""

FORMATS = {
    ".csv": "encash.panel.formats.comma:Csv",
    ".txt": "encash.panel.formats.comma:Csv",
    ".tsv": "encash.panel.formats.comma:Csv",
    ".parquet": "encash.panel.formats.columns:Parquet",
    ".pq": "encash.panel.formats.columns:Parquet",
    ".feather": "encash.panel.formats.arrow:Arrow",
    ".arrow": "encash.panel.formats.arrow:Arrow",
}
"""Add your format here: one line per suffix."""


def format_of(path: Path) -> TableFormat:
    """Return the format of a file, by its last two suffixes or its last one, in any case.

    Raises:
        FormatError: no format has this suffix.
    """
    if (found := find_format(path)) is None:
        raise FormatError(f"{path} is none of {', '.join(FORMATS)}; rename or convert it to one of these")
    return found


def find_format(path: Path) -> TableFormat | None:
    """Return the format of a file, or None; an entry point takes precedence over the registered formats."""
    for suffix in ("".join(path.suffixes[-2:]).lower(), path.suffix.lower()):
        for name in (suffix, FORMATS.get(suffix)):
            if name and (found := find_plugin(name, ENTRY_POINTS)) is not None:
                return cast("TableFormat", found())
    return None
