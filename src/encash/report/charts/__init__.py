"""The charts of the page: one function per chart, and their order.

To add a chart, write a function that returns a `Chart`, or None if it does not apply, and add it to `CHARTS`.
"""

from __future__ import annotations

from collections.abc import Callable

from encash.report import style
from encash.report.charts.base import Chart
from encash.report.charts.cluster_map import cluster_map
from encash.report.charts.cluster_returns import mean_returns, win_rates
from encash.report.charts.cluster_stability import cluster_stability
from encash.report.charts.durations import stages, timings
from encash.report.charts.equity import equity
from encash.report.charts.final_capital import random_filters, seeds, start_days
from encash.report.charts.forecast_skill import quintile_returns, rank_ics
from encash.report.charts.growth import growth
from encash.report.charts.monthly_returns import monthly
from encash.report.charts.occupancy import cluster_occupancy
from encash.report.charts.reliability import reliability
from encash.report.run_extras import Extras
from encash.report.summary import Run

__all__ = ["CHARTS", "Chart", "growth", "run_charts"]

CHARTS: tuple[Callable[[Run, Extras], Chart | None], ...] = (
    equity,
    monthly,
    random_filters,
    seeds,
    start_days,
    mean_returns,
    win_rates,
    cluster_map,
    rank_ics,
    quintile_returns,
    reliability,
    cluster_occupancy,
    cluster_stability,
    timings,
    stages,
)
"""The charts of one run, in the order of the page."""


def run_charts(run: Run, extras: Extras) -> list[Chart]:
    """Draw the charts that apply to a run."""
    with style.applied():
        return [drawn for chart in CHARTS if (drawn := chart(run, extras)) is not None]
