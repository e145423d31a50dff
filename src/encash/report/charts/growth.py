"""Growth of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encash.arrays import Days, Float64
from encash.report import style
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line, draw_lines, end_labels, value_axis
from encash.report.charts.timeline import Panel, timeline
from encash.report.formatting import NUMBER, number, shorten
from encash.report.summary import thin

POINTS, POINTS_OF_ALL = 1000, 7_000
"""Points at most, of a line and of all lines."""
_LABELED = ("net", "bench", "gross", "teal", "pink", "ink", "muted", "muted")
"""Colors of the lines that have labels, best run first."""


TITLE = "Growth of all runs"


def growth(paths: Sequence[tuple[Days, Float64]], names: Sequence[str]) -> Chart:
    """Draw the growth of 1 in several runs; only the best ones are labeled.

    Args:
        paths: days and growth of each run.
        names: of the runs.
    """
    best_first = sorted(
        ((values, days, name) for (days, values), name in zip(paths, names, strict=True)), key=lambda item: -item[0][-1]
    )
    (most_grown, _, best), (least_grown, _, worst) = best_first[0], best_first[-1]
    reading = f"1 became between {number(least_grown[-1])} ({worst}) and {number(most_grown[-1])} ({best})."
    same_days = all(np.array_equal(days, best_first[0][1]) for _, days, _ in best_first)
    drawn = _few(best_first) if same_days and len(best_first) <= len(_LABELED) else _many(best_first)
    return Chart(title=TITLE, reading=reading, section="time", wide=True, **drawn)


def _few(best_first: Sequence[tuple[Float64, Days, str]]) -> dict[str, Any]:
    """Draw the lines of runs on the same days, with their values under the cursor."""
    lines = [
        Line(label=shorten(name, 22), values=values, role=role)
        for (values, _, name), role in zip(best_first, _LABELED, strict=False)
    ]
    days = best_first[0][1]
    panel = Panel(title="growth of 1, after costs", unit=NUMBER, lines=lines, height=300, growth=True)
    with style.applied():
        drawn = timeline(days, [panel], days)
    return {key: value for key, value in drawn.items() if key != "wide"}


def _many(best_first: Sequence[tuple[Float64, Days, str]]) -> dict[str, Any]:
    """Draw the lines of many runs, each on its own days."""
    most = max(40, min(POINTS, POINTS_OF_ALL // len(best_first)))
    lines = []
    for rank, (values, days, name) in enumerate(best_first):
        points, labeled = thin(values, most), rank < len(_LABELED)
        line = Line(
            label=shorten(name, 22) if labeled else "",
            values=values[points],
            role=_LABELED[rank] if labeled else "muted",
            width=1.9 if labeled else 0.7,
        )
        lines.append((style.times(days[points]), line))
    drawn = [line for _, line in lines]
    with style.applied():
        figure = style.new_figure(style.WIDE, 380)
        axes = style.new_axes(figure, (0.05, 0.09, 0.73, 0.83))
        for when, line in reversed(lines):
            draw_lines(axes, when, [line])
        value_axis(axes, drawn, NUMBER, "growth of 1, after costs")
        end_labels(axes, [line for line in drawn if line.label], NUMBER)
        style.time_axis(axes, np.concatenate([when for when, _ in lines]))
    return {"figure": figure}
