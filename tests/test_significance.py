"""Standard errors hold their size: coverage by simulation, agreement with statsmodels and scipy, and their NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.significance import CRITICAL, mean_of, regress, sharpe_of, student_quantile


@pytest.mark.parametrize(("sessions", "horizon"), [(126, 1), (126, 20), (252, 5), (252, 20), (756, 20)])
def test_a_mean_of_overlapping_returns_is_rejected_in_five_percent(sessions, horizon):
    """Sums of noise over the horizon, one per session: a true mean of 0 is rejected in 5% of 1,000 series, ± 2.2%."""
    rng = np.random.default_rng([sessions, horizon])
    rejected = 0
    for _ in range(1000):
        series = np.convolve(rng.standard_normal(sessions + horizon - 1), np.ones(horizon), mode="valid")
        rejected += abs(mean_of(series, horizon).t) > CRITICAL
    assert 28 <= rejected <= 72


@pytest.mark.parametrize("sessions", [126, 756])
def test_intervals_of_a_sharpe_ratio_cover_it(sessions):
    """Fat-tailed returns of half a year and of three: 95% intervals hold the truth in 93% to 97% of 1,000 series."""
    rng, true = np.random.default_rng(sessions), 0.08
    covered = 0
    for _ in range(1000):
        low, high = sharpe_of(0.01 * (true + rng.standard_t(5, sessions) / np.sqrt(5 / 3))).interval()
        covered += low <= true <= high
    assert 930 <= covered <= 970


def test_alpha_and_beta_are_those_of_statsmodels():
    """Coefficients agree to rounding with ordinary least squares, and with noise the errors agree with its own."""
    api = pytest.importorskip("statsmodels.api", reason="pins figures; in the dev extra")
    rng = np.random.default_rng(3)
    market, sector = rng.normal(0.0004, 0.01, (2, 5000))
    returns = 0.0003 + 1.3 * market - 0.4 * sector + rng.normal(0, 0.02, 5000)
    theirs = api.OLS(returns, api.add_constant(np.column_stack([market, sector]))).fit()
    ours = regress(returns, np.column_stack([market, sector]))
    np.testing.assert_allclose([ours.alpha.value, *ours.beta], theirs.params, rtol=1e-9)
    assert ours.alpha.error == pytest.approx(theirs.bse[0], rel=0.15)


def test_an_alpha_without_beta_is_a_mean():
    """Against a benchmark that is orthogonal to it and to its cosines, alpha and its error are those of the mean."""
    rng = np.random.default_rng(4)
    series, other = rng.normal(0.1, 1.0, 2000), rng.normal(0.0, 1.0, 2000)
    other -= other.mean()
    other -= series * (other @ (series - series.mean())) / ((series - series.mean()) @ series)
    line, mean = regress(series, other - other.mean()), mean_of(series)
    assert line.beta[0] == pytest.approx(0.0, abs=1e-9)
    assert line.alpha.value == pytest.approx(mean.value)
    assert line.alpha.error == pytest.approx(mean.error, rel=1e-6)


@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 100.0),
    count=st.integers(8, 300),
    overlap=st.integers(1, 30),
)
def test_a_t_has_no_unit(seed, scale, count, overlap):
    """Scaling a series scales estimate and error; a missing value is left out; the interval is centered."""
    series = np.random.default_rng(seed).normal(0.1, 1.0, count)
    plain, scaled = mean_of(series, overlap), mean_of(np.insert(series * scale, 3, np.nan), overlap)
    assert scaled.t == pytest.approx(plain.t)
    assert scaled.value == pytest.approx(scale * plain.value)
    assert scaled.interval() == pytest.approx(plain.times(scale).interval())
    assert sum(plain.interval()) / 2 == pytest.approx(plain.value)


@pytest.mark.parametrize(
    "estimate",
    [
        mean_of(np.full(100, 1 / 3)),
        mean_of(np.arange(7.0)),
        mean_of(np.array([])),
        regress(np.linspace(0.0, 0.1, 50), np.linspace(0.0, 0.1, 50)).alpha,
        regress(np.array([0.1, 0.2]), np.array([0.1, 0.3])).alpha,
        sharpe_of(np.full(50, 0.01)),
        sharpe_of(1.0005 ** np.arange(1, 50) / 1.0005 ** np.arange(49) - 1.0),
    ],
)
def test_without_variation_or_values_there_is_no_error(estimate):
    """Constant, too short, empty, or a series that is its benchmark: no t, rather than a huge one."""
    assert np.isnan(estimate.error)
    assert np.isnan(estimate.t)


def test_quantiles_are_those_of_scipy():
    """Within 1% from three degrees of freedom on."""
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the test extra")
    for freedom in (3, 5, 10, 50, 1000):
        for probability in (0.025, 0.05, 0.9, 0.975):
            expected = stats.t.ppf(probability, freedom)
            assert student_quantile(probability, freedom) == pytest.approx(expected, rel=0.012)
