"""The page as a browser shows it."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from encash.report import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def shot(page, picture, *flags, size="1200,1600"):
    """A picture of the top of the page."""
    settings = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    profile = f"--user-data-dir={picture.parent / 'profile'}"
    command = [
        CHROMIUM,
        *settings,
        profile,
        *flags,
        f"--screenshot={picture}",
        f"--window-size={size}",
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(picture).convert("RGB"), dtype=np.float64)


def test_the_page_is_light_and_dark(write_run, tmp_path):
    """The page follows the theme of its reader, its ink included, and shows the lines in both."""
    page = render_report([write_run()], tmp_path / "report.html")
    light = shot(page, tmp_path / "light.png")
    dark = shot(page, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    assert np.median(light) > 240
    assert np.median(dark) < 40
    assert light.min() < 60
    assert dark.max() > 200
    for picture in (light, dark):
        blue = (picture[..., 2] > picture[..., 0] + 60).sum()
        assert blue > 2000


def test_what_a_narrow_screen_cuts_off_is_shaded_at_the_cut(write_run, tmp_path):
    """A chart or table that goes on to the right darkens towards that edge; on a wide screen nothing is cut."""
    page = render_report([write_run()], tmp_path / "report.html")
    narrow = shot(page, tmp_path / "narrow.png", "--hide-scrollbars", size="500,4000")
    wide = shot(page, tmp_path / "wide.png", "--hide-scrollbars", size="1200,4000")
    for picture, edge, shaded in ((narrow, 500 - 16, True), (wide, 1200 - 50 - 24, False)):
        inside, outside = picture[:, edge - 2], picture[:, edge + 4]
        grey = (np.ptp(inside, axis=1) < 12) & (inside.mean(axis=1) < 246) & (outside.min(axis=1) > 250)
        assert (grey.sum() > 300) == shaded
