"""Ranking and weights: against a plain sort, with ties, gaps and gates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest.simulation.portfolio import forecast_weights, inverse_volatility_weights, past_deviation, pick


@settings(max_examples=80)
@given(
    st.integers(0, 10_000),
    st.sampled_from([3, 30]),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.29, 0.5, 0.6, 0.9, 0.999]),
)
def test_the_top_k_are_those_of_a_plain_sort(seed, width, top_k, percentile):
    """Best first by forecast × confidence, ties by column, the gate at a fraction of those admitted."""
    rng = np.random.default_rng(seed)
    forecast = rng.integers(-3, 4, (4, width)).astype("f4")
    confidence = rng.integers(1, 4, (4, width)).astype("f4")
    admitted = rng.random((4, width)) < 0.7
    forecast[rng.random((4, width)) < 0.1] = np.nan
    picks = pick(forecast, confidence, admitted, top_k=top_k, percentile=percentile)
    for row in range(4):
        able = [c for c in range(width) if admitted[row, c] and not np.isnan(forecast[row, c])]
        if able:
            gate = sorted(confidence[row, able].tolist())[int(len(able) * percentile)]
            able = [c for c in able if confidence[row, c] >= gate]
        able.sort(key=lambda c: (-float(forecast[row, c]) * float(confidence[row, c]), c))
        expected = able[:top_k]
        assert picks.column[row].tolist() == expected + [-1] * (top_k - len(expected))
        assert picks.chosen()[row].nonzero()[0].tolist() == sorted(expected)


def test_forecast_weights_leave_out_what_is_not_above_zero():
    """Negative scores get nothing; where all are negative the shares are equal."""
    column, score = np.array([[0, 1, 2], [0, 1, -1]]), np.array([[0.03, 0.01, -0.02], [-0.01, -0.02, np.nan]])
    assert forecast_weights(column, score).tolist() == pytest.approx(np.array([[0.75, 0.25, 0], [0.5, 0.5, 0]]))


def test_inverse_volatility_gives_the_unknown_the_smallest_share():
    """A name without a deviation is held like the most volatile one; without any, the shares are equal."""
    column = np.array([[0, 1, 2], [0, 1, 2]])
    weights = inverse_volatility_weights(column, np.array([[0.01, 0.02, np.nan], [np.nan, np.nan, np.nan]]))
    assert weights[0].tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert weights[1].tolist() == pytest.approx([1 / 3] * 3)


def test_the_deviation_sees_the_past_alone():
    """It is that of the returns up to the signal's session, gaps left out."""
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, (30, 2)), axis=0))
    close[12, 1] = np.nan
    rows, column = np.array([20, 1]), np.array([[0, 1], [0, -1]])
    found = past_deviation(close, rows, column, 10)
    returns = close[11:21] / close[10:20] - 1
    assert found[0].tolist() == pytest.approx([returns[:, 0].std(ddof=1), np.nanstd(returns[:, 1], ddof=1)])
    assert np.isnan(found[1]).all()
    close[21:] = 1e9
    assert past_deviation(close, rows, column, 10)[0].tolist() == found[0].tolist()
