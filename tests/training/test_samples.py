"""The split by date: what training may know, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.errors import InputError, UnknownKeyError
from encash.panel import ArraySource, Panel, PriceTable, toy_panel
from encash.training import TrainConfig
from encash.training.samples import find_outliers, split_by_date

HORIZONS = (1, 5, 10, 20)


def config(**changes):
    return TrainConfig(**{"train_end": "2021-03-31", "lookback": 10, "embargo_sessions": 3, **changes})


@pytest.fixture(scope="module")
def panel():
    return toy_panel(0, 8, 400, odd=True)


def test_targets_of_each_part_have_ended_before_the_next(panel):
    """Training returns end an embargo before the choosing sessions, and theirs before the reporting sessions.

    Noise in all prices from there on changes none of them.
    """
    split = split_by_date(panel, config(), HORIZONS)
    first = int(np.searchsorted(split.sessions, split.validation_start))
    reporting = int(split.validation.session.min())
    assert split.choosing.session.min() == first
    assert split.choosing.session.max() < reporting - 1
    assert split.train.session.max() < first - 3 - 1
    assert split.sessions[-1] <= np.datetime64("2021-03-31")
    for part, start in (("train", first - 3), ("choosing", reporting)):
        close = panel.prices.close.copy()
        close[start:] = np.random.default_rng(0).uniform(1, 1e6, close[start:].shape)
        noise = PriceTable(days=panel.prices.days, tickers=panel.prices.tickers, close=close)
        other = split_by_date(Panel(panel._source, noise), config(), HORIZONS)
        np.testing.assert_array_equal(getattr(split, part).returns, getattr(other, part).returns)


def test_a_target_is_what_a_position_earns(panel):
    """The return over h sessions; over a gap it is that to the next price; a ticker that stops trading is settled."""
    prices = panel.prices
    split = split_by_date(panel, config(train_end=str(prices.days[-1])), HORIZONS)
    close = prices.select(split.rows.tickers).close[: int(np.searchsorted(split.sessions, split.validation_start)) - 3]
    known = np.isfinite(close)
    seen = {"gap": 0, "settled": 0}
    for n in range(0, len(split.train), 7):
        session, ticker = split.train.session[n], split.train.ticker[n]
        for at, horizon in enumerate(HORIZONS):
            end = session + horizon
            if end >= len(close):
                assert np.isnan(split.train.returns[n, at])
                continue
            later = np.flatnonzero(known[end:, ticker])
            stopped = len(later) == 0
            sale = close[known[:, ticker], ticker][-1] if stopped else close[end + later[0], ticker]
            assert split.train.returns[n, at] == pytest.approx(sale / close[session, ticker] - 1, abs=1e-12)
            assert split.train.settled[n, at] == stopped
            seen["settled"] += stopped
            seen["gap"] += not stopped and later[0] > 0
    assert min(seen.values()) > 0


def test_the_delisting_policy_decides_targets_of_tickers_that_stop(panel):
    """Under the policy zero, a ticker that stops trading within the horizon loses everything."""
    late = str(panel.sessions[-1])
    last, zero = (
        split_by_date(panel, config(delisting=policy, train_end=late), HORIZONS).train for policy in ("last", "zero")
    )
    assert last.settled.any()
    assert (zero.returns[zero.settled] == -1).all()
    np.testing.assert_array_equal(zero.returns[~zero.settled], last.returns[~last.settled])


def test_one_wrong_price_moves_no_scale(panel):
    """A close times 10,000 leaves means and deviations of the targets within 5%, and is reported by ticker and day."""
    clean = split_by_date(panel, config(), HORIZONS)
    close = panel.prices.close.copy()
    close[150, 5] *= 10_000
    wrong = Panel(panel._source, PriceTable(days=panel.prices.days, tickers=panel.prices.tickers, close=close))
    split = split_by_date(wrong, config(), HORIZONS)
    np.testing.assert_allclose(split.scale, clean.scale, rtol=0.05)
    assert (abs(split.mean_return - clean.mean_return) < 0.05 * clean.scale).all()
    both = clean.train.take(np.flatnonzero((clean.train.session != 150) | (clean.train.ticker != 5)))
    assert np.nanmean(np.abs(split.targets(split.train) - clean.targets(both))) < 0.01
    assert not clean.outliers
    assert [(one.ticker, one.day) for one in split.outliers] == [
        (panel.prices.tickers[5], str(panel.prices.days[at])) for at in (150, 151)
    ]
    assert split.outliers[0].move > 5_000
    spiked = (split.train.session == 150) & (split.train.ticker == 5)
    assert not spiked.any(), "there is no target from a spike"


def test_wild_tickers_are_no_outliers():
    """A ticker that doubles and halves all the time has no outliers; one that does it once has."""
    steps = np.random.default_rng(0).normal(size=(300, 2)) * [0.5, 0.01]
    steps[100, 1] = 1.0
    days = np.arange("2020-01-01", 300, dtype="datetime64[D]")
    table = PriceTable(days=days, tickers=("WILD", "CALM"), close=np.exp(np.cumsum(steps, axis=0)))
    found, spikes = find_outliers(table)
    assert not spikes.any(), "it stays at its new level"
    assert [(one.ticker, one.day) for one in found] == [("CALM", str(days[100]))]


def test_tickers_can_be_chosen(panel):
    """Listed tickers, or the last N by name; an unknown one is refused."""
    names = panel.tickers[1:6]
    assert split_by_date(panel, config(tickers=names), HORIZONS).rows.tickers == names
    assert split_by_date(panel, config(num_stocks=5), HORIZONS).rows.tickers == panel.tickers[-5:]
    with pytest.raises(UnknownKeyError, match="NONE"):
        split_by_date(panel, config(tickers=("NONE",)), HORIZONS)


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


@settings(max_examples=5)
@given(st.integers(200, 380))
def test_poison_after_train_end_moves_nothing(at):
    """Noise in all data after train_end leaves every sample, target and window the same bits."""
    panel = toy_panel(0, 8, 400, odd=True)
    day = str(panel.sessions[at])
    clean, poisoned = (split_by_date(p, config(train_end=day), HORIZONS) for p in (panel, _poisoned(panel, day)))
    for part in ("train", "choosing", "validation"):
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


def test_validation_takes_a_part_of_large_sessions():
    """Of more than 100 tickers, a session has 100, spread over all of them."""
    panel = toy_panel(0, 230, 150)
    some = split_by_date(panel, config(train_end="2099-01-01", lookback=4), HORIZONS).validation
    assert set(np.unique(some.session, return_counts=True)[1]) == {100}
    assert some.ticker.max() > 225
    assert some.ticker.min() < 5


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
