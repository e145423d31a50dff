"""Elements that several charts share: lines over time, bands, bars with intervals, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from encash.arrays import Float64
from encash.report import style
from encash.report.charts.base import Column, Point, Table
from encash.report.formatting import COUNT, Unit, shorten
from encash.significance import CRITICAL

LOG_RANGE = 2.0
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

    @property
    def known_error(self) -> bool:
        """True if it has a standard error."""
        return self.error is not None and bool(np.isfinite(self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval; NaN without an error."""
        error = self.error if self.error is not None else np.nan
        return self.value - CRITICAL * error, self.value + CRITICAL * error

    def text(self, unit: Unit) -> str:
        """The bar in words."""
        low, high = map(unit, self.interval)
        return f"{self.label}: {unit(self.value)}{f' (95%: {low} to {high})' if self.known_error else ''}"


def distinguishable(value: float, error: float | None) -> bool:
    """Report whether a value is at least two standard errors from zero: only then does a chart state it as a finding.

    >>> distinguishable(0.02, 0.01), distinguishable(0.02, 0.011), distinguishable(0.02, None)
    (True, False, False)
    """
    return error is not None and bool(np.isfinite(error)) and abs(value) >= 2.0 * error > 0


def draw_lines(axes: style.Axes, when: Float64, lines: Sequence[Line]) -> None:
    """Draw lines, the first on top."""
    for order, line in enumerate(lines):
        axes.plot(when, line.values, color=style.COLOR[line.role], linewidth=line.width, zorder=3.0 - 0.01 * order)


def value_axis(axes: style.Axes, lines: Sequence[Line], unit: Unit, title: str) -> None:
    """Draw the y axis of lines, logarithmic if they need it."""
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    logarithmic = bool(values.min() > 0 and values.max() / values.min() > LOG_RANGE)
    style.y_axis(axes, unit, title + ("; logarithmic" if logarithmic else ""), logarithmic=logarithmic)


def end_labels(axes: style.Axes, lines: Sequence[Line], unit: Unit, gap: float = 17.0) -> None:
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
        axes.text(
            *place,
            text,
            transform=axes.transAxes,
            va="center",
            color=style.COLOR[line.role],
            fontsize=12,
            gid=style.AXIS,
        )


def bars(values: Sequence[IntervalBar], unit: Unit, *, y_title: str, x_title: str, base: float = 0.0) -> dict[str, Any]:
    """Draw bars from a base up or down, in the order given.

    Args:
        values: the bars.
        unit: of the values.
        y_title: title of the values.
        x_title: title of the bars.
        base: value from which the bars grow, such as one half for a share.

    Returns:
        Figure, points and table of the chart.
    """
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
    for place, bar in enumerate(values):
        role, alpha = ("net", 0.85) if bar.highlighted else ("muted", 0.5)
        axes.bar(place, bar.value - base, bottom=base, width=0.68, color=style.COLOR[role], alpha=alpha)
        if bar.known_error:
            axes.vlines(place, *bar.interval, color=style.COLOR["ink"], linewidth=1.4)
    axes.set_xlim(-0.6, len(values) - 0.4)
    style.y_axis(axes, unit, y_title)
    axes.axhline(base, color=style.COLOR["muted"], linewidth=1.2)
    style.x_axis(axes, range(len(values)), [bar.label for bar in values], x_title, line=False)
    points = [Point(*style.pixel(axes, place, bar.value), bar.text(unit)) for place, bar in enumerate(values)]
    return {"figure": figure, "points": points, "table": interval_table(values, unit, x_title, y_title)}


def horizontal_bars(values: Sequence[IntervalBar], unit: Unit, *, x_title: str, y_title: str) -> dict[str, Any]:
    """Draw horizontal bars from 0, the first on top, each with its label and value.

    Returns:
        Figure, points and table of the chart.
    """
    row = 20
    height = 58 + row * len(values)
    figure = style.new_figure(style.HALF, height)
    left = min(190.0, 16 + style.LETTER * max(len(shorten(bar.label, 24)) for bar in values))
    box = (left / style.HALF, 50 / height, 1 - (left + 84) / style.HALF, 1 - 58 / height)
    axes = style.new_axes(figure, box)
    for place, bar in enumerate(values):
        role = ("net", 0.85) if bar.highlighted else ("muted", 0.5)
        axes.barh(place, bar.value, height=0.66, color=style.COLOR[role[0]], alpha=role[1])
        if bar.known_error:
            axes.hlines(place, *bar.interval, color=style.COLOR["ink"], linewidth=1.4)
        style.y_label(axes, place, shorten(bar.label, 24), fontsize=12)
        axes.text(1 + 8 / axes.bbox.width, place, unit(bar.value), transform=axes.get_yaxis_transform(), va="center")
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.axvline(0.0, color=style.COLOR["muted"], linewidth=1.2)
    ticks = style.round_values(axes.get_xlim(), 4)
    style.x_axis(axes, ticks, unit.labels(ticks.tolist()), line=False)
    axes.text(0, -46 / axes.bbox.height, x_title, transform=axes.transAxes, va="bottom", fontsize=12)
    points = [Point(*style.pixel(axes, bar.value, place), bar.text(unit)) for place, bar in enumerate(values)]
    return {"figure": figure, "points": points, "table": interval_table(values, unit, y_title, x_title)}


def interval_table(values: Sequence[IntervalBar], unit: Unit, x_title: str, y_title: str) -> Table:
    """Return values with their 95% intervals as a table."""
    columns = [
        Column(name=x_title, values=[bar.label for bar in values]),
        Column(name=y_title, values=[bar.value for bar in values], unit=unit),
    ]
    if any(bar.known_error for bar in values):
        ends = [bar.interval for bar in values]
        columns += [
            Column(name=f"{side} end of the 95% interval", values=[end[place] for end in ends], unit=unit)
            for place, side in enumerate(("lower", "upper"))
        ]
    return Table(columns=tuple(columns))


def histogram(draws: Float64, marks: Sequence[Mark], unit: Unit, *, y_title: str, x_title: str) -> dict[str, Any]:
    """Draw a histogram with vertical lines.

    Args:
        draws: shape (n,).
        marks: the first is the run, the others are references.
        unit: formats a draw or the value of a mark.
        y_title: title of the counts.
        x_title: title of the draws.

    Returns:
        Figure, points and table of the chart.
    """
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.115, 0.17, 0.87, 0.7 - len(marks) * 20 / 300))
    values = np.concatenate([draws, [mark.value for mark in marks]])
    margin = 0.03 * max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()))
    bins = max(8, min(40, round(2.0 * len(draws) ** 0.5)))
    counts, edges = np.histogram(draws, bins=bins, range=(draws.min() - margin / 3, draws.max() + margin / 3))
    width = edges[1] - edges[0]
    axes.bar(edges[:-1] + width / 2, counts, width=0.86 * width, color=style.COLOR["muted"], alpha=0.45)
    axes.set_xlim(values.min() - margin, values.max() + margin)
    style.y_axis(axes, COUNT, most=4, integer=True)
    ticks = style.round_values(axes.get_xlim(), 5)
    style.x_axis(axes, ticks, unit.labels(ticks.tolist()), x_title)
    for order, mark in enumerate(marks):
        _mark(axes, mark, unit, level=28 + 20 * (len(marks) - order), first=order == 0)
    above = 1.0 + 16 / axes.bbox.height
    axes.text(-0.132, above, y_title, transform=axes.transAxes, va="center", fontsize=12)
    spans = [(float(low), float(high)) for low, high in pairwise(edges.tolist())]
    points = [
        Point(*style.pixel(axes, (low + high) / 2, float(number)), f"{unit(low)} to {unit(high)}: {number}")
        for (low, high), number in zip(spans, counts.tolist(), strict=True)
    ]
    table = Table(
        columns=(
            Column(name=f"{x_title}, from", values=[low for low, _ in spans], unit=unit),
            Column(name="to", values=[high for _, high in spans], unit=unit),
            Column(name=y_title, values=counts, unit=COUNT),
        ),
        caption="; ".join(f"{mark.label} {unit(mark.value)}" for mark in marks),
    )
    return {"figure": figure, "points": points, "table": table}


def _mark(axes: style.Axes, mark: Mark, unit: Unit, *, level: float, first: bool) -> None:
    """Draw a vertical line, and its label some pixels above the chart."""
    line: dict[str, Any] = {
        "color": style.COLOR[mark.role],
        "linewidth": 2.4 if first else 1.7,
        "linestyle": "-" if first else style.DASHES,
        "clip_on": False,
    }
    axes.plot([mark.value] * 2, [0, 1.03], transform=axes.get_xaxis_transform(), **line)
    up = 1.0 + level / axes.bbox.height
    axes.plot([-0.132, -0.072], [up, up], transform=axes.transAxes, **line)
    label = f"{mark.label} {unit(mark.value)}"
    axes.text(-0.055, up, label, transform=axes.transAxes, va="center", color=line["color"])
