"""Elements that several charts share: lines over time, bands, bars with intervals, histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Float64
from encash.report import style
from encash.report.formatting import count

LOG_RANGE = 4.0
"""Capital is drawn on a logarithmic axis if its highest value is more than this multiple of its lowest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A line over days."""

    label: str
    values: Float64
    """shape (S,)."""
    role: str
    """A color of the page, see `style.COLOR`."""
    width: float = 1.9


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labeled value."""

    label: str
    value: float
    role: str


@dataclass(frozen=True, kw_only=True)
class IntervalBar:
    """A bar with a 95% interval."""

    label: str
    value: float
    error: float | None = None
    """Standard error of the value."""
    highlighted: bool = False


def draw_lines(axes: style.Axes, when: Float64, lines: Sequence[Line]) -> None:
    """Draw lines, the first on top."""
    for order, line in enumerate(lines):
        axes.plot(when, line.values, color=style.COLOR[line.role], linewidth=line.width, zorder=3.0 - 0.01 * order)


def fill_band(axes: style.Axes, when: Float64, low: Float64, high: Float64, role: str) -> None:
    """Fill the range between two lines, translucent."""
    axes.fill_between(when, low, high, color=style.COLOR[role], alpha=0.17, linewidth=0)


def value_axis(axes: style.Axes, lines: Sequence[Line], unit: Callable[[float], str], title: str) -> None:
    """Draw the y axis of lines, logarithmic if they need it."""
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    logarithmic = bool(values.min() > 0 and values.max() / values.min() > LOG_RANGE)
    style.y_axis(axes, unit, title + ("; logarithmic" if logarithmic else ""), logarithmic=logarithmic)


def end_labels(axes: style.Axes, lines: Sequence[Line], unit: Callable[[float], str], gap: float = 17.0) -> None:
    """Write names and last values at the right end of lines, moved apart if they would touch."""
    lines = sorted((line for line in lines if np.isfinite(line.values[-1])), key=lambda line: float(line.values[-1]))
    height, bottom = axes.bbox.height, axes.bbox.y0
    heights: list[float] = []
    for line in lines:
        wanted = float(axes.transData.transform((0.0, line.values[-1]))[1]) - bottom
        heights.append(max(wanted, heights[-1] + gap) if heights else wanted)
    excess = max(0.0, heights[-1] - height) if heights else 0.0
    for line, at in zip(lines, heights, strict=True):
        text = f"{line.label} {unit(float(line.values[-1]))}"
        place = (1 + 8 / axes.bbox.width, (at - excess) / height)
        axes.text(*place, text, transform=axes.transAxes, va="center", color=style.COLOR[line.role])


def bars(values: Sequence[IntervalBar], unit: Callable[[float], str], *, y_title: str, x_title: str) -> style.Figure:
    """Draw bars from zero up or down, in the order given."""
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
    for place, bar in enumerate(values):
        role, alpha = ("net", 0.85) if bar.highlighted else ("muted", 0.5)
        axes.bar(place, bar.value, width=0.68, color=style.COLOR[role], alpha=alpha)
        if bar.error is not None and np.isfinite(bar.error):
            ends = (bar.value - 1.96 * bar.error, bar.value + 1.96 * bar.error)
            axes.vlines(place, *ends, color=style.COLOR["ink"], linewidth=1.4)
    axes.set_xlim(-0.6, len(values) - 0.4)
    style.y_axis(axes, unit, y_title)
    axes.axhline(0.0, color=style.COLOR["muted"], linewidth=1.2)
    labeled = range(0, len(values), -(-len(values) // 22))
    style.x_axis(axes, labeled, [values[place].label for place in labeled], x_title, line=False)
    return figure


def histogram(
    draws: Float64, marks: Sequence[Mark], unit: Callable[[float], str], *, y_title: str, x_title: str
) -> style.Figure:
    """Draw a histogram with vertical lines.

    Args:
        draws: shape (n,).
        marks: the first is the run, the others are references.
        unit: formats a draw or the value of a mark.
        y_title: title of the counts.
        x_title: title of the draws.
    """
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.085, 0.17, 0.9, 0.5))
    values = np.concatenate([draws, [mark.value for mark in marks]])
    margin = 0.03 * max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()))
    bins = max(8, min(40, round(2.0 * len(draws) ** 0.5)))
    counts, edges = np.histogram(draws, bins=bins, range=(draws.min() - margin / 3, draws.max() + margin / 3))
    width = edges[1] - edges[0]
    axes.bar(edges[:-1] + width / 2, counts, width=0.86 * width, color=style.COLOR["muted"], alpha=0.45)
    axes.set_xlim(values.min() - margin, values.max() + margin)
    style.y_axis(axes, count, most=4, integer=True)
    ticks = style.round_values(axes.get_xlim(), 5)
    style.x_axis(axes, ticks, list(map(unit, ticks)), x_title)
    for order, mark in enumerate(marks):
        _mark(axes, mark, unit, order)
    above = 1.0 + 16 / axes.bbox.height
    axes.text(-0.09, above, y_title, transform=axes.transAxes, va="center", fontsize=12)
    return figure


def _mark(axes: style.Axes, mark: Mark, unit: Callable[[float], str], order: int) -> None:
    """Draw a vertical line, and its label above the chart."""
    line: dict[str, Any] = {
        "color": style.COLOR[mark.role],
        "linewidth": 2.4 if order == 0 else 1.7,
        "linestyle": "-" if order == 0 else style.DASHES,
        "clip_on": False,
    }
    axes.plot([mark.value] * 2, [0, 1.03], transform=axes.get_xaxis_transform(), **line)
    level = 1.0 + (92 - 20 * order) / axes.bbox.height
    axes.plot([-0.09, -0.03], [level, level], transform=axes.transAxes, **line)
    label = f"{mark.label} {unit(mark.value)}"
    axes.text(-0.015, level, label, transform=axes.transAxes, va="center", color=line["color"])
