"""The contract test of clusterers: subclass it, name yours, and run pytest.

class TestMyClusterer(ClustererContract):
    clusterer = "my_clusters:Mine?field=value"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encash.arrays import Days, Float32, Int64, Text
from encash.clusters.clusterers.registry import make_clusterer
from encash.clusters.fit import FitConfig, fit_clusters
from encash.clusters.model import ClusterModel, load_clusters
from encash.clusters.walk import match_clusters
from encash.errors import InputError

K, DIM, SESSIONS, TICKERS = 3, 6, 60, 12


class ClustererContract:
    """Behavior of a clusterer that filters, walks and reports rely on. A subclass names it as `--clusterer` does."""

    clusterer: str

    @pytest.fixture
    def entries(self) -> tuple[Days, Text, Float32]:
        """Entries around three centers."""
        return self.make_entries(0)[:3]

    @pytest.fixture
    def model(self, entries: tuple[Days, Text, Float32]) -> ClusterModel:
        """Clusters fitted to them."""
        return self.fit(*entries)

    def make_entries(self, seed: int) -> tuple[Days, Text, Float32, Int64]:
        """Return days, tickers, vectors and the center of each."""
        random = np.random.default_rng(seed)
        days = np.repeat(np.datetime64("2024-01-01") + np.arange(SESSIONS), TICKERS)
        tickers = np.tile([f"T{number:02d}" for number in range(TICKERS)], SESSIONS)
        label = random.choice(K, len(days), p=[0.5, 0.3, 0.2])
        centers = 8 * np.eye(K, DIM)
        return days, tickers, (centers[label] + random.normal(size=(len(days), DIM))).astype(np.float32), label

    def fit(self, days: Days, tickers: Text, vectors: Float32, **changes: int | None) -> ClusterModel:
        """Fit three clusters."""
        config = FitConfig(k=K, method=self.clusterer, **changes)  # type: ignore[arg-type]  # each fits its field
        return fit_clusters(vectors, days, tickers, config=config, encoder="e" * 64)

    def test_clear_groups_are_found(self, model: ClusterModel) -> None:
        """Vectors that were not fitted are in the cluster of their group."""
        _, _, vectors, label = self.make_entries(1)
        cluster, _ = model.assign(vectors)
        counts = np.zeros((K, K), dtype=np.int64)
        np.add.at(counts, (label, cluster), 1)
        assert counts.max(axis=1).sum() > 0.97 * len(label)
        assert len(set(counts.argmax(axis=1).tolist())) == K

    def test_the_same_entries_in_any_order_give_the_same_bytes(
        self, entries: tuple[Days, Text, Float32], model: ClusterModel
    ) -> None:
        """A fit depends on entries and seed only; a different seed is a different identity."""
        order = np.random.default_rng(2).permutation(len(entries[0]))
        days, tickers, vectors = entries
        assert self.fit(days[order], tickers[order], vectors[order]).fingerprint == model.fingerprint
        assert self.fit(*entries, seed=1).fingerprint != model.fingerprint

    def test_clusters_are_numbered_by_size(self, entries: tuple[Days, Text, Float32], model: ClusterModel) -> None:
        """The largest first; counts are those of the fitted entries under the rule of assignment."""
        assert np.array_equal(model.counts, np.bincount(model.assign(entries[2])[0], minlength=K))
        assert (np.diff(model.counts) <= 0).all()

    def test_the_cluster_is_the_nearest_one(self, entries: tuple[Days, Text, Float32], model: ClusterModel) -> None:
        """Ids and distances of `assign` are those of `distances`, bit by bit, and no distance is negative or NaN."""
        cluster, distance = model.assign(entries[2])
        distances = model.distances(entries[2])
        assert distances.shape == (len(entries[0]), K)
        assert (distances >= 0).all()
        assert np.array_equal(cluster, distances.argmin(axis=1))
        assert np.array_equal(distance, distances[np.arange(len(distance)), cluster])
        best = np.array([2, 0], dtype=np.int32)
        assert np.array_equal(model.distances_to(best, entries[2]), distances[:, best].min(axis=1))

    def test_no_vector_depends_on_the_others(self, entries: tuple[Days, Text, Float32], model: ClusterModel) -> None:
        """A vector on its own has the same bits as among others."""
        vectors = entries[2][:50]
        together = model.distances(vectors)
        assert np.array_equal(np.concatenate([model.distances(vectors[row : row + 1]) for row in range(50)]), together)
        assert np.array_equal(model.distances(vectors[::-1].copy()), together[::-1])

    def test_a_folder_holds_all_of_it(
        self, model: ClusterModel, entries: tuple[Days, Text, Float32], tmp_path: Path
    ) -> None:
        """Loaded clusters have the same fingerprint and assign the same, and their files hold plain arrays only."""
        model.save(tmp_path)
        loaded = load_clusters(tmp_path)
        assert loaded.fingerprint == model.fingerprint
        assert np.array_equal(loaded.distances(entries[2]), model.distances(entries[2]))
        with np.load(tmp_path / "clusters.npz", allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "fi" for name in arrays)

    def test_ids_can_be_matched(self, entries: tuple[Days, Text, Float32], model: ClusterModel) -> None:
        """A walk gives the clusters of a later fit the ids of the earlier one."""
        days, tickers, vectors, _ = self.make_entries(3)
        shuffled = self.fit(days, tickers, vectors).reordered(np.array([2, 0, 1]))
        matched, _ = match_clusters(model, shuffled)
        same = matched.assign(entries[2])[0] == model.assign(entries[2])[0]
        assert same.mean() > 0.97
        assert matched.fingerprint != shuffled.fingerprint

    def test_it_works_on_components(self, entries: tuple[Days, Text, Float32]) -> None:
        """Projected vectors are clustered in their own space."""
        model = self.fit(*entries, pca_components=2)
        assert model.centroids.shape == (K, 2)
        assert np.isfinite(model.distances(entries[2])).all()

    def test_vectors_that_are_not_finite_are_refused(self, model: ClusterModel) -> None:
        """As an entry of a damaged cache would be."""
        with pytest.raises(InputError, match="NaN or infinity"):
            model.assign(np.full((1, DIM), np.nan, dtype=np.float32))

    def test_an_unknown_field_is_refused(self) -> None:
        """By its name."""
        with pytest.raises(InputError, match="no_such_field"):
            make_clusterer(f"{self.clusterer.partition('?')[0]}?no_such_field=1")
