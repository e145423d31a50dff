"""Standard errors of dependent series: of a mean, a regression and a Sharpe ratio.

All of them use one estimator of the long-run variance, equal-weighted cosines (Müller 2007; Lazarus, Lewis, Stock and
Watson 2018, HAR Inference: Recommendations for Practice, Journal of Business & Economic Statistics 36): the mean
square of the first ν cosine transforms of the series, with Student's t of ν degrees of freedom. Unlike Newey and
West's (1987) it counts its own uncertainty, so that a 5% test rejects in about 5% even if returns overlap and the
series is short; `benchmarks/verdict_size.py` measures it. An error here is multiplied by the critical value of that
distribution over 1.96: readers know 1.96, and need no degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from encash.arrays import Float64

_FEWEST_VALUES = 8
"""Shortest series with a standard error."""
CRITICAL = NormalDist().inv_cdf(0.975)
"""1.96: two-sided critical value of a normal distribution at 5%."""
ROUNDING = 1e-12
"""A deviation of returns at or below this is rounding."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its standard error; NaN if undefined."""

    value: float
    error: float
    """Standard error, such that the estimate ± 1.96 errors is a 95% interval; NaN if the series is too short or does
    not vary."""

    @property
    def t(self) -> float:
        """The t-statistic: beyond ±1.96 is significant at 5%, however short the series."""
        return self.value / self.error

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval."""
        return self.value - CRITICAL * self.error, self.value + CRITICAL * self.error

    def times(self, factor: float) -> Estimate:
        """Return the estimate in a different unit, such as per year."""
        return Estimate(value=self.value * factor, error=self.error * factor)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Ordinary least squares of a series on regressors, with an intercept."""

    alpha: Estimate
    """Intercept."""
    beta: tuple[float, ...]
    """Slope of each regressor."""


def mean_of(series: Float64, overlap: int = 1) -> Estimate:
    """Estimate the mean of a series.

    Args:
        series: shape (n,); NaN entries are left out.
        overlap: values that share a part of the same return: h for daily values of an h-session return.

    >>> mean_of(np.array([1.0, 2.0] * 50)).value
    1.5
    """
    series = np.asarray(series, dtype=np.float64)
    series = series[~np.isnan(series)]
    value = float(series.mean()) if len(series) else np.nan
    return _estimate(value, series - value, overlap, scale=float(np.abs(series).max(initial=0.0)))


def regress(series: Float64, regressors: Float64) -> Regression:
    """Regress a series on others: alpha and betas.

    Args:
        series: such as returns, shape (n,).
        regressors: such as returns of a benchmark, shape (n,) or (n, k). Sessions with a NaN are left out.

    >>> line = regress(2.0 * np.arange(9.0) + 1.0, np.arange(9.0))
    >>> round(line.alpha.value, 9), round(line.beta[0], 9), line.alpha.error
    (1.0, 2.0, nan)
    """
    columns = np.asarray(regressors, dtype=np.float64).reshape(len(series), -1)
    known = ~np.isnan(series) & ~np.isnan(columns).any(axis=1)
    values, columns = np.asarray(series, dtype=np.float64)[known], columns[known]
    if len(values) <= columns.shape[1] + 1:
        undefined = Estimate(value=np.nan, error=np.nan)
        return Regression(alpha=undefined, beta=(np.nan,) * columns.shape[1])
    coefficients, influence = least_squares(values, columns)
    scale = float(np.abs(values).max(initial=0.0))
    alpha = _estimate(float(coefficients[0]), influence, overlap=1, scale=scale)
    return Regression(alpha=alpha, beta=tuple(map(float, coefficients[1:])))


def sharpe_of(returns: Float64) -> Estimate:
    """Estimate the mean over the deviation of returns, per session.

    Its error follows from the influence of each return, (r − μ) / σ − ½ · S · ((r − μ)² / σ² − 1), so that skewness,
    fat tails and autocorrelation count (Lo 2002, The Statistics of Sharpe Ratios; Mertens 2002).

    Args:
        returns: shape (n,); NaN entries are left out.
    """
    returns = np.asarray(returns, dtype=np.float64)
    returns = returns[~np.isnan(returns)]
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if deviation <= ROUNDING:
        return Estimate(value=np.nan, error=np.nan)
    standard = (returns - returns.mean()) / deviation
    ratio = float(returns.mean()) / deviation
    return _estimate(ratio, standard - 0.5 * ratio * (standard**2 - 1.0), overlap=1, scale=1.0)


def least_squares(series: Float64, regressors: Float64) -> tuple[Float64, Float64]:
    """Regress m series at once on an intercept and k regressors.

    Args:
        series: shape (…, n), without NaN.
        regressors: shape (n, k).

    Returns:
        Coefficients, shape (…, 1 + k), the intercept first; and the influence of each value on the intercept, whose
        mean is 0: shape (…, n).
    """
    design = np.column_stack([np.ones(len(regressors)), regressors])
    inverse = np.linalg.pinv(design)
    coefficients: Float64 = series @ inverse.T
    influence: Float64 = (series - coefficients @ design.T) * inverse[0] * len(design)
    return coefficients, influence


def standard_errors(influence: Float64, overlap: int = 1) -> Float64:
    """Estimate the standard errors of means from the influence of each value on them.

    ν is the lesser of 0.41 · n^⅔, the recommendation of Lazarus et al., and n / (2 · overlap), beyond which the
    cosines turn faster than returns that overlap.

    Args:
        influence: shape (…, n).
        overlap: as in `mean_of`.

    Returns:
        Errors, such that 1.96 of them are half a 95% interval, shape (…); NaN for a series of fewer than 8 values.
    """
    count = influence.shape[-1]
    if count < _FEWEST_VALUES:
        return np.full(influence.shape[:-1], np.nan)
    freedom = max(2, min(int(0.41 * count ** (2.0 / 3.0)), count // (2 * overlap)))
    transforms = influence @ _cosines(count, freedom)
    errors: Float64 = np.sqrt((transforms**2).mean(axis=-1) / count) * student_quantile(0.975, freedom) / CRITICAL
    return errors


def student_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t, for 3 and more degrees of freedom within 1% (Wallace 1959).

    >>> round(student_quantile(0.975, 8), 2), round(student_quantile(0.975, 1000), 2)
    (2.31, 1.96)
    """
    return float(student_quantiles(probability, np.float64(freedom)))


def student_quantiles(probability: float, freedom: Float64 | np.float64) -> Float64:
    """Return a quantile of Student's t for each number of degrees of freedom; as `student_quantile`.

    Far in the tails it errs to larger values: at a probability of 1e-8, by 3% with 9 degrees of freedom, by 14% with 5.
    """
    stretched = NormalDist().inv_cdf(probability) * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    quantiles: Float64 = np.sign(stretched) * np.sqrt(freedom * np.expm1(stretched**2 / freedom))
    return quantiles


@lru_cache(maxsize=4)
def _cosines(count: int, freedom: int) -> Float64:
    """Return the first ν cosines of a series of n values, orthonormal; shape (n, ν)."""
    angle = np.pi * np.outer(np.arange(count) + 0.5, np.arange(1, freedom + 1)) / count
    cosines: Float64 = np.sqrt(2.0 / count) * np.cos(angle)
    return cosines


def _estimate(value: float, influence: Float64, overlap: int, *, scale: float) -> Estimate:
    """Return an estimate; without a deviation beyond rounding its error is undefined."""
    known = float(np.abs(influence).max(initial=0.0)) > ROUNDING * max(scale, 1.0)
    return Estimate(value=value, error=float(standard_errors(influence, overlap)) if known else np.nan)
