"""Sharpe ratio, volatility, beta and correlation of the last year at each session."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encash import metrics
from encash.arrays import Float64, Int64
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line
from encash.report.charts.timeline import Panel, timeline
from encash.report.formatting import NUMBER, PERCENT, count, number, percent
from encash.report.run_extras import Extras
from encash.report.summary import Run

_MOST = 500
"""Sessions at which a rolling figure is measured."""


def rolling(run: Run, extras: Extras) -> Chart | None:
    """Draw Sharpe ratio and volatility of the sessions before each day; None for a run that is too short."""
    ends, window = _windows(run)
    if not len(ends):
        return None
    net, year = metrics.simple_returns(run.path), run.sessions_per_year
    series = {"net": (net, "net")}
    if run.has_benchmark:
        series["benchmark"] = (metrics.simple_returns(run.equity.benchmark), "bench")
    sharpe, volatility = (
        [Line(label=name, values=_over(values, ends, window, measure), role=role) for name, (values, role) in pairs]
        for pairs, measure in (
            (series.items(), lambda part: metrics.sharpe(part, sessions_per_year=year)),
            (series.items(), lambda part: metrics.volatility(part, year)),
        )
    )
    values = sharpe[0].values
    above = f"{percent(float(np.mean(values > 0)), 0)} of the windows"
    return Chart(
        title="Rolling Sharpe ratio and volatility",
        reading=f"Over the last {count(window)} sessions, the Sharpe ratio was {_span(values)}, and above 0 "
        f"in {above}.",
        section="time",
        note="Neighboring windows share most of their sessions: a long swing is not many observations.",
        **timeline(
            run.equity.days[ends],
            [
                Panel(title=f"Sharpe ratio of {count(window)} sessions", unit=NUMBER, lines=sharpe, zero=True),
                Panel(title="volatility a year", unit=PERCENT, lines=volatility, zero=True, height=80),
            ],
            run.equity.days,
        ),
    )


def beta(run: Run, extras: Extras) -> Chart | None:
    """Draw the beta to the benchmark over the sessions before each day; None without a benchmark."""
    ends, window = _windows(run)
    if not len(ends) or not run.has_benchmark:
        return None
    net, base = metrics.simple_returns(run.path), metrics.simple_returns(run.equity.benchmark)
    values = np.array([metrics.alpha_beta(net[end - window : end], base[end - window : end]).beta[0] for end in ends])
    return Chart(
        title="Beta to the benchmark",
        reading=f"Over the last {count(window)} sessions, beta was {_span(values)}; over the whole run "
        f"{number(run.figure('beta'))}.",
        section="time",
        **timeline(
            run.equity.days[ends],
            [Panel(title="beta", unit=NUMBER, lines=[Line(label="beta", values=values, role="net")], zero=True)],
            run.equity.days,
        ),
    )


def _windows(run: Run) -> tuple[Int64, int]:
    """Return the sessions at which windows end, and their length: a year, or a quarter of a run below two years."""
    returns, year = len(run.path) - 1, run.sessions_per_year
    window = year if returns >= 2 * year else max(20, year // 4)
    if returns < window + 2:
        return np.empty(0, dtype=np.int64), window
    every = -(-(returns - window + 1) // _MOST)
    return np.unique(np.append(np.arange(window, returns + 1, every), returns)).astype(np.int64), window


def _span(values: Float64) -> str:
    """Name the lowest and the highest value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "undefined"
    return f"between {number(float(known.min()))} and {number(float(known.max()))}"


def _over(returns: Float64, ends: Int64, window: int, measure: Callable[[Float64], float]) -> Float64:
    """Measure the window that ends at each session."""
    return np.array([measure(returns[end - window : end]) for end in ends], dtype=np.float64)
