"""Calibration: slopes, confidences and their errors."""

import numpy as np
import pytest

from encash.metrics import right_signs
from encash.training.calibration import fit_platt, mean_error, measure_slope, shrunk_slope


def test_the_slope_and_its_error_are_those_of_a_regression():
    """On independent sessions, the slope lies within its errors of the truth, and the error the usual one."""
    random = np.random.default_rng(0)
    x = random.normal(size=20_000)
    y = 0.3 * x + random.normal(size=len(x))
    slope, error = measure_slope(x, y, np.arange(len(x)), lags=0)
    assert slope == pytest.approx(0.3, abs=3 * error)
    assert error == pytest.approx(1 / np.sqrt(len(x)), rel=0.05)


def test_few_sessions_of_long_returns_tell_nothing():
    """With fewer sessions than twice the lags, the error of a slope is not defined, and the slope does not count."""
    random = np.random.default_rng(0)
    slope, error = measure_slope(random.normal(size=300), random.normal(size=300), np.arange(300) // 10, lags=38)
    assert np.isfinite(slope)
    assert shrunk_slope(slope, error) == 1.0


def test_a_constant_forecast_has_no_slope():
    """Neither slope nor error are defined, and shrinking changes nothing."""
    slope, error = measure_slope(np.ones(10), np.arange(10.0), np.arange(10), lags=0)
    assert np.isnan(slope)
    assert shrunk_slope(slope, error) == 1.0


@pytest.mark.parametrize(
    ("slope", "error", "low", "high"),
    [(0.2, 0.01, 0.2, 0.21), (0.2, 0.8, 0.9, 1.0), (1.1, 0.1, 1.0, 1.06), (9.0, 0.1, 2.0, 2.0), (-3.0, 0.01, 0.0, 0.0)],
)
def test_a_slope_counts_as_far_as_it_is_known(slope, error, low, high):
    """A precise slope is taken, a vague one is not, and none is below 0."""
    assert low <= shrunk_slope(slope, error) <= high


def test_overlap_widens_an_error():
    """The error of a mean of moving sums is far above that of independent values."""
    values = np.convolve(np.random.default_rng(0).normal(size=5000), np.ones(20), "valid")
    assert mean_error(values, 38) > 3 * mean_error(values, 0)
    assert np.isnan(mean_error(np.ones(1), 0))


def test_confidences_are_frequencies():
    """Fitted odds reproduce the frequencies of outcomes; with few observations they stay at the prior."""
    random = np.random.default_rng(0)
    x = np.abs(random.normal(size=20_000))
    right = (random.uniform(size=len(x)) < 1 / (1 + np.exp(-(0.1 + 0.5 * x)))).astype(float)
    assert fit_platt(x, right, 1.0, (0.0, 1.0), (1.0, 1.0)) == pytest.approx([0.1, 0.5], abs=0.06)
    assert fit_platt(x[:5], right[:5], 0.01, (0.0, 1.0), (0.1, 0.1)) == pytest.approx([0.0, 1.0], abs=0.01)
    assert fit_platt(x, 1 - right, 1.0, (0.0, 1.0), (1.0, 1.0))[1] == 0.0


def test_a_sign_counts_half_if_there_is_none():
    """A forecast of the mean is right half of the time."""
    assert right_signs(np.array([0.0, 1.0, -1.0]), np.array([1.0, 1.0, 1.0])).tolist() == [0.5, 1.0, 0.0]
