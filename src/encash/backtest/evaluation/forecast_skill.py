"""Forecast skill: information coefficients, quantile returns and their decay."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float64
from encash.backtest.files import json_value
from encash.backtest.inputs.run_setup import Sessions
from encash.backtest.inputs.signals import SignalGrid
from encash.backtest.outcome import Outcome
from encash.cache.signal_reader import SignalReader
from encash.significance import mean_of

DECAY_SESSIONS = (0, 1, 2, 5, 10, 20)
"""Sessions from the signal to the beginning of the return."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DailySkill:
    """Skill of the forecasts of one horizon on each of D days; NaN if undefined."""

    days: Days
    """shape (D,)."""
    rank_ic: Float64
    """shape (D,)."""
    quantile_returns: Float64
    """Mean return of each quintile by forecast, lowest first, shape (D, 5)."""


@dataclass(frozen=True, kw_only=True)
class ForecastSkill:
    """Skill of the forecasts of one horizon, day by day."""

    horizon: int
    days: int
    """Days with a coefficient."""
    ic: float
    """Mean Pearson correlation across the tickers of a day."""
    icir: float
    """Mean over standard deviation of the daily IC, not annualized."""
    ic_t: float
    """t of the mean, robust to returns that overlap; see `encash.significance`."""
    rank_ic: float
    rank_icir: float
    rank_ic_t: float
    quantile_returns: tuple[float, ...]
    """Mean return of each quintile of the tickers by forecast, lowest first, averaged over the days."""
    quantile_errors: tuple[float, ...]
    """Standard errors of these means, robust to returns that overlap."""
    spread: float
    """Return of the highest quintile less that of the lowest."""
    spread_t: float
    decay: tuple[tuple[int, float], ...]
    """(sessions, mean rank IC) of the same forecasts with the returns that begin that many sessions later."""
    autocorrelation: tuple[tuple[int, float], ...]
    """(sessions, mean rank correlation) of the forecasts of a day with those of the same tickers that much later."""
    daily: DailySkill
    """Day by day; not part of the JSON values."""
    reliability: tuple[tuple[float, float, int], ...] = ()
    """(mean confidence, share of right signs, number) of five groups of forecasts, least confident first. A sign is
    right if forecast and return are on the same side of the mean over the tickers of the day."""
    settled: int = 0
    """Forecasts of tickers that stopped trading within the horizon; the delisting policy decides their returns."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; undefined figures are null."""
        names = (part.name for part in fields(self) if part.name != "daily")
        return {name: json_value(getattr(self, name)) for name in names}


def measure_forecast_skill(
    sessions: Sessions,
    signals: SignalGrid,
    horizon: int,
    admitted: Bool | None = None,
    *,
    delisting: metrics.Delisting = "last",
) -> ForecastSkill:
    """Measure the skill of the forecasts of one horizon on the days of the signals.

    Returns are those of `metrics.settled_returns`: from the close of the day to the close `horizon` sessions later, or
    to the settlement of a ticker that stopped trading in between.

    Args:
        sessions: prices of the run; nothing after its last session is used.
        signals: signals of sessions of the run, on its universe.
        horizon: a horizon of the forecasts, in sessions.
        admitted: tickers to include, shape (days, tickers); None for all with a forecast.
        delisting: the policy for tickers that stop trading.
    """
    forecast, confidence = (values.astype(np.float64) for values in signals.of_horizon(horizon))
    if admitted is not None:
        forecast = np.where(admitted, forecast, np.nan)
    rows = np.searchsorted(sessions.days, signals.days)
    step = int(np.median(np.diff(rows))) if len(rows) > 1 else horizon
    overlap = -(-horizon // max(step, 1))
    following, stopped = metrics.settled_returns(sessions.close, horizon, delisting)
    realised = following[rows]
    pearson, spearman = metrics.ic(forecast, realised), metrics.rank_ic(forecast, realised)
    fifths = quantile_returns(forecast, realised, 5)
    spread = fifths[:, -1] - fifths[:, 0]
    return ForecastSkill(
        horizon=horizon,
        days=int((~np.isnan(pearson)).sum()),
        ic=_mean(pearson),
        icir=metrics.icir(pearson),
        ic_t=mean_of(pearson, overlap).t,
        rank_ic=_mean(spearman),
        rank_icir=metrics.icir(spearman),
        rank_ic_t=mean_of(spearman, overlap).t,
        quantile_returns=tuple(_mean(column) for column in fifths.T),
        quantile_errors=tuple(mean_of(column, overlap).error for column in fifths.T),
        spread=_mean(spread),
        spread_t=mean_of(spread, overlap).t,
        decay=tuple((later, _mean(_rank_ic_later(forecast, following, rows, later))) for later in DECAY_SESSIONS),
        autocorrelation=tuple((later, _mean(_with_later(forecast, later // max(step, 1)))) for later in _lags(step)),
        daily=DailySkill(days=signals.days, rank_ic=spearman, quantile_returns=fifths),
        reliability=_reliability(forecast, confidence, realised),
        settled=int((stopped[rows] & ~np.isnan(forecast)).sum()),
    )


def compare_forecasts(outcome: Outcome, lookup: SignalReader) -> list[dict[str, Any]]:
    """Compare the forecasts of a run with the encoder's own, or with those that they average, on the common cells.

    Args:
        outcome: of the run.
        lookup: that of the run.

    Returns:
        Name, number of days and cells, IC and rank IC with their t, of the forecasts that were used and of each other;
        plain JSON values. Empty if there is nothing to compare.
    """
    signals, horizon = outcome.signals, outcome.config.signal_horizon
    row, column = np.nonzero(signals.found)
    cells = signals.days[row], np.asarray(signals.tickers)[column]
    if not (others := lookup.other_forecasts(*cells, horizon)):
        return []
    place = signals.horizons.index(horizon)
    grids = {lookup.forecasts.source if lookup.forecasts else "in use": signals.forecast[place]}
    for name, values in others.items():
        grids[name] = np.full(signals.found.shape, np.nan, dtype=np.float32)
        grids[name][row, column] = values
    shared: Bool = np.isfinite(np.stack(list(grids.values()))).all(axis=0)
    rows = []
    for name, grid in grids.items():
        forecast = signals.forecast.copy()
        forecast[place] = grid
        skill = measure_forecast_skill(
            outcome.setup.sessions,
            replace(signals, forecast=forecast),
            horizon,
            shared,
            delisting=outcome.config.delisting,
        )
        figures = {key: json_value(getattr(skill, key)) for key in ("days", "ic", "ic_t", "rank_ic", "rank_ic_t")}
        rows.append({"name": name, "cells": int(shared.sum()), **figures})
    return rows


def quantile_returns(forecast: Float64, realised: Float64, groups: int) -> Float64:
    """Return the mean return of each group of tickers by rank of forecast, lowest first; shape (days, groups).

    A day with fewer tickers than groups is NaN.

    >>> quantile_returns(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.1, 0.3, 0.2, 0.4]]), 2).round(6).tolist()
    [[0.2, 0.3]]
    """
    gap = np.isnan(forecast) | np.isnan(realised)
    rank = metrics.ranks(np.where(gap, np.nan, forecast))
    count = (~gap).sum(axis=1, keepdims=True)
    group = np.minimum(np.floor((rank - 1.0) / np.maximum(count, 1) * groups), groups - 1)
    result = np.full((len(forecast), groups), np.nan)
    for number in range(groups):
        inside = group == number
        size = inside.sum(axis=1)
        mean = np.where(inside, realised, 0.0).sum(axis=1) / np.maximum(size, 1)
        result[:, number] = np.where((size > 0) & (count[:, 0] >= groups), mean, np.nan)
    return result


def _reliability(forecast: Float64, confidence: Float64, realised: Float64) -> tuple[tuple[float, float, int], ...]:
    """Compare claimed and realized frequencies of right signs; empty without a confidence that varies."""
    known = ~(np.isnan(forecast) | np.isnan(confidence) | np.isnan(realised))
    excess = [_less_mean(np.where(known, values, np.nan)) for values in (forecast, realised)]
    claimed = confidence[known]
    if not len(claimed) or not np.ptp(claimed):
        return ()
    groups = metrics.reliability(claimed, metrics.right_signs(*excess)[known])
    return tuple((group["confidence"], group["right"], int(group["count"])) for group in groups)


def _less_mean(values: Float64) -> Float64:
    """Subtract the mean over the tickers of each day."""
    count = np.maximum((~np.isnan(values)).sum(axis=1, keepdims=True), 1)
    result: Float64 = values - np.nansum(values, axis=1, keepdims=True) / count
    return result


def _rank_ic_later(forecast: Float64, following: Float64, rows: np.ndarray, later: int) -> Float64:
    """Return the rank IC with the returns that begin some sessions later, shape (days,)."""
    inside = rows + later < len(following)
    return metrics.rank_ic(forecast[inside], following[rows[inside] + later])


def _lags(step: int) -> tuple[int, ...]:
    """Return the lags in sessions at which forecasts of every n-th session are compared."""
    return tuple(later for later in DECAY_SESSIONS if later and later % max(step, 1) == 0) or (max(step, 1),)


def _with_later(forecast: Float64, later: int) -> Float64:
    """Return the rank correlation of forecasts with those `later` rows later, shape (days − later,)."""
    if later >= len(forecast):
        return np.empty(0)
    return metrics.rank_ic(forecast[:-later], forecast[later:])


def _mean(values: Float64) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
