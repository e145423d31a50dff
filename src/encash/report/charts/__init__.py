"""The charts of the page: one function per chart, and their order.

To add a chart, write a function that returns a `Chart`, or None if it does not apply, and add it to `CHARTS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encash.errors import InputError
from encash.report import style
from encash.report.charts.attribution import break_even, waterfall
from encash.report.charts.base import Chart
from encash.report.charts.cluster_atlas import cluster_atlas
from encash.report.charts.cluster_map import cluster_map
from encash.report.charts.cluster_returns import mean_returns, win_rates
from encash.report.charts.cluster_stability import cluster_stability
from encash.report.charts.coverage import coverage
from encash.report.charts.durations import stages, timings
from encash.report.charts.equity import equity
from encash.report.charts.final_capital import random_filters, seeds, start_days
from encash.report.charts.forecast_skill import quintile_returns, rank_ics
from encash.report.charts.growth import growth
from encash.report.charts.history import drawdowns, return_distribution, years
from encash.report.charts.key_figures import key_figures
from encash.report.charts.monthly_returns import monthly
from encash.report.charts.neighbors import neighbors
from encash.report.charts.occupancy import cluster_occupancy
from encash.report.charts.reliability import reliability
from encash.report.charts.rolling import beta, rolling
from encash.report.charts.skill_over_time import decay, monthly_ic, quintile_growth, signal_autocorrelation
from encash.report.charts.strip import seed_strip, strip
from encash.report.charts.sweeps import sweep_charts
from encash.report.charts.trading import entries, holdings, profit_by_group, profit_by_ticker, round_trips, turnover
from encash.report.run_extras import Extras
from encash.report.summary import Run

__all__ = [
    "CHARTS",
    "SECTIONS",
    "Chart",
    "chart_names",
    "draw_chart",
    "drawable_charts",
    "growth",
    "run_charts",
    "sweep_charts",
]

CHARTS: tuple[Callable[[Run, Extras], Chart | None], ...] = (
    seed_strip,
    strip,
    equity,
    rolling,
    beta,
    holdings,
    turnover,
    monthly_ic,
    cluster_occupancy,
    entries,
    monthly,
    years,
    key_figures,
    return_distribution,
    drawdowns,
    waterfall,
    break_even,
    profit_by_ticker,
    profit_by_group,
    round_trips,
    random_filters,
    start_days,
    seeds,
    rank_ics,
    quintile_returns,
    reliability,
    decay,
    signal_autocorrelation,
    quintile_growth,
    cluster_atlas,
    mean_returns,
    win_rates,
    cluster_map,
    cluster_stability,
    neighbors,
    coverage,
    timings,
    stages,
)
"""The charts of one run, in the order of the page."""

SECTIONS = {
    "time": "Over time",
    "money": "Where the money went",
    "robustness": "Luck and sensitivity",
    "skill": "Forecast skill",
    "clusters": "Clusters",
    "trust": "Trust",
    "run": "Time of the run",
}
"""Section of a chart → its heading, in the order of the page; the section "verdict" is the first screen."""


def run_charts(run: Run, extras: Extras) -> list[Chart]:
    """Draw the charts that apply to a run."""
    with style.applied(), np.errstate(all="ignore"):  # of an account at 0; an undefined value is not drawn
        return [drawn for chart in CHARTS if (drawn := chart(run, extras)) is not None]


def chart_names() -> tuple[str, ...]:
    """List the charts of a run."""
    return tuple(chart.__name__ for chart in CHARTS)


def drawable_charts(run: Run, extras: Extras) -> tuple[str, ...]:
    """List the charts that `draw_chart` can draw: those of which the run has the data, except tables."""
    with style.applied(), np.errstate(all="ignore"):
        drawn = [(chart.__name__, chart(run, extras)) for chart in CHARTS]
    return tuple(name for name, one in drawn if one is not None and one.figure is not None)


def draw_chart(run: Run, extras: Extras, name: str) -> style.Figure:
    """Draw one chart of a run as a figure on white.

    Raises:
        InputError: the run does not have what the chart shows, or the page shows it as a table.
    """
    chart = CHARTS[chart_names().index(name)]
    with style.on_paper(), style.applied(style.PAPER["muted"]), np.errstate(all="ignore"):
        drawn = chart(run, extras)
    if drawn is None:
        raise InputError(f"the run has no data for the chart {name}: compare it first, or give its clusters")
    if drawn.figure is None:
        raise InputError(f"{name} is a table; the page shows it (encash.report)")
    return drawn.figure
