"""Occupancy of the clusters over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from encash.arrays import Days
from encash.report import style
from encash.report.charts.base import Chart, Column, Table
from encash.report.charts.timeline import LEFT, RIGHT, month_labels
from encash.report.formatting import PERCENT, percent
from encash.report.run_extras import Extras
from encash.report.summary import Occupancy, Run, occupancy

_LEGEND = 152
"""Pixels that the color scale needs."""
_COLUMNS = 700
"""Columns of the image, at equal distances of time."""
_HEAT = (59, 124, 214)  # translucent, so that it works on white and on black


def cluster_occupancy(run: Run, extras: Extras) -> Chart | None:
    """Draw the share of the candidates in each cluster over time; one row per cluster, kept clusters first."""
    found = occupancy(run.candidates)
    if found is None or len(found.clusters) < 2:
        return None
    mean, kept = found.share.mean(axis=1), int((found.kept > 0.5).sum())
    largest = int(mean.argmax())
    figure = occupancy_figure(found, run.equity.days)
    return Chart(
        title="Cluster occupancy",
        reading=f"The filter kept most candidates of {kept} of {len(found.clusters)} clusters; cluster "
        f"{found.clusters[largest]} is the largest, with {percent(float(mean[largest]), 0)} of the candidates.",
        section="time",
        figure=figure,
        panels=[_panel(figure, run)],
        table=_table(found),
        note=_drift_note(found),
        wide=True,
    )


def _table(found: Occupancy) -> Table:
    shares = [
        Column(name=f"cluster {cluster}", values=share, unit=PERCENT)
        for cluster, share in zip(found.clusters.tolist(), found.share, strict=True)
    ]
    return Table(columns=(Column(name="from", values=found.labels), *shares))


def _panel(figure: style.Figure, run: Run) -> dict[str, Any]:
    """Describe the heat map for the script, which names the largest clusters of a day."""
    box = figure.axes[0].bbox
    top = float(figure.bbox.height - box.y1)
    return {
        "box": [LEFT, round(top, 1), style.WIDE - LEFT - RIGHT, round(float(box.height), 1)],
        "image": True,
        "lines": [],
        "bands": [],
        "unit": [PERCENT.name, 0, PERCENT.scale],
        "y": [0, 1],
        "span": style.times(run.equity.days[[0, -1]]).tolist(),
    }


def occupancy_figure(found: Occupancy, span: Days | None = None) -> style.Figure:
    """Draw a heat map over time, with a line below the kept clusters.

    Args:
        found: the shares.
        span: sessions whose first and last are the ends of the time axis; None for those of the shares.
    """
    order = np.lexsort((found.clusters, -found.share.mean(axis=1), found.kept <= 0.5))
    clusters, kept, share = found.clusters[order], found.kept[order] > 0.5, found.share[order]
    row = max(8, min(21, 900 // len(clusters)))
    height = max(66 + row * len(clusters), _LEGEND)
    figure = style.new_figure(style.WIDE, height)
    axes = style.new_axes(figure, (LEFT / style.WIDE, 34 / height, 1 - (LEFT + RIGHT) / style.WIDE, 1 - 66 / height))
    starts = style.times(np.array(found.labels, dtype="datetime64[D]"))
    first, last = style.times(span[[0, -1]]) if span is not None else (starts[0], starts[-1] + 1.0)
    moments = first + (np.arange(_COLUMNS) + 0.5) * (last - first) / _COLUMNS
    column = np.searchsorted(starts, moments, side="right") - 1
    colors = np.zeros((len(clusters), _COLUMNS, 4), dtype=np.uint8)
    colors[..., :3] = _HEAT
    shown = np.where(column >= 0, share[:, np.maximum(column, 0)], 0.0)
    colors[..., 3] = np.round(255 * np.sqrt(shown / share.max()))
    extent = (first, last, len(clusters) - 0.5, -0.5)
    axes.imshow(colors, aspect="auto", interpolation="none", extent=extent, gid="data-image")
    for place in range(0, len(clusters), -(-13 // row)):
        role, weight = ("net", "bold") if kept[place] else ("muted", "normal")
        text = str(clusters[place])
        style.y_label(axes, place, text, color=style.COLOR[role], fontweight=weight, fontsize=style.SMALL)
    columns, labels = month_labels(found.labels)
    style.x_axis(axes, starts[columns], labels, line=False)
    if 0 < kept.sum() < len(kept):
        axes.axhline(float(kept.sum()) - 0.5, color=style.COLOR["ink"], linewidth=1.2)
    style.y_title(axes, "cluster; kept ones bold, on top")
    _legend(axes, float(share.max()))
    return figure


def _legend(axes: style.Axes, most: float) -> None:
    """Draw the color scale to the right of the cells: the same mapping in light and dark themes."""
    figure = axes.figure
    steps = np.linspace(0.0, 1.0, 5)
    height = float(figure.bbox.height)
    for place, step in enumerate(steps):
        left, top = style.WIDE - RIGHT + 16, height - 44 - 20 * place
        color = tuple(part / 255 for part in _HEAT)
        figure.text(
            left / style.WIDE,
            top / height,
            "■",
            color=color,
            alpha=float(np.sqrt(step)) or 0.04,
            fontsize=17,
            va="center",
        )
        figure.text(
            (left + 22) / style.WIDE,
            top / height,
            percent(step * most, 0 if most >= 0.1 else 1),
            va="center",
            fontsize=12,
        )
    figure.text(
        (style.WIDE - RIGHT + 16) / style.WIDE, (height - 14) / height, "of the candidates", va="center", fontsize=12
    )


def _drift_note(found: Occupancy) -> str:
    """Compare the shares of the first half of the run with those of the second."""
    half = found.share.shape[1] // 2
    if half == 0:
        return ""
    moved = 0.5 * np.abs(found.share[:, :half].mean(axis=1) - found.share[:, half:].mean(axis=1)).sum()
    return (
        f"Net, {percent(float(moved), 0)} of the candidates changed cluster between the first and the second half of "
        "the run."
    )
