"""The site builds without a warning, loads nothing from the network, and its links lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tools.check_site import problems

GOOD = '<a href="other.html#part">x</a><a href="https://example.org">y</a><img src="_static/a.png">'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two pages and a picture."""
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.png").touch()
    (tmp_path / "index.html").write_text(GOOD, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h2 id="part">Part</h2>', encoding="utf-8")
    return tmp_path


def test_a_link_to_another_site_is_no_problem(site: Path) -> None:
    """Only what is loaded must be there."""
    assert list(problems(site)) == []


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('<link rel="stylesheet" href="https://fonts.example.org/a.css">', "loads https://fonts.example.org/a.css"),
        ('<script src="//cdn.example.org/a.js"></script>', "loads //cdn.example.org/a.js"),
        ("<style>@import 'https://example.org/a.css';</style>", "loads https://example.org/a.css"),
        ('<p style="background: url(http://example.org/a.png)">', "loads http://example.org/a.png"),
        ('<a href="missing.html">x</a>', "missing.html: leads nowhere"),
        ('<a href="other.html#missing">x</a>', "other.html#missing: leads nowhere"),
        ('<a href="#missing">x</a>', "#missing: leads nowhere"),
    ],
)
def test_what_is_loaded_from_the_network_and_dead_links_are_found(site: Path, tag: str, expected: str) -> None:
    """In a page; one line each."""
    (site / "index.html").write_text(GOOD + tag, encoding="utf-8")
    assert [line.partition(": ")[2] for line in problems(site)] == [expected]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """With every page in its navigation, and every link resolved."""
    pytest.importorskip("furo", reason="the site needs the extra docs")
    build = ["--builder", "html", "--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", str(tmp_path / "d")]
    call = [sys.executable, "-m", "sphinx", *build, str(PAGES), str(tmp_path / "site")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(problems(tmp_path / "site")) == []
