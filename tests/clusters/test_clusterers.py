"""Clusterers: each keeps the contract, and everything downstream takes each of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import encash
from encash import pipeline
from encash.audit import fit_check
from encash.backtest import BacktestInputs, make_points, run_sweep
from encash.cache import Lookup
from encash.clusters import (
    FitConfig,
    Hard,
    Mixture,
    Nearest,
    NearestPoint,
    assign_batches,
    fit_clusters,
    load_clusters,
    load_walk,
    make_clusterer,
    make_period,
)
from encash.errors import FormatError, InputError, MismatchError
from encash.testing import ClustererContract
from tests.cli.commands import answer, refusal
from tests.cli.conftest import folder

__all__ = ["folder"]
OWN = "tests.clusters.own_clusterers:Quantiles"
EVERY = ("mixture", "mixture?covariance=full", "hdbscan?min_cluster_size=5")


class TestKMeans(ClustererContract):
    clusterer = "kmeans"


class TestMixture(ClustererContract):
    clusterer = "mixture"


class TestFullMixture(ClustererContract):
    clusterer = "mixture?covariance=full"


class TestTiedMixture(ClustererContract):
    clusterer = "mixture?covariance=tied"


class TestSphericalMixture(ClustererContract):
    clusterer = "mixture?covariance=spherical&starts=2"


class TestHdbscan(ClustererContract):
    clusterer = "hdbscan?min_cluster_size=10"


class TestDrawnHdbscan(ClustererContract):
    clusterer = "hdbscan?min_cluster_size=5&entries=300&points=3"


class TestOwn(ClustererContract):
    clusterer = f"{OWN}?shrink=0.9"

    def test_it_works_on_components(self, entries):
        """It takes the largest of k coordinates, so it needs k of them."""
        assert self.fit(*entries, pca_components=3).centroids.shape == (3, 3)


@pytest.mark.parametrize("covariance", ["diag", "spherical", "tied", "full"])
def test_probabilities_are_those_of_scikit_learn(planted, covariance):
    """The distance to a component is −ln of its posterior probability, as the library computes it."""
    mixture = pytest.importorskip("sklearn.mixture")
    space = planted(spread=1.5).grid.reshape(-1, 8)
    rule = make_clusterer(f"mixture?covariance={covariance}").fit(space, k=3, seed=0).rule
    theirs = mixture.GaussianMixture(3, covariance_type=covariance, random_state=0, max_iter=200)
    expected = theirs.fit(space.astype(np.float64)).predict_proba(space.astype(np.float64))
    assert isinstance(rule, Mixture)
    order = [int(np.abs(rule.means - mean).sum(axis=1).argmin()) for mean in theirs.means_]
    np.testing.assert_allclose(np.exp(-rule.distances(space)[:, order]), expected, atol=1e-6)


def test_dense_regions_are_assigned_by_their_points():
    """Two arcs around each other: a centroid would mix them, points do not."""
    random = np.random.default_rng(0)
    angle, label = random.uniform(0, np.pi, 600), random.integers(2, size=600)
    x = np.where(label, np.cos(angle), 1 - np.cos(angle)) + random.normal(0, 0.05, 600)
    y = np.where(label, np.sin(angle), 0.4 - np.sin(angle)) + random.normal(0, 0.05, 600)
    space = np.stack([x, y], axis=1).astype(np.float32)
    found = make_clusterer("hdbscan").fit(space, k=2, seed=0)
    assert isinstance(found.rule, NearestPoint)
    assert max((found.cluster == label).mean(), (found.cluster != label).mean()) > 0.99
    centers = make_clusterer("kmeans").fit(space, k=2, seed=0).cluster
    assert max((centers == label).mean(), (centers != label).mean()) < 0.95


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agglomerative", "expected kmeans, mixture, hdbscan.*cannot assign"),
        ("tests.clusters.own_clusterers:NoClusterer", "subclass of encash.clusters.Clusterer"),
        ("mixture?covariance=round", "Invalid enum value 'round'"),
        ("mixture?starts=many", "Expected `int`"),
        ("mixture?starts=0", "starts is 0; expected a number above 0"),
        ("mixture?floor=nan", "floor is nan"),
        ("kmeans?", None),
        ("kmeans?covariance", "no field covariance"),
    ],
)
def test_an_invalid_clusterer_is_refused(text, says):
    """Names the clusterers, or the field and what it takes."""
    if says is None:
        assert make_clusterer(text) == make_clusterer("kmeans")
        return
    with pytest.raises(InputError, match=says):
        make_clusterer(text)


def test_a_fit_that_fails_says_how_to_change_it(planted):
    """Too few dense regions; a mixture that does not converge."""
    days, tickers, vectors = planted().batch()
    for method, says in (
        ("hdbscan?min_cluster_size=3000", "have only 0 dense regions of 3000 or more"),
        ("mixture?iterations=1", "did not converge in 1 iterations"),
    ):
        with pytest.raises(InputError, match=says):
            fit_clusters(vectors, days, tickers, config=FitConfig(k=3, method=method), encoder="")


def test_arrays_of_a_rule_that_do_not_fit_are_refused(planted, tmp_path):
    """A folder whose arrays were replaced is refused, in one line, whatever its fingerprint says."""
    days, tickers, vectors = planted().batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3, method="mixture"), encoder="")
    assert isinstance(model.rule, Mixture)
    for rule in (
        replace(model.rule, weights=np.zeros(3)),
        replace(model.rule, weights=np.ones(2)),
        replace(model.rule, means=np.full_like(model.rule.means, np.nan)),
        replace(model.rule, factors=np.zeros((3, 2, 2))),
        NearestPoint(points=np.zeros((3, 0, 8), dtype=np.float32)),
        NearestPoint(points=np.zeros((2, 8), dtype=np.float32)),
    ):
        replace(model, rule=rule).save(tmp_path)
        with pytest.raises(FormatError, match="fit the clusters again"):
            load_clusters(tmp_path)


def test_code_that_a_folder_names_is_not_run(planted, tmp_path):
    """Clusters of a module are used without it; only the user can name it again."""
    days, tickers, vectors = planted().batch()
    fit_clusters(vectors, days, tickers, config=FitConfig(k=3, method=OWN), encoder="").save(tmp_path)
    code = (
        "import sys, numpy; from encash.clusters import load_clusters; "
        f"load_clusters({str(tmp_path)!r}).assign(numpy.zeros((1, 8), 'f4')); "
        "assert not [name for name in sys.modules if 'own_clusterers' in name or 'sklearn' in name]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(MismatchError, match="code that a file names is not run"):
        FitConfig.of_model(load_clusters(tmp_path))


def test_other_assignments_are_a_different_filter(planted):
    """The fingerprint follows assignments that are given; empty days and a version of the cache do not count."""
    truth = planted(num_sessions=60)
    days, tickers, vectors = truth.batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    kept = assign_batches([(days, tickers, vectors)], model)
    period = make_period(model, np.array([0], dtype=np.int32), None, truth.days)
    other, far = kept.cluster.copy(), kept.distance.copy()
    other[40, 3] = (other[40, 3] + 1) % 3
    far[40, 3] += 1
    named = [
        Hard(periods=(period,), assignments=one).fingerprint
        for one in (
            None,
            kept,
            replace(kept, cluster=other),
            replace(kept, distance=far),
            kept.between(None, days[-1] - np.timedelta64(1, "D")),
        )
    ]
    assert len(set(named)) == 5
    grown = np.concatenate([kept.days, kept.days[-1:] + np.timedelta64(1, "D")])
    empty = np.full((1, len(kept.tickers)), -1, dtype=np.int32)
    wider = replace(
        kept,
        version=7,
        days=grown,
        cluster=np.concatenate([kept.cluster, empty]),
        distance=np.concatenate([kept.distance, np.full(empty.shape, np.nan, dtype=np.float32)]),
    )
    assert Hard(periods=(period,), assignments=wider).fingerprint == named[1]
    distances = model.distances(vectors).reshape(*kept.cluster.shape, 3)
    moved = distances.copy()
    moved[40, 3, 2] += 1
    near = [
        Nearest(periods=(period,), keep_share=0.5, assignments=replace(kept, distances=one))
        for one in (distances, moved)
    ]
    assert near[0].fingerprint != near[1].fingerprint


def test_assignments_of_the_folder_are_those_of_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A filter that is opened with them is the filter without them; a changed copy is not, and a sweep notices it."""
    place = tmp_path / "k"
    files = fitted(folder, capsys, place, "mixture")
    cache = encash.open_cache(files[1])
    sessions = cache.index().days
    choice = pipeline.FilterChoice(clusters=place)
    chosen, live = (pipeline.open_filter(choice, sessions, one) for one in (cache, None))
    assert chosen is not None
    assert live is not None
    assert chosen.assignments is not None
    assert chosen.fingerprint == live.fingerprint
    kept = chosen.assignments
    changed = replace(kept, cluster=np.where(kept.cluster == 0, 1, kept.cluster).astype(np.int32))
    assert replace(chosen, assignments=changed).fingerprint != chosen.fingerprint
    days = (folder / "days.txt").read_text().split()
    points = make_points({"start": days[100], "end": days[150], "filter": "hard"}, {"top_k": [1, 2]})
    with encash.open_panel(folder / "f.h5", prices=folder / "p.h5") as panel:
        assert panel.prices is not None
        for one, computed in ((kept, 2), (kept, 0), (changed, 2), (changed, 0)):
            filter = chosen if one is kept else replace(chosen, assignments=one)
            inputs = BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=filter)
            done = run_sweep(points, inputs, tmp_path / "s", filters={"hard": filter}, workers=1)
            assert done.computed == computed


def fitted(folder: Path, capsys: pytest.CaptureFixture[str], place: Path, clusterer: str) -> list[str]:
    """Fit two clusters and rank them; return the flags of a cache and of prices."""
    end = (folder / "days.txt").read_text().split()[80]
    files = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    how = ["--clusterer", clusterer, "-k", "2", "--pca-components", "3"]
    found = answer(capsys, "clusters", "fit", *files[:2], "--end", end, *how, "--out", str(place))
    assert found["method"] == clusterer
    assert found["assigns"] != "nearest centroid"
    rank = ["clusters", "rank", "--clusters", str(place), *files, "--end", end, "--horizon", "5", "--top", "1"]
    assert len(answer(capsys, *rank)["best"]) == 1
    return files


def backtested(folder: Path, capsys: pytest.CaptureFixture[str], run: Path, *flags: str) -> bytes:
    """The ledger of a backtest."""
    days = (folder / "days.txt").read_text().split()
    span = ["--start", days[100], "--end", days[150], "--top-k", "2"]
    answer(capsys, "backtest", *span, *flags, "--run-dir", str(run))
    return (run / "ledger.csv").read_bytes()


@pytest.mark.parametrize("clusterer", [*EVERY, OWN])
def test_every_filter_takes_each_clusterer(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, clusterer: str
) -> None:
    """With cached assignments and from vectors alike; the page, `picks` and `show` take them too."""
    place, stored = tmp_path / "k", tmp_path / "k" / "assignments"
    flags = [*fitted(folder, capsys, place, clusterer), "--clusters", str(place)]
    cached, live = [], []
    for name in ("hard", "nearest", "static", "random"):
        cached.append(backtested(folder, capsys, tmp_path / name, *flags, "--filter", name))
        assert pq.read_table(tmp_path / name / "picks.parquet").num_rows
    assert (tmp_path / "hard" / "report.html").is_file()
    stored.rename(tmp_path / "aside")
    for name in ("hard", "nearest", "static", "random"):
        live.append(backtested(folder, capsys, tmp_path / f"live-{name}", *flags, "--filter", name, "--no-report"))
    assert cached == live
    day = (folder / "days.txt").read_text().split()[150]
    assert answer(capsys, "picks", "--date", day, *flags, "--top-k", "1", "--filter", "nearest")["picks"]
    assert answer(capsys, "clusters", "show", str(place))["rankings"]


@pytest.mark.parametrize("clusterer", [*EVERY, OWN])
def test_walks_and_audits_take_each_clusterer(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, clusterer: str
) -> None:
    """Ids are matched between refits; a fit that is repeated gives the same bits, unless its code is a module's."""
    place, walk = tmp_path / "k", tmp_path / "w"
    files = fitted(folder, capsys, place, clusterer)
    steps = ["--every", "40", "--horizon", "5", "--embargo", "5", "--history", "60", "--top", "1"]
    how = ["--clusterer", clusterer, "-k", "2", "--pca-components", "3"]
    answer(capsys, "clusters", "walk", *files, *steps, *how, "--out", str(walk))
    made = load_walk(walk)
    assert len(made.refits) > 1
    assert {refit.period.model.method for refit in made.refits} == {clusterer}
    assert backtested(folder, capsys, tmp_path / "run", *files, "--clusters", str(walk), "--filter", "nearest")
    check = fit_check(encash.open_cache(str(folder / "c.lance")), place)
    assert check.status == ("not_tried" if clusterer == OWN else "passed")


def test_the_command_names_what_a_clusterer_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that lists the fields."""
    days = (folder / "days.txt").read_text().split()
    fit = ["clusters", "fit", "--cache", str(folder / "c.lance"), "--end", days[80], "-k", "3", "--out", "nowhere"]
    line = refusal(capsys, *fit, "--clusterer", "mixture?components=3")
    assert "no field components" in line
    assert "covariance, starts, iterations, floor" in line
