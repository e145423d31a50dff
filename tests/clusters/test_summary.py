from dataclasses import replace

import numpy as np

import encash.clusters
from encash.clusters import (
    FitConfig,
    RankConfig,
    Rule,
    cluster_map,
    cluster_returns,
    fit_clusters,
    occupancy,
    rank_clusters,
    select_best,
    staying,
)


def test_the_map_shows_the_clusters_apart(planted):
    """Three planted clusters lie in one plane: it shows every centroid, and distances between them as they are."""
    days, tickers, vectors = planted().batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    shown = cluster_map(model, vectors[:500])
    flat = np.linalg.norm(shown.centroids[:, None] - shown.centroids, axis=2)
    full = np.linalg.norm(model.centroids[:, None].astype(float) - model.centroids, axis=2)
    np.testing.assert_allclose(flat, full, rtol=1e-5)
    nearest = np.linalg.norm(shown.entries[:, None] - shown.centroids, axis=2).argmin(axis=1)
    assert (nearest == shown.cluster).mean() > 0.99
    assert 0.3 < shown.explained < 1
    again = cluster_map(model, vectors[:500])
    np.testing.assert_array_equal(again.entries, shown.entries)


def test_two_clusters_have_a_map_too(planted):
    """With one direction between centroids the second axis is flat, not an error."""
    days, tickers, vectors = planted(num_sessions=30).batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=2), encoder="")
    assert np.isfinite(cluster_map(model, vectors).entries).all()


def test_occupancy_by_month(planted):
    """Shares sum to one, months without entries are left out, and counts are those of a loop."""
    truth = planted(num_sessions=100)
    assigned = truth.assignments()
    cluster = assigned.cluster.copy()
    cluster[(truth.days >= np.datetime64("2020-02-01")) & (truth.days < np.datetime64("2020-03-01"))] = -1
    shown = occupancy(replace(assigned, cluster=cluster))
    assert np.datetime64("2020-02-01") not in shown.months
    np.testing.assert_allclose(shown.share.sum(axis=1), 1)
    march = cluster[(truth.days >= np.datetime64("2020-03-01")) & (truth.days < np.datetime64("2020-04-01"))]
    place = shown.months.tolist().index(np.datetime64("2020-03-01").item())
    np.testing.assert_allclose(shown.share[place], [(march == label).mean() for label in range(3)])
    assert shown.entries[place] == march.size


def test_staying_counts_moves():
    """Rows say where the entries of a cluster go; a ticker without an entry later is no move."""
    from encash.clusters import Assignments

    days = np.datetime64("2020-01-01") + np.arange(4)
    cluster = np.int32([[0, 1], [0, 1], [1, -1], [1, 1]])
    assigned = Assignments(
        days=days, tickers=np.array(["A", "B"]), cluster=cluster, distance=np.zeros((4, 2), np.float32), k=3
    )
    shares = staying(assigned)
    np.testing.assert_allclose(shares[:2], [[0.5, 0.5, 0], [0, 1, 0]])
    assert np.isnan(shares[2]).all()


def test_returns_come_with_error_bars_and_marks(planted):
    """The order is the ranking's, and best clusters are marked with how often the bootstrap would choose them."""
    truth = planted(drift=(-0.004, 0.0, 0.004))
    asked = RankConfig(horizon=1, end=truth.days[-1], embargo=1, draws=50)
    ranking = rank_clusters(truth.assignments(), truth.prices, config=asked)
    rule = Rule(top_k=1)
    shown = cluster_returns(ranking, select_best(ranking, rule), rule)
    assert shown.cluster.tolist() == [2, 1, 0]
    assert shown.best.tolist() == [True, False, False]
    assert shown.selected_share.tolist() == [1, 0, 0]
    assert (np.diff(shown.mean_return) < 0).all()
    assert (shown.mean_error > 0).all()


def test_every_public_name_exists():
    """Names that are imported late are there, and are no files of the room."""
    for name in encash.clusters.__all__:
        assert callable(getattr(encash.clusters, name)) or isinstance(getattr(encash.clusters, name), tuple), name
