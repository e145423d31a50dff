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
    ".csv.gz": "encash.panel.formats.comma:Csv",
    ".parquet": "encash.panel.formats.columns:Parquet",
    ".pq": "encash.panel.formats.columns:Parquet",
    ".feather": "encash.panel.formats.arrow:Arrow",
    ".arrow": "encash.panel.formats.arrow:Arrow",
}
"""Add your format here: one line per suffix."""


def format_of(path: Path) -> TableFormat:
    """Return the format of a file, by its last two suffixes or its last one.

    Raises:
        FormatError: no format has this suffix.
    """
    for suffix in ("".join(path.suffixes[-2:]), path.suffix):
        if (found := find_plugin(FORMATS.get(suffix, suffix), ENTRY_POINTS)) is not None:
            return cast("TableFormat", found())
    raise FormatError(f"{path} is none of {', '.join(FORMATS)}; rename or convert it to one of these")
