"""The run among random filters by return, Sharpe ratio and drawdown: the first picture of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from encash.arrays import Float64
from encash.report import style
from encash.report.charts.base import Chart, Column, Drawing, Point, Table
from encash.report.formatting import NUMBER, PERCENT, SIGNED_PERCENT, Unit, count
from encash.report.run_extras import Extras
from encash.report.summary import Run

_NARROW = 360
"""Width of the drawing for a narrow screen, in pixels: one figure below the other."""
_LEGEND, _TITLE, _DOTS, _BELOW = 24, 30, 96, 26
"""Heights in pixels: a line of the legend, then of each figure."""
_BINS = 44
_FIGURES = {
    "cagr": ("return a year", SIGNED_PERCENT),
    "sharpe": ("Sharpe ratio", NUMBER),
    "max_drawdown": ("max drawdown", PERCENT),
}
_ROLES = {"no filter": "ink", "benchmark": "bench", "shuffled clusters": "pink"}


_Entry: TypeAlias = tuple[str, str, str]
"""Sign, name and color of an entry of the legend."""


class _Mark(NamedTuple):
    name: str
    value: float
    role: str


def strip(run: Run, extras: Extras) -> Chart | None:
    """Draw each random draw as a dot, the run as a large one, and the alternatives as ticks; None without draws."""
    what = f"random {'filters' if run.has_filter else 'rankings'}"
    title = "This run among random draws"
    return _strip(run, extras.draws, extras.references, title, what, f"{what} on the same days and costs")


def seed_strip(run: Run, extras: Extras) -> Chart | None:
    """Draw each seed as a dot, and the run as a large one; None without several seeds."""
    return _strip(run, extras.seed_figures, {}, "This run among its seeds", "seeds", "seeds of the same configuration")


def _strip(
    run: Run,
    draws_of: Mapping[str, Sequence[float]],
    references: Mapping[str, Mapping[str, float]],
    title: str,
    what: str,
    whats: str,
) -> Chart | None:
    shown = [key for key in _FIGURES if np.isfinite(draws_of.get(key, ())).sum() > 1]
    if not shown:
        return None
    all_draws = {key: np.asarray(draws_of[key], dtype=np.float64) for key in shown}
    marks = {key: _marks(run, references, key) for key in shown}
    columns = [Column(name=_FIGURES[key][0], values=all_draws[key], unit=_FIGURES[key][1]) for key in shown]
    draw = Column(name="draw", values=[str(number) for number in range(len(columns[0].values))])
    figure, points = _drawing(all_draws, marks, what, width=style.WIDE, side_by_side=len(_FIGURES))
    return Chart(
        title=title,
        reading=f"Each gray dot is one of {count(len(columns[0].values))} {whats}; to the right is better.",
        section="verdict",
        figure=figure,
        points=points,
        narrow=_drawing(all_draws, marks, what, width=_NARROW, side_by_side=1),
        table=Table(columns=(draw, *columns)),
        wide=True,
    )


def _drawing(
    draws: Mapping[str, Float64], marks: Mapping[str, list[_Mark]], what: str, *, width: int, side_by_side: int
) -> Drawing:
    """Draw each figure, some side by side, below the legend."""
    names = {mark.name: mark.role for some in marks.values() for mark in some}
    entries = [("●", what, "muted")]
    entries += [("●" if name == "this run" else "┃", name, role) for name, role in names.items()]
    lines = _legend_lines(entries, width)
    head, row = _LEGEND * len(lines) + 4, _TITLE + _DOTS + _BELOW
    height = head + row * -(-len(draws) // side_by_side)
    figure, points = style.new_figure(width, height), list[Point]()
    across = (width - 24 + 16) / side_by_side
    for place, (key, values) in enumerate(draws.items()):
        name, unit = _FIGURES[key]
        left, bottom = (
            12 + place % side_by_side * across,
            height - head - row * (place // side_by_side) - _TITLE - _DOTS,
        )
        axes = style.new_axes(figure, (left / width, bottom / height, (across - 16) / width, _DOTS / height))
        points += _draw(axes, values[np.isfinite(values)], marks[key], unit, name)
    for order, line in enumerate(lines):
        for x, (sign, name, role) in line:
            up = 1 - (14 + _LEGEND * order) / height
            figure.text(x / width, up, sign, color=style.COLOR[role], va="center", fontsize=13)
            figure.text((x + 16) / width, up, name, va="center", fontsize=12.5)
    return Drawing(figure, sorted(points) if side_by_side > 1 else points)


def _marks(run: Run, references: Mapping[str, Mapping[str, float]], key: str) -> list[_Mark]:
    """Return the alternatives that are known, and the run last."""
    marks = [
        _Mark(name, found[key], _ROLES[name])
        for name, found in references.items()
        if np.isfinite(found.get(key, np.nan))
    ]
    own = run.figure(key)
    return marks if own is None else [*marks, _Mark("this run", own, "net")]


def _draw(axes: style.Axes, draws: Float64, marks: list[_Mark], unit: Unit, title: str) -> list[Point]:
    """Draw the dots of one figure, stacked where they are many, with ticks for the alternatives."""
    values = np.concatenate([draws, [mark.value for mark in marks]])
    margin = 0.04 * max(float(np.ptp(values)), 1e-6)
    low, high = float(values.min()) - margin, float(values.max()) + margin
    bins = np.clip(((draws - low) / (high - low) * _BINS).astype(int), 0, _BINS - 1)
    order = np.argsort(bins, kind="stable")
    counts = np.bincount(bins, minlength=_BINS)
    stacked = np.arange(len(draws)) - np.repeat(np.cumsum(counts) - counts, counts)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.9, max(8.0, float(counts.max())) + 0.5)
    centers = low + (bins[order] + 0.5) * (high - low) / _BINS
    style.dots(axes, centers, stacked.astype(np.float64), 4.6, style.COLOR["muted"], 0.5)
    up = axes.get_ylim()[1]
    for mark in marks:
        color = style.COLOR[mark.role]
        if mark.name == "this run":
            axes.plot([mark.value], [0.2], "o", markersize=12, markeredgewidth=0, color=color, clip_on=False)
        else:
            axes.plot([mark.value] * 2, [-0.9, 0.72 * up], color=color, linewidth=2.0)
    ticks = style.round_values((low, high), 4)
    style.x_axis(axes, ticks, unit.labels(ticks.tolist()))
    axes.text(
        0.0,
        1 + 10 / axes.bbox.height,
        title,
        transform=axes.transAxes,
        va="center",
        fontsize=13,
        color=style.COLOR["ink"],
        fontweight="bold",
    )
    return [Point(*style.pixel(axes, mark.value, 0.2), f"{title}, {mark.name}: {unit(mark.value)}") for mark in marks]


def _legend_lines(entries: Sequence[_Entry], width: int) -> list[list[tuple[float, _Entry]]]:
    """Break a legend into lines: the left edge of each entry, and the entry."""
    lines: list[list[tuple[float, _Entry]]] = [[]]
    left = 12.0
    for entry in entries:
        room = 16 + style.LETTER * len(entry[1])
        if lines[-1] and left + room > width:
            lines.append([])
            left = 12.0
        lines[-1].append((left, entry))
        left += room + 18
    return lines
