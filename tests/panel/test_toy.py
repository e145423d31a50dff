"""Panels made of dice: what is planted is found."""

from __future__ import annotations

import numpy as np
import pytest

from encash.errors import InputError
from encash.panel import Reason, regime_panel, toy_panel, window_grid


def test_the_same_seed_gives_the_same_panel():
    """Two panels of one seed hold the same bytes; another seed gives others."""
    one, same, other = (toy_panel(seed, 4, 60).rows().values for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_odd_tickers_are_odd_by_their_own_dates():
    """A late listing, an early end, a gap and NaN features each leave the windows they should."""
    panel = toy_panel(0, 6, 200, odd=True)
    grid = window_grid(panel.rows(), panel.sessions, 10)
    reason = {ticker: grid.reason[:, n] for n, ticker in enumerate(panel.tickers)}
    assert panel.prices is not None
    traded = {ticker: ~np.isnan(panel.prices.close[:, n]) for n, ticker in enumerate(panel.tickers)}
    assert not traded["LATE"][:80].any()
    assert traded["LATE"][80:].all()
    assert traded["GONE"][:140].all()
    assert not traded["GONE"][140:].any()
    assert (reason["GONE"][140:] == Reason.NO_ROW).all()
    assert (reason["LATE"][80 + 20 : 80 + 29] == Reason.SHORT).all()
    assert reason["LATE"][80 + 29] == Reason.OK
    # The window after a gap reaches back over it: it counts the ticker's own sessions.
    assert (reason["HOLE"][100:120] == Reason.NO_ROW).all()
    assert (reason["HOLE"][[99, 120]] == Reason.OK).all()
    assert (reason["NANS"] == Reason.NOT_FINITE).sum() >= 10
    assert (reason["T0000"][29:] == Reason.OK).all()


def test_a_planted_signal_foretells_the_next_return_as_strongly_as_asked():
    """The correlation of the signal with the next log return is the one that was planted."""
    panel = toy_panel(3, 20, 1000, signal_ic=0.1)
    assert panel.feature_names is not None
    assert panel.feature_names[-1] == "signal"
    assert panel.prices is not None
    next_return = np.diff(np.log(panel.prices.close), axis=0)[20:]
    found = [
        np.corrcoef(panel.rows((ticker,)).values[:-1, -1], next_return[:, n])[0, 1]
        for n, ticker in enumerate(panel.tickers)
    ]
    assert np.mean(found) == pytest.approx(0.1, abs=4 / np.sqrt(next_return.size))


def test_planted_regimes_have_their_drift_and_show_in_the_features():
    """The return after a session has the drift of its regime, and features of one regime lie together."""
    toy = regime_panel(0, 20, 600)
    assert toy.panel.prices is not None
    step = np.diff(np.log(toy.panel.prices.close), axis=0)
    drift = [step[toy.regime[:-1] == regime].mean() for regime in range(3)]
    assert drift == pytest.approx(toy.drift, abs=0.0008)
    values = toy.panel.rows().values.reshape(20, 600, -1).transpose(1, 0, 2)
    centres = np.array([values[toy.regime == regime].mean(axis=0) for regime in range(3)])
    nearest = ((values[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
    assert (nearest == toy.regime).mean() > 0.75


@pytest.mark.parametrize(
    "asked", [{"num_sessions": 20}, {"num_tickers": 3, "odd": True}], ids=["too short", "no room for odd tickers"]
)
def test_a_toy_that_cannot_be_is_refused(asked):
    """Too few sessions for a row of features, or too few tickers."""
    with pytest.raises(InputError):
        toy_panel(**asked)


def test_fewer_features_than_regimes_are_refused():
    """Two directions cannot distinguish three regimes."""
    with pytest.raises(InputError, match="expected 3 or more"):
        regime_panel(num_features=2)
