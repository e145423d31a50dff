"""The explanations: their code runs, and the three worlds of the annotated report are what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, run_page
from tools.draw_annotated_report import CHARTS, WORLDS, draw, run_world


@pytest.mark.parametrize("page", ["leak-free", "identity"])
def test_the_code_of_a_page_runs(page: str, workflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And prints what the page shows."""
    run_page(f"explanation/{page}.md", capsys)


def test_each_chart_has_a_good_a_null_and_a_cheating_example() -> None:
    """Their pictures are there, and small; the page shows each."""
    page = (PAGES / "explanation" / "annotated-report.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[\w+\]\(\.\./images/annotated/([\w-]+\.png)\)", page)
    assert sorted(shown) == sorted(f"{chart}-{world}.png" for chart in CHARTS for world in WORLDS)
    assert sum((PAGES / "images" / "annotated" / name).stat().st_size for name in shown) < 1_500_000


def test_the_worlds_of_the_annotated_report_differ_as_the_page_says(tmp_path: Path) -> None:
    """On fewer stocks: a leak is called too good, a null is not called good, and every chart can be drawn."""
    helps = {}
    for world in ("null", "cheating"):
        run = run_world(world, tmp_path, draws=40, tickers=30, sessions=700)
        helps[world] = run.facts()[0][1]
    assert "no better than chance" in helps["null"]
    assert "too good to be true" in helps["cheating"]
    for chart in CHARTS:
        draw(run, chart, tmp_path / f"{chart}.png")
        assert (tmp_path / f"{chart}.png").stat().st_size > 2000


@pytest.mark.slow
def test_the_sentences_of_the_annotated_report_are_those_of_its_worlds(tmp_path: Path) -> None:
    """In full, as the pictures were drawn."""
    page = (PAGES / "explanation" / "annotated-report.md").read_text(encoding="utf-8")
    for world in WORLDS:
        (row,) = re.findall(rf"^\| {world} \| (Holding .*) \|$", page, flags=re.MULTILINE)
        assert run_world(world, tmp_path).facts()[0][1].replace("−", "-") == row.replace("−", "-")
