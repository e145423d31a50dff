import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.clusters import FitConfig, choose_k, draw_entries, fit_clusters, sample_vectors
from encash.clusters.fit import fit_sample
from encash.errors import InputError

PROGRAM = """
import numpy as np
from encash.clusters import FitConfig, fit_clusters
random = np.random.default_rng(0)
vectors = random.normal(size=(6000, 96)) + 2 * random.normal(size=(7, 96))[random.integers(7, size=6000)]
days, tickers = np.datetime64("2020-01-01") + np.arange(6000), np.full(6000, "A")
for components in (None, 10):
    config = FitConfig(k=9, seed=3, pca_components=components, rough_entries=100)
    print(fit_clusters(vectors.astype(np.float32), days, tickers, config=config, encoder="").fingerprint)
"""


def adjusted_rand(left, right):
    """Hubert & Arabie (1985)."""
    table = np.zeros((left.max() + 1, right.max() + 1))
    np.add.at(table, (left, right), 1)
    pairs = [(counts * (counts - 1) / 2).sum() for counts in (table, table.sum(0), table.sum(1), table.sum())]
    expected = pairs[1] * pairs[2] / pairs[3]
    return (pairs[0] - expected) / ((pairs[1] + pairs[2]) / 2 - expected)


def test_planted_clusters_are_found(planted):
    """Three planted regimes come back with an adjusted Rand index of at least 0.95."""
    truth = planted()
    days, tickers, vectors = truth.batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="e" * 64)
    index = adjusted_rand(truth.label.ravel(), model.assign(vectors)[0].astype(int))
    assert index >= 0.95, f"adjusted Rand index {index:.3f}"
    assert (model.fit_start, model.fit_end) == (str(truth.days[0]), str(truth.days[-1]))
    assert model.counts.sum() == len(vectors)
    assert (np.diff(model.counts) <= 0).all(), "clusters are numbered by size"


def test_threads_change_no_byte():
    """One thread and four give the same model, with and without principal components."""
    outputs = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 2


def test_order_of_entries_changes_no_byte(planted):
    """The same entries in another order, or streamed in batches, give the same model; another seed gives another."""
    days, tickers, vectors = planted(num_sessions=60).batch()
    config = FitConfig(k=4, seed=1, samples_per_ticker=30)
    model = fit_clusters(vectors, days, tickers, config=config, encoder="")
    order = np.random.default_rng(5).permutation(len(days))
    shuffled = fit_clusters(vectors[order], days[order], tickers[order], config=config, encoder="")
    assert shuffled.fingerprint == model.fingerprint
    stream = ((days[at : at + 37], tickers[at : at + 37], vectors[at : at + 37]) for at in range(0, len(days), 37))
    assert fit_sample(sample_vectors(stream, config=config), config=config, encoder="").fingerprint == model.fingerprint
    other = FitConfig(k=4, seed=2, samples_per_ticker=30)
    assert fit_clusters(vectors, days, tickers, config=other, encoder="").fingerprint != model.fingerprint


@given(st.integers(0, 2**31), st.integers(1, 15), st.one_of(st.none(), st.integers(1, 60)), st.integers(1, 50))
@settings(max_examples=60)
def test_the_sample_is_a_fair_function_of_the_keys(seed, per_ticker, most, batch):
    """No ticker gives more than its share, no sample is too large, and batches and order do not matter."""
    random = np.random.default_rng(seed)
    grid = np.flatnonzero(random.random(200) < 0.7)
    days, tickers = np.datetime64("2020-01-01") + grid // 10, np.array([f"T{column}" for column in grid % 10])
    vectors = grid[:, None].astype(np.float32)
    config = FitConfig(k=2, seed=seed, samples_per_ticker=per_ticker, max_entries=most)
    sample = sample_vectors([(days, tickers, vectors)], config=config)
    counts = [int((sample.tickers == name).sum()) for name in np.unique(tickers)]
    wanted = [min(per_ticker, int((tickers == name).sum())) for name in np.unique(tickers)]
    assert len(sample.days) == min(sum(wanted), most or len(grid))
    assert all(count <= most_wanted for count, most_wanted in zip(counts, wanted, strict=True))
    assert sample.seen == len(grid)
    order = random.permutation(len(grid))
    parts = [order[at : at + batch] for at in range(0, len(order), batch)]
    again = sample_vectors(((days[part], tickers[part], vectors[part]) for part in parts), config=config)
    assert (again.vectors == sample.vectors).all()
    chosen = draw_entries(days, tickers, config=config)
    assert set(vectors[chosen, 0]) == set(sample.vectors[:, 0])


def test_a_stream_is_thinned_while_it_is_read(monkeypatch):
    """Sampling a long stream never holds much more than the sample, and draws what a reader of keys would."""
    monkeypatch.setattr("encash.clusters.fit._PENDING_ROWS", 100)
    held = []
    real = np.concatenate

    def watch(arrays, *args, **kwargs):
        result = real(arrays, *args, **kwargs)
        held.append(len(result))
        return result

    monkeypatch.setattr("encash.clusters.fit.np.concatenate", watch)
    days = np.datetime64("2000-01-01") + np.arange(5000)
    tickers = np.full(5000, "A")
    vectors = np.arange(5000, dtype=np.float32)[:, None]
    config = FitConfig(k=2, max_entries=200)
    stream = ((days[at : at + 50], tickers[at : at + 50], vectors[at : at + 50]) for at in range(0, 5000, 50))
    sample = sample_vectors(stream, config=config)
    assert max(held) <= 3 * 200 + 50
    assert set(sample.vectors[:, 0]) == set(vectors[draw_entries(days, tickers, config=config), 0])


def test_standardising_ignores_what_is_constant():
    """A dimension that never changes tells nothing apart and divides by nothing."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 4)).astype(np.float32)
    vectors[:, 2] = 0.1
    days, tickers = np.datetime64("2020-01-01") + np.arange(100), np.full(100, "A")
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    assert model.scale[2] == 1
    np.testing.assert_allclose(model.scale[[0, 1, 3]], vectors[:, [0, 1, 3]].std(axis=0), rtol=1e-5)
    raw = fit_clusters(vectors, days, tickers, config=FitConfig(k=3, standardize=False), encoder="")
    assert (raw.scale == 1).all()


def test_components_keep_what_they_say(planted):
    """Principal components are orthonormal, keep the stated share of the variance, and find the clusters too."""
    truth = planted(dim=12)
    days, tickers, vectors = truth.batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3, pca_components=3), encoder="")
    assert model.components is not None
    np.testing.assert_allclose(model.components @ model.components.T, np.eye(3), atol=1e-5)
    kept = model.project(vectors).var(axis=0).sum() / ((vectors - model.mean) / model.scale).var(axis=0).sum()
    assert model.explained == pytest.approx(kept, rel=1e-4)
    assert adjusted_rand(truth.label.ravel(), model.assign(vectors)[0].astype(int)) >= 0.95


def test_inertia_is_as_low_as_the_planted_centres(planted):
    """k-means ends at least as low as the centres that made the entries."""
    truth = planted()
    days, tickers, vectors = truth.batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    space = (vectors.astype(np.float64) - model.mean) / model.scale
    labels = truth.label.ravel()
    centres = np.stack([space[labels == label].mean(axis=0) for label in range(3)])
    assert model.inertia <= np.square(space - centres[labels]).sum(axis=1).mean() * 1.001


def test_the_number_of_clusters_is_chosen_by_separation(planted):
    """The Calinski–Harabasz index picks the planted number, and equals its formula on the assigned entries."""
    days, tickers, vectors = planted().batch()
    sample = sample_vectors([(days, tickers, vectors)], config=FitConfig(k=2))
    selection = choose_k(sample, [2, 3, 4, 6], config=FitConfig(k=2), encoder="")
    assert selection.best.k == 3
    assert [row["k"] for row in selection.rows()] == [2, 3, 4, 6]
    space = selection.best.project(sample.vectors).astype(np.float64)
    ids = selection.best.assign(sample.vectors)[0]
    means = np.stack([space[ids == cluster].mean(axis=0) for cluster in range(3)])
    within = np.square(space - means[ids]).sum()
    between = np.square(means[ids] - space.mean(axis=0)).sum()
    assert selection.scores[1] == pytest.approx((between / 2) / (within / (len(space) - 3)), rel=1e-2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": 41}, "k is 41, but the 40 entries have only 10 distinguishable vectors.*; give k 10 or less"),
        ({"k": 1}, "k is 1; expected 2"),
        ({"k": 11}, "k is 11, but the 40 entries have only 10 distinguishable vectors.*; give k 10 or less"),
        ({"method": "dbscan"}, "expected kmeans.*cannot assign"),
        ({"method": "agglomerative"}, "expected kmeans.*cannot assign"),
        ({"pca_components": 9}, "9 components of 5"),
        ({"samples_per_ticker": 0}, "samples_per_ticker"),
        ({"max_entries": 0}, "max_entries"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, says):
    """Too many clusters, methods that cannot assign new entries and empty samples are named."""
    vectors = np.repeat(np.random.default_rng(0).normal(size=(10, 5)), 4, axis=0).astype(np.float32)
    days, tickers = np.datetime64("2020-01-01") + np.arange(40), np.full(40, "A")
    with pytest.raises(InputError, match=says):
        fit_clusters(vectors, days, tickers, config=FitConfig(**{"k": 3, **change}), encoder="")


@settings(max_examples=30)
@given(
    distinct=st.integers(3, 40),
    copies=st.integers(0, 120),
    dimensions=st.integers(1, 6),
    near=st.integers(-2, 2),
    seed=st.integers(0, 99),
)
def test_k_near_the_number_of_distinct_vectors_is_fitted_or_refused_in_one_way(
    distinct, copies, dimensions, near, seed
):
    """Up to the number of distinct vectors every cluster gets entries, whatever the copies; above it, one message gives
    the largest k, and that k works."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(distinct, dimensions)).astype(np.float32)
    vectors = np.concatenate([vectors, vectors[random.integers(0, distinct, copies)]])
    entries = vectors, np.datetime64("2020-01-01") + np.arange(len(vectors)), np.full(len(vectors), "A")
    k = max(2, distinct + near)
    if k <= distinct:
        assert fit_clusters(*entries, config=FitConfig(k=k, seed=seed), encoder="").counts.min() > 0
        return
    with pytest.raises(InputError, match=rf"k is {k}, .* only {distinct} distinguishable vectors.* give k {distinct} "):
        fit_clusters(*entries, config=FitConfig(k=k, seed=seed), encoder="")
    assert fit_clusters(*entries, config=FitConfig(k=distinct, seed=seed), encoder="").k == distinct


def test_vectors_that_a_projection_makes_equal_count_as_one():
    """Six vectors on two points of the first component: k 3 is refused with that number."""
    vectors = np.zeros((12, 3), dtype=np.float32)
    vectors[:, 0] = np.repeat([0.0, 100.0], 6)
    vectors[:, 2] = np.tile([0.0, 1e-30], 6)  # distinct bytes, and nothing in float32 arithmetic
    days, tickers = np.datetime64("2020-01-01") + np.arange(12), np.full(12, "A")
    config = FitConfig(k=3, standardize=False)
    with pytest.raises(InputError, match="k is 3, but the 12 entries have only 2 distinguishable vectors"):
        fit_clusters(vectors, days, tickers, config=config, encoder="")


def test_no_entries_and_nan_are_refused():
    """An empty stream and a value that is not finite are named."""
    with pytest.raises(InputError, match="no entries"):
        sample_vectors([], config=FitConfig(k=2))
    vectors = np.ones((10, 2), dtype=np.float32)
    vectors[7, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        fit_clusters(
            vectors,
            np.datetime64("2020-01-01") + np.arange(10),
            np.full(10, "A"),
            config=FitConfig(k=2),
            encoder="",
        )


def test_a_sample_says_from_which_days_it_was_drawn(planted):
    """`fit_start` and `fit_end` are those of the entries that could have been drawn."""
    truth = planted(num_sessions=120)
    days, tickers, vectors = truth.batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3, samples_per_ticker=2), encoder="")
    assert (model.fit_start, model.fit_end) == (str(truth.days[0]), str(truth.days[-1]))
    assert model.counts.sum() == 2 * len(truth.tickers)
