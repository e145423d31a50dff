"""Forecast skill: rank IC by horizon, and return by forecast quintile."""

from __future__ import annotations

import numpy as np

from encash.report.charts.base import Chart
from encash.report.charts.elements import IntervalBar, bars
from encash.report.formatting import number, pluralize, signed_percent
from encash.report.run_extras import Extras, Skill
from encash.report.summary import Run


def rank_ics(run: Run, extras: Extras) -> Chart | None:
    """Draw the mean daily rank IC of each horizon."""
    known = [skill for skill in extras.skill if np.isfinite(skill.rank_ic)]
    if not known:
        return None
    best = max(known, key=lambda skill: skill.rank_ic)
    return Chart(
        title="Rank IC by horizon",
        reading=f"Forecasts rank returns best {pluralize(best.horizon, 'session')} ahead: rank IC "
        f"{number(best.rank_ic, 3)}.",
        figure=bars(
            [_rank_ic_bar(skill) for skill in known],
            lambda value: number(value, 3),
            y_title="mean daily rank IC",
            x_title="horizon in sessions",
        ),
        note="Lines: 95% interval, robust to overlapping returns; blue if it is above 0." + _settled(known),
    )


def quintile_returns(run: Run, extras: Extras) -> Chart | None:
    """Draw the mean return of tickers by forecast, at the horizon that the run trades on."""
    horizon = run.config.get("forecast_horizon") or run.horizon
    skill = next((one for one in extras.skill if one.horizon == horizon and len(one.quantile_returns) > 1), None)
    if skill is None or not np.isfinite(skill.quantile_returns).all():
        return None
    returns, span = skill.quantile_returns, pluralize(skill.horizon, "session")
    labels = ["bottom", *map(str, range(2, len(returns))), "top"]
    return Chart(
        title="Return by forecast quintile",
        reading=f"Over {span}, the top quintile by forecast returned {signed_percent(returns[-1] - returns[0], 2)} "
        "relative to the bottom quintile.",
        figure=bars(
            [
                IntervalBar(label=label, value=value, highlighted=True)
                for label, value in zip(labels, returns, strict=True)
            ],
            lambda value: signed_percent(value, 2) if value else "0%",
            y_title=f"mean return over {span}",
            x_title="daily quintile of the tickers by forecast",
        ),
        note=f"Top minus bottom: t = {number(skill.spread_t, 1)}, robust to overlapping returns.",
    )


def _settled(known: list[Skill]) -> str:
    most = max(skill.settled for skill in known)
    if not most:
        return ""
    return f" Up to {pluralize(most, 'return')} per horizon settled under the delisting policy: trading had stopped."


def _rank_ic_bar(skill: Skill) -> IntervalBar:
    error = abs(skill.rank_ic / skill.rank_ic_t) if abs(skill.rank_ic_t) > 0 else None
    return IntervalBar(label=str(skill.horizon), value=skill.rank_ic, error=error, highlighted=skill.rank_ic_t > 1.96)
