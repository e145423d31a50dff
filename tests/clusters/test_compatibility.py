"""Folders and fingerprints of version 0.1.0 stay valid: a cluster model, its ranking, assignments and a walk."""

import json
from pathlib import Path

import numpy as np
import pytest

from encash.clusters import (
    ModelPeriod,
    Random,
    filter_class,
    load_assignments,
    load_clusters,
    load_rankings,
    load_walk,
    models_fingerprint,
    read_best_clusters,
    static_clusters,
)

OLD = Path(__file__).parent / "fixtures" / "version_0_1_0"
MODEL = "aa5efb8df5011e623ee31c38628fa877db869fd429614fd50cf0f327838b731b"
WALK = "d97318541adffc0f066648f3defa0a8481e015e7dc09c4e58203df723c48f4b8"
FILTERS = {
    ("model", "hard", None): "2f2a1919fdaffbda5dd8d1563883c1d7ad1bc932c1eb0b247f71f3810961b5e1",
    ("walk", "hard", None): "84b31a41c63a39ec1e5334f2b434da7aba06324a132c529d0739cb486b841287",
    ("model", "nearest", 0.25): "af44446f006e00eef7ef9a7450c5bb77da9c30cd7a4b5d2a8e45c4d8c92566d6",
    ("walk", "nearest", 0.25): "4c742f38f46f4802ac3a6d4adc9d720bb584ec8e6fcf0e9de29a2b829c9d67be",
    ("model", "static", None): "c71d90fe68d452fd2251fe96c9ae93e2bd4c238d7897ab511505033680613c3c",
    ("walk", "static", None): "6e4ebe831a31c3316a32196ac25a9c7b81a764d185274a61d01d7c58fc02693e",
    ("model", "random", None): "50fba3bdce9dbe2ce41a956ec9d062e4a4037ca22a4399fce70a30642504c775",
    ("walk", "random", 0.25): "bdbd9fe1983e626789ac6536271da91cdb9c7d2f0540bd9147421c8810561bcf",
}


@pytest.fixture
def periods():
    """The periods of the old model and of the old walk."""
    model = load_clusters(OLD / "clusters")
    static = static_clusters(load_assignments(OLD / "assignments"), model.fit_end)
    best = read_best_clusters(OLD / "clusters" / "best_clusters_5d.txt")
    one = ModelPeriod(model=model, best=best, first_day=np.datetime64("2020-03-04"), static=static)
    return {"model": (one,), "walk": load_walk(OLD / "walk").periods}


def test_models_and_walks_keep_their_fingerprints():
    """What an old folder holds is read, and is the same thing."""
    model, walk = load_clusters(OLD / "clusters"), load_walk(OLD / "walk")
    assert model.fingerprint == MODEL
    assert walk.fingerprint == WALK
    assert [period.best.tolist() for period in walk.periods] == [[1], [2]]
    assert [period.worst.tolist() for period in walk.periods if period.worst is not None] == [[0], [0]]
    distances = load_assignments(OLD / "assignments", distances=True).distances
    assert distances is not None
    assert distances.shape == (40, 4, 3)
    assert [ranking.best for ranking in load_rankings(OLD / "clusters")] == [(1,)]


@pytest.mark.parametrize(("which", "name", "share"), list(FILTERS))
def test_filters_keep_their_fingerprints(periods, which, name, share):
    """Runs of the same filter have the same identity as before."""
    chosen = filter_class(name)(periods=periods[which], keep_share=share, seed=3)
    assert chosen.fingerprint == FILTERS[which, name, share]


def test_other_identities_stay(periods):
    """The share of a draw without clusters, and the models that a run names."""
    assert Random(keep_share=0.5).fingerprint == "065692ffc479c1dd35ac1a99f8b18214b8b96eb93e555001104ad3f177da428d"
    assert models_fingerprint(periods["model"]) == "901eb70b1e3ab4cb7bc0ce32daf9811632eefa72810fcc1f1a1551153d33ee2a"


def test_what_is_written_again_is_the_same(contents, tmp_path):
    """Loading and saving an old folder gives its bytes; JSON files without a format or checksum get them."""
    load_clusters(OLD / "clusters").save(tmp_path / "clusters")
    load_walk(OLD / "walk").save(tmp_path / "walk")
    load_assignments(OLD / "assignments", distances=True).save(tmp_path / "assignments")
    for folder in ("clusters", "walk", "assignments"):
        old, new = contents(OLD / folder), contents(tmp_path / folder)
        for name, content in new.items():
            if name.endswith(".json"):
                before, after = json.loads(old[name]), json.loads(content)
                added = {"format", "checksum", "fingerprint"} - before.keys()
                assert {key: value for key, value in after.items() if key not in added} == before
                assert after["format"] == 1
            else:
                assert content == old[name], name
