"""Reliability of confidences: claimed against realized frequency of right signs."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64, Int64
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.formatting import COUNT, PERCENT, count, percent, pluralize
from encash.report.run_extras import Extras
from encash.report.summary import Run


def reliability(run: Run, extras: Extras) -> Chart | None:
    """Draw the share of right signs by confidence, at the horizon that the run trades on."""
    horizon = run.config.get("forecast_horizon") or run.horizon
    skill = next((one for one in extras.skill if one.horizon == horizon and len(one.reliability) > 1), None)
    if skill is None:
        return None
    claimed, right, sizes = (np.array(column) for column in zip(*skill.reliability, strict=True))
    span = pluralize(skill.horizon, "session")
    same = percent(claimed.min()) == percent(claimed.max())
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
    low, high = float(min(claimed.min(), right.min(), 0.48)), float(max(claimed.max(), right.max(), 0.52))
    axes.plot([low, high], [low, high], color=style.COLOR["muted"], linewidth=1.2, linestyle=style.DASHES)
    axes.plot(claimed, right, color=style.COLOR["net"], linewidth=1.9, marker="o", linestyle="none" if same else "-")
    style.y_axis(axes, PERCENT, "share of right signs")
    ticks = style.round_values(axes.get_xlim(), 5)
    style.x_axis(axes, ticks, PERCENT.labels(ticks.tolist()), "confidence")
    return Chart(
        title="Reliability of the confidence",
        reading=f"Over {span}, {_alike(claimed, right, sizes) if same else _largest_gap(claimed, right)}",
        section="skill",
        figure=figure,
        points=[
            Point(*style.pixel(axes, x, y), f"confidence {percent(x)}: right in {percent(y)} of {count(size)}")
            for x, y, size in zip(claimed.tolist(), right.tolist(), sizes.tolist(), strict=True)
        ],
        table=Table(
            columns=(
                Column(name="mean confidence", values=claimed, unit=PERCENT),
                Column(name="share of right signs", values=right, unit=PERCENT),
                Column(name="forecasts", values=sizes, unit=COUNT),
            )
        ),
        note=f"Groups of {count(int(sizes.min()))} forecasts or more, by confidence; on the dashed line, it is the "
        "frequency of right signs, relative to the mean of the tickers of the day.",
    )


def _largest_gap(claimed: Float64, right: Float64) -> str:
    worst = int(np.abs(claimed - right).argmax())
    return (
        f"forecasts with a confidence of {percent(claimed[worst])} were right about the sign in "
        f"{percent(right[worst])} of cases, the largest gap of {len(claimed)} groups."
    )


def _alike(claimed: Float64, right: Float64, sizes: Int64) -> str:
    return (
        f"all groups have a confidence of {percent(claimed[0])}, which tells no forecast from another; "
        f"{percent(float(np.average(right, weights=sizes)))} of the forecasts were right about the sign."
    )
