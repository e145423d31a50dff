"""List the pins of ``constraints.txt`` by age, oldest first: ``python tools/pin_ages.py [NAME …]``.

For where no database of advisories can be reached (``pip-audit`` needs one). The age is that of the newest file in the
package that pip would install; builds that record no times have none.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_YEAR = 2021
"""Reproducible builds write 1980, 2016 or 2020 into their archives."""


def pins(names: list[str]) -> list[str]:
    """Return the pins, or those of some names."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    every = [line.strip() for line in lines if "==" in line and not line.startswith("#")]
    return [pin for pin in every if not names or pin.split("==")[0] in names]


def built(pin: str) -> dt.date | None:
    """Return the day on which the package of a pin was built; None if it is not recorded or not there."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, pin]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        return newest(next(Path(folder).iterdir()))


def newest(package: Path) -> dt.date | None:
    """Return the day of the newest file of a wheel; None if no time is recorded."""
    if not zipfile.is_zipfile(package):
        return None
    with zipfile.ZipFile(package) as archive:
        days = [dt.date(*member.date_time[:3]) for member in archive.infolist()]
    return max((day for day in days if day.year >= FIRST_YEAR), default=None)


def main() -> int:
    """Print one line for each pin."""
    found = [(built(pin), pin) for pin in pins(sys.argv[1:])]
    for day, pin in sorted(found, key=lambda one: (one[0] is None, one[0] or dt.date.max, one[1])):
        print(f"{day.isoformat() if day else 'not recorded':<12}  {pin}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
