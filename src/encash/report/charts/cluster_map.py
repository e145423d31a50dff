"""2-D projection of the clusters."""

from __future__ import annotations

import numpy as np

from encash.report import style
from encash.report.charts.base import Chart
from encash.report.formatting import count, percent
from encash.report.run_extras import Extras
from encash.report.summary import Run

MOST_LABELED = 30
"""If there are more clusters, only the kept ones are labeled."""


def cluster_map(run: Run, extras: Extras) -> Chart | None:
    """Draw entries as points and centroids as numbers; kept clusters in blue."""
    shown = extras.cluster_map
    if shown is None:
        return None
    clusters = np.arange(len(shown.centroids))
    kept = np.isin(clusters, [cluster.cluster for cluster in extras.ranking if cluster.best])
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.02, 0.03, 0.96, 0.94))
    kept_entries = kept[shown.cluster]
    for chosen, role in ((~kept_entries, "muted"), (kept_entries, "net")):
        points = shown.entries[chosen].T
        style.dots(axes, points[0], points[1], 3.4, style.COLOR[role], 0.4)
    axes.margins(0.03)
    labeled = clusters if len(clusters) <= MOST_LABELED else clusters[kept]
    for number, place in zip(labeled.tolist(), style.spread_labels(axes, shown.centroids[labeled]), strict=True):
        style.centered(axes, place, str(number), style.COLOR["net" if kept[number] else "ink"], fontweight="bold")
    fit = "the last refit" if extras.refits else "the fit"
    return Chart(
        title=f"2-D projection of the clusters ({percent(shown.explained, 0)} of the variance)",
        reading=f"{len(clusters)} clusters and {count(len(shown.entries))} entries of {fit}.",
        section="clusters",
        figure=figure,
        note="The plane maximizes the variance between centroids. Numbers are centroids"
        + ("; blue clusters are kept." if kept.any() else "."),
    )
