"""The tool that lists pins by age."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path

from tools.pin_ages import newest, pins


def test_the_age_is_that_of_the_newest_file(tmp_path: Path) -> None:
    """Times of reproducible builds do not count; a package without any other has no age."""
    for name, years in (("a.whl", (1980, 2024, 2023)), ("b.whl", (1980, 2020))):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for year in years:
                archive.writestr(zipfile.ZipInfo(f"{year}.py", (year, 5, 6, 0, 0, 0)), "")
    assert newest(tmp_path / "a.whl") == dt.date(2024, 5, 6)
    assert newest(tmp_path / "b.whl") is None


def test_every_pin_is_listed() -> None:
    """All of them, or those that are named."""
    assert len(pins([])) > 100
    assert [pin.split("==")[0] for pin in pins(["numpy"])] == ["numpy"]
