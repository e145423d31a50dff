"""Photograph the top of a page in Chromium: ``tools/photograph_page.py demo/report.html docs/images/report.png``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.report.chromium import browser

WIDTH, HEIGHT, COLORS = 1100, 1500, 128


def main() -> None:
    """Write the picture with few colors, so that it stays small."""
    page, picture = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, browser(Path(profile)) as tab:
        tab.open(page.resolve(), width=WIDTH, height=HEIGHT)
        shot = Image.open(io.BytesIO(tab.picture())).convert("RGB")
    shot.quantize(COLORS).save(picture, optimize=True)
    print(picture)


if __name__ == "__main__":
    main()
