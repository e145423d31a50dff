import numpy as np
import pytest

from encash.clusters import Neighbors, last_known_day, neighbor_returns
from encash.errors import InputError


def test_neighbor_returns_is_known_on_the_day(planted):
    """Neighbors end `embargo` sessions before the day, so their returns over the embargo have ended by then."""
    truth = planted()
    day = truth.days[150]
    before = last_known_day(truth.days, day, 10)
    assert before == truth.days[140]
    found = Neighbors(days=truth.days[[140, 20]], tickers=np.array(["T03", "T07"]), distance=np.array([0.5, 0.7]))
    returns = neighbor_returns(found, truth.prices, (1, 10))
    close = truth.prices.close
    assert returns[1].tolist() == [close[21, 7] / close[20, 7] - 1, close[30, 7] / close[20, 7] - 1]
    np.testing.assert_array_equal(neighbor_returns(found, truth.prices.as_of(day), (1, 10)), returns)
    assert np.isnan(neighbor_returns(found, truth.prices, (500,))).all()


def test_what_cannot_be_asked_is_refused(planted):
    """A day without an embargo and one without a past are named."""
    truth = planted(num_sessions=20)
    with pytest.raises(InputError, match="embargo is 0"):
        last_known_day(truth.days, truth.days[5], 0)
    with pytest.raises(InputError, match="no session is 6"):
        last_known_day(truth.days, truth.days[5], 6)
