"""Equity and drawdown over time, with the ranges of random filters and start days."""

from __future__ import annotations

from dataclasses import replace

from encash import metrics
from encash.errors import InputError
from encash.report import style
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line, draw_lines, end_labels, fill_band, value_axis
from encash.report.formatting import money, percent
from encash.report.run_extras import Extras, Range
from encash.report.summary import Run, thin

POINTS = 1000
"""Points of a line at most."""


def equity(run: Run, extras: Extras) -> Chart:
    """Draw equity above its drawdown, with bands behind it.

    Raises:
        InputError: a range does not cover the sessions of the run.
    """
    final, gross, benchmark = run.path[-1], run.equity.gross, run.equity.benchmark
    reading = f"{money(run.capital)} became {money(final)} after costs; costs took {money(gross[-1] - final)}."
    lines = [
        Line(label="net", values=run.path, role="net", width=2.2),
        Line(label="gross", values=gross, role="gross", width=1.4),
    ]
    if run.has_benchmark:
        reading += f" All candidates in equal weights ended at {money(benchmark[-1])}."
        lines.append(Line(label="benchmark", values=benchmark, role="bench", width=1.6))
    bands, note = [], ""
    for color, role, over, found in (
        ("Gray", "muted", "random filters", extras.random_range),
        ("Blue", "net", "start days", extras.phase_range),
    ):
        if found is None:
            continue
        if not len(found.low) == len(found.high) == len(run.path):
            raise InputError(f"a range of {len(found.low)} sessions for a run of {len(run.path)}; compare again")
        bands.append((found, role))
        note += f"{color}: middle 95% of the {over}. "
    return Chart(
        title="Equity and drawdown", reading=reading, figure=_draw(run, lines, bands), note=note.strip(), wide=True
    )


def _draw(run: Run, lines: list[Line], bands: list[tuple[Range, str]]) -> style.Figure:
    points = thin(run.path, POINTS)
    shown = [replace(line, values=line.values[points]) for line in lines]
    under = [
        replace(line, values=metrics.drawdowns(line.values)[points], width=1.2)
        for line in lines
        if line.label != "gross"
    ]
    figure, when = style.new_figure(style.WIDE, 440), style.times(run.equity.days[points])
    top = style.new_axes(figure, (0.075, 0.36, 0.745, 0.57))
    below = style.new_axes(figure, (0.075, 0.075, 0.745, 0.195))
    for band, role in bands:
        fill_band(top, when, band.low[points], band.high[points], role)
    draw_lines(top, when, shown)
    value_axis(top, shown, money, "capital, in the currency of the prices")
    end_labels(top, shown, money)
    draw_lines(below, when, under)
    below.fill_between(when, under[0].values, 0.0, color=style.COLOR["net"], alpha=0.2, linewidth=0)
    below.set_ylim(top=0.0)
    style.y_axis(below, lambda value: percent(value, 0), "drawdown", most=3)
    style.time_axis(top, when, labeled=False)
    style.time_axis(below, when)
    return figure
