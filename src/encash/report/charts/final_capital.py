"""Final capital over random filters, seeds and start days."""

from __future__ import annotations

import numpy as np

from encash.backtest.evaluation.random_filter_test import percentile_among
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.charts.elements import Mark, histogram
from encash.report.formatting import MONEY, count, money, number, percent
from encash.report.run_extras import Extras
from encash.report.summary import Run

_X_TITLE = "final capital, in the currency of the prices"


def random_filters(run: Run, extras: Extras) -> Chart | None:
    """Draw the distribution over random filters or rankings, with the run, no filter and shuffled clusters as lines."""
    capitals = np.asarray(extras.random_filters, dtype=np.float64)
    if not len(capitals):
        return None
    what = "filters" if run.has_filter else "rankings"
    marks = [Mark(label="this run", value=run.final_capital, role="net")]
    if extras.no_filter is not None:
        marks.append(Mark(label="no filter", value=extras.no_filter, role="bench"))
    if len(extras.shuffled_clusters):
        median = float(np.median(np.asarray(extras.shuffled_clusters)))
        marks.append(Mark(label="shuffled clusters, median", value=median, role="muted"))
    below = percent(percentile_among(capitals, run.final_capital) / 100, 0)
    test = extras.test
    return Chart(
        title="Random-filter test" if run.has_filter else "Random-ranking test",
        reading=f"{below} of {count(len(capitals))} random {what} ended below the run.",
        section="robustness",
        **histogram(capitals, marks, MONEY, y_title=f"number of random {what}", x_title=_X_TITLE),
        note=""
        if test is None
        else f"{percent(test.percentiles['sharpe'] / 100, 0)} of them had a lower Sharpe ratio, and "
        f"{percent(test.percentiles['max_drawdown'] / 100, 0)} a deeper drawdown. The verdict compares alphas: "
        f"p = {number(test.p_better, 3)}.",
    )


def seeds(run: Run, extras: Extras) -> Chart | None:
    """Draw the distribution over seeds, with the run and the mean as lines."""
    if len(extras.seeds) < 2:
        return None
    capitals = np.asarray(extras.seeds, dtype=np.float64)
    mean, deviation = float(capitals.mean()), float(capitals.std(ddof=1))
    low, high = map(float, np.percentile(capitals, [2.5, 97.5]))
    marks = [
        Mark(label="this run", value=run.final_capital, role="net"),
        Mark(label="mean of the seeds", value=mean, role="muted"),
    ]
    return Chart(
        title="Sensitivity to the seed",
        reading=f"Over {count(len(capitals))} seeds, the final capital is {money(mean)} ± {money(deviation)}.",
        section="robustness",
        **histogram(capitals, marks, MONEY, y_title="number of seeds", x_title=_X_TITLE),
        note=f"Middle 95% of the seeds: {money(low)} to {money(high)}.",
    )


def start_days(run: Run, extras: Extras) -> Chart | None:
    """Draw one point per start day, and a dashed line for no filter; the run's own point is marked."""
    finals, reference = extras.phases, extras.no_filter
    if len(finals) < 2:
        return None
    low, high = min(finals.values()), max(finals.values())
    own = None if run.config.get("tranches") else run.config.get("phase")
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
    every = [low, high, *([] if reference is None else [reference])]
    span = max(max(every) - min(every), 1e-3 * max(every))
    axes.set_ylim(min(every) - 0.12 * span, max(every) + 0.16 * span)
    axes.set_xlim(min(finals) - 0.5, max(finals) + 0.5)
    y_title = "final capital"
    if reference is not None:
        axes.axhline(reference, color=style.COLOR["bench"], linewidth=1.5, linestyle=style.DASHES)
        y_title += f"; dashed: no filter {money(reference)}"
    for phase, capital in finals.items():
        role, size = ("net", 12) if phase == own else ("muted", 8)
        axes.plot([phase], [capital], "o", markersize=size, markeredgewidth=0, color=style.COLOR[role])
    style.y_axis(axes, MONEY, y_title)
    style.x_axis(axes, list(finals), list(map(str, finals)), "sessions from the start to the first signal")
    return Chart(
        title="Sensitivity to the start day",
        reading=f"Depending on the start day, the run ends between {money(low)} and {money(high)}.",
        section="robustness",
        figure=figure,
        points=[
            Point(*style.pixel(axes, phase, capital), f"start day {phase}: {money(capital)}")
            for phase, capital in finals.items()
        ],
        table=Table(
            columns=(
                Column(name="sessions from the start to the first signal", values=list(map(str, finals))),
                Column(name="final capital", values=list(finals.values()), unit=MONEY),
            )
        ),
    )
