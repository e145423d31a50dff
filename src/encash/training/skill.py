"""Skill of forecasts on held-out sessions, with standard errors that hold for overlapping returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64
from encash.metrics import rank_ic
from encash.training.calibration import mean_error, measure_slope, overlap_lags
from encash.training.samples import Samples


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Figures of one forecaster, by horizon where a dictionary."""

    rank_ic: dict[str, float]
    """Mean rank correlation of forecast and return over the sessions."""
    rank_ic_error: dict[str, float | None]
    """Standard errors; None with fewer than two sessions."""
    loss: float
    """Mean squared error of excess returns in standard deviations; a forecast of the mean has about 1."""
    loss_error: float | None
    """Standard error of the difference from the loss of a forecast of the mean."""


def measure_skill(forecast: Float64, samples: Samples, targets: Float64, horizons: Sequence[int]) -> Skill:
    """Measure forecasts of whole sessions.

    Args:
        forecast: of excess returns in standard deviations, shape (n, H).
        samples: the windows and returns.
        targets: the realized values, winsorized, shape (n, H); NaN if missing.
        horizons: sessions ahead, H of them.
    """
    daily = daily_rank_ic(forecast, samples)
    lags = [overlap_lags(np.unique(samples.session), horizon) for horizon in horizons]
    gain = by_session(np.nanmean(np.square(forecast - targets) - np.square(targets), axis=1), samples)
    return Skill(
        rank_ic={str(h): _mean(daily[:, at]) for at, h in enumerate(horizons)},
        rank_ic_error={str(h): finite(mean_error(daily[:, at], lags[at])) for at, h in enumerate(horizons)},
        loss=float(np.nanmean(np.square(forecast - targets))),
        loss_error=finite(mean_error(gain, max(lags))),
    )


def measure_slopes(
    forecast: Float64, samples: Samples, targets: Float64, horizons: Sequence[int]
) -> list[tuple[float, float]]:
    """Return slope and standard error of realized on forecast values, for each horizon."""
    return [
        measure_slope(
            forecast[:, at], targets[:, at], samples.session, overlap_lags(np.unique(samples.session), horizon)
        )
        for at, horizon in enumerate(horizons)
    ]


def daily_rank_ic(forecast: Float64, samples: Samples) -> Float64:
    """Return the rank correlation across the tickers of each session, shape (sessions, H)."""
    sessions, row = np.unique(samples.session, return_inverse=True)
    shape = len(sessions), int(samples.ticker.max()) + 1

    def on_grid(values: Float64) -> Float64:
        grid = np.full(shape, np.nan)
        grid[row, samples.ticker] = values
        return grid

    columns = range(forecast.shape[1])
    return np.stack([rank_ic(on_grid(forecast[:, at]), on_grid(samples.returns[:, at])) for at in columns], axis=1)


def by_session(values: Float64, samples: Samples) -> Float64:
    """Return the mean of the values of each session, shape (sessions,); NaN values are left out."""
    _, place = np.unique(samples.session, return_inverse=True)
    known = np.isfinite(values)
    count = np.bincount(place, weights=known)
    with np.errstate(invalid="ignore"):
        means: Float64 = np.bincount(place, weights=np.where(known, values, 0.0)) / count
    return means


def within_session(forecast: Float64, samples: Samples) -> Float64:
    """Return forecasts relative to their mean over the tickers of the session, shape (n, H)."""
    _, place = np.unique(samples.session, return_inverse=True)
    means = np.stack([by_session(column, samples) for column in forecast.T], axis=1)
    result: Float64 = forecast - means[place]
    return result


def finite(value: float) -> float | None:
    """Return a number for JSON: None if it is undefined."""
    return float(value) if np.isfinite(value) else None


def _mean(values: Float64) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
