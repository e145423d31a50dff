"""Tables of the past: the worst drawdowns, and each year against the benchmark."""

from __future__ import annotations

import numpy as np

from encash import metrics
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.charts.elements import Mark, histogram
from encash.report.formatting import COUNT, PERCENT, SIGNED_PERCENT, percent, pluralize, signed_percent
from encash.report.run_extras import Extras
from encash.report.summary import Run, monthly_returns

_DRAWDOWNS = 6


def drawdowns(run: Run, extras: Extras) -> Chart | None:
    """List the worst drawdowns of the net equity; None if it never fell."""
    found = metrics.worst_drawdowns(run.path, _DRAWDOWNS)
    if not found:
        return None
    days = run.equity.days
    ends = [one.recovery for one in found]
    worst = found[0]
    until = "has not recovered" if worst.recovery is None else f"recovered by {days[worst.recovery]}"
    return Chart(
        title="Worst drawdowns",
        reading=f"The deepest fell {percent(-worst.depth)} from {days[worst.peak]} to {days[worst.trough]} and "
        f"{until}.",
        section="time",
        template="chart_table.html.j2",
        table=Table(
            columns=(
                Column(name="depth", values=[one.depth for one in found], unit=PERCENT),
                Column(name="from", values=[str(days[one.peak]) for one in found]),
                Column(name="to", values=[str(days[one.trough]) for one in found]),
                Column(name="recovered", values=["not yet" if end is None else str(days[end]) for end in ends]),
                Column(
                    name="sessions",
                    values=[(len(days) - 1 if one.recovery is None else one.recovery) - one.peak for one in found],
                    unit=COUNT,
                ),
            )
        ),
    )


def years(run: Run, extras: Extras) -> Chart | None:
    """Draw the net return of each calendar year beside that of the benchmark; None for a single year."""
    if not run.has_benchmark:
        return None
    own = monthly_returns(run.equity.days, run.path)
    other = monthly_returns(run.equity.days, run.equity.benchmark)
    if len(own) < 2:
        return None
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.66))
    for place, (mine, theirs) in enumerate(zip(own, other, strict=True)):
        axes.bar(place - 0.2, mine.total, width=0.36, color=style.COLOR["net"], alpha=0.85)
        axes.bar(place + 0.2, theirs.total, width=0.36, color=style.COLOR["bench"], alpha=0.7)
    axes.set_xlim(-0.6, len(own) - 0.4)
    style.y_axis(axes, SIGNED_PERCENT)
    axes.axhline(0.0, color=style.COLOR["muted"], linewidth=1.2)
    style.x_axis(axes, range(len(own)), [str(year.year) for year in own], "calendar year", line=False)
    figure.text(0.0, 0.95, "● net", color=style.COLOR["net"], va="center", fontsize=12)
    figure.text(0.11, 0.95, "● benchmark", color=style.COLOR["bench"], va="center", fontsize=12)
    points = [
        Point(
            *style.pixel(axes, place, max(0.0, mine.total, theirs.total)),
            f"{mine.year}: {signed_percent(mine.total)}, benchmark {signed_percent(theirs.total)}",
        )
        for place, (mine, theirs) in enumerate(zip(own, other, strict=True))
    ]
    ahead = sum(mine.total > theirs.total for mine, theirs in zip(own, other, strict=True))
    differences = [mine.total - theirs.total for mine, theirs in zip(own, other, strict=True)]
    return Chart(
        title="Years against the benchmark",
        reading=f"Ahead of all candidates in {ahead} of {pluralize(len(own), 'calendar year')}.",
        section="time",
        figure=figure,
        points=points,
        table=Table(
            columns=(
                Column(name="year", values=[str(year.year) for year in own]),
                Column(name="net", values=[year.total for year in own], unit=SIGNED_PERCENT),
                Column(name="benchmark", values=[year.total for year in other], unit=SIGNED_PERCENT),
                Column(name="difference", values=differences, unit=SIGNED_PERCENT),
            )
        ),
        note="The first and the last year may be incomplete. The benchmark has no costs.",
    )


def return_distribution(run: Run, extras: Extras) -> Chart | None:
    """Draw the distribution of daily net returns with its value at risk; None for a short run."""
    returns = metrics.simple_returns(run.path)
    returns = returns[np.isfinite(returns)]
    if len(returns) < 20 or not np.ptp(returns):
        return None
    at_risk = metrics.value_at_risk(returns)
    return Chart(
        title="Daily returns",
        reading=f"On the worst 5% of the sessions, the run lost {percent(-at_risk, 2)} or more of its equity.",
        section="time",
        **histogram(
            np.clip(returns, *np.percentile(returns, [0.2, 99.8])),
            [
                Mark(label="value at risk (5%)", value=at_risk, role="bad"),
                Mark(label="mean", value=float(returns.mean()), role="net"),
            ],
            SIGNED_PERCENT,
            y_title="number of sessions",
            x_title="daily net return; the outermost are drawn at the edges",
        ),
    )
