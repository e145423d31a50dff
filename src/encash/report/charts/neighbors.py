"""Neighbors of the last picks: what followed similar windows of the past, and what followed the picks."""

from __future__ import annotations

import numpy as np

from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.formatting import NUMBER, RETURN, SIGNED_PERCENT, pluralize, shorten, signed_percent
from encash.report.run_extras import Extras, Neighborhood
from encash.report.summary import Run
from encash.significance import CRITICAL

_ROW = 30


def neighbors(run: Run, extras: Extras) -> Chart | None:
    """Draw a row per pick: a dot for what followed each neighbor, their mean, and what followed the pick."""
    rows = [one for one in extras.neighborhoods if np.isfinite(one.returns).sum() > 1]
    if not rows:
        return None
    height = 84 + _ROW * len(rows)
    figure = style.new_figure(style.WIDE, height)
    axes = style.new_axes(figure, (0.1, 50 / height, 0.86, 1 - 84 / height))
    points = []
    for place, one in enumerate(rows):
        known = one.returns[np.isfinite(one.returns)]
        mean, error = float(known.mean()), float(known.std(ddof=1)) / len(known) ** 0.5
        style.dots(axes, known, np.full(len(known), float(place)), 6.0, style.COLOR["muted"], 0.5)
        axes.hlines(place, mean - CRITICAL * error, mean + CRITICAL * error, color=style.COLOR["net"], linewidth=1.6)
        axes.plot([mean], [place], "o", markersize=8, markeredgewidth=0, color=style.COLOR["net"])
        if np.isfinite(one.actual):
            axes.plot([one.actual] * 2, [place - 0.32, place + 0.32], color=style.COLOR["bench"], linewidth=2.4)
        style.y_label(axes, place, shorten(one.ticker, 11), fontsize=12.5, color=style.COLOR["ink"])
    axes.axvline(0.0, color=style.COLOR["grid"], linewidth=1.2, zorder=0)
    axes.margins(x=0.04)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    ticks = style.round_values(axes.get_xlim(), 7)
    span = pluralize(run.horizon, "session")
    style.x_axis(axes, ticks, SIGNED_PERCENT.labels(ticks.tolist()), f"return over {span}")
    legend = (("●", "a neighbor", "muted"), ("●", "their mean, 95%", "net"), ("┃", "the pick itself", "bench"))
    for order, (sign, name, role) in enumerate(legend):
        figure.text(
            0.1 + 0.17 * order, 1 - 14 / height, f"{sign} {name}", color=style.COLOR[role], va="center", fontsize=12
        )
    for place, one in enumerate(rows):
        mean = float(np.nanmean(one.returns))
        points.append(Point(*style.pixel(axes, mean, place), f"{one.ticker}: mean {signed_percent(mean, 2)}"))
    return Chart(
        title="Neighbors of the last picks",
        reading=_reading(rows, span),
        section="clusters",
        figure=figure,
        points=points,
        table=_table(rows),
        note="Nearest embeddings up to 20 sessions before the day; of neighboring days of one ticker only the nearest "
        "counts, because their windows overlap. Returns as known on the day of the pick.",
        wide=True,
    )


def _reading(rows: list[Neighborhood], span: str) -> str:
    """Say how far the neighbors predicted what followed the picks."""
    both = [(float(np.nanmean(one.returns)), one.actual) for one in rows if np.isfinite(one.actual)]
    same = sum(mean * actual > 0 for mean, actual in both)
    text = f"Picks of {rows[0].day}: {pluralize(sum(len(one.days) for one in rows), 'episode')} of similar windows."
    if both:
        text += f" Over {span}, the mean of the neighbors had the sign of what followed in {same} of {len(both)}."
    return text


def _table(rows: list[Neighborhood]) -> Table:
    flat = [
        (one, day, ticker, distance, after)
        for one in rows
        for day, ticker, distance, after in zip(one.days, one.tickers, one.distance, one.returns, strict=True)
    ]
    return Table(
        columns=(
            Column(name="pick", values=[one.ticker for one, *_ in flat]),
            Column(name="neighbor", values=[ticker for _, _, ticker, *_ in flat]),
            Column(name="day", values=[day for _, day, *_ in flat]),
            Column(name="distance", values=[row[3] for row in flat], unit=NUMBER),
            Column(name="return that followed", values=[row[4] for row in flat], unit=RETURN),
            Column(name="return after the pick", values=[one.actual for one, *_ in flat], unit=RETURN),
        )
    )
