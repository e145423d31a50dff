from types import ModuleType

import numpy as np
import pytest

import encash.clusters
from encash.clusters import CacheEntries, FitConfig, cluster_map, fit_clusters, load_map, map_entries
from encash.errors import FormatError, MissingFileError
from encash.store.index import EntryIndex, RowKeys


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


def test_a_map_shows_a_sample_of_the_entries_that_were_fitted(planted):
    """Rows of the days of the fit alone, and no more of them than a picture can show; the same ones each time."""
    truth = planted()
    days, tickers, vectors = truth.batch(end=truth.days[149])
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder="")
    every = truth.grid.reshape(-1, truth.grid.shape[-1])
    row = np.arange(len(every), dtype=np.int32).reshape(len(truth.days), -1)
    day, ticker = np.indices(row.shape, dtype=np.int32)
    keys = RowKeys(
        day=truth.days.astype(np.int32)[day.ravel()],
        ticker=ticker.ravel(),
        names=np.array(truth.tickers),
        digest=np.ones(len(every), np.uint64),
    )
    asked = []

    def read(rows):
        asked.append(rows)
        return every[rows]

    entries = CacheEntries(index=EntryIndex.of(keys), vectors=read, cache="c" * 64, version=1)
    shown, again = map_entries(model, entries), map_entries(model, entries)
    np.testing.assert_array_equal(asked[0], asked[1])
    np.testing.assert_array_equal(shown.entries, again.entries)
    assert len(shown.entries) == len(set(asked[0].tolist())) == 1_500
    assert row[149].max() - 40 < asked[0].max() <= row[149].max()


def test_a_map_survives_its_file(tmp_path, planted):
    """What is saved is what is loaded; no map, and a damaged one, are named."""
    days, tickers, vectors = planted(num_sessions=30).batch()
    shown = cluster_map(fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder=""), vectors)
    with pytest.raises(MissingFileError, match=r"no map\.npz"):
        load_map(tmp_path)
    shown.save(tmp_path)
    loaded = load_map(tmp_path)
    for name in ("centroids", "entries", "cluster", "explained"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(shown, name))
    (tmp_path / "map.npz").write_bytes((tmp_path / "map.npz").read_bytes()[:200])
    with pytest.raises(FormatError, match="damaged"):
        load_map(tmp_path)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", ["centroids", "entries", "cluster"])
def test_a_changed_map_is_refused(tmp_path, planted, sealed, name):
    """A value is compared with the checksum; without one, as in maps of earlier versions, shapes and ranges are."""
    days, tickers, vectors = planted(num_sessions=30).batch()
    cluster_map(fit_clusters(vectors, days, tickers, config=FitConfig(k=3), encoder=""), vectors).save(tmp_path)
    with np.load(tmp_path / "map.npz") as file:
        arrays = {key: file[key] for key in file.files if sealed or key != "checksum"}
    np.savez(tmp_path / "map.npz", **arrays)
    load_map(tmp_path)
    changed = arrays[name] + 3 if sealed or name == "cluster" else arrays[name][1:, :1]
    np.savez(tmp_path / "map.npz", **arrays | {name: changed})
    with pytest.raises(FormatError, match="its checksum differs"):
        load_map(tmp_path)


def test_two_clusters_have_a_map_too(planted):
    """With one direction between centroids the second axis is flat, not an error."""
    days, tickers, vectors = planted(num_sessions=30).batch()
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=2), encoder="")
    assert np.isfinite(cluster_map(model, vectors).entries).all()


def test_every_public_name_exists():
    """Names that are imported late are there, and are no files of the room."""
    for name in vars(encash.clusters)["__all__"]:  # the stub does not declare it
        assert not isinstance(getattr(encash.clusters, name), ModuleType), name
