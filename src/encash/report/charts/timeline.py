"""Panels over time: one above the other on one time axis, which the script of the page moves together.

All drawings over time have the same left and right edges, so that a day stands at the same place in each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Days, Float64
from encash.report import style
from encash.report.charts.base import Column, Table
from encash.report.charts.elements import LOG_RANGE, Line, end_labels
from encash.report.formatting import Unit
from encash.report.summary import thin

POINTS = 500
"""Points of a line at most, before the script zooms in."""
LEFT, RIGHT = 84, 190
"""Pixels beside the panels, for labels of values and of lines."""
_ABOVE, _BELOW, _BETWEEN = 34, 30, 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A range over days."""

    label: str
    low: Float64
    """shape (S,)."""
    high: Float64
    """shape (S,)."""
    role: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One value axis over time."""

    title: str
    unit: Unit
    lines: Sequence[Line]
    """The first is the most important one."""
    bands: Sequence[Band] = ()
    height: int = 110
    zero: bool = False
    """True if the axis must include 0."""
    filled: bool = False
    """True to fill the first line down to 0."""
    growth: bool = False
    """True for values above 0 that are drawn on a logarithmic axis if they range widely."""


def timeline(days: Days, panels: Sequence[Panel], span: Days) -> dict[str, Any]:
    """Draw panels over days.

    Args:
        days: shape (S,); each line and band has a value for each.
        panels: from top to bottom.
        span: the sessions of the run, whose first and last are the ends of the time axis.

    Returns:
        Figure, panels for the script, and table of the chart.
    """
    height = _ABOVE + _BELOW + sum(panel.height for panel in panels) + _BETWEEN * (len(panels) - 1)
    figure, when = style.new_figure(style.WIDE, height), style.times(days)
    columns = [Column(name="date", values=days.astype(str))]
    described, top = [], _ABOVE
    for number, panel in enumerate(panels):
        box = (LEFT, top, style.WIDE - LEFT - RIGHT, panel.height)
        axes = style.new_axes(
            figure,
            (box[0] / style.WIDE, 1 - (top + panel.height) / height, box[2] / style.WIDE, panel.height / height),
        )
        axes.set_xlim(*style.times(span[[0, -1]]).tolist())
        described.append(_draw(axes, when, panel, columns, first=number == 0) | {"box": box})
        style.time_axis(axes, style.times(span[[0, -1]]), labeled=number == len(panels) - 1)
        top += panel.height + _BETWEEN
    return {"figure": figure, "panels": described, "table": Table(columns=tuple(columns)), "wide": True}


def _draw(axes: style.Axes, when: Float64, panel: Panel, columns: list[Column], *, first: bool) -> dict[str, Any]:
    """Draw one panel, add its data to the columns, and describe it for the script."""
    suffix = "" if first else f", {panel.title.partition(';')[0]}"
    bands, lines = [], []
    for band in panel.bands:
        shown = thin(np.nan_to_num(band.high), POINTS)
        color = style.COLOR[band.role]
        axes.fill_between(
            when[shown], band.low[shown], band.high[shown], color=color, alpha=0.17, linewidth=0, gid="data-series"
        )
        bands.append([len(columns), len(columns) + 1, band.role])
        columns += [
            Column(name=f"{band.label}, {side}", values=values, unit=panel.unit)
            for side, values in (("low", band.low), ("high", band.high))
        ]
    for order, line in enumerate(panel.lines):
        shown = thin(np.nan_to_num(line.values), POINTS)
        color = style.COLOR[line.role]
        axes.plot(
            when[shown],
            line.values[shown],
            color=color,
            linewidth=line.width,
            zorder=3.0 - 0.01 * order,
            gid="data-series",
        )
        if panel.filled and order == 0:
            axes.fill_between(
                when[shown], line.values[shown], 0.0, color=color, alpha=0.2, linewidth=0, gid="data-series"
            )
        lines.append([len(columns), line.role, line.width])
        columns.append(Column(name=f"{line.label}{suffix}", values=line.values, unit=panel.unit))
    logarithmic = panel.growth and _wide_range([line.values for line in panel.lines])
    if logarithmic:
        axes.set_yscale("log")
    _limit(axes, panel)
    title = panel.title + ("; logarithmic" if logarithmic else "")
    style.y_axis(axes, panel.unit, title, most=max(3, panel.height // 40), logarithmic=logarithmic)
    end_labels(axes, panel.lines, panel.unit)
    return {
        "lines": lines,
        "bands": bands,
        "log": logarithmic,
        "zero": panel.zero,
        "fill": panel.filled,
        "y": [round(float(end), 10) for end in axes.get_ylim()],
        "unit": [panel.unit.name, panel.unit.digits, panel.unit.scale],
        "span": list(axes.get_xlim()),
    }


def _limit(axes: style.Axes, panel: Panel) -> None:
    """Set the range of values: 0 included if asked, and never empty."""
    low, high = axes.get_ylim()
    if panel.zero:
        values = np.concatenate([line.values[np.isfinite(line.values)] for line in panel.lines])
        low = 0.0 if (values >= 0).all() else low
        high = 0.0 if (values <= 0).all() and (values < 0).any() else high
    if high - low < 1e-12:
        low, high = low - 1.0, high + 1.0
    axes.set_ylim(low, high)


def _wide_range(series: Sequence[Float64]) -> bool:
    """Report whether values range so widely that a logarithmic axis is needed, and allow one."""
    values = np.concatenate([values[np.isfinite(values)] for values in series])
    return bool(len(values) and values.min() > 0 and values.max() / values.min() > LOG_RANGE)


def month_labels(labels: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Return the columns at which months or years begin, at equal steps and ten at most, and their names."""
    months = np.array([label[:7] for label in labels], dtype="datetime64[M]").astype(np.int64)
    begins = np.flatnonzero(np.concatenate([[True], months[1:] != months[:-1]]))
    whole = begins if len(begins) < 2 or months[-1] - months[0] < 12 else begins[1:]  # the first may be cut off
    numbers = months[whole]
    for step in (1, 2, 3, 6, 12, 24, 60, 120):
        _, first = np.unique(numbers // step, return_index=True)
        first = first[(numbers[first] % step == 0) | (step == 1)]
        if 2 <= len(first) <= 10:
            break
    else:
        first, step = np.array([0]), 1
    names = [str(np.datetime64(int(number), "M")) for number in numbers[first]]
    return whole[first].tolist(), [name[:4] if step >= 12 else name for name in names]
