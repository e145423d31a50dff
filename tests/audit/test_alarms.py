"""The statistical alarms are silent on clean panels, whatever honest predictability these have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from encash.audit.alarms import (
    FEWEST_SESSIONS,
    AlarmPanel,
    RunningSum,
    Window,
    worst_of_cross_sections,
    worst_of_tickers,
)
from encash.audit.innovations import innovations
from encash.panel import ArraySource, Panel, PriceTable
from tests.audit.worlds import NAMES, bars_of, honest

SHAPES = ((200, 1), (700, 1), (200, 6), (420, 24))


def chained(steps: np.ndarray, weight: float) -> np.ndarray:
    """Steps that continue (or reverse) a share of the one before."""
    for row in range(1, len(steps)):
        steps[row] += weight * steps[row - 1]
    return steps


def sectors(random: np.random.Generator, steps: np.ndarray) -> np.ndarray:
    """A market, and four sectors with momentum."""
    factor = chained(random.standard_normal((len(steps), 4)), 0.3)
    return steps + factor[:, np.arange(steps.shape[1]) % 4] + random.standard_normal((len(steps), 1))


def regimes(random: np.random.Generator, steps: np.ndarray) -> np.ndarray:
    """Drifts that last for 50 sessions."""
    drift = random.choice([-0.15, 0.0, 0.15], size=(len(steps) // 50 + 1, steps.shape[1]))
    return steps + np.repeat(drift, 50, axis=0)[: len(steps)]


def clustered(_: np.random.Generator, steps: np.ndarray) -> np.ndarray:
    """GARCH(1, 1)."""
    size = np.ones(steps.shape[1])
    for row in range(len(steps)):
        steps[row] *= np.sqrt(size)
        size = 0.05 + 0.15 * steps[row] ** 2 + 0.8 * size
    return steps


def late(random: np.random.Generator, steps: np.ndarray) -> np.ndarray:
    """Half of the tickers follow the market a session later: exchanges that close earlier."""
    market = random.standard_normal((len(steps) + 1, 1))
    return steps + np.where(np.arange(steps.shape[1]) % 2, market[:-1], market[1:])


KINDS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "noise": lambda _, steps: steps,
    "momentum": lambda _, steps: chained(steps, 0.15),
    "reversal": lambda _, steps: chained(steps, -0.2),
    "sectors": sectors,
    "regimes": regimes,
    "clusters of volatility": clustered,
    "late markets": late,
    "heavy tails": lambda random, steps: random.standard_t(3, size=steps.shape),
}


def clean(kind: str, sessions: int, tickers: int) -> AlarmPanel:
    """Prices of one kind, and features of their past."""
    random = np.random.default_rng([sessions, tickers])
    steps = KINDS[kind](random, random.standard_normal((sessions, tickers)))
    days = np.busday_offset("2015-01-01", np.arange(sessions), roll="forward").astype("datetime64[D]")
    names = tuple(f"S{number:02d}" for number in range(tickers))
    prices = PriceTable(days=days, tickers=names, close=50 * np.exp(np.cumsum(0.015 * steps, axis=0)))
    return AlarmPanel(panel=Panel(ArraySource(honest(bars_of(prices)), feature_names=NAMES), prices), prices=prices)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_panel_rings_no_alarm(kind, shape):
    """Single tickers, short panels, momentum, reversal, sectors and regimes."""
    data = clean(kind, *shape)
    across, within = worst_of_cross_sections(data), worst_of_tickers(data)
    assert (across is None) == (shape[1] < 5)
    assert within is not None
    assert max(found.excess for found in (across, within) if found is not None) <= 1


def test_a_panel_that_is_too_short_is_not_judged():
    """The audit reports nothing, neither a finding nor a pass."""
    data = clean("noise", 60 + FEWEST_SESSIONS - 1, 6)
    assert worst_of_cross_sections(data) is None
    assert worst_of_tickers(data) is None


def test_every_m_th_day_of_a_large_panel_is_ranked(monkeypatch):
    """By a rule of its size, so that the same panel has the same result."""
    monkeypatch.setattr("encash.audit.alarms.MOST_CELLS", 420 * 24 * 5 // 3)
    data = clean("noise", 420, 24)
    assert np.diff(data.sampled).tolist() == [3] * (len(data.sampled) - 1)
    assert worst_of_cross_sections(data) == worst_of_cross_sections(data)


def test_innovations_do_not_correlate_with_the_past():
    """Momentum is explained by the past; what is left of it is not correlated with the session before."""
    close = np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal((2000, 3)), axis=0))
    steps = np.diff(np.log(close), axis=0)
    for row in range(1, len(steps)):
        steps[row] += 0.3 * steps[row - 1]
    left = innovations(np.exp(np.cumsum(steps, axis=0)))
    known = np.isfinite(left[1:]).all(axis=1)
    assert abs(np.corrcoef(left[1:, 0][known], steps[:-1, 0][known])[0, 1]) < 0.02
    np.testing.assert_allclose(np.nanmean(left**2, axis=0), 1.0, rtol=0.01)


@pytest.mark.parametrize("window", [Window(1, 1), Window(2, 5), Window(-3, -3), Window(-4, -2)])
def test_a_running_sum_is_the_sum_of_each_window(window):
    """Of the values that are there, over the root of their number; NaN without half of them."""
    values = np.random.default_rng(1).standard_normal((30, 2))
    values[10:13, 0] = np.nan
    found = RunningSum(values).over(window)
    for row in range(30):
        for column in range(2):
            inside = range(row + window.first, row + window.last + 1)
            whole = inside[0] >= 0 and inside[-1] < 30
            given = values[list(inside), column][np.isfinite(values[list(inside), column])] if whole else np.empty(0)
            if len(given) < window.length / 2:
                assert np.isnan(found[row, column])
            else:
                np.testing.assert_allclose(found[row, column], given.sum() / np.sqrt(len(given)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e6, np.nan])
@pytest.mark.parametrize("tickers", [1, 6])
def test_features_that_do_not_vary_are_not_judged(value, tickers):
    """Constant features and missing ones have no correlation: nothing is tested, and no t of one degree is printed."""
    data = clean("noise", 300, tickers)
    rows = {}
    for ticker in data.tickers:
        own = data.panel.rows((ticker,))
        rows[ticker] = (own.days, np.full_like(own.values, value))
    data = AlarmPanel(panel=Panel(ArraySource(rows, feature_names=NAMES), data.prices), prices=data.prices)
    assert worst_of_cross_sections(data) is None
    assert worst_of_tickers(data) is None


def test_what_is_printed_was_tested():
    """One feature varies for one ticker only: the finding is about it, with the critical t of its own sessions."""
    data = clean("noise", 300, 6)
    rows = {}
    for number, ticker in enumerate(data.tickers):
        own = data.panel.rows((ticker,))
        values = np.ones_like(own.values)
        values[:, 3] = own.values[:, 3] if number == 2 else 1.0
        rows[ticker] = (own.days, values)
    data = AlarmPanel(panel=Panel(ArraySource(rows, feature_names=NAMES), data.prices), prices=data.prices)
    found = worst_of_tickers(data)
    assert found is not None
    assert (found.feature, found.ticker) == (3, 2)
    assert found.critical < 10


def test_markets_that_close_earlier_ring_no_alarm():
    """The market's last return predicts half of the tickers, and it is of the past."""
    data = clean("late markets", 600, 24)
    market = np.repeat(np.nan_to_num(data.unexplained).mean(axis=1, keepdims=True), 24, axis=1)
    rows = {ticker: (data.prices.days, market[:, [at]]) for at, ticker in enumerate(data.tickers)}
    own = AlarmPanel(panel=Panel(ArraySource(rows), data.prices), prices=data.prices)
    found = worst_of_tickers(own)
    assert found is not None
    assert found.excess <= 1
