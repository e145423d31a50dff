"""Forecast skill: rank IC by horizon, and return by forecast quintile."""

from __future__ import annotations

import numpy as np

from encash.report.charts.base import Chart
from encash.report.charts.elements import IntervalBar, bars
from encash.report.formatting import COEFFICIENT, RETURN, number, pluralize, signed_percent
from encash.report.run_extras import Extras, Skill
from encash.report.summary import Run


def rank_ics(run: Run, extras: Extras) -> Chart | None:
    """Draw the mean daily rank IC of each horizon."""
    known = [skill for skill in extras.skill if np.isfinite(skill.rank_ic)]
    if not known:
        return None
    return Chart(
        title="Rank IC by horizon",
        reading=_rank_ic_reading(known),
        section="skill",
        **bars(
            [_rank_ic_bar(skill) for skill in known],
            COEFFICIENT,
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
    errors = skill.quantile_errors or (None,) * len(returns)
    found = (
        f"Over {span}, the top quintile by forecast returned {signed_percent(returns[-1] - returns[0], 2)} relative to "
        "the bottom quintile"
    )
    clear = abs(skill.spread_t) >= 2
    return Chart(
        title="Return by forecast quintile",
        reading=f"{found}{'' if clear else ', which is not distinguishable from zero'}.",
        section="skill",
        **bars(
            [
                IntervalBar(label=label, value=value, error=error, highlighted=clear)
                for label, value, error in zip(labels, returns, errors, strict=True)
            ],
            RETURN,
            y_title=f"mean return over {span}",
            x_title="daily quintile of the tickers by forecast",
        ),
        note=f"Top minus bottom: t = {number(skill.spread_t, 1)}, robust to overlapping returns."
        + (" Lines: 95% interval of each mean; all of them share the market." if skill.quantile_errors else ""),
    )


def _rank_ic_reading(known: list[Skill]) -> str:
    """State the horizon with the clearest rank IC, if any is distinguishable from zero."""
    clearest = max(known, key=lambda skill: abs(skill.rank_ic_t) if np.isfinite(skill.rank_ic_t) else 0.0)
    t, value = number(clearest.rank_ic_t, 1), number(clearest.rank_ic, 3)
    ahead = pluralize(clearest.horizon, "session")
    if not abs(clearest.rank_ic_t) >= 2:
        return (
            f"The rank IC is not distinguishable from zero at any horizon; the clearest is {value} (t = {t}), {ahead} "
            "ahead."
        )
    order = "rank" if clearest.rank_ic > 0 else "rank in reverse"
    return f"Forecasts {order} the returns {ahead} ahead: rank IC {value} (t = {t})."


def _settled(known: list[Skill]) -> str:
    most = max(skill.settled for skill in known)
    if not most:
        return ""
    return f" Up to {pluralize(most, 'return')} per horizon settled under the delisting policy: trading had stopped."


def _rank_ic_bar(skill: Skill) -> IntervalBar:
    error = abs(skill.rank_ic / skill.rank_ic_t) if abs(skill.rank_ic_t) > 0 else None
    return IntervalBar(label=str(skill.horizon), value=skill.rank_ic, error=error, highlighted=skill.rank_ic_t > 1.96)
