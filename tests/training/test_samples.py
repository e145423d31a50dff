"""The split by date: what training may know, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.errors import InputError
from encash.panel import ArraySource, Panel, PriceTable, toy_panel
from encash.training import TrainConfig
from encash.training.samples import own_forward_returns, split_by_date

HORIZONS = (1, 5, 10, 20)


def config(**changes):
    return TrainConfig(**{"train_end": "2021-03-31", "lookback": 10, "embargo_sessions": 3, **changes})


@pytest.fixture(scope="module")
def panel():
    return toy_panel(0, 8, 400, odd=True)


def test_training_targets_have_ended_before_the_validation_starts(panel):
    """Each training target ends an embargo before the first validation day; validation ends by train_end."""
    split = split_by_date(panel, config(), HORIZONS)
    ended = own_forward_returns(panel.as_of("2021-03-31").prices.select(split.rows.tickers), HORIZONS)[1]
    first = int(np.searchsorted(split.sessions, split.validation_start))
    known = np.isfinite(split.train.returns)
    last = ended[split.train.session, split.train.ticker]
    assert known.any(axis=0).all()
    assert last[known].max() == first - 3 - 1
    assert split.validation.session.min() >= first
    assert split.sessions[-1] <= np.datetime64("2021-03-31")


def test_a_target_is_the_return_over_the_tickers_own_days(panel):
    """With a gap in its prices, 5 days on is the ticker's own fifth day, as a plain loop finds it."""
    prices = panel.prices
    returns, ended = own_forward_returns(prices, HORIZONS)
    column = prices.tickers.index("HOLE")
    own = [day for day in range(len(prices.days)) if np.isfinite(prices.close[day, column])]
    for place in range(0, len(own) - 5, 7):
        start, stop = own[place], own[place + 5]
        assert returns[start, column, 1] == prices.close[stop, column] / prices.close[start, column] - 1
        assert ended[start, column, 1] == stop
    assert np.isnan(returns[[day for day in range(len(prices.days)) if day not in own], column]).all()
    assert np.isnan(returns[own[-1], column]).all()


def test_windows_are_those_of_the_panel(panel):
    """A sample's window is the ticker's last rows up to its session."""
    split = split_by_date(panel, config(), HORIZONS)
    some = split.train.take(np.array([0, 17, len(split.train) - 1]))
    for window, session, ticker in zip(split.windows(some), some.session, some.ticker, strict=True):
        rows = panel.rows((split.rows.tickers[ticker],), end=split.sessions[session])
        assert rows.days[-1] == split.sessions[session]
        np.testing.assert_array_equal(window, rows.values[-10:])


def test_odd_tickers_are_used_on_their_own_days(panel):
    """A late listing, an early end, a gap and NaN features each have samples, none where a window is missing."""
    split = split_by_date(panel, config(), HORIZONS)
    for name in ("LATE", "GONE", "HOLE", "NANS"):
        assert (split.train.ticker == split.rows.tickers.index(name)).any(), name
    assert np.isfinite(split.windows(split.train)).all()


def _poisoned(panel, day):
    """The same panel with noise in every feature and price after a day."""
    random = np.random.default_rng(9)
    rows = {}
    for ticker in panel.tickers:
        own = panel.rows((ticker,))
        late = own.days > np.datetime64(day)
        values = own.values.copy()
        values[late] = random.normal(0, 1e6, values[late].shape)
        rows[ticker] = (own.days, values)
    close = panel.prices.close.copy()
    close[panel.prices.days > np.datetime64(day)] = random.uniform(1, 1e6)
    prices = PriceTable(days=panel.prices.days, tickers=panel.prices.tickers, close=close)
    return Panel(ArraySource(rows, panel.feature_names), prices)


@settings(max_examples=5, deadline=None)
@given(st.integers(200, 380))
def test_poison_after_train_end_moves_nothing(at):
    """Noise in all data after train_end leaves every sample, target and window the same bits."""
    panel = toy_panel(0, 8, 400, odd=True)
    day = str(panel.sessions[at])
    clean, poisoned = (split_by_date(p, config(train_end=day), HORIZONS) for p in (panel, _poisoned(panel, day)))
    for part in ("train", "validation"):
        ours, theirs = getattr(clean, part), getattr(poisoned, part)
        for field in ("end_rows", "session", "ticker", "returns", "excess"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
        np.testing.assert_array_equal(clean.windows(ours), poisoned.windows(theirs))


def test_validation_takes_whole_sessions(panel):
    """A bounded validation holds all tickers of the sessions it takes, so that a rank correlation means something."""
    whole = split_by_date(panel, config(), HORIZONS).validation
    some = split_by_date(panel, config(validation_samples=40), HORIZONS).validation
    assert len(some) < 60
    for session in np.unique(some.session):
        assert (some.session == session).sum() == (whole.session == session).sum()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_end": "2020-03-01"}, "contain too few windows"),
        ({"train_end": "2019-01-01"}, "contain too few windows"),
        ({"lookback": 1000}, "contain too few windows"),
        ({"preset": "huge"}, "expected one of tiny, small, 100m"),
        ({"epochs": 0}, "epochs is 0"),
        ({"validation_share": 1.0}, "between 0 and 1"),
        ({"train_end": "soon"}, "expected YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_trained_is_refused(panel, changes, said):
    """Too little history and settings that make no sense: InputError that says what to change."""
    with pytest.raises(InputError, match=said):
        split_by_date(panel, config(**changes), HORIZONS)


def test_a_panel_without_prices_is_refused(panel):
    """No prices, no targets."""
    bare = Panel(panel._source)
    with pytest.raises(InputError, match="has no prices"):
        split_by_date(bare, config(), HORIZONS)
