"""Neighbors of the picks of a day: what followed similar windows of the past, and what followed the picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from encash import metrics
from encash.report import style
from encash.report.charts.base import Chart, Column, Table
from encash.report.formatting import NUMBER, RETURN, SIGNED_PERCENT, number, pluralize, shorten, signed_percent
from encash.report.run_extras import Extras, Neighborhood
from encash.report.summary import Run
from encash.significance import CRITICAL, mean_of, student_quantile

_LEAST_DAYS = 10
"""Days from which on the mean correlation is stated."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One pick of a day, as the template shows it; places are percentages of the width of the drawing."""

    ticker: str
    name: str
    dots: tuple[str, ...]
    mean: str
    interval: tuple[str, str]
    """Place and width."""
    actual: str
    """Empty if unknown."""
    alt: str
    mean_text: str
    actual_text: str
    episodes: str


@dataclass(frozen=True, kw_only=True)
class _Day:
    """The picks of one day."""

    day: str
    summary: str
    rows: tuple[_Row, ...]
    ticks: tuple[tuple[str, str], ...]
    """Place and label."""


def neighbors(run: Run, extras: Extras) -> Chart | None:
    """List the picks of each day: a dot for what followed each neighbor, their mean, and what followed the pick."""
    shown = [one for one in extras.neighborhoods if np.isfinite(one.returns).sum() > 1]
    if not shown:
        return None
    days = tuple(_day(day, list(picks)) for day, picks in groupby(shown, key=lambda one: one.day))
    span = pluralize(run.horizon or 1, "session")
    return Chart(
        title="Similar days",
        reading=f"Picks of {pluralize(len(days), 'day')}, and what followed the past windows most like theirs over "
        f"{span}. {_agreement(shown)}",
        section="clusters",
        template="chart_neighbors.html.j2",
        rows=days,
        table=_table(shown),
        note="Returns from the close of the day. Up to 12 nearest embeddings whose return had ended before it; of days "
        "of one ticker fewer than 20 sessions apart only the nearest counts, because their windows overlap. At most 6 "
        "picks of a day. Days at equal distances, the best and the worst one; encash report --day DAY adds others.",
        wide=True,
    )


def _day(day: str, picks: Sequence[Neighborhood]) -> _Day:
    known = np.concatenate([np.append(one.returns, one.actual) for one in picks])
    known = known[np.isfinite(known)]
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    margin = 0.07 * max(high - low, 1e-6)
    limits = low - margin, high + margin
    ticks = style.round_values(limits, 5)
    means, actual = np.array([_mean(one) for one in picks]), np.array([one.actual for one in picks])
    after = f"picks {signed_percent(float(np.nanmean(actual)))}, " if np.isfinite(actual).any() else ""
    remark = f" ({picks[0].remark})" if picks[0].remark else ""
    return _Day(
        day=day,
        summary=f"{day}: {after}neighbors {signed_percent(float(means.mean()))}{remark}",
        rows=tuple(_row(one, limits) for one in picks),
        ticks=tuple(
            (_place(tick, limits), label)
            for tick, label in zip(ticks.tolist(), SIGNED_PERCENT.labels(ticks.tolist()), strict=True)
        ),
    )


def _row(one: Neighborhood, limits: tuple[float, float]) -> _Row:
    known = one.returns[np.isfinite(one.returns)]
    mean = _mean(one)
    half = student_quantile(0.975, len(known) - 1) * float(known.std(ddof=1)) / len(known) ** 0.5
    low, high = (min(max(mean + side * half, limits[0]), limits[1]) for side in (-1, 1))
    interval = f"{signed_percent(mean - half)} to {signed_percent(mean + half)}"
    after = "unknown" if np.isnan(one.actual) else signed_percent(one.actual)
    return _Row(
        ticker=one.ticker,
        name=shorten(one.ticker, 11),
        dots=tuple(_place(value, limits) for value in known.tolist()),
        mean=_place(mean, limits),
        interval=(_place(low, limits), f"{100 * (high - low) / (limits[1] - limits[0]):.1f}%"),
        actual="" if np.isnan(one.actual) else _place(one.actual, limits),
        alt=f"{one.ticker}: {len(known)} neighbors from {signed_percent(float(known.min()))} to "
        f"{signed_percent(float(known.max()))}, mean {signed_percent(mean)} (95%: {interval}); the pick: {after}",
        mean_text=f"{signed_percent(mean)} ({interval})",
        actual_text=after,
        episodes="; ".join(
            f"{ticker} {day} {signed_percent(value)}"
            for ticker, day, value in zip(one.tickers, one.days, one.returns, strict=True)
        ),
    )


def _mean(one: Neighborhood) -> float:
    return float(np.nanmean(one.returns))


def _place(value: float, limits: tuple[float, float]) -> str:
    return f"{100 * (value - limits[0]) / (limits[1] - limits[0]):.1f}%"


def _agreement(shown: Sequence[Neighborhood]) -> str:
    """Say if the means of the neighbors rank what followed the picks of a day; days chosen by result do not count."""
    daily = []
    for _, group in groupby((one for one in shown if one.regular), key=lambda one: one.day):
        both = np.array([(_mean(one), one.actual) for one in group])
        daily.append(float(metrics.rank_ic(both[None, :, 0], both[None, :, 1])[0]))
    known = np.array(daily)[np.isfinite(daily)]
    if len(known) < _LEAST_DAYS:
        return "Too few days to say if neighbors predict."
    found = mean_of(known)
    text = f"Mean rank correlation of the two within a day: {number(found.value)} (t = {number(found.t, 1)}), "
    verdict = "distinguishable from zero" if abs(found.t) >= CRITICAL else "not distinguishable from zero"
    return f"{text}{verdict}."


def _table(shown: Sequence[Neighborhood]) -> Table:
    flat = [
        (one, day, ticker, distance, after)
        for one in shown
        for day, ticker, distance, after in zip(one.days, one.tickers, one.distance, one.returns, strict=True)
    ]
    return Table(
        columns=(
            Column(name="day", values=[one.day for one, *_ in flat]),
            Column(name="pick", values=[one.ticker for one, *_ in flat]),
            Column(name="neighbor", values=[ticker for _, _, ticker, *_ in flat]),
            Column(name="day of the neighbor", values=[day for _, day, *_ in flat]),
            Column(name="distance", values=[round(row[3], 4) for row in flat], unit=NUMBER),
            Column(name="return that followed", values=[round(row[4], 5) for row in flat], unit=RETURN),
            Column(name="return after the pick", values=[round(one.actual, 5) for one, *_ in flat], unit=RETURN),
        )
    )
