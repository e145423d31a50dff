import json
from dataclasses import replace

import numpy as np
import pytest

from encash.clusters import (
    FitConfig,
    RankConfig,
    SelectionRule,
    WalkConfig,
    choose_k,
    filter_class,
    fit_clusters,
    load_walk,
    match_clusters,
    rank_clusters,
    sample_vectors,
    walk_drift,
    walk_forward,
)
from encash.errors import FormatError, InputError, MissingFileError


def config(**change):
    """A refit every 30 sessions after 60."""
    given = {
        "every": 30,
        "horizon": 5,
        "embargo": 6,
        "history": 60,
        "fit": FitConfig(k=3),
        "rule": SelectionRule(top_k=1),
    }
    return WalkConfig(**{**given, "draws": 10, **change})


def test_each_refit_knows_its_past_alone(planted):
    """Vectors are read and prices known up to the refit; it is used from `embargo` sessions later on."""
    truth = planted()
    asked_for = []

    def read(start, end):
        asked_for.append((start, end))
        return truth.read(start, end)

    made = walk_forward(truth.prices, read, config=config(), encoder="e" * 64)
    ends = np.arange(59, 200 - 6, 30)
    assert [end for _, end in asked_for] == list(truth.days[ends])
    for refit, end in zip(made.refits, ends, strict=True):
        assert refit.period.model.fit_end == str(truth.days[end])
        assert refit.period.rank_end == str(truth.days[end])
        assert refit.period.first_day == truth.days[end + 6]
        assert refit.ranking.counts["window_open"] == 5 * len(truth.tickers)


def test_the_future_moves_no_refit(planted):
    """Poisoned prices and vectors after a day leave every refit up to that day as it was, to the byte."""
    truth = planted()
    cut = truth.days[125]
    poisoned_prices, poisoned_grid = truth.prices.close.copy(), truth.grid.copy()
    poisoned_prices[truth.days > cut] *= 1000
    poisoned_grid[truth.days > cut] = 1e6
    poisoned = replace(truth, grid=poisoned_grid, prices=replace(truth.prices, close=poisoned_prices))
    plain, other = (walk_forward(t.prices, t.read, config=config(), encoder="") for t in (truth, poisoned))
    compared = 0
    for one, two in zip(plain.refits, other.refits, strict=True):
        if np.datetime64(one.period.rank_end) <= cut:
            compared += 1
            assert one.period.model.fingerprint == two.period.model.fingerprint
            assert one.period.best.tolist() == two.period.best.tolist()
            assert one.ranking.rows() == two.ranking.rows()
        else:
            assert one.period.model.fingerprint != two.period.model.fingerprint
    assert compared == 3


def test_the_number_of_clusters_is_chosen_once_on_the_first_past(planted, tmp_path):
    """Of several, the best one at the first refit holds for all: what comes later moves it not; who walks again as the
    folder says chooses again."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(counts=(2, 3, 5)), encoder="")
    first = sample_vectors(truth.read(None, truth.days[59]), config=FitConfig(k=2))
    selection = choose_k(first, (2, 3, 5), config=FitConfig(k=2), encoder="")
    assert selection.best.k == 3
    assert made.notes["choice"] == selection.rows()
    assert {refit.period.model.k for refit in made.refits} == {3}
    alone = walk_forward(truth.prices, truth.read, config=config(fit=FitConfig(k=3)), encoder="")
    assert made.fingerprint == alone.fingerprint
    blurred = truth.grid.copy()
    blurred[60:] *= np.random.default_rng(0).normal(size=blurred[60:].shape)
    later = replace(truth, grid=blurred)
    assert walk_forward(truth.prices, later.read, config=config(counts=(2, 3, 5)), encoder="").k == 3
    made.save(tmp_path)
    again = WalkConfig.of_walk(load_walk(tmp_path))
    assert again.counts == (2, 3, 5)
    assert walk_forward(truth.prices, truth.read, config=again, encoder="").fingerprint == made.fingerprint
    with pytest.raises(InputError, match="numbers below 1200 entries"):
        walk_forward(truth.prices, truth.read, config=config(counts=(3, 1200)), encoder="")


def test_rolling_and_expanding(planted):
    """A rolling walk looks back so many sessions, an expanding one to the start."""
    truth = planted()
    rolling = walk_forward(truth.prices, truth.read, config=config(window=60), encoder="")
    expanding = walk_forward(truth.prices, truth.read, config=config(), encoder="")
    assert rolling.periods[2].model.fit_start == str(truth.days[59 + 60 - 59])
    assert expanding.periods[2].model.fit_start == str(truth.days[0])
    late = walk_forward(truth.prices, truth.read, config=config(start=truth.days[20], end=truth.days[150]), encoder="")
    assert late.periods[0].model.fit_start == str(truth.days[20])
    assert late.periods[0].first_day == truth.days[20 + 59 + 6]
    assert late.periods[-1].first_day <= truth.days[150]


def test_ids_continue_from_refit_to_refit(planted):
    """The planted regime keeps its id through the walk, so the best cluster and nearly all entries keep theirs."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(), encoder="")
    drift = walk_drift(made)
    assert np.isnan(drift.agreement[0])
    assert (drift.agreement[1:] > 0.99).all()
    assert (drift.drift[1:] < 0.1).all()
    assert (drift.best_kept[1:] == 1).all()
    assert (drift.best.argmax(axis=1) == drift.best[0].argmax()).all()


def test_matching_undoes_a_permutation(planted):
    """Shuffled ids of the same clusters, with or without components, are matched back without any drift."""
    days, tickers, vectors = planted().batch()
    for components in (None, 4):
        model = fit_clusters(vectors, days, tickers, config=FitConfig(k=6, pca_components=components), encoder="")
        order = np.array([3, 0, 5, 1, 4, 2])
        shuffled = replace(model, centroids=model.centroids[order], counts=model.counts[order])
        matched, drift = match_clusters(model, shuffled)
        assert matched.fingerprint == model.fingerprint
        np.testing.assert_allclose(drift, 0, atol=1e-6)
    fewer = fit_clusters(vectors, days, tickers, config=FitConfig(k=5), encoder="")
    with pytest.raises(InputError, match="cannot match 6 clusters"):
        match_clusters(model, fewer)


def test_a_large_past_is_fitted_on_a_sample_and_ranked_whole(planted):
    """When the sample is smaller than the past, the ranking still counts every entry, streamed a second time."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(fit=FitConfig(k=3, max_entries=200)), encoder="")
    assert made.periods[0].model.counts.sum() == 200
    assert made.refits[0].ranking.counts["used"] == 55 * 20


def test_the_walk_equals_its_steps(planted):
    """The first refit is what fit, rank and select give when called one by one."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(), encoder="e" * 64)
    days, tickers, vectors = truth.batch(end=truth.days[59])
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="e" * 64)
    assert model.fingerprint == made.periods[0].model.fingerprint
    cluster = model.assign(vectors)[0].reshape(60, -1)
    assigned = replace(truth.assignments(), days=truth.days[:60], cluster=cluster)
    ranking = rank_clusters(
        assigned, truth.prices, config=RankConfig(horizon=5, end=truth.days[59], embargo=6, draws=10)
    )
    assert ranking.rows() == made.refits[0].ranking.rows()


def test_the_model_in_force_assigns(planted):
    """Each day's entries get the clusters of the refit in force, and the filter keeps by its best ones."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(), encoder="")
    days, _, vectors = truth.batch(start=made.periods[0].first_day)
    ids, _ = made.assigner.assign(days, vectors)
    for number, term in enumerate(made.periods):
        until = (
            made.periods[number + 1].first_day if number + 1 < len(made.periods) else days[-1] + np.timedelta64(1, "D")
        )
        rows = (days >= term.first_day) & (days < until)
        assert rows.any()
        np.testing.assert_array_equal(ids[rows], term.model.assign(vectors[rows])[0])


def test_a_saved_walk_comes_back(planted, contents, tmp_path):
    """A walk is a folder of models and rankings; what is loaded decides the same to the bit."""
    truth = planted()
    made = walk_forward(truth.prices, truth.read, config=config(), encoder="e" * 64)
    made.save(tmp_path / "walk")
    loaded = load_walk(tmp_path / "walk")
    assert loaded.fingerprint == made.fingerprint
    for kind in ("hard", "static"):
        assert (
            filter_class(kind)(periods=loaded.periods).fingerprint
            == filter_class(kind)(periods=made.periods).fingerprint
        )
    for one, two in zip(loaded.refits, made.refits, strict=True):
        assert one.ranking.rows() == two.ranking.rows()
        np.testing.assert_array_equal(one.drift, two.drift)
        assert one.period.static is not None
        assert two.period.static is not None
        np.testing.assert_array_equal(one.period.static.cluster, two.period.static.cluster)
    loaded.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "walk")


def test_a_damaged_walk_is_refused(planted, tmp_path):
    """A missing or foreign part is an error, not another walk."""
    truth = planted()
    with pytest.raises(MissingFileError, match="clusters walk"):
        load_walk(tmp_path)
    made = walk_forward(truth.prices, truth.read, config=config(), encoder="")
    made.save(tmp_path)
    made.periods[1].model.save(tmp_path / "0000")
    with pytest.raises(FormatError, match="not those"):
        load_walk(tmp_path)
    (tmp_path / "walk.json").write_text('{"refits": 3}')
    with pytest.raises(FormatError, match="does not describe a walk"):
        load_walk(tmp_path)


def test_an_edited_walk_is_refused(planted, tmp_path):
    """What a walk says of its refits decides on which days they may be used."""
    truth = planted()
    walk_forward(truth.prices, truth.read, config=config(), encoder="").save(tmp_path)
    path = tmp_path / "walk.json"
    text = path.read_text()
    for name, value in (("rank_end", "2000-01-01"), ("embargo", 1), ("fit_end", "2000-01-01"), ("agreement", 0.5)):
        facts = json.loads(text)
        facts["refits"][1][name] = value
        path.write_text(json.dumps(facts))
        with pytest.raises(FormatError, match=r"walk\.json was edited"):
            load_walk(tmp_path)
    for name, wrong in (("embargo", "1"), ("best", [2**40]), ("drift", "far")):
        facts = {key: value for key, value in json.loads(text).items() if key != "checksum"}
        facts["refits"][1][name] = wrong
        path.write_text(json.dumps(facts))
        with pytest.raises(FormatError):
            load_walk(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"embargo": 4}, "shorter than the horizon"),
        ({"every": 0}, "expected 1 or more"),
        ({"history": 5}, "more than the horizon"),
        ({"history": 199}, "too few"),
        ({"rule": SelectionRule(min_return=9.0)}, "no cluster passes"),
    ],
)
def test_walks_that_cannot_start_are_refused(planted, change, says):
    """Too short an embargo or history is named before anything is fitted."""
    truth = planted()
    with pytest.raises(InputError, match=says):
        walk_forward(truth.prices, truth.read, config=config(**change), encoder="")


def test_progress_counts_refits(planted):
    """Done and total are told after each refit, and after each number of clusters that was tried before."""
    truth, told = planted(), []
    walk_forward(truth.prices, truth.read, config=config(), encoder="", progress=lambda *done: told.append(done))
    assert told == [(number, 5) for number in range(1, 6)]
    told.clear()
    several = config(counts=(2, 3))
    walk_forward(truth.prices, truth.read, config=several, encoder="", progress=lambda *done: told.append(done))
    assert told == [(number, 7) for number in range(1, 8)]
