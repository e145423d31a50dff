"""Calibration: forecasts whose slope is 1, and confidences that are the frequency of right signs.

The slope of realized on forecast values is not a constant: it fluctuates around a mean over half-years and years, and
there may be no skill at all. So the slope to expect is estimated from all sessions that were forecast by a fit on
earlier ones, in two hypotheses: no skill, or a slope that is a Gaussian process over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64, Int64
from encash.metrics import newey_west_t

PRIOR_SLOPE_DEVIATION = 0.1
"""Minimum standard deviation of the slope of forecasts whose scale was fitted before, on earlier sessions."""
MOST_FACTOR = 2.0
CHANCE = 8.0
"""Squared errors from 1 at which half of a squared distance counts as real."""
NORMAL_SLOPE = 1.6
"""Log odds of a right sign per standard deviation of a forecast, if returns are normal: logit Φ(x) ≈ 1.6 x."""
NEWTON_STEPS = 20
SLOPE_PRIOR = (0.6, 0.25)
"""Mean and standard deviation of the long-run slope of forecasts with skill, before any session is tested."""
FLUCTUATIONS = (0.0, 0.1, 0.2, 0.3, 0.5)
"""Candidates for the standard deviation of the slope around its long-run mean."""
HALF_LIFE = 504.0
"""Sessions after which half of a deviation from the long-run mean is left."""
PERIOD = 126
"""Sessions over which a slope is measured."""
AHEAD = 252.0
"""Sessions from the last evidence to the middle of the time that a calibration is made for."""
DIFFERENT_MODEL = 0.25
"""Standard deviation of the slope of a model around that of all models that started as the same regression."""
LEAST_SLOPE = 0.02
"""Forecasts without skill keep this share of their size, so that they still have an order."""
LEAST_VARIANCE = 1e-6
WINSORIZED_TO = (0.005, 0.995)
"""Quantiles that forecasts and realized values are limited to when their slope is measured."""
CLEAR_SKILL = 0.9
"""Probability of skill from which on it counts as found."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Forecasts of sessions by a fit on earlier ones, and what followed."""

    forecast: Float64
    """shape (n, H)."""
    target: Float64
    """Realized values, with a mean near 0; NaN if missing; shape (n, H)."""
    session: Int64
    """shape (n,)."""
    model: int = 0
    """Number of the model that made them; slopes of different models are related, but not equal."""


@dataclass(frozen=True, kw_only=True)
class ExpectedSlope:
    """Slope of realized on forecast values to expect of the next two years."""

    probability: float
    """Probability that the slope is not zero; 0.5 without evidence."""
    mean: float
    """Expected slope if there is skill."""

    @property
    def factor(self) -> float:
        """Factor that calibrates the forecasts: the expected slope over both hypotheses, within limits."""
        return min(max(self.probability * self.mean, LEAST_SLOPE), MOST_FACTOR)

    @property
    def found(self) -> bool:
        """True if the evidence is clearly better explained by skill than by none, and forecasts do not mislead."""
        return self.probability >= CLEAR_SKILL and self.mean > LEAST_SLOPE


def expect_slopes(evidence: Sequence[Evidence], horizons: Sequence[int]) -> list[ExpectedSlope]:
    """Estimate the slope to expect after the last evidence, for each horizon.

    With skill, slopes have a normal long-run mean, around which they fluctuate with exponentially decreasing
    autocorrelation: Gaussian process regression (Rasmussen and Williams 2006, equations 2.23 to 2.30). Different sizes
    of the fluctuations are averaged by their likelihood over all horizons, skill and no skill by that of the horizon.
    """
    history = [[_periods(one, at, horizon) for one in evidence] for at, horizon in enumerate(horizons)]
    models = [one.model for one in evidence]
    found = [[_follow(parts, models, fluctuation) for fluctuation in FLUCTUATIONS] for parts in history]
    means, likelihoods = np.moveaxis(np.array(found), 2, 0)
    weights = np.exp(likelihoods.mean(axis=0) - likelihoods.mean(axis=0).max())
    weights /= weights.sum()
    expected = []
    for mean, likelihood, parts in zip(means, likelihoods, history, strict=True):
        skill = float(np.log(weights @ np.exp(likelihood - likelihood.max())) + likelihood.max())
        none = sum(float(-0.5 * (slope**2 / variance + np.log(variance)).sum()) for _, slope, variance in parts)
        probability = 1.0 / (1.0 + float(np.exp(np.clip(none - skill, -50.0, 50.0))))
        expected.append(ExpectedSlope(probability=probability, mean=float(weights @ mean)))
    return expected


Periods = tuple[Float64, Float64, Float64]
"""Middle session, slope, and variance of its error, of some periods; each of shape (P,)."""


def _follow(parts: Sequence[Periods], models: Sequence[int], fluctuation: float) -> tuple[float, float]:
    """Return the slope to expect of the last model, and the log likelihood of the measured slopes up to a constant."""
    at, slope, variance = (np.concatenate(values) for values in zip(*parts, strict=True))
    model = np.repeat(np.array(models, dtype=np.int64), [len(one[0]) for one in parts])
    mean, deviation = SLOPE_PRIOR
    if not len(at):
        return mean, 0.0

    def covariance(when: Float64, which: Int64) -> Float64:
        fading = 0.5 ** (np.abs(when[:, None] - at) / HALF_LIFE)
        different = DIFFERENT_MODEL**2 * (which[:, None] == model)
        result: Float64 = deviation**2 + fluctuation**2 * fading + different
        return result

    matrix = covariance(at, model) + np.diag(variance)
    weight = np.linalg.solve(matrix, slope - mean)
    later = covariance(at[-1:] + AHEAD, np.array(models[-1:]))
    likelihood = -0.5 * (float((slope - mean) @ weight) + float(np.linalg.slogdet(matrix)[1]))
    return mean + float((later @ weight)[0]), likelihood


def _periods(evidence: Evidence, at: int, horizon: int) -> Periods:
    """Return the slopes of one horizon over consecutive periods; none if they hold less than two independent returns.

    The variance per session is that of all sessions of the evidence.
    """
    known = np.isfinite(evidence.forecast[:, at]) & np.isfinite(evidence.target[:, at])
    sessions, place = np.unique(evidence.session[known], return_inverse=True)
    step = session_step(sessions)
    independent = len(sessions) * min(1.0, step / horizon)
    nothing = np.empty(0), np.empty(0), np.empty(0)
    if independent < 2:
        return nothing
    x, y = _within(evidence.forecast[known, at]), _within(evidence.target[known, at])
    along, square = np.bincount(place, weights=x * y), np.bincount(place, weights=x * x)
    if not square.sum() > 0:
        return nothing
    rest = along - along.sum() / square.sum() * square
    lags = overlap_lags(sessions, horizon)
    error = mean_error(rest, lags) if len(rest) > 4 * lags else rest.std() / np.sqrt(independent - 1)
    count = max(1, round(len(sessions) * step / PERIOD))
    cuts = np.linspace(0, len(sessions), count + 1).round().astype(np.int64)
    size, total = np.diff(cuts), np.add.reduceat(square, cuts[:-1])
    kept = total > 0
    middle = sessions[cuts[:-1] + size // 2]
    slope = np.add.reduceat(along, cuts[:-1])[kept] / total[kept]
    variance = error**2 * len(sessions) * size[kept] / total[kept] ** 2
    return middle[kept].astype(np.float64), slope, np.maximum(np.nan_to_num(variance), LEAST_VARIANCE)


def _within(values: Float64) -> Float64:
    """Return values around their mean, the extreme ones limited, so that a wrong price moves no slope."""
    low, high = np.quantile(values, WINSORIZED_TO)
    limited = np.clip(values, low, high)
    result: Float64 = limited - limited.mean()
    return result


def session_step(sessions: Int64) -> int:
    """Return the usual number of sessions from one to the next of some sorted sessions; 1 for a single one."""
    return max(1, int(np.median(np.diff(sessions)))) if len(sessions) > 1 else 1


def overlap_lags(sessions: Int64, horizon: int) -> int:
    """Return the lags of a standard error of returns: twice the overlap, in sorted sessions that may have gaps."""
    return 2 * max(0, -(-horizon // session_step(sessions)) - 1)


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
