"""Calibration: forecasts whose slope is 1, and confidences that are the frequency of right signs."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64
from encash.metrics import newey_west_t

PRIOR_SLOPE_DEVIATION = 0.1
"""Least standard deviation of the slope of forecasts whose scale was fitted before, on earlier sessions."""
MOST_FACTOR = 2.0
CHANCE = 8.0
"""Squared errors from 1 at which half of a squared distance counts as real."""
NORMAL_SLOPE = 1.6
"""Log odds of a right sign per standard deviation of a forecast, if returns are normal: logit Φ(x) ≈ 1.6 x."""
NEWTON_STEPS = 20


def shrunk_slope(slope: float, error: float) -> float:
    """Return the factor that calibrates forecasts whose slope was measured, shrunk towards 1; from 0 on.

    The weight of a slope is that of a normal prior around 1, whose variance grows with the distance of the slope from 1
    in its errors (empirical Bayes). So a slope within its errors of 1 changes little, one far from 1 is taken nearly as
    it is. The factor is at most 2: forecasts that were shrunk strongly have little behind them.

    >>> round(shrunk_slope(0.8, 0.2), 3), round(shrunk_slope(0.25, 0.1), 3), shrunk_slope(0.5, float("nan"))
    (0.947, 0.265, 1.0)
    """
    if not np.isfinite(slope) or not np.isfinite(error):
        return 1.0
    square = (slope - 1.0) ** 2
    variance = PRIOR_SLOPE_DEVIATION**2 + square**2 / (square + CHANCE * error**2)
    return min(max(0.0, 1.0 + variance / (variance + error**2) * (slope - 1.0)), MOST_FACTOR)


def measure_slope(forecast: Float64, realized: Float64, session: np.ndarray, lags: int) -> tuple[float, float]:
    """Return slope and standard error of realized on forecast values, pooled over sessions.

    The error is that of a ratio of sums over sessions, robust to their overlap (Newey and West 1987). It is NaN with
    fewer sessions than twice the lags: they hold too few independent returns to tell.

    Args:
        forecast: shape (n,).
        realized: shape (n,); NaN if missing.
        session: session of each value, shape (n,).
        lags: see `metrics.newey_west_t`.
    """
    known = np.isfinite(realized)
    x, y, session = forecast[known], realized[known], session[known]
    if len(x) < 2 or not (square := float(((x - x.mean()) ** 2).sum())) > 0:
        return float("nan"), float("nan")
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y) / square
    _, place = np.unique(session, return_inverse=True)
    if place.max() + 1 < 2 * lags:
        return slope, float("nan")
    influence = np.bincount(place, weights=x * (y - slope * x)) / square * (place.max() + 1)
    return slope, mean_error(influence, lags)


def mean_error(series: Float64, lags: int) -> float:
    """Return the standard error of the mean of an autocorrelated series (Newey and West 1987); NaN below two values.

    >>> round(mean_error(np.array([1.0, 2.0, 3.0]), 0), 6)
    0.471405
    """
    series = series[np.isfinite(series)]
    if len(series) < 2 or not np.ptp(series):
        return float("nan")
    away = series - series.mean() + np.ptp(series)  # the same variance around a mean that is not 0
    return float(away.mean() / newey_west_t(away, lags))


def fit_platt(
    x: Float64, right: Float64, weight: float, prior: tuple[float, float], deviation: tuple[float, float]
) -> Float64:
    """Fit intercept and slope of the log odds of `right` on `x`, with a normal prior (Platt 1999).

    Args:
        x: shape (n,).
        right: 1 if the sign was right, else 0; shape (n,).
        weight: of an observation; below 1 if they overlap.
        prior: mean of intercept and slope.
        deviation: standard deviation of both under the prior.

    Returns:
        shape (2,); the slope is 0 or above.
    """
    design = np.column_stack([np.ones_like(x), x])
    mean, precision = np.asarray(prior), np.diag(1.0 / np.asarray(deviation) ** 2)
    found = mean.copy()
    for _ in range(NEWTON_STEPS):
        odds = 1.0 / (1.0 + np.exp(-design @ found))
        gradient = weight * design.T @ (right - odds) - precision @ (found - mean)
        hessian = weight * (design * (odds * (1 - odds))[:, None]).T @ design + precision
        found = found + np.linalg.solve(hessian, gradient)
    return np.array([found[0], max(found[1], 0.0)])
