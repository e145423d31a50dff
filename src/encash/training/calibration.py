"""Calibration: forecasts whose slope is 1, and confidences that are the frequency of right signs."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64
from encash.metrics import newey_west_t

PRIOR_SLOPE_DEVIATION = 0.25
"""Standard deviation of the slope of forecasts that were fitted with care, before it is measured."""
NORMAL_SLOPE = 1.6
"""Log odds of a right sign per standard deviation of a forecast, if returns are normal: logit Φ(x) ≈ 1.6 x."""
NEWTON_STEPS = 20


def shrunk_slope(slope: float, error: float, prior_deviation: float = PRIOR_SLOPE_DEVIATION) -> float:
    """Combine a measured slope with 1, each weighted by its precision; from 0 on.

    >>> shrunk_slope(0.5, 0.25), shrunk_slope(0.5, float("nan"))
    (0.75, 1.0)
    """
    if not np.isfinite(slope) or not np.isfinite(error):
        return 1.0
    weight = prior_deviation**2 / (prior_deviation**2 + error**2)
    return max(0.0, 1.0 + weight * (slope - 1.0))


def measure_slope(forecast: Float64, realized: Float64, session: np.ndarray, lags: int) -> tuple[float, float]:
    """Return slope and standard error of realized on forecast values, pooled over sessions.

    The error is that of a ratio of sums over sessions, robust to their overlap (Newey and West 1987).

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
