"""Figures of the run beside those of the benchmark, as other tear sheets list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from encash import metrics
from encash.arrays import Days, Float64
from encash.report.charts.base import Chart, Column, Table
from encash.report.formatting import COUNT, NUMBER, PERCENT, RETURN, SIGNED_PERCENT, Unit, signed_percent
from encash.report.run_extras import Extras
from encash.report.summary import Run, monthly_returns


class _Figure(NamedTuple):
    name: str
    unit: Unit
    measure: Callable[[_Path], float]


class _Path(NamedTuple):
    """An equity, and its returns by session and by month."""

    equity: Float64
    returns: Float64
    months: Float64
    year: int


def key_figures(run: Run, extras: Extras) -> Chart | None:
    """List figures of the run and of the benchmark; None for a short run."""
    own = _path(run.equity.days, run.path, run.sessions_per_year)
    if len(own.returns) < 20 or not np.isfinite(own.returns).all():
        return None
    columns = [
        Column(name="figure", values=[one.name for one in _FIGURES]),
        Column(name="this run", values=_values(own), units=[one.unit for one in _FIGURES]),
    ]
    volatility = metrics.volatility(own.returns, own.year)
    reading = f"Volatility {PERCENT(volatility)} a year; the worst session {signed_percent(float(own.returns.min()))}"
    if run.has_benchmark:
        other = _path(run.equity.days, run.equity.benchmark, run.sessions_per_year)
        columns.append(Column(name="benchmark", values=_values(other), units=[one.unit for one in _FIGURES]))
        together = float(np.corrcoef(own.returns, other.returns)[0, 1])
        reading += f"; correlation with the benchmark {NUMBER(together)}, information ratio "
        reading += NUMBER(metrics.information_ratio(own.returns, other.returns, own.year))
    return Chart(
        title="Run and benchmark",
        reading=f"{reading}.",
        section="time",
        template="chart_table.html.j2",
        table=Table(columns=tuple(columns)),
        note="Calmar ratio: CAGR over max drawdown. Longest drawdown: in sessions. Value at risk and expected "
        "shortfall: of a session, at 5%. The first and the last month may be incomplete.",
    )


def _path(days: Days, equity: Float64, year: int) -> _Path:
    months = [month for one in monthly_returns(days, equity) for month in one.months if month is not None]
    return _Path(equity, metrics.simple_returns(equity), np.array(months), year)


def _values(path: _Path) -> list[float]:
    return [one.measure(path) for one in _FIGURES]


def _calmar(path: _Path) -> float:
    deepest = metrics.max_drawdown(path.equity)
    return metrics.cagr(path.equity, path.year) / -deepest if deepest < 0 else float("nan")


def _longest_drawdown(path: _Path) -> float:
    """Return the most sessions from a high to the next higher one, or to the end."""
    highs = np.flatnonzero(path.equity >= np.maximum.accumulate(path.equity))
    return float(np.diff(np.append(highs, len(path.equity) - 1)).max())


_FIGURES = (
    _Figure("volatility a year", PERCENT, lambda path: metrics.volatility(path.returns, path.year)),
    _Figure("Sortino ratio", NUMBER, lambda path: metrics.sortino(path.returns, sessions_per_year=path.year)),
    _Figure("Calmar ratio", NUMBER, _calmar),
    _Figure("longest drawdown", COUNT, _longest_drawdown),
    _Figure("value at risk", RETURN, lambda path: metrics.value_at_risk(path.returns)),
    _Figure("expected shortfall", RETURN, lambda path: metrics.expected_shortfall(path.returns)),
    _Figure("skewness", NUMBER, lambda path: metrics.skewness(path.returns)),
    _Figure("excess kurtosis", NUMBER, lambda path: metrics.kurtosis(path.returns)),
    _Figure("best session", SIGNED_PERCENT, lambda path: float(path.returns.max())),
    _Figure("worst session", SIGNED_PERCENT, lambda path: float(path.returns.min())),
    _Figure("best month", SIGNED_PERCENT, lambda path: float(path.months.max())),
    _Figure("worst month", SIGNED_PERCENT, lambda path: float(path.months.min())),
    _Figure("positive sessions", PERCENT, lambda path: float(np.mean(path.returns > 0))),
    _Figure("positive months", PERCENT, lambda path: float(np.mean(path.months > 0))),
)
