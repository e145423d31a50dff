"""Forecast skill over time: monthly rank IC, the spread of quintiles, its decay, and how fast forecasts change."""

from __future__ import annotations

import numpy as np

from encash.arrays import Days, Float64
from encash.backtest.evaluation.forecast_skill import DailySkill
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.charts.elements import Line
from encash.report.charts.timeline import Panel, timeline
from encash.report.formatting import COEFFICIENT, PERCENT, number, percent, pluralize
from encash.report.run_extras import Extras, Skill
from encash.report.summary import Run


def monthly_ic(run: Run, extras: Extras) -> Chart | None:
    """Draw the mean rank IC of each month and its cumulative sum over days, at the horizon that the run trades on."""
    skill, daily = _traded(run, extras)
    if skill is None or daily is None:
        return None
    months, values = by_month(daily.days, daily.rank_ic)
    if len(months) < 2:
        return None
    total = np.nancumsum(np.nan_to_num(values))
    positive = percent(float(np.mean(values > 0)), 0)
    doubt = "" if abs(skill.rank_ic_t) >= 2 else ", not distinguishable from zero"
    return Chart(
        title="Monthly rank IC",
        reading=f"The rank IC was positive in {positive} of {pluralize(len(months), 'month')}; its mean over all days "
        f"is {number(skill.rank_ic, 3)} (t = {number(skill.rank_ic_t, 1)}){doubt}.",
        section="time",
        **timeline(
            months,
            [
                Panel(
                    title=f"mean rank IC of a month, {pluralize(skill.horizon, 'session')} ahead",
                    unit=COEFFICIENT,
                    lines=[Line(label="month", values=values, role="net", width=1.3)],
                    zero=True,
                    filled=True,
                    height=90,
                ),
                Panel(
                    title="sum of the months so far",
                    unit=COEFFICIENT,
                    lines=[Line(label="sum", values=total, role="bench", width=1.5)],
                    zero=True,
                    height=70,
                ),
            ],
            run.equity.days,
        ),
    )


def quintile_growth(run: Run, extras: Extras) -> Chart | None:
    """Draw the sums of the quintile returns and of their spread, one holding period after the other."""
    skill, daily = _traded(run, extras)
    if skill is None or daily is None:
        return None
    groups = daily.quantile_returns[:: skill.horizon]
    known = np.isfinite(groups).all(axis=1)
    groups, days = groups[known], daily.days[:: skill.horizon][known]
    if len(days) < 2:
        return None
    sums, count = np.cumsum(groups, axis=0), groups.shape[1]
    roles = ["bench", *["muted"] * (count - 2), "net"]
    names = ["bottom", *map(str, range(2, count)), "top"]
    spread = Line(label="top − bottom", values=sums[:, -1] - sums[:, 0], role="net", width=1.5)
    doubt = "" if abs(skill.spread_t) >= 2 else ", not distinguishable from zero"
    return Chart(
        title="Quintile returns over time",
        reading=f"Top minus bottom quintile over all days: t = {number(skill.spread_t, 1)}{doubt}.",
        section="skill",
        note=f"Sums of the returns of {pluralize(skill.horizon, 'session')} that follow one another, before costs.",
        **timeline(
            days,
            [
                Panel(
                    title="sum of returns by quintile of the forecast",
                    unit=PERCENT,
                    lines=[
                        Line(label=name, values=values, role=role, width=1.3)
                        for name, values, role in zip(names, sums.T, roles, strict=True)
                    ][::-1],
                    zero=True,
                    height=140,
                ),
                Panel(
                    title="spread: top minus bottom", unit=PERCENT, lines=[spread], zero=True, filled=True, height=80
                ),
            ],
            run.equity.days,
        ),
    )


def decay(run: Run, extras: Extras) -> Chart | None:
    """Draw the rank IC with returns that begin later, by horizon."""
    known = [skill for skill in extras.skill if len(skill.decay) > 1]
    pairs = {pluralize(skill.horizon, "session"): skill.decay for skill in known}
    return _by_lag(
        pairs,
        title="Decay of the rank IC",
        reading="How much of the rank IC is left if the return begins some sessions after the forecast.",
        y_title="mean rank IC, by horizon of the forecast",
        x_title="sessions from the forecast to the beginning of the return",
    )


def signal_autocorrelation(run: Run, extras: Extras) -> Chart | None:
    """Draw the correlation of forecasts with later ones, by horizon."""
    known = [skill for skill in extras.skill if len(skill.autocorrelation) > 1]
    if not known:
        return None
    lag, value = known[-1].autocorrelation[0]
    return _by_lag(
        {pluralize(skill.horizon, "session"): skill.autocorrelation for skill in known},
        title="Autocorrelation of the forecasts",
        reading=f"The ranks of two days that are {pluralize(lag, 'session')} apart have a correlation of "
        f"{number(value)} ({pluralize(known[-1].horizon, 'session')} ahead): the lower it is, the more a "
        "strategy trades.",
        y_title="mean rank correlation, by horizon of the forecast",
        x_title="sessions between two forecasts",
    )


def by_month(days: Days, values: Float64) -> tuple[Days, Float64]:
    """Return the first days of calendar months and the means of their values; months without one are left out.

    >>> days = np.array(["2024-01-30", "2024-01-31", "2024-02-01"], dtype="datetime64[D]")
    >>> months, means = by_month(days, np.array([0.1, 0.3, np.nan]))
    >>> months.astype(str).tolist(), means.round(6).tolist()
    (['2024-01-01'], [0.2])
    """
    known = np.isfinite(values)
    months, place = np.unique(days[known].astype("datetime64[M]"), return_inverse=True)
    means = np.bincount(place, weights=values[known]) / np.bincount(place) if len(months) else np.empty(0)
    return months.astype("datetime64[D]"), means


def _traded(run: Run, extras: Extras) -> tuple[Skill | None, DailySkill | None]:
    """Return the skill at the horizon that the run trades on, as a whole and by day."""
    horizon = run.config.get("forecast_horizon") or run.horizon
    skill = next((one for one in extras.skill if one.horizon == horizon), None)
    return skill, None if skill is None else extras.daily_skill.get(skill.horizon)


_ROLES = ("net", "bench", "gross", "teal", "pink", "ink")


def _by_lag(
    series: dict[str, tuple[tuple[int, float], ...]], *, title: str, reading: str, y_title: str, x_title: str
) -> Chart | None:
    """Draw values over lags at equal distances; one line per name. None without a line."""
    if not series:
        return None
    figure = style.new_figure(style.HALF, 300)
    axes = style.new_axes(figure, (0.145, 0.17, 0.84, 0.66))
    lags = sorted({lag for pairs in series.values() for lag, _ in pairs})
    points, columns = [], [Column(name=x_title, values=list(map(str, lags)))]
    for (name, pairs), role in zip(series.items(), _ROLES, strict=False):
        found = dict(pairs)
        values = [found.get(lag, np.nan) for lag in lags]
        axes.plot(range(len(lags)), values, color=style.COLOR[role], linewidth=1.8, marker="o", markersize=4)
        columns.append(Column(name=name, values=values, unit=COEFFICIENT))
    axes.set_xlim(-0.4, len(lags) - 0.6)
    axes.margins(y=0.1)
    style.y_axis(axes, COEFFICIENT)
    figure.text(0.0, 0.97, y_title, va="center", fontsize=12)
    axes.axhline(0.0, color=style.COLOR["muted"], linewidth=1.2)
    style.x_axis(axes, range(len(lags)), list(map(str, lags)), x_title, line=False)
    left = 0.0
    for (name, pairs), role in zip(series.items(), _ROLES, strict=False):
        figure.text(left / style.HALF, 0.9, f"● {name}", color=style.COLOR[role], va="center", fontsize=12)
        left += style.LETTER * (len(name) + 3) + 8
        points += [
            Point(*style.pixel(axes, lags.index(lag), value), f"{name} ahead, lag {lag}: {number(value, 3)}")
            for lag, value in pairs
            if np.isfinite(value)
        ]
    return Chart(
        title=title,
        reading=reading,
        section="skill",
        figure=figure,
        points=sorted(points),
        table=Table(columns=tuple(columns)),
    )
