"""A chart as the page shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from encash.report import style
from encash.report.svg import page_element


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """A chart: what it shows, in words, and its drawing."""

    title: str
    """Name of the chart, in terms of the field; unique on the page."""
    reading: str
    """One sentence that says what the chart shows."""
    figure: style.Figure | None = None
    """The drawing, made with the functions of `style`; None if a template shows `rows`."""
    template: str = "chart_svg.html.j2"
    """Template of the body."""
    rows: Sequence[Any] = ()
    note: str = ""
    """Explanation below the chart."""
    wide: bool = False
    """True for a chart as wide as the page."""

    @property
    def svg(self) -> str:
        """The drawing as an element of the page."""
        assert self.figure is not None
        with style.applied():
            text = style.file_bytes(self.figure, ".svg").decode()
        prefix = re.sub(r"\W+", "-", self.title)
        return page_element(text, prefix=prefix, alt=f"{self.title}. {self.reading}", variables=style.COLOR)
