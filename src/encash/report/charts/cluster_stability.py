"""Stability of the clusters of a walk from refit to refit."""

from __future__ import annotations

import numpy as np

from encash.arrays import Days
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line
from encash.report.charts.timeline import Band, Panel, timeline
from encash.report.formatting import NUMBER, PERCENT, percent
from encash.report.run_extras import Extras
from encash.report.summary import Run


def cluster_stability(run: Run, extras: Extras) -> Chart | None:
    """Draw the unchanged shares of entries and best clusters, above the drift of the centroids."""
    found = extras.refits
    if found is None or len(found.first_days) < 2:
        return None
    days: Days = found.first_days[1:]
    agreement, best, moved = (values[1:] for values in (found.agreement, found.best_kept, found.drift))
    reading = (
        f"From one refit to the next, {percent(float(agreement.mean()), 0)} of the entries keep their cluster, and "
        f"{percent(float(best.mean()), 0)} of the best clusters stay best."
    )
    if len(days) == 1:  # a line needs a second point
        days = np.array([days[0], days[0] + np.timedelta64(1, "D")])
        agreement, best, moved = (np.repeat(values, 2, axis=0) for values in (agreement, best, moved))
    shares = [
        Line(label="entries", values=agreement, role="net"),
        Line(label="best clusters", values=best, role="bench"),
    ]
    median = Line(label="median", values=np.median(moved, axis=1), role="net")
    panels = [
        Panel(title="unchanged share", unit=PERCENT, lines=shares, zero=True, height=110),
        Panel(
            title="drift of the centroids: median and range",
            unit=NUMBER,
            lines=[median],
            bands=[Band(label="range", low=moved.min(axis=1), high=moved.max(axis=1), role="net")],
            zero=True,
            height=90,
        ),
    ]
    note = (
        f"{len(found.first_days)} refits of {found.drift.shape[1]} clusters. Ids are matched between consecutive "
        "refits; drift is in standard deviations of a dimension."
    )
    return Chart(
        title="Cluster stability across refits",
        reading=reading,
        section="clusters",
        note=note,
        **timeline(days, panels, run.equity.days),
    )
