"""The run among random filters by return, Sharpe ratio and drawdown: the first picture of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from encash.arrays import Float64
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.formatting import NUMBER, PERCENT, SIGNED_PERCENT, Unit, count
from encash.report.run_extras import Extras
from encash.report.summary import Run

_HEIGHT, _TOP, _BELOW = 176, 54, 26
_BINS = 44
_FIGURES = {
    "cagr": ("return a year", SIGNED_PERCENT),
    "sharpe": ("Sharpe ratio", NUMBER),
    "max_drawdown": ("max drawdown", PERCENT),
}
_ROLES = {"no filter": "ink", "benchmark": "bench", "shuffled clusters": "pink"}


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
    figure, points, columns = style.new_figure(style.WIDE, _HEIGHT), [], []
    width = (style.WIDE - 40) / len(_FIGURES)
    names: dict[str, str] = {}
    for place, key in enumerate(shown):
        name, unit = _FIGURES[key]
        left = (12 + place * (width + 8)) / style.WIDE
        axes = style.new_axes(
            figure, (left, _BELOW / _HEIGHT, (width - 16) / style.WIDE, (_HEIGHT - _BELOW - _TOP) / _HEIGHT)
        )
        marks = _marks(run, references, key)
        names |= {mark.name: mark.role for mark in marks}
        draws = np.asarray(draws_of[key], dtype=np.float64)
        points += _draw(axes, draws[np.isfinite(draws)], marks, unit, name)
        columns.append(Column(name=name, values=draws, unit=unit))
    _legend(figure, names, what)
    draw = Column(name="draw", values=[str(number) for number in range(len(columns[0].values))])
    return Chart(
        title=title,
        reading=f"Each gray dot is one of {count(len(columns[0].values))} {whats}; to the right is better.",
        section="verdict",
        figure=figure,
        points=sorted(points),
        table=Table(columns=(draw, *columns)),
        wide=True,
    )


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


def _legend(figure: style.Figure, names: dict[str, str], what: str) -> None:
    """Name the marks on one line above the dots."""
    left, up = 12.0, 1 - 14 / _HEIGHT
    entries = [
        ("●", what, "muted"),
        *(("●" if name == "this run" else "┃", name, role) for name, role in names.items()),
    ]
    for sign, name, role in entries:
        figure.text(left / style.WIDE, up, sign, color=style.COLOR[role], va="center", fontsize=13)
        figure.text((left + 16) / style.WIDE, up, name, va="center", fontsize=12.5)
        left += 16 + style.LETTER * len(name) + 18
