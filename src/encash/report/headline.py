"""The first sentence of the page, without the page."""

from __future__ import annotations

from pathlib import Path

from encash.report.comparison_files import read_comparisons
from encash.report.summary import read_run
from encash.report.verdict import judge


def headline(folder: str | Path) -> str | None:
    """Return the verdict on a run in one sentence; None if it was not compared.

    Raises:
        MissingFileError: the folder does not exist or is incomplete.
        FormatError: a file is malformed.
    """
    if not (Path(folder) / "comparisons.json").is_file():
        return None
    return judge(read_run(folder), read_comparisons(folder)).headline
