import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.clusters import (
    FILTERS,
    Assignments,
    ClusterModel,
    FitConfig,
    Hard,
    ModelPeriod,
    Nearest,
    Random,
    RankConfig,
    SelectionRule,
    Static,
    assign_batches,
    filter_class,
    first_allowed_day,
    fit_clusters,
    load_assignments,
    make_period,
    rank_clusters,
    select_best,
    static_clusters,
)
from encash.clusters.periods import active_period
from encash.errors import (
    FormatError,
    InputError,
    MismatchError,
    MissingFileError,
    UnknownKeyError,
)

FIRST = np.datetime64("2020-01-06")


def toy_model(k=4, seed=0, dim=3):
    random = np.random.default_rng(seed)
    return ClusterModel(
        centroids=random.normal(size=(k, dim)).astype(np.float32),
        mean=np.zeros(dim, np.float32),
        scale=np.ones(dim, np.float32),
        encoder="e" * 64,
        fit_start="2020-01-01",
        fit_end="2020-01-03",
        seed=seed,
        counts=np.ones(k, np.int64),
        inertia=1.0,
    )


def toy_period(best=(1, 3), first_day=FIRST, tickers=(), static=(), **model):
    then = Assignments(
        days=np.array([FIRST]),
        tickers=np.array(tickers, dtype=np.str_),
        cluster=np.array([static], dtype=np.int32),
        distance=np.zeros((1, len(static)), np.float32),
        k=4,
    )
    return ModelPeriod(model=toy_model(**model), best=np.array(best, dtype=np.int32), first_day=first_day, static=then)


@st.composite
def days_of_candidates(draw):
    """Some days of candidates with clusters, distances with ties, and holes."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    days = FIRST + np.sort(random.choice(30, rows, replace=False))
    tickers = tuple(f"T{number:02d}" for number in range(columns))
    candidates = random.random((rows, columns)) < 0.8
    cluster = random.integers(-1, 4, size=(rows, columns)).astype(np.int32)
    distance = random.integers(0, 4, size=(rows, columns)).astype(np.float32)
    distance[cluster < 0] = np.nan
    return days, tickers, candidates, cluster, distance


@given(days_of_candidates())
@settings(max_examples=80)
def test_hard_keeps_the_best_clusters(day):
    """A candidate goes on when its cluster is among the best; one without a cluster never does."""
    days, tickers, candidates, cluster, distance = day
    kept = Hard(periods=(toy_period(),)).keep(days, tickers, candidates, cluster, distance)
    assert (kept == (candidates & np.isin(cluster, [1, 3]))).all()


@given(days_of_candidates(), st.sampled_from([0.1, 0.3, 0.5, 1.0]))
@settings(max_examples=80)
def test_nearest_keeps_a_share_by_distance(day, share):
    """So many of each day's candidates with a cluster go on, the nearest first, ties by name."""
    days, tickers, candidates, cluster, distance = day
    chosen = Nearest(periods=(toy_period(),), keep_share=share)
    kept = chosen.keep(days, tickers, candidates, cluster, distance)
    for row in range(len(days)):
        eligible = [n for n in range(len(tickers)) if candidates[row, n] and cluster[row, n] >= 0]
        by_distance = sorted(eligible, key=lambda n: (distance[row, n], tickers[n]))
        assert set(np.flatnonzero(kept[row])) == set(by_distance[: int(np.ceil(share * len(eligible) - 1e-9))])


@given(days_of_candidates(), st.integers(0, 1000))
@settings(max_examples=80)
def test_random_keeps_as_many_as_hard(day, seed):
    """Each day's count is that of the hard filter, drawn from the same candidates."""
    days, tickers, candidates, cluster, distance = day
    hard = Hard(periods=(toy_period(),)).keep(days, tickers, candidates, cluster, distance)
    kept = Random(periods=(toy_period(),), seed=seed).keep(days, tickers, candidates, cluster, distance)
    assert (kept.sum(axis=1) == hard.sum(axis=1)).all()
    assert not (kept & ~(candidates & (cluster >= 0))).any()


@given(days_of_candidates(), st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_no_filter_depends_on_order_or_company(day, seed, shuffler):
    """Shuffled tickers, and each day alone, give the same candidates under every filter."""
    days, tickers, candidates, cluster, distance = day
    term = toy_period(tickers=tickers, static=[number % 5 - 1 for number in range(len(tickers))])
    order = list(range(len(tickers)))
    shuffler.shuffle(order)
    mixed = tuple(tickers[n] for n in order)
    for kind in FILTERS:
        made = filter_class(kind)
        chosen = made(periods=(term,), seed=seed, keep_share=made.default_share)
        kept = chosen.keep(days, tickers, candidates, cluster, distance)
        shuffled = chosen.keep(days, mixed, candidates[:, order], cluster[:, order], distance[:, order])
        assert (shuffled == kept[:, order]).all(), kind
        for row in range(len(days)):
            one = slice(row, row + 1)
            alone = chosen.keep(days[one], tickers, candidates[one], cluster[one], distance[one])
            assert (alone == kept[one]).all(), kind


def test_random_draws_differ_by_seed_and_day_and_are_fair():
    """Over many days each ticker is drawn about equally often, and two seeds disagree."""
    days, tickers = FIRST + np.arange(2000), tuple("ABCDEFGHIJ")
    everybody = np.ones((2000, 10), dtype=bool)
    none = np.zeros((2000, 10), np.int32)
    draws = [
        Random(keep_share=0.3, seed=seed).keep(days, tickers, everybody, none, none.astype(np.float32))
        for seed in (1, 2)
    ]
    assert (draws[0].sum(axis=1) == 3).all()
    assert abs(draws[0].mean(axis=0) - 0.3).max() < 0.05
    assert 0.5 < (draws[0] == draws[1]).mean() < 0.66  # by chance: 0.3² + 0.7² = 0.58


def test_static_goes_by_the_end_of_the_fit(planted):
    """A ticker's last cluster on or before the end of the fit decides, whatever it does later."""
    truth = planted(num_sessions=10, num_tickers=4)
    cluster = truth.label.astype(np.int32)
    cluster[:6, 1] = [2, 2, 1, -1, -1, -1]
    cluster[:6, 3] = -1
    assigned = replace(truth.assignments(), cluster=cluster)
    then = static_clusters(assigned, truth.days[5])
    assert then.cluster[0].tolist() == [cluster[5, 0], 1, cluster[5, 2], -1]
    term = ModelPeriod(model=toy_model(k=3), best=np.array([1], dtype=np.int32), first_day=truth.days[6], static=then)
    chosen = Static(periods=(term,))
    everybody = np.ones((4, 5), dtype=bool)
    zeros = np.zeros((4, 5), dtype=np.int32)
    kept = chosen.keep(truth.days[6:], (*truth.tickers, "NEW"), everybody, zeros, zeros.astype(np.float32))
    assert (kept == [cluster[5, 0] == 1, True, cluster[5, 2] == 1, False, False]).all()
    assert not chosen.needs_embeddings
    with pytest.raises(InputError, match="no entry on or before"):
        static_clusters(assigned, "2019-01-01")


def test_the_active_period_is_the_last_whose_day_has_come():
    """Best clusters change on the first day of a period, not before."""
    days = FIRST + np.arange(6)
    terms = tuple(
        toy_period(best=best, first_day=FIRST + np.timedelta64(offset, "D"), seed=offset)
        for best, offset in (((0,), 0), ((1,), 2), ((2,), 5))
    )
    chosen = Hard(periods=terms)
    assert active_period(terms, days).tolist() == [0, 0, 1, 1, 1, 2]
    cluster = np.tile(np.array([0, 1, 2], dtype=np.int32), (6, 1))
    kept = chosen.keep(days, ("A", "B", "C"), np.ones((6, 3), bool), cluster, np.zeros((6, 3), np.float32))
    assert kept.argmax(axis=1).tolist() == [0, 0, 1, 1, 1, 2]
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    ids, distances = chosen.assign(days, vectors)
    for row, number in enumerate([0, 0, 1, 1, 1, 2]):
        own_id, own_distance = terms[number].model.assign(vectors[row : row + 1])
        assert (ids[row], distances[row]) == (own_id[0], own_distance[0])


def test_nearest_goes_by_the_best_centroids(planted):
    """`nearest` measures to the nearest best centroid, from vectors and from kept distances alike, to the bit."""
    days, tickers, vectors = planted(num_sessions=20).batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=5), encoder="")
    term = ModelPeriod(model=model, best=np.array([4, 2], dtype=np.int32), first_day=days[0])
    kept = assign_batches([(days, tickers, vectors)], model)
    kept = replace(kept, distances=model.distances(vectors).reshape(*kept.cluster.shape, 5))
    live = Nearest(periods=(term,), keep_share=0.3)
    stored = Nearest(periods=(term,), keep_share=0.3, assignments=kept)
    assert live.needs_embeddings
    assert not stored.needs_embeddings
    ids, distances = live.assign(days, vectors)
    np.testing.assert_array_equal(distances, model.distances(vectors)[:, [2, 4]].min(axis=1))
    grid_ids, grid_distances = stored.stored(kept.days, (*kept.tickers, "NEW"))
    np.testing.assert_array_equal(grid_ids[:, :-1].ravel(), ids)
    np.testing.assert_array_equal(grid_distances[:, :-1].ravel(), distances)
    assert (grid_ids[:, -1] == -1).all()
    assert np.isnan(grid_distances[:, -1]).all()
    with pytest.raises(InputError, match="lack the distances"):
        replace(stored, assignments=replace(kept, distances=None)).stored(kept.days, ("A",))
    with pytest.raises(InputError, match="no cached assignments"):
        live.stored(kept.days, ("A",))


def test_a_run_that_starts_too_early_has_lookahead(planted):
    """The first allowed day is `embargo` sessions after the ranking's end; a day earlier is a look-ahead."""
    truth = planted(num_sessions=60)
    days, tickers, vectors = truth.batch(end=truth.days[29])
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    assigned = assign_batches([(days, tickers, vectors)], model)
    asked = RankConfig(horizon=5, end=truth.days[29], embargo=7, model=model.fingerprint)
    ranking = rank_clusters(assigned, truth.prices, config=asked)
    best = select_best(ranking, SelectionRule(top_k=1))
    chosen = Hard(periods=(make_period(model, best, ranking, truth.days),))
    assert chosen.lookahead(truth.days[36]) is None
    reason = chosen.lookahead(truth.days[35])
    assert reason is not None
    assert re.search(f"known by {truth.days[29]}.*7 sessions.*from {truth.days[36]}", reason)
    unknown = Hard(periods=(make_period(model, best, None, truth.days),))
    reason = unknown.lookahead("2030-01-01")
    assert reason is not None
    assert "not recorded" in reason
    by_hand = make_period(model, best, replace(ranking, best=(int(best[0]) ^ 1,)), truth.days)
    assert by_hand.first_day is None, "best clusters that the ranking did not choose"
    with pytest.raises(MismatchError, match="rank again"):
        make_period(model, best, replace(ranking, model="f" * 64), truth.days)
    with pytest.raises(UnknownKeyError, match="cluster 3 does not exist"):
        make_period(model, np.array([3], dtype=np.int32), ranking, truth.days)


def test_the_first_allowed_day_lies_beyond_ranking_and_fit():
    """Whichever ends later decides; beyond the known sessions it is the day after the last."""
    sessions = np.busday_offset(np.datetime64("2024-01-01"), np.arange(20))
    assert first_allowed_day(sessions, sessions[5], 3, fit_end=sessions[2]) == sessions[8]
    assert first_allowed_day(sessions, sessions[5], 3, fit_end=sessions[10]) == sessions[11]
    assert first_allowed_day(sessions, sessions[18], 3, fit_end=sessions[2]) == sessions[-1] + np.timedelta64(1, "D")


@pytest.mark.parametrize(
    ("name", "settings_given", "says"),
    [
        ("hard", {}, "needs clusters and their ranking; give --clusters DIR$"),
        ("random", {}, "needs clusters.*--keep"),
        ("nearest", {"periods": (toy_period(),)}, "--keep"),
        ("nearest", {"periods": (toy_period(),), "keep_share": 0.0}, "more than 0"),
        ("random", {"keep_share": 1.5}, "at most 1"),
        ("random", {"keep_share": 0.5, "seed": -1}, "0 or more"),
        ("static", {"periods": (replace(toy_period(), static=None),)}, "end of the fit"),
        ("hard", {"periods": (toy_period(), toy_period())}, "first days .* must rise"),
    ],
)
def test_filters_that_cannot_work_are_refused(name, settings_given, says):
    """What a filter lacks is said when it is made, not when it runs."""
    with pytest.raises(InputError, match=says):
        filter_class(name)(**settings_given)


def test_identity_follows_everything_that_decides():
    """Kind, share, seed, best clusters and first days each change the fingerprint."""
    base = Hard(periods=(toy_period(),))
    others = [
        Random(periods=(toy_period(),)),
        Random(periods=(toy_period(),), seed=1),
        Hard(periods=(toy_period(best=(1,)),)),
        Hard(periods=(toy_period(first_day=FIRST + np.timedelta64(1, "D")),)),
        Hard(periods=(toy_period(seed=1),)),
    ]
    assert Hard(periods=(toy_period(),)).fingerprint == base.fingerprint
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_assignments_survive_the_file(tmp_path, planted):
    """What is saved is what is loaded, the large distances only where asked for, and the same bytes each time."""
    days, tickers, vectors = planted(num_sessions=20).batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    batches = [(days[at : at + 70], tickers[at : at + 70], vectors[at : at + 70]) for at in range(0, len(days), 70)]
    made = assign_batches(batches[::-1], model, cache="c" * 64, version=7)
    made = replace(made, distances=model.distances(vectors).reshape(*made.cluster.shape, 3))
    made.save(tmp_path / "one")
    loaded, whole = load_assignments(tmp_path / "one"), load_assignments(tmp_path / "one", distances=True)
    for name in ("days", "tickers", "cluster", "distance", "k", "model", "cache", "version"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))
    assert loaded.distances is None
    np.testing.assert_array_equal(whole.distances, made.distances)
    made.save(tmp_path / "again")
    made.save(tmp_path / "again")
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "one"], "nothing is left beside the folders"
    cluster, distance = loaded.lookup(days, tickers)
    expected = model.assign(vectors)
    np.testing.assert_array_equal(cluster, expected[0])
    np.testing.assert_array_equal(distance, expected[1])
    assert loaded.entries == len(days)
    replace(made, distances=None).save(tmp_path / "small")
    with pytest.raises(FormatError, match="lacks distances"):
        load_assignments(tmp_path / "small", distances=True)
    with pytest.raises(MissingFileError, match=r"no facts.json .* clusters assign"):
        load_assignments(tmp_path / "none")
    damaged = tmp_path / "one" / "cluster.npy"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(FormatError, match="lacks cluster, or it is damaged"):
        load_assignments(tmp_path / "one")


def test_rows_that_are_no_table_of_entries_are_refused():
    """A key given twice, an id beyond k, and no entries at all are named."""
    days, tickers = np.array([FIRST, FIRST]), np.array(["A", "A"])
    ids, distance = np.array([0, 1], dtype=np.int32), np.array([1, 1], dtype=np.float32)
    with pytest.raises(InputError, match="twice"):
        Assignments.of_rows(days, tickers, ids, distance, k=2)
    with pytest.raises(InputError, match="0 to 1, expected 0 to 0"):
        Assignments.of_rows(days, np.array(["A", "B"]), ids, distance, k=1)
    with pytest.raises(InputError, match="no entries"):
        assign_batches([], toy_model())


def test_a_reversed_filter_keeps_the_worst_clusters_and_has_an_identity_of_its_own():
    """Twice reversed it is itself; one that does not choose by cluster, or without a ranking, is refused."""
    ids = np.array([1], dtype=np.int32), np.array([0], dtype=np.int32)
    term = ModelPeriod(model=toy_model(k=3), best=ids[0], worst=ids[1], first_day=None)
    best = Hard(periods=(term,))
    worst = best.reversed()
    cluster = np.array([[0, 1, 2, -1]], dtype=np.int32)
    asked = np.array(["2024-01-02"], dtype="datetime64[D]"), ("A", "B", "C", "D"), np.ones((1, 4), bool), cluster
    distance = np.zeros((1, 4), dtype=np.float32)
    assert best.keep(*asked, distance).tolist() == [[False, True, False, False]]
    assert worst.keep(*asked, distance).tolist() == [[True, False, False, False]]
    assert worst.fingerprint != best.fingerprint == worst.reversed().fingerprint
    for refused in (
        Nearest(periods=(term,), keep_share=0.5),
        Random(keep_share=0.5),
        Hard(periods=(replace(term, worst=None),)),
    ):
        with pytest.raises(InputError, match="--short bottom"):
            refused.reversed()
