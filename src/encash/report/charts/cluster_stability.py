"""Stability of the clusters of a walk from refit to refit."""

from __future__ import annotations

from functools import partial

import numpy as np

from encash.report import style
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line, draw_lines, end_labels, fill_band
from encash.report.formatting import number, percent
from encash.report.run_extras import Extras
from encash.report.summary import Run


def cluster_stability(run: Run, extras: Extras) -> Chart | None:
    """Draw the unchanged shares of entries and best clusters, above the drift of the centroids."""
    found = extras.refits
    if found is None or len(found.first_days) < 2:
        return None
    when, agreement, best, moved = (
        values[1:] for values in (style.times(found.first_days), found.agreement, found.best_kept, found.drift)
    )
    reading = (
        f"From one refit to the next, {percent(float(agreement.mean()), 0)} of the entries keep their cluster, and "
        f"{percent(float(best.mean()), 0)} of the best clusters stay best."
    )
    if len(when) == 1:  # a line needs a second point
        when = np.array([when[0], when[0] + 1.0])
        agreement, best, moved = (np.repeat(values, 2, axis=0) for values in (agreement, best, moved))
    shares = [
        Line(label="entries", values=agreement, role="net"),
        Line(label="best clusters", values=best, role="bench"),
    ]
    median = Line(label="median", values=np.median(moved, axis=1), role="net")
    figure, whole_percent = style.new_figure(style.WIDE, 340), partial(percent, digits=0)
    top = style.new_axes(figure, (0.05, 0.5, 0.77, 0.4))
    below = style.new_axes(figure, (0.05, 0.1, 0.77, 0.24))
    draw_lines(top, when, shares)
    top.set_ylim(0.0, 1.02)
    style.y_axis(top, whole_percent, "unchanged share", most=4)
    end_labels(top, shares, whole_percent)
    fill_band(below, when, moved.min(axis=1), moved.max(axis=1), "net")
    draw_lines(below, when, [median])
    below.set_ylim(bottom=0.0)
    style.y_axis(below, number, "drift of the centroids: median and range", most=3)
    end_labels(below, [median], number)
    style.time_axis(top, when, labeled=False)
    style.time_axis(below, when)
    note = (
        f"{len(found.first_days)} refits of {found.drift.shape[1]} clusters. Ids are matched between consecutive "
        "refits; drift is in standard deviations of a dimension."
    )
    return Chart(title="Cluster stability across refits", reading=reading, figure=figure, note=note, wide=True)
