import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.clusters import FitConfig, find_similar, fit_clusters, last_known_day, what_followed
from encash.errors import InputError, MismatchError


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_neighbours_are_the_nearest_of_the_past(seed, count, batch):
    """Whatever the batches, the found entries are those a full sort by distance, day and ticker gives."""
    random = np.random.default_rng(seed)
    days = np.datetime64("2020-01-01") + random.permutation(120) // 4
    tickers = np.array([f"T{number}" for number in random.permutation(120)])
    vectors = random.integers(-2, 3, size=(120, 3)).astype(np.float32)
    before = np.datetime64("2020-01-20")
    query = random.normal(size=3).astype(np.float32).round()
    stream = (
        (days[at : at + batch], tickers[at : at + batch], vectors[at : at + batch]) for at in range(0, 120, batch)
    )
    found = find_similar(query, stream, before=before, count=count)
    distance = np.sqrt(np.square(vectors.astype(float) - query).sum(axis=1))
    past = sorted((distance[n], days[n], tickers[n]) for n in range(120) if days[n] <= before)
    assert list(zip(found.distance, found.days, found.tickers, strict=True)) == past[:count]


def test_nothing_later_is_found_and_what_followed_was_known(planted):
    """Neighbours end `embargo` sessions before the day, so their returns over the embargo have ended by then."""
    truth = planted()
    day = truth.days[150]
    before = last_known_day(truth.days, day, 10)
    found = find_similar(truth.grid[150, 3], truth.read(truth.days[0], truth.days[-1]), before=before, count=25)
    assert found.days.max() <= truth.days[140]
    same = truth.label[150, 3]
    rows = np.searchsorted(truth.days, found.days)
    columns = [truth.tickers.index(ticker) for ticker in found.tickers]
    assert np.mean(truth.label[rows, columns] == same) > 0.9
    returns = what_followed(found, truth.prices, (1, 10))
    at, column = np.searchsorted(truth.days, found.days[0]), truth.tickers.index(found.tickers[0])
    close = truth.prices.close
    assert returns[0].tolist() == [
        close[at + 1, column] / close[at, column] - 1,
        close[at + 10, column] / close[at, column] - 1,
    ]
    np.testing.assert_array_equal(what_followed(found, truth.prices.as_of(day), (1, 10)), returns)
    assert np.isnan(what_followed(found, truth.prices, (500,))).all()


def test_a_model_measures_in_its_own_space(planted):
    """With clusters given, distances are those of the standardised space."""
    days, tickers, vectors = planted(num_sessions=20).batch()
    vectors = vectors * np.float32([100, 1, 1, 1, 1, 1, 1, 1])
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    found = find_similar(vectors[5], [(days, tickers, vectors)], before=days[-1], count=4, model=model)
    space = model.project(vectors).astype(float)
    np.testing.assert_allclose(found.distance, np.sort(np.linalg.norm(space - space[5], axis=1))[:4], rtol=1e-6)


def test_what_cannot_be_asked_is_refused(planted):
    """No past, no count, another length and a day without an embargo are named."""
    truth = planted(num_sessions=20)
    batch = truth.batch()
    with pytest.raises(InputError, match="no entry on or before"):
        find_similar(batch[2][0], [batch], before=np.datetime64("2019-01-01"))
    with pytest.raises(InputError, match="0 neighbours"):
        find_similar(batch[2][0], [batch], before=truth.days[-1], count=0)
    with pytest.raises(MismatchError, match="length 3, the entries 8"):
        find_similar(batch[2][0, :3], [batch], before=truth.days[-1])
    with pytest.raises(InputError, match="embargo is 0"):
        last_known_day(truth.days, truth.days[5], 0)
    with pytest.raises(InputError, match="no session lies 6"):
        last_known_day(truth.days, truth.days[5], 6)
