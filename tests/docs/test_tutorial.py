"""The tutorial, pasted line by line: in full (slow), and on fewer tickers with a model that is hardly trained."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from encash.training import PRESETS
from tests.docs.pages import first_words, run_page

PAGE = "tutorial.md"


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder; skips without the package whose prices the tutorial uses."""
    try:
        metadata.distribution("skfolio")
    except metadata.PackageNotFoundError:
        pytest.skip("the tutorial's prices come with skfolio, which is not installed: pip install --no-deps skfolio")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_tutorial_runs_as_written(prices: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command, with the output on the page but for its numbers."""
    assert len(run_page(PAGE, capsys, same=first_words)) == 12
    assert Path("first/report.html").is_file()


def test_the_tutorial_runs_on_less(
    prices: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command as it stands, on the first eight tickers; outputs are not compared."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], samples_per_epoch=256, epochs=1, hidden_dim=32))
    assert run_page(PAGE, capsys, same=bool, after_python=keep_eight_tickers)


def keep_eight_tickers() -> None:
    """Shorten the table to its first columns."""
    path = Path("prices.csv")
    rows = [",".join(line.split(",")[:9]) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
