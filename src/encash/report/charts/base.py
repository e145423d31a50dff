"""A chart as the page shows it: a drawing, the values in it that a reader may point at, and its data as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np

from encash.report import style
from encash.report.formatting import Unit, undefined
from encash.report.svg import page_element

Section = Literal["verdict", "time", "money", "skill", "clusters", "robustness", "sweep", "trust", "run"]
"""Heading of the page under which a chart stands."""
_MOST_ROWS = 60
"""Rows of a table on the page; of more, every n-th and the last are shown."""
_MOST_SORTABLE = 2_000
"""Rows of a table that sorts; of more, the first are shown."""
_MOST_CSV = 5_000
"""Rows of a CSV file; of more, every n-th and the last, or the first if the table sorts."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a text that a spreadsheet would run."""


class Point(NamedTuple):
    """A value of a drawing that a reader may point at."""

    x: float
    """Pixels from the left edge of the drawing."""
    y: float
    """Pixels from its upper edge."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    values: Sequence[Any] | np.ndarray
    """Numbers if there is a unit, otherwise texts."""
    unit: Unit | None = None

    def cells(self, rows: Sequence[int]) -> list[str]:
        """Format some rows."""
        return [str(self.values[row]) if self.unit is None else self.unit(float(self.values[row])) for row in rows]

    def csv(self, rows: Sequence[int]) -> list[str]:
        """Return some cells of a CSV file: numbers with 7 significant digits, an undefined one empty."""
        values = [self.values[row] for row in rows]
        if self.unit is None:
            return [_csv_text(str(value)) for value in values]
        return ["" if undefined(float(value)) else f"{float(value):.7g}" for value in values]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The data of a chart; all columns have the same length."""

    columns: tuple[Column, ...]
    caption: str = ""
    sortable: bool = False

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows as text; of many, some."""
        shown = self._some(_MOST_SORTABLE if self.sortable else _MOST_ROWS)
        return list(zip(*(column.cells(shown) for column in self.columns), strict=True))

    @property
    def excerpt(self) -> str:
        """Note that rows are left out; empty if none is."""
        count, shown, in_csv = len(self), len(self.rows), len(self._some(_MOST_CSV))
        rest = "all of them" if in_csv == count else f"{in_csv:,}"
        return "" if count == shown else f"{shown:,} of {count:,} rows; the CSV has {rest}."

    @property
    def link(self) -> str:
        """The table as a CSV file in an address."""
        lines = [",".join(_csv_text(column.name) for column in self.columns)]
        rows = self._some(_MOST_CSV)
        lines += map(",".join, zip(*(column.csv(rows) for column in self.columns), strict=True))
        return f"data:text/csv;charset=utf-8,{quote(chr(10).join(lines) + chr(10), safe=',:;-._ ()/')}"

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values)

    def _some(self, most: int) -> list[int]:
        """Return the first N rows of a table that sorts, otherwise every n-th and the last."""
        count = len(self)
        if self.sortable:
            return list(range(min(count, most)))
        return sorted({*range(0, count, max(1, -(-count // most))), *([count - 1] if count else [])})


class Drawing(NamedTuple):
    """A second drawing of a chart."""

    figure: style.Figure
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """A chart: what it shows, in words, and its drawing."""

    title: str
    """Name of the chart, in terms of the field; unique on the page."""
    reading: str
    """One sentence that says what the chart shows."""
    section: Section = "run"
    figure: style.Figure | None = None
    """The drawing, made with the functions of `style`; None if a template shows `rows`."""
    points: Sequence[Point] = ()
    """Values of the drawing to point at, from left to right."""
    narrow: Drawing | None = None
    """The same on a screen that is too narrow for it; None for a wide drawing that scrolls there."""
    panels: Sequence[Mapping[str, Any]] = ()
    """Panels over time, for the script of the page: see `timeline`."""
    table: Table | None = None
    """Its data; of a chart with panels the first column holds the days."""
    template: str = "chart_svg.html.j2"
    """Template of the body."""
    rows: Sequence[Any] = ()
    note: str = ""
    """Explanation below the chart."""
    wide: bool = False
    """True for a chart as wide as the page."""

    @property
    def anchor(self) -> str:
        """Identifier of the chart on the page."""
        return anchor_of(self.title)

    @property
    def svg(self) -> str:
        """The drawing as an element of the page."""
        assert self.figure is not None
        return self._element(self.figure, self.points, self.anchor)

    @property
    def narrow_svg(self) -> str:
        """The drawing for a narrow screen as an element of the page."""
        assert self.narrow is not None
        return self._element(*self.narrow, f"{self.anchor}-narrow")

    def _element(self, figure: style.Figure, points: Sequence[Point], prefix: str) -> str:
        with style.applied():
            text = style.file_bytes(figure, ".svg").decode()
        element = page_element(text, prefix=prefix, alt=f"{self.title}. {self.reading}", variables=style.COLOR)
        return element.removesuffix("</svg>") + _hover(points) + "</svg>" if points else element

    @property
    def script_values(self) -> str:
        """The panels as JSON."""
        return json.dumps(list(self.panels), separators=(",", ":"))


def anchor_of(title: str) -> str:
    """Return the identifier of the chart with a title.

    >>> anchor_of("2-D projection (40% of the variance)")
    'chart-2-d-projection'
    """
    words = re.sub(r"\(.*?\)", "", title).strip()
    return "chart-" + re.sub(r"\W+", "-", words).strip("-").lower()


def _hover(points: Sequence[Point]) -> str:
    """Return transparent marks whose titles a browser shows without a script."""
    marks = (
        f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="transparent"><title>{escape(text)}</title></circle>'
        for x, y, text in points
    )
    return f'<g data-points="">{"".join(marks)}</g>'


def _csv_text(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet takes for a formula."""
    text = f"'{text}" if text.startswith(_FORMULA) else text
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(sign in text for sign in ',"\n') else text
