"""Proofs of the features: reproduced from prices, unchanged by the future, and no suspicious correlation with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from encash import metrics
from encash.arrays import Days, Float32
from encash.audit.poison import cut_bars, poisoned_bars
from encash.audit.subject import Check, FeatureMaker, Features, Subject
from encash.panel import Bars, Panel, PriceTable
from encash.panel.features import config_of, panel_features
from encash.progress import Progress

TOO_GOOD = {1: 0.25, 5: 0.35, 20: 0.45}
"""Number of sessions → rank correlation with the return over them that no honest daily feature reaches."""


def feature_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Compute the features again without the prices after a day and with poisoned ones; correlate them with returns."""
    yield _correlation_check(subject)
    bars = _closes(subject.prices) if subject.bars is None else subject.bars
    make = subject.make_features or _maker_of(subject.panel, bars)
    name = "features: truncation and poison"
    if make is None:
        detail = (
            "encash prepare computes different features from these prices; give the table from which yours were "
            "prepared (--raw), or the function that computes them"
        )
        yield Check(name=name, passed=None, detail=detail)
        return
    whole = make(bars)
    if subject.bars is not None:
        yield _reproduction_check(subject.panel, whole)
    days, moved = subject.cut_days(), list[str]()
    for day in days:
        for how, changed in (("cut", cut_bars(bars, day)), ("poisoned", poisoned_bars(bars, day, subject.seed))):
            again = make(changed)
            moved += [
                f"{ticker} {how} at {day}" for ticker in again if not _same_past(whole[ticker], again[ticker], day)
            ]
    unchanged = f"no feature changed up to {', '.join(map(str, days))}"
    detail = f"changed: {'; '.join(moved[:3])}, {len(moved)} in total" if moved else unchanged
    yield Check(name=name, passed=not moved, detail=detail)


def _reproduction_check(panel: Panel, made: Features) -> Check:
    """Compare the features of the panel with those that are made again; the other checks are about the latter."""
    last, different = panel.sessions[-1], []
    for ticker in panel.tickers:
        rows = panel.rows((ticker,))
        if ticker not in made or not _same_past((rows.days, rows.values), made[ticker], last):
            different.append(ticker)
    detail = (
        f"{len(different)} of {len(panel.tickers)} tickers differ, {different[0]} first: their features come from "
        "different prices"
        if different
        else f"the features of {len(panel.tickers)} tickers are the same, bit for bit"
    )
    return Check(name="features: reproduced from prices", passed=not different, detail=detail)


def _correlation_check(subject: Subject) -> Check:
    """Correlate each feature with the return of the next session and of the next weeks."""
    rows, prices = subject.panel.rows(), subject.prices
    owner = np.repeat(np.arange(len(rows.tickers)), np.diff(rows.offsets))
    place = {ticker: column for column, ticker in enumerate(prices.tickers)}
    column = np.array([place.get(ticker, -1) for ticker in rows.tickers])[owner]
    row = np.minimum(np.searchsorted(prices.days, rows.days), len(prices.days) - 1)
    there = (column >= 0) & (prices.days[row] == rows.days)
    names = subject.panel.feature_names
    worst = (0.0, 0.0, "none", 1)
    for horizon, limit in TOO_GOOD.items():
        target = np.where(there, metrics.forward_returns(prices.close, horizon)[row, column], np.nan)
        known = np.flatnonzero(np.isfinite(target))
        known = known[:: max(1, len(known) // 50_000)]
        for number in range(rows.values.shape[1]):
            values = rows.values[known, number].astype(np.float64)
            finite = np.isfinite(values)
            found = abs(float(metrics.rank_ic(values[None, finite], target[known][None, finite])[0]))
            worst = max(worst, (found / limit, found, names[number] if names else f"number {number}", horizon))
    excess, found, name, horizon = worst
    detail = (
        f"the highest rank correlation is that of {name} with the return of the next {horizon} sessions: {found:.3f} "
        f"(limit {TOO_GOOD[horizon]})"
    )
    return Check(name="features: correlation with future returns", passed=excess <= 1, detail=detail)


def _maker_of(panel: Panel, bars: Mapping[str, Bars]) -> FeatureMaker | None:
    """Return the function of ``encash prepare``, if the panel has the features that it computes from the bars."""
    config = config_of(panel, bars)
    if config is None:
        return None

    def make(some: Mapping[str, Bars]) -> Features:
        return {ticker: (days, values) for ticker, days, values in panel_features(some, config)}

    return make


def _closes(prices: PriceTable) -> dict[str, Bars]:
    """Return the closes of each ticker on its own days."""
    bars = {}
    for column, ticker in enumerate(prices.tickers):
        traded = np.isfinite(prices.close[:, column])
        bars[ticker] = Bars(days=prices.days[traded], close=prices.close[traded, column])
    return bars


def _same_past(whole: tuple[Days, Float32], again: tuple[Days, Float32], day: np.datetime64) -> bool:
    """Compare days and values up to a day, bit for bit."""
    (days, values), (other_days, other) = whole, again
    until, other_until = days <= day, other_days <= day
    return (
        np.array_equal(days[until], other_days[other_until]) and values[until].tobytes() == other[other_until].tobytes()
    )
