"""Attribution of the return, from equal weights to the net return, and the cost at which nothing is left."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from encash import metrics
from encash.arrays import Float64
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.formatting import BASIS_POINTS, SIGNED_PERCENT, number, signed_percent
from encash.report.run_extras import Extras
from encash.report.summary import Run
from encash.significance import Estimate, mean_of


class Step(NamedTuple):
    """A row of the waterfall: a total, or a difference to the row before."""

    name: str
    amount: Estimate
    """A year, arithmetic."""
    start: float
    """Begin of its bar; 0 for a total."""
    total: bool


def waterfall(run: Run, extras: Extras) -> Chart | None:
    """Draw each step from all candidates in equal weights to the net return, with 95% intervals."""
    steps = waterfall_steps(run, extras)
    if not steps:
        return None
    changes = [step for step in steps if not step.total]
    height = 74 + 27 * len(steps)
    figure = style.new_figure(style.WIDE, height)
    left, right = 270, 250
    axes = style.new_axes(figure, (left / style.WIDE, 46 / height, 1 - (left + right) / style.WIDE, 1 - 56 / height))
    for place, step in enumerate(steps):
        value = step.amount.value
        role = _role(step)
        axes.barh(
            place, value, left=step.start, height=0.62, color=style.COLOR[role], alpha=0.35 if role == "muted" else 0.8
        )
        if not step.total and np.isfinite(step.amount.error):
            low, high = (step.start + bound for bound in step.amount.interval())
            axes.hlines(place, low, high, color=style.COLOR["ink"], linewidth=1.4)
        weight = "bold" if step.total else "normal"
        style.y_label(axes, place, step.name, fontsize=12.5, fontweight=weight, color=style.COLOR["ink"])
        text = _amount(step)
        axes.text(
            1 + 10 / axes.bbox.width, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=12.5
        )
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.axvline(0.0, color=style.COLOR["muted"], linewidth=1.2)
    points = [
        Point(*style.pixel(axes, step.start + step.amount.value, place), f"{step.name}: {_amount(step)}")
        for place, step in enumerate(steps)
    ]
    ticks = style.round_values(axes.get_xlim(), 6)
    style.x_axis(axes, ticks, SIGNED_PERCENT.labels(ticks.tolist()), "mean daily return, times the sessions of a year")
    ends = [step.amount.interval() for step in steps]
    return Chart(
        title="From equal weights to the net return",
        reading=" ".join(_reading(step) for step in changes),
        section="money",
        figure=figure,
        points=points,
        table=Table(
            columns=(
                Column(name="step", values=[step.name for step in steps]),
                Column(name="a year", values=[step.amount.value for step in steps], unit=SIGNED_PERCENT),
                Column(name="lower end of the 95% interval", values=[low for low, _ in ends], unit=SIGNED_PERCENT),
                Column(name="upper end of the 95% interval", values=[high for _, high in ends], unit=SIGNED_PERCENT),
            )
        ),
        note="Arithmetic means, so that the steps add up (before rounding); the compound return is lower. Lines: 95% "
        "intervals of the daily differences. A step is green or red only if its t is beyond ±2.",
        wide=True,
    )


def waterfall_steps(run: Run, extras: Extras) -> list[Step]:
    """Return the rows of the waterfall; empty without a benchmark."""
    if not run.has_benchmark:
        return []
    year, size = run.sessions_per_year, len(run.path)
    known = {name: path for name, path in extras.paths.items() if len(path) == size}
    names = ["The filter" if run.has_filter else "Picks by forecast", "Costs"]
    levels: list[Float64] = [_returns(run, run.equity.gross), _returns(run, run.path)]
    if "no filter, gross" in known and run.has_filter:
        names.insert(0, "Picks by forecast, without the filter")
        levels.insert(0, _returns(run, known["no filter, gross"]))
    elif run.has_filter:
        names[0] = "Picks and filter"
    start = _returns(run, run.equity.benchmark)
    steps = [Step("All candidates in equal weights", _yearly(start, year), 0.0, total=True)]
    for name, level in zip(names, levels, strict=True):
        steps.append(Step(name, _yearly(level - start, year), float(start.mean() * year), total=False))
        start = level
    steps.append(Step("This run, net", _yearly(start, year), 0.0, total=True))
    if "lag + 1" in known:
        later = _returns(run, known["lag + 1"])
        steps.append(
            Step("Filled one session later", _yearly(later - start, year), float(start.mean() * year), total=False)
        )
        steps.append(Step("Net, filled one session later", _yearly(later, year), 0.0, total=True))
    return steps


def break_even(run: Run, extras: Extras) -> Chart | None:
    """Draw the yearly return of the same picks over the cost of a trade; None without the comparison."""
    curve = extras.cost_curve.get("cagr", {})
    if len(curve) < 2 or not np.isfinite(list(curve.values())).all():
        return None
    costs, values = (np.array(side) for side in zip(*sorted(curve.items()), strict=True))
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
    axes.plot(costs, values, color=style.COLOR["net"], linewidth=2.0, marker="o", markersize=4)
    level = run.benchmark_performance.cagr if run.has_benchmark else 0.0
    axes.axhline(level, color=style.COLOR["bench"], linewidth=1.5, linestyle=style.DASHES)
    style.y_axis(axes, SIGNED_PERCENT, f"return a year; dashed: {'all candidates' if run.has_benchmark else 'zero'}")
    ticks = style.round_values((0.0, float(costs.max())), 5)
    style.x_axis(axes, ticks, BASIS_POINTS.labels(ticks.tolist()), "cost of each trade, in basis points of its amount")
    return Chart(
        title="Break-even cost",
        reading=_break_even_reading(costs, values, level, run.has_benchmark),
        section="money",
        figure=figure,
        points=[
            Point(*style.pixel(axes, cost, value), f"{number(cost * 1e4, 0)} bp: {signed_percent(value)} a year")
            for cost, value in zip(costs.tolist(), values.tolist(), strict=True)
        ],
        table=Table(
            columns=(
                Column(name="cost of a trade, basis points", values=costs, unit=BASIS_POINTS),
                Column(name="return a year", values=values, unit=SIGNED_PERCENT),
            )
        ),
        note="The same picks, with this cost in place of fees and slippage.",
    )


def break_even_cost(costs: Float64, values: Float64, level: float) -> float | None:
    """Return the first cost at which a falling return reaches a level, interpolated; None if it never does.

    >>> break_even_cost(np.array([0.0, 0.001]), np.array([0.06, 0.02]), 0.04)
    0.0005
    """
    for place in range(1, len(costs)):
        before, after = float(values[place - 1] - level), float(values[place] - level)
        if before >= 0 > after:
            return float(costs[place - 1] + (costs[place] - costs[place - 1]) * before / (before - after))
    return None


def _break_even_reading(costs: Float64, values: Float64, level: float, benchmark: bool) -> str:
    name = "all candidates in equal weights" if benchmark else "cash"
    if values[0] < level:
        own, other = signed_percent(float(values[0])), signed_percent(level)
        return f"Even without costs, the picks return less than {name}: {own} a year against {other}."
    found = break_even_cost(costs, values, level)
    if found is None:
        most = number(float(costs[-1]) * 1e4, 0)
        return f"The picks return more than {name} at every cost up to {most} basis points a trade."
    return f"The picks return more than {name} up to a cost of {number(found * 1e4, 1)} basis points a trade."


def _returns(run: Run, equity: Float64) -> Float64:
    """Return daily returns from the initial capital on."""
    path = equity.copy()
    path[0] = run.capital
    return np.nan_to_num(metrics.simple_returns(path))


def _yearly(series: Float64, year: int) -> Estimate:
    return mean_of(series).times(year)


def _amount(step: Step) -> str:
    text = signed_percent(step.amount.value)
    if not np.isfinite(step.amount.error):
        return text
    low, high = map(signed_percent, step.amount.interval())
    return f"{text}  (95%: {low} to {high})"


def _role(step: Step) -> str:
    """Return the color of a bar: green and red only for a difference that is distinguishable from zero."""
    if step.total:
        return "bench" if step.name == "All candidates in equal weights" else "net"
    if not abs(step.amount.t) >= 2:
        return "muted"
    return "good" if step.amount.value > 0 else "bad"


def _reading(step: Step) -> str:
    """State what a step did, if it is distinguishable from zero."""
    value, t = signed_percent(step.amount.value), step.amount.t
    doubt = "" if abs(t) >= 2 else f", not distinguishable from zero (t = {number(t, 1)})"
    return f"{step.name}: {value} a year{doubt}."
