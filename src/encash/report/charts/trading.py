"""Trading: exposure and holdings, turnover, entries by day, profit by ticker, round trips."""

from __future__ import annotations

from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool
from encash.report.charts.base import Chart, Column, Table
from encash.report.charts.elements import IntervalBar, Line, Mark, histogram, horizontal_bars
from encash.report.charts.timeline import Panel, timeline
from encash.report.formatting import (
    COUNT,
    MONEY,
    MULTIPLE,
    NUMBER,
    PERCENT,
    SIGNED_PERCENT,
    count,
    money,
    multiple,
    number,
    percent,
    pluralize,
    signed_percent,
)
from encash.report.run_extras import Extras
from encash.report.summary import Run
from encash.report.trades import Ledger, Trip, exposure, read_ledger

_MONTH = 21
_SHOWN = 8
"""Tickers at each end of the profits."""
_TRIPS = 25
"""Round trips at each end of the table."""


def holdings(run: Run, extras: Extras) -> Chart | None:
    """Draw the invested fraction of the equity and the number of tickers held; None without orders."""
    ledger = read_ledger(run)
    if not len(ledger):
        return None
    invested, held = exposure(run, ledger), ledger.holdings().astype(np.float64)
    return Chart(
        title="Exposure and holdings",
        reading=f"On average, {percent(float(np.nanmean(invested)), 0)} of the equity was invested, in "
        f"{number(float(held.mean()), 1)} tickers.",
        section="time",
        **timeline(
            run.equity.days,
            [
                Panel(
                    title="invested fraction of the equity",
                    unit=PERCENT,
                    lines=[Line(label="invested", values=invested, role="net", width=1.2)],
                    zero=True,
                    height=80,
                ),
                Panel(
                    title="tickers held",
                    unit=COUNT,
                    lines=[Line(label="held", values=held, role="bench", width=1.2)],
                    zero=True,
                    height=80,
                ),
            ],
            run.equity.days,
        ),
    )


def turnover(run: Run, extras: Extras) -> Chart | None:
    """Draw the turnover of the month before each day, annualized as the figure of the run; None without orders."""
    ledger, year = read_ledger(run), run.sessions_per_year
    if not len(ledger) or len(run.path) < 2 * _MONTH:
        return None
    traded = ledger.by_session(np.abs(ledger.shares) * ledger.price)
    ends = np.arange(_MONTH, len(run.path))
    values = np.array(
        [
            metrics.turnover(float(traded[end - _MONTH + 1 : end + 1].sum()), run.path[end - _MONTH : end + 1], year)
            for end in ends
        ]
    )
    return Chart(
        title="Turnover over time",
        reading=f"Over the whole run, the portfolio was replaced {multiple(run.figure('turnover'))} a year.",
        section="time",
        **timeline(
            run.equity.days[ends],
            [
                Panel(
                    title=f"turnover of {_MONTH} sessions, a year",
                    unit=MULTIPLE,
                    lines=[Line(label="turnover", values=values, role="net", width=1.2)],
                    zero=True,
                    height=80,
                )
            ],
            run.equity.days,
        ),
    )


def entries(run: Run, extras: Extras) -> Chart | None:
    """Draw how many candidates of each rebalance had an entry and how many had none."""
    candidates = run.candidates
    if not len(candidates.days):
        return None
    days, place = np.unique(candidates.days, return_inverse=True)
    found = np.bincount(place, weights=candidates.found, minlength=len(days)).astype(np.float64)
    missing = np.bincount(place, minlength=len(days)) - found
    hits, computed = run.figure("hits"), run.figure("computed")
    source = "from the cache" if hits is not None and not computed else "from the cache or computed"
    if len(days) < 2:
        return None
    return Chart(
        title="Hits and misses by day",
        reading=f"{count(found.sum())} candidates had an entry ({source}), {count(missing.sum())} had none, at "
        f"{pluralize(len(days), 'rebalance')}.",
        section="time",
        **timeline(
            days,
            [
                Panel(
                    title="candidates of a rebalance",
                    unit=COUNT,
                    lines=[
                        Line(label="with an entry", values=found, role="net", width=1.4),
                        Line(label="without", values=missing.astype(np.float64), role="bad", width=1.4),
                    ],
                    zero=True,
                    height=80,
                )
            ],
            run.equity.days,
        ),
    )


def profit_by_ticker(run: Run, extras: Extras) -> Chart | None:
    """Draw the tickers that brought in most and least."""
    ledger = read_ledger(run)
    profits = ledger.profit_by_ticker()
    if len(profits) < 2:
        return None
    names = list(profits)
    ends = names if len(names) <= 2 * _SHOWN else [*names[:_SHOWN], *names[-_SHOWN:]]
    total = sum(profits.values())
    positive = sum(value > 0 for value in profits.values())
    top = sum(list(profits.values())[:_SHOWN])
    reading = (
        f"{positive} of {pluralize(len(profits), 'ticker')} brought in money; the best {min(_SHOWN, len(profits))} "
        f"brought in {money(top)}, all of them together {money(total)}."
    )
    return Chart(
        title="Profit by ticker",
        reading=reading,
        section="money",
        note=f"After fees{'' if len(ends) == len(names) else f'; the {_SHOWN} best and the {_SHOWN} worst'}. "
        f"{_open_note(ledger)}".strip(),
        **_profit_bars({name: profits[name] for name in ends})
        | {
            "table": Table(
                columns=(
                    Column(name="ticker", values=names),
                    Column(name="profit", values=list(profits.values()), unit=MONEY),
                )
            )
        },
    )


def profit_by_group(run: Run, extras: Extras) -> Chart | None:
    """Draw what each group of tickers brought in; None if the run was compared without groups."""
    if not extras.groups:
        return None
    profits: dict[str, float] = {}
    for ticker, profit in read_ledger(run).profit_by_ticker().items():
        group = extras.groups.get(ticker, "no group")
        profits[group] = profits.get(group, 0.0) + profit
    ordered = dict(sorted(profits.items(), key=lambda item: (-item[1], item[0])))
    best = next(iter(ordered))
    return Chart(
        title="Profit by group",
        reading=f"{best} brought in {money(ordered[best])} of {money(sum(ordered.values()))}.",
        section="money",
        note="After fees.",
        **_profit_bars(dict(list(ordered.items())[: _SHOWN * 2])),
    )


def round_trips(run: Run, extras: Extras) -> Chart | None:
    """Draw the returns of closed positions; None with fewer than two."""
    trips = read_ledger(run).trips
    if len(trips) < 2:
        return None
    returns = np.array([trip.profit / trip.value if trip.value else 0.0 for trip in trips])
    held = np.array([(trip.closed - trip.opened).astype(np.int64) for trip in trips])
    gains, losses = returns[returns > 0], returns[returns < 0]
    sizes = [float(part.mean()) if len(part) else float("nan") for part in (gains, losses)]
    order = np.argsort([-trip.profit for trip in trips], kind="stable")
    ends = order if len(order) <= 2 * _TRIPS else np.concatenate([order[:_TRIPS], order[-_TRIPS:]])
    listed = [trips[at] for at in ends.tolist()]
    columns = (
        Column(name="ticker", values=[trip.ticker for trip in listed]),
        Column(name="opened", values=[str(trip.opened) for trip in listed]),
        Column(name="closed", values=[str(trip.closed) for trip in listed]),
        Column(name="shares", values=[trip.shares for trip in listed], unit=NUMBER),
        Column(name="profit", values=[trip.profit for trip in listed], unit=MONEY),
        Column(name="return", values=returns[ends], unit=SIGNED_PERCENT),
    )
    shown = np.clip(returns, *np.percentile(returns, [0.5, 99.5]))
    drawn = histogram(
        shown,
        [Mark(label="mean", value=float(returns.mean()), role="net")],
        SIGNED_PERCENT,
        y_title="number of round trips",
        x_title="return after fees; the outermost 1% are drawn at the edges",
    )
    return Chart(
        title="Round trips",
        reading=f"{count(len(trips))} round trips of {number(float(held.mean()), 1)} days on average: "
        f"{percent(metrics.win_rate(returns))} made money; gains averaged {signed_percent(sizes[0])}, losses "
        f"{signed_percent(sizes[1])}.",
        section="money",
        note=f"{_extremes(trips)} Shares that were bought first are sold first; overlapping tranches of one ticker may "
        "be matched across tranches.",
        **drawn | {"table": Table(columns=columns, caption="The best and the worst round trips by profit.")},
    )


def _extremes(trips: tuple[Trip, ...]) -> str:
    """Name the best and the worst round trip."""
    best, worst = max(trips, key=lambda trip: trip.profit), min(trips, key=lambda trip: trip.profit)
    return (
        f"Best: {best.ticker}, closed {best.closed}, {money(best.profit)}; worst: {worst.ticker}, closed "
        f"{worst.closed}, {money(worst.profit)}."
    )


def _profit_bars(profits: dict[str, float]) -> dict[str, Any]:
    """Draw profits as horizontal bars."""
    values = [IntervalBar(label=name, value=value, highlighted=value > 0) for name, value in profits.items()]
    return horizontal_bars(values, MONEY, x_title="profit, in the currency of the prices", y_title="ticker or group")


def _open_note(ledger: Ledger) -> str:
    """Name the positions that are still open at the end, whose profit is not complete."""
    left = np.unique(ledger.ticker)[_left_open(ledger)]
    if not len(left):
        return ""
    return f"Still open at the end, so that their purchase counts as a loss: {', '.join(left[:5].tolist())}."


def _left_open(ledger: Ledger) -> Bool:
    """Return a mask of the distinct tickers whose shares do not sum to 0."""
    names, place = np.unique(ledger.ticker, return_inverse=True)
    rest = np.abs(np.bincount(place, weights=ledger.shares, minlength=len(names)))
    most = np.bincount(place, weights=np.abs(ledger.shares), minlength=len(names))
    open_ones: Bool = rest > 1e-9 * most
    return open_ones
