"""Coverage of the candidates: which of them had an entry at which rebalance."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64
from encash.report import style
from encash.report.charts.base import Chart, Column, Table
from encash.report.charts.timeline import LEFT, RIGHT, month_labels
from encash.report.formatting import COUNT, PERCENT, count, percent, pluralize, shorten
from encash.report.run_extras import Extras
from encash.report.summary import Run

_PRESENT, _ABSENT = (59, 124, 214), (222, 60, 50)
_WIDTH, _HEIGHT = 700, 180
"""Cells of the image at most; a cell of several candidates is as red as its share without an entry."""


def coverage(run: Run, extras: Extras) -> Chart | None:
    """Draw one row per ticker and one column per rebalance; None without candidates."""
    table = run.candidates
    if not len(table.days) or not table.names:
        return None
    days, column = np.unique(table.days, return_inverse=True)
    shape = len(table.names), len(days)
    there, found = np.zeros(shape), np.zeros(shape)
    there[table.ticker, column] = 1.0
    found[table.ticker, column] = table.found
    missing = int((there - found).sum())
    missed = there.sum(axis=1) - found.sum(axis=1)
    rows = np.lexsort((np.arange(len(missed)), -missed))
    share = float(found.sum() / there.sum())
    what = "Every candidate had an entry" if not missing else f"{count(missing)} candidates had no entry"
    return Chart(
        title="Coverage of the candidates",
        reading=f"{what}: {percent(share, 2 if missing else 0)} of {count(there.sum())} at "
        f"{pluralize(len(days), 'rebalance')}.",
        section="trust",
        figure=_draw(run, days, there, found),
        table=Table(
            columns=(
                Column(name="ticker", values=[table.names[row] for row in rows]),
                Column(name="rebalances as a candidate", values=there.sum(axis=1)[rows], unit=COUNT),
                Column(name="without an entry", values=missed[rows], unit=COUNT),
                Column(name="share with an entry", values=(found.sum(axis=1) / there.sum(axis=1))[rows], unit=PERCENT),
            )
        ),
        note="A row is a ticker, a column a rebalance. Blue: an entry; red: none; empty: not a candidate.",
        wide=True,
    )


def _draw(run: Run, days: np.ndarray, there: Float64, found: Float64) -> style.Figure:
    """Draw the cells as an image, with neighbors combined if there are too many."""
    candidates, entries = (_reduced(_reduced(cells, _HEIGHT, 0), _WIDTH, 1) for cells in (there, found))
    plot = max(40, min(260, 9 * len(there)))
    height = plot + 40
    figure = style.new_figure(style.WIDE, height)
    axes = style.new_axes(figure, (LEFT / style.WIDE, 30 / height, 1 - (LEFT + RIGHT) / style.WIDE, plot / height))
    colors = np.zeros((*candidates.shape, 4), dtype=np.uint8)
    complete = entries >= candidates
    colors[..., :3] = np.where(complete[..., None], _PRESENT, _ABSENT)
    lost = 1.0 - entries / np.maximum(candidates, 1.0)
    colors[..., 3] = np.where(candidates > 0, np.where(complete, 150, np.round(110 + 145 * lost)), 0)
    axes.imshow(colors, aspect="auto", interpolation="none", extent=(0, len(days), len(there), 0))
    names = run.candidates.names
    for row in range(0, len(names), -(-16 * len(names) // plot)):
        style.y_label(axes, row + 0.5, shorten(names[row], 9), fontsize=style.SMALL)
    places, labels = month_labels(tuple(map(str, days)))
    style.x_axis(axes, places, labels, line=False)
    return figure


def _reduced(cells: Float64, most: int, axis: int) -> Float64:
    """Sum neighbors so that at most N rows or columns are left."""
    size = cells.shape[axis]
    edges = np.unique(np.linspace(0, size, min(size, most) + 1).astype(np.int64))[:-1]
    return np.asarray(np.add.reduceat(cells, edges, axis=axis), dtype=np.float64)
