"""All pages: each command parses as it stands, and what no other test runs is run here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from encash.cli.main import parser
from tests.docs.pages import PAGES, blocks, commands, run_page

PAGE_NAMES = sorted(str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md"))
REFUSED_BY_THE_PARSER = ("--topk",)


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_every_command_parses(page: str) -> None:
    """With the flags that there are; one that is shortened by … is not tried."""
    for language in ("bash", "sh", "console"):
        for block in blocks(page, language):
            for line in commands(block):
                words = shlex.split(line, comments=True)
                if words[:1] == ["encash"] and "…" not in line and not set(words) & set(REFUSED_BY_THE_PARSER):
                    parser().parse_args(words[1:])


def test_a_cache_is_read_with_other_tools_as_the_page_says(workflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In pyarrow, xarray and torch; the query of DuckDB was made by hand."""
    pytest.importorskip("xarray", reason="the page needs the extra xarray")
    run_page("reading.md", capsys, same=bool)
