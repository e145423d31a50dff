"""The whole room on planted truth and on noise."""

from dataclasses import replace

import numpy as np

from encash.clusters import (
    FitConfig,
    RankConfig,
    SelectionRule,
    assign_batches,
    filter_class,
    fit_clusters,
    make_period,
    rank_clusters,
    select_best,
    selection_frequency,
)
from encash.panel.toy import regime_panel


def past_and_filter(truth, *, cut, horizon=1, k=3, top=1, kind="hard"):
    """Fit and rank up to a session; the filter, the ranking and the kept cells of all later sessions."""
    days, tickers, vectors = truth.batch(end=truth.days[cut])
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=k), encoder="")
    assigned = assign_batches([(days, tickers, vectors)], model)
    asked = RankConfig(horizon=horizon, end=truth.days[cut], embargo=horizon, model=model.fingerprint, draws=50)
    ranking = rank_clusters(assigned, truth.prices, config=asked)
    best = select_best(ranking, SelectionRule(top_k=top))
    chosen = filter_class(kind)(periods=(make_period(model, best, ranking, truth.days),))
    days, tickers, vectors = truth.batch(start=chosen.periods[0].first_day)
    shape = (len(np.unique(days)), len(truth.tickers))
    cluster, distance = chosen.assign(days, vectors)
    kept = chosen.keep(
        np.unique(days), truth.tickers, np.ones(shape, bool), cluster.reshape(shape), distance.reshape(shape)
    )
    return model, ranking, best, kept


def test_planted_drifts_pay_out_of_sample(planted):
    """Where regimes drift, the best cluster's entries earn its drift in the sessions after the embargo."""
    truth = planted(num_sessions=300)
    _, _, _, kept = past_and_filter(truth, cut=200)
    close = truth.prices.close
    returns = (close[1:] / close[:-1] - 1)[-len(kept) + 1 :]
    earned = returns[kept[:-1]]
    assert abs(earned.mean() - 0.004) < 3 * earned.std() / np.sqrt(len(earned))


def test_on_noise_the_best_clusters_earn_nothing(planted):
    """In many worlds of pure noise, best clusters look good in the past they were chosen on and earn nothing after."""
    before, after, sure = [], [], []
    for seed in range(30):
        truth = planted(seed=seed, num_sessions=160, drift=(0.0,) * 8, dim=10)
        _, ranking, best, kept = past_and_filter(truth, cut=80, k=8)
        close = truth.prices.close
        returns = (close[1:] / close[:-1] - 1)[-len(kept) + 1 :]
        before.append(ranking.table.mean_return[best].mean())
        after.append(returns[kept[:-1]].mean())
        sure.append(selection_frequency(ranking, SelectionRule(top_k=1)).max())
    error = np.std(after) / np.sqrt(len(after))
    assert np.mean(before) > 5 * error, "choosing the best of eight flatters the past"
    assert abs(np.mean(after)) < 2.5 * error
    assert np.mean(sure) < 0.9, "the bootstrap says that the choice was chance"


def test_test_period_prices_move_nothing(planted):
    """Editing prices of the test period alone changes no cluster, no ranking and no kept candidate."""
    truth = planted()
    edited = truth.prices.close.copy()
    edited[truth.days > truth.days[120]] = np.random.default_rng(9).uniform(
        1, 1000, edited[truth.days > truth.days[120]].shape
    )
    other = replace(truth, prices=replace(truth.prices, close=edited))
    one, two = (past_and_filter(world, cut=120, horizon=5) for world in (truth, other))
    assert one[0].fingerprint == two[0].fingerprint
    assert one[1].rows() == two[1].rows()
    np.testing.assert_array_equal(one[2], two[2])
    np.testing.assert_array_equal(one[3], two[3])
    moved = edited.copy()
    moved[100] *= 2
    third = past_and_filter(replace(truth, prices=replace(truth.prices, close=moved)), cut=120, horizon=5)
    assert third[1].rows() != one[1].rows(), "prices of the past do count"


def test_the_regimes_of_the_toy_panel_are_found_and_ranked():
    """The shipped toy's three regimes are found (adjusted Rand index ≥ 0.95) and ranked as they drift."""
    toy = regime_panel(seed=1, num_tickers=20, num_sessions=200, noise=0.15)
    rows = toy.panel.rows()
    tickers = np.repeat(np.array(rows.tickers), np.diff(rows.offsets))
    model = fit_clusters(rows.values, rows.days, tickers, config=FitConfig(k=3), encoder="")
    found = model.assign(rows.values)[0]
    truth = toy.regime.T.ravel()
    table = np.zeros((3, 3))
    np.add.at(table, (truth, found), 1)
    pairs = [(counts * (counts - 1) / 2).sum() for counts in (table, table.sum(0), table.sum(1), table.sum())]
    expected = pairs[1] * pairs[2] / pairs[3]
    index = (pairs[0] - expected) / ((pairs[1] + pairs[2]) / 2 - expected)
    assert index >= 0.95, f"adjusted Rand index {index:.3f}"
    batch = (rows.days, tickers, rows.values)
    assigned = assign_batches([batch], model)
    prices = toy.panel.prices
    assert prices is not None
    ranking = rank_clusters(assigned, prices, config=RankConfig(horizon=1, end=prices.days[-1], embargo=1))
    drifts = [toy.drift[table[:, cluster].argmax()] for cluster in ranking.order]
    assert drifts == sorted(toy.drift, reverse=True)
