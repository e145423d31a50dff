"""Behavior of clusters in the sessions of a run: counts, means by hand, and nothing after the last session."""

import numpy as np
import pytest

from encash import metrics
from encash.backtest import BacktestConfig
from encash.backtest.evaluation.cluster_behavior import WINDOW_SESSIONS, describe_clusters
from encash.backtest.inputs.run_setup import open_sessions
from encash.backtest.inputs.signals import SignalGrid
from tests.backtest.conftest import random_prices


@pytest.fixture
def case():
    """Sessions, and signals whose clusters are drawn; one ticker is never assigned."""
    prices = random_prices(num_sessions=140)
    sessions = open_sessions(BacktestConfig(start=prices.days[80], top_k=1), prices, None)
    shape = len(sessions.days), len(sessions.tickers)
    draw = np.random.default_rng(0)
    cluster = draw.integers(0, 3, shape).astype(np.int32)
    cluster[:, 0] = -1
    blank = np.zeros((1, *shape), dtype=np.float32)
    signals = SignalGrid(
        days=sessions.days,
        tickers=sessions.tickers,
        horizons=(5,),
        found=cluster >= 0,
        forecast=blank,
        confidence=blank,
        cluster=cluster,
        distance=blank[0],
    )
    return sessions, signals


def test_each_cluster_is_described_by_its_own_entries(case):
    """Numbers, means and shares are those of a loop over the entries."""
    sessions, signals = case
    returns, _ = metrics.settled_returns(sessions.close, 5, "last")
    for found in describe_clusters(sessions, signals, 5):
        mine = signals.cluster == found.cluster
        known = returns[mine & np.isfinite(returns)]
        assert found.entries == mine.sum()
        assert found.mean_return == pytest.approx(known.mean())
        assert found.win_rate == pytest.approx((known > 0).mean())
        assert found.mean_error > 0
        name, share = found.tickers[0]
        assert share == pytest.approx(mine.sum(axis=0).max() / mine.sum())
        assert name != sessions.tickers[0]
        assert len(found.window) == len(WINDOW_SESSIONS)
        assert found.window[-1] == (0.0, 0.0, 0.0)
    assert sum(one.entries for one in describe_clusters(sessions, signals, 5)) == (signals.cluster >= 0).sum()


def test_an_entry_whose_return_has_not_ended_counts_without_a_return(case):
    """The last sessions are entries of their cluster, and no part of its mean."""
    sessions, signals = case
    signals.cluster[:-5] = -1
    for found in describe_clusters(sessions, signals, 5):
        assert found.entries > 0
        assert np.isnan(found.mean_return)
        assert found.to_json()["mean_return"] is None


def test_signals_without_clusters_have_no_behavior(case):
    """A run without a filter has nothing to describe."""
    sessions, signals = case
    signals.cluster[:] = -1
    assert describe_clusters(sessions, signals, 5) == ()
