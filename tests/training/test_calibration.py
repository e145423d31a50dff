"""Calibration: slopes, confidences and their errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.metrics import right_signs
from encash.training.calibration import (
    LEAST_SLOPE,
    MOST_FACTOR,
    Evidence,
    expect_slopes,
    fit_platt,
    mean_error,
    measure_slope,
    shrunk_slope,
)

HORIZONS = (1, 5)


def evidence(slopes, *, seed=0, tickers=40, skill=0.15, first=0, model=0):
    """Forecasts of a session each, at both horizons, on which returns have the slope of the session."""
    random = np.random.default_rng(seed)
    forecast = skill * random.normal(size=(len(slopes), tickers, 2))
    target = np.asarray(slopes)[:, None, None] * forecast + random.normal(size=forecast.shape)
    session = np.repeat(first + np.arange(len(slopes)), tickers)
    return Evidence(forecast=forecast.reshape(-1, 2), target=target.reshape(-1, 2), session=session, model=model)


@pytest.mark.parametrize("slope", [0.3, 0.7, 1.2])
def test_a_lasting_slope_is_found(slope):
    """Years of forecasts with one slope: the factor is that slope, and there is skill."""
    for one in expect_slopes([evidence(np.full(2000, slope))], HORIZONS):
        assert one.factor == pytest.approx(slope, abs=0.12)
        assert one.found


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_shrunk_to_nearly_nothing(seed):
    """Years of forecasts without any skill: hardly anything is left of them, and no skill is found."""
    for one in expect_slopes([evidence(np.zeros(2000), seed=seed)], HORIZONS):
        assert one.factor < 0.1
        assert not one.found


def test_forecasts_that_mislead_are_shrunk_like_noise():
    """If returns go against the forecasts, as little is left of them as of noise, and no skill is found."""
    for one in expect_slopes([evidence(np.full(2000, -0.5))], HORIZONS):
        assert one.factor == LEAST_SLOPE
        assert not one.found


def test_a_wrong_price_moves_no_factor():
    """One forecast and one return that are a thousand times too large change the factors by less than 2%."""
    clean = evidence(np.full(1000, 0.7))
    forecast, target = clean.forecast.copy(), clean.target.copy()
    forecast[5000], target[20_000] = 1000.0, -1000.0
    wrong = Evidence(forecast=forecast, target=target, session=clean.session)
    for a, b in zip(expect_slopes([clean], HORIZONS), expect_slopes([wrong], HORIZONS), strict=True):
        assert b.factor == pytest.approx(a.factor, rel=0.02)


def test_skill_that_decays_counts_by_its_latest_years():
    """If the slope falls from 1 to 0.2, what is expected lies below the mean, and above the latest."""
    decaying = np.linspace(1.0, 0.2, 2500)
    for one in expect_slopes([evidence(decaying)], HORIZONS):
        assert 0.2 < one.factor < decaying.mean() - 0.05


def test_skill_that_was_lost_and_skill_that_is_new_differ():
    """The same periods in a different order lead to different expectations: the latest count more."""
    lost, new = (
        expect_slopes([evidence(np.repeat(slopes, 500))], HORIZONS)
        for slopes in ((1.0, 1.0, 1.0, 0.1), (0.1, 1.0, 1.0, 1.0))
    )
    assert all(a.factor < b.factor - 0.1 for a, b in zip(lost, new, strict=True))


def test_a_different_model_is_calibrated_by_its_own_sessions_too():
    """A trained model whose own sessions show a lower slope than the regression's is shrunk more."""
    regression = evidence(np.full(1500, 0.9))
    own = evidence(np.full(200, 0.3), seed=1, first=1500, tickers=100, model=1)
    same, other = expect_slopes([regression], HORIZONS), expect_slopes([regression, own], HORIZONS)
    assert all(b.factor < a.factor - 0.2 for a, b in zip(same, other, strict=True))


def test_without_evidence_a_prior_is_left():
    """Too few sessions for two independent returns, or a constant forecast, tell nothing: skill is as likely as not."""
    constant = Evidence(forecast=np.ones((500, 2)), target=np.ones((500, 2)), session=np.arange(500))
    for nothing in (evidence(np.ones(1)), constant):
        for one in expect_slopes([nothing], HORIZONS):
            assert one.probability == pytest.approx(0.5)
            assert not one.found


@settings(max_examples=25)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=400), st.integers(0, 3), st.sampled_from([0.0, 1e-6, 1.0, 1e3]))
def test_a_factor_has_its_bounds(slopes, seed, size):
    """Whatever the evidence, the factor is a number within its limits, and the same again."""
    one = evidence(slopes, seed=seed, tickers=3, skill=size)
    found = expect_slopes([one], HORIZONS)
    assert all(LEAST_SLOPE <= slope.factor <= MOST_FACTOR for slope in found)
    assert found == expect_slopes([one], HORIZONS)


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
