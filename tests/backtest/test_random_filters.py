"""Random filters persist as the filter does, and what a run selects is divided into group bets and the rest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash import metrics
from encash.backtest import BacktestConfig, BacktestInputs, read_groups, run_backtest
from encash.backtest.evaluation.comparisons import CompareConfig, run_comparisons
from encash.backtest.evaluation.groups import Groups, explain_by_groups
from encash.backtest.evaluation.persistent_draws import continued, persistent_filters, volatility_strata
from encash.backtest.evaluation.selection import CandidateReturns, candidate_returns, equal, group_weights, rank_weights
from encash.clusters import Hard
from encash.errors import FormatError, InputError, MissingFileError

NO_COSTS = BacktestConfig(buy_fee=0.0, sell_fee=0.0, top_k=3)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 12), width=st.integers(2, 15), strata=st.integers(1, 3))
def test_a_random_filter_keeps_as_many_for_as_long(seed, rows, width, strata):
    """With the same candidates on each day, a draw has the keep-rate of each day and stratum, and the same turnover."""
    rng = np.random.default_rng(seed)
    kept, groups = rng.random((rows, width)) < 0.4, rng.integers(0, strata, width)
    for mask in persistent_filters(kept, np.ones_like(kept), groups, draws=4, seed=seed):
        for group in range(strata):
            assert (mask[:, groups == group].sum(axis=1) == kept[:, groups == group].sum(axis=1)).all()
        assert (mask[1:] != mask[:-1]).sum() == (kept[1:] != kept[:-1]).sum()


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 12), width=st.integers(1, 15))
def test_a_random_filter_keeps_only_candidates_and_as_many(seed, rows, width):
    """With candidates that come and go, a draw keeps as many of each day's, and one seed gives the same draws."""
    rng = np.random.default_rng(seed)
    candidates = rng.random((rows, width)) < 0.6
    kept = candidates & (rng.random((rows, width)) < 0.5)
    strata = np.zeros(width, dtype=np.int64)
    masks = list(persistent_filters(kept, candidates, strata, draws=3, seed=seed))
    again = list(persistent_filters(kept, candidates, strata, draws=3, seed=seed))
    for mask, other in zip(masks, again, strict=True):
        assert not (mask & ~candidates).any()
        assert (mask.sum(axis=1) == kept.sum(axis=1)).all()
        assert (mask == other).all()


def test_decisions_continue_while_a_ticker_is_no_candidate():
    """A value that is not known is the latest one, or the first one before that."""
    known = np.array([[False, True], [True, False], [False, False]])
    values = np.array([[9.0, 1.0], [2.0, 9.0], [9.0, 9.0]])
    assert continued(values, known).tolist() == [[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]


def test_strata_are_of_similar_volatility_within_groups():
    """Each stratum is a range of volatilities of one group, and has at least 20 tickers if its group has."""
    rng = np.random.default_rng(0)
    volatility, groups = rng.uniform(0.01, 0.05, 130), np.repeat([0, 1], [100, 30])
    strata = volatility_strata(rng.normal(size=(4000, 130)) * volatility, groups)
    assert np.bincount(strata)[np.unique(strata)].tolist() == [20, 20, 20, 20, 20, 30]
    for group in (0, 1):
        means = [volatility[(strata == one) & (groups == group)].mean() for one in np.unique(strata[groups == group])]
        assert means == sorted(means)


def comparisons(prices, lookup, embedding, cluster, draws=60, **changes):
    """Comparisons of a filter by the sign of an embedding; None for no filter."""
    filter = None
    if embedding is not None:
        lookup.embedding = embedding.astype("f4")[:, :, None]
        filter = Hard(periods=(cluster(),))
    inputs = BacktestInputs(prices=prices, lookup=lookup, filter=filter)
    return run_comparisons(NO_COSTS, inputs, settings=CompareConfig(draws=draws), **changes)


def test_beta_is_not_skill(make_prices, make_lookup, two_clusters):
    """A filter that keeps high betas in a rising market ends far ahead of the others, and is not better than chance."""
    rng = np.random.default_rng(5)
    prices = make_prices(num_sessions=300, num_tickers=40)
    beta = np.linspace(0.2, 1.8, 40)
    market = rng.normal(0.0015, 0.01, (300, 1))
    prices.close[:] = 50.0 * np.cumprod(1.0 + beta * market + rng.normal(0.0, 0.01, (300, 40)), axis=0)
    high = np.broadcast_to(beta - 1.0, (300, 40))
    found = comparisons(prices, make_lookup(prices), high, two_clusters).verdict
    assert found.selection.excess > 0.05
    assert found.selection.beta > 0.3
    assert abs(found.selection.alpha_t) < 2.5
    assert not found.helps


def test_forecasts_with_skill_are_better_than_chance(make_prices, make_lookup):
    """Without a filter the verdict is about the forecasts: those that know are found, and those of noise are not."""
    prices = make_prices(seed=1, num_sessions=200, num_tickers=30)
    coming = np.nan_to_num(metrics.forward_returns(prices.close, 5))
    lookup = make_lookup(prices)
    noise = comparisons(prices, make_lookup(prices), None, None, draws=40).verdict
    lookup.forecast[:] = coming + np.random.default_rng(2).normal(0, 0.05, coming.shape)
    knows = comparisons(prices, lookup, None, None, draws=40).verdict
    assert (knows.subject, knows.helps, noise.helps) == ("forecasts", True, False)
    assert "forecasts are better than chance" in knows.sentence
    assert set(knows.performance) == {"all candidates", "this run"}


def test_a_filter_that_keeps_everybody_is_chance(make_prices, make_lookup, two_clusters):
    """It is its own random filters: p = 1, and no t of rounding errors."""
    prices = make_prices(num_sessions=60)
    found = comparisons(prices, make_lookup(prices), np.ones(prices.close.shape), two_clusters).verdict
    assert (found.p_better, found.p_worse) == (1.0, 1.0)
    assert np.isnan(found.run.alpha_t)
    assert found.against_chance == "no better than chance"


def test_selections_are_daily_returns_of_weights(make_prices, make_lookup):
    """Kept candidates less all candidates is the difference of two means; without a signal in force it is 0."""
    prices = make_prices(num_sessions=33, num_tickers=6)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    outcome = run_backtest(replace(NO_COSTS, phase=2), inputs).outcome
    universe = candidate_returns(outcome)
    kept = np.zeros(outcome.candidates.shape, dtype=bool)
    kept[:, :2] = True
    series = universe.of(universe.excess(equal(kept)))
    daily = prices.close[1:] / prices.close[:-1] - 1.0
    expected = daily[:, :2].mean(axis=1) - daily.mean(axis=1)
    np.testing.assert_allclose(series[2:32], expected[2:32])
    assert (series[:2] == 0.0).all()


@given(st.integers(0, 1000), st.integers(1, 12))
def test_weights_by_rank_hold_as_much_long_as_short(seed, width):
    """They sum to 0, their absolute values to 2 (0 if all are equal), and higher scores weigh more."""
    score = np.random.default_rng(seed).normal(size=(3, width))
    score[0, 0] = np.nan
    weights = rank_weights(score)
    np.testing.assert_allclose(weights.sum(axis=1), 0.0, atol=1e-12)
    assert set(np.abs(weights).sum(axis=1).round(9)) <= {0.0, 2.0}
    assert weights[0, 0] == 0.0
    assert (np.diff(weights[1, np.argsort(score[1])]) >= 0).all()


@given(st.integers(0, 1000))
def test_group_bets_have_the_weight_of_each_group(seed):
    """They hold as much of each group as the portfolio, evenly over its candidates; of one group, all candidates."""
    rng = np.random.default_rng(seed)
    groups, weights = np.arange(12) % 3, rng.random((4, 12))
    spread = group_weights(weights, np.ones((4, 12), bool), groups)
    for group in range(3):
        np.testing.assert_allclose(spread[:, groups == group].sum(axis=1), weights[:, groups == group].sum(axis=1))
        assert np.ptp(spread[:, groups == group], axis=1).max() < 1e-12
    one = group_weights(weights, np.ones((4, 12), bool), np.zeros(12, dtype=np.int64))
    np.testing.assert_allclose(one, np.repeat(weights.sum(axis=1, keepdims=True) / 12, 12, axis=1))


def test_a_sector_bet_is_explained_by_its_sector():
    """A portfolio of one sector is a bet on it entirely; one within each sector is none."""
    rng = np.random.default_rng(7)
    groups, candidates = np.repeat([0, 1], 5), np.ones((20, 10), dtype=bool)
    returns = rng.normal(0.0, 0.01, (100, 10)) + np.where(groups == 0, 0.002, -0.002)
    universe = CandidateReturns(returns=returns, candidates=candidates, signal=np.repeat(np.arange(20), 5))
    market = returns.mean(axis=1)
    sector, within = equal(candidates & (groups == 0)), equal(candidates & (np.arange(10) % 5 == 0))
    bet = explain_by_groups(universe, sector, groups, market, 252)
    assert bet.explained == pytest.approx(bet.excess)
    assert bet.excess > 0.3
    assert explain_by_groups(universe, within, groups, market, 252).explained == pytest.approx(0.0, abs=1e-9)


def test_with_groups_a_filter_on_one_group_is_chance(make_prices, make_lookup, two_clusters):
    """A filter that keeps the best sector is better than chance, until its random filters keep that sector too."""
    rng = np.random.default_rng(3)
    prices = make_prices(num_sessions=300, num_tickers=40)
    drift = np.where(np.arange(40) < 10, 0.004, 0.0)
    prices.close[:] = 50.0 * np.cumprod(1.0 + drift + rng.normal(0.0, 0.01, (300, 40)), axis=0)
    sector = np.broadcast_to(np.where(np.arange(40) < 10, 1.0, -1.0), (300, 40))
    groups = Groups(of_ticker={ticker: str(number // 10) for number, ticker in enumerate(prices.tickers)})
    plain = comparisons(prices, make_lookup(prices), sector, two_clusters).verdict
    within = comparisons(prices, make_lookup(prices), sector, two_clusters, groups=groups).verdict
    assert plain.helps
    assert not within.helps
    assert within.groups is not None
    assert within.groups.explained == pytest.approx(within.groups.excess, rel=0.2)
    assert "4 groups explain" in within.sentence
    short = Groups(of_ticker=dict(list(groups.of_ticker.items())[:39]))
    with pytest.raises(InputError, match="no group for 'T39'"):
        comparisons(prices, make_lookup(prices), sector, two_clusters, groups=short)


def test_groups_are_read(tmp_path):
    """A header whose second column has any name, spaces, blank lines and repeated lines are fine."""
    path = tmp_path / "groups.csv"
    path.write_text("ticker,sector\nA, Energy\n\nB,Banks\nA,Energy\n")
    assert read_groups(path).codes(("A", "B")).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "expected the columns ticker,group"),
        (b"ticker,group\n", "for each candidate"),
        (b"name,group\nA,B\n", "expected the columns ticker,group"),
        (b"ticker,group,more\nA,B,C\n", "expected the columns ticker,group"),
        (b"ticker,group\nA\n", "line 2: 'A'"),
        (b"ticker,group\nA,\n", "line 2: 'A,'"),
        (b"ticker,group\nA,B\nA,C\n", "line 3: A is in 'B' and in 'C'"),
        (b"\xff\xfe\x00ticker", "is UTF-16"),
    ],
)
def test_bad_groups_are_refused(tmp_path, content, error):
    """Each defect is named with its line."""
    path = tmp_path / "groups.csv"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=error):
        read_groups(path)
    with pytest.raises(MissingFileError, match="ticker,group"):
        read_groups(tmp_path / "none.csv")
