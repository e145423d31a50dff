"""The contract test of candidate filters: subclass it, return your filter, and run pytest.

class TestMyFilter(FilterContract):
    def make_filter(self, **settings):
        return MyFilter(keep_share=0.3, **settings)
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32
from encash.clusters.assignments import Assignments
from encash.clusters.filters.base import CandidateFilter
from encash.clusters.model import ClusterModel
from encash.clusters.periods import Assigner, ModelPeriod, active_period

FIRST_DAY = np.datetime64("2024-01-08")
K, DIM = 4, 3
TICKERS = tuple(f"T{number:02d}" for number in range(9))


@dataclass(frozen=True)
class _Cells:
    """Candidates on R days among N tickers, with clusters and distances of shape (R, N)."""

    days: Days
    tickers: tuple[str, ...]
    candidates: Bool
    cluster: Int32
    distance: Float32

    def keep(self, chosen: CandidateFilter) -> Bool:
        """Apply a filter, shape (R, N)."""
        return chosen.keep(self.days, self.tickers, self.candidates, self.cluster, self.distance)

    def select(self, rows: slice, columns: list[int]) -> _Cells:
        """Return some of the days, with tickers in a given order."""
        return _Cells(
            days=self.days[rows],
            tickers=tuple(self.tickers[column] for column in columns),
            candidates=self.candidates[rows][:, columns],
            cluster=self.cluster[rows][:, columns],
            distance=self.distance[rows][:, columns],
        )


class FilterContract(ABC):
    """Behavior of a filter that a backtest relies on. A subclass implements `make_filter`."""

    @abstractmethod
    def make_filter(
        self, *, periods: tuple[ModelPeriod, ...], seed: int = 0, assignments: Assignments | None = None
    ) -> CandidateFilter:
        """Make the filter under test with these settings, plus its own if it needs more."""

    def make_periods(self) -> tuple[ModelPeriod, ...]:
        """Return two models with their best clusters; the second is used from two days after the first."""
        return tuple(_period(number) for number in (0, 1))

    def test_only_candidates_are_kept(self) -> None:
        """The result is a boolean array of the shape of the candidates, and the arguments are not changed."""
        chosen = self.make_filter(periods=self.make_periods())
        for cells in _cases():
            before = [array.copy() for array in (cells.candidates, cells.cluster, cells.distance)]
            kept = cells.keep(chosen)
            assert kept.dtype == np.bool_
            assert kept.shape == cells.candidates.shape
            assert not (kept & ~cells.candidates).any(), "the filter kept a ticker that is not a candidate"
            for array, copy in zip((cells.candidates, cells.cluster, cells.distance), before, strict=True):
                assert np.array_equal(array, copy, equal_nan=array.dtype == np.float32), (
                    "the filter changed its arguments"
                )

    def test_days_are_independent(self) -> None:
        """Each day alone keeps the same candidates as together with the others."""
        chosen = self.make_filter(periods=self.make_periods())
        for cells in _cases():
            kept = cells.keep(chosen)
            for row in range(len(cells.days)):
                alone = cells.select(slice(row, row + 1), list(range(len(cells.tickers))))
                assert np.array_equal(alone.keep(chosen)[0], kept[row]), f"day {row} differs on its own"

    def test_the_order_of_the_tickers_does_not_matter(self) -> None:
        """Shuffled tickers keep the same candidates, also in case of ties."""
        chosen = self.make_filter(periods=self.make_periods())
        for number, cells in enumerate(_cases()):
            order = np.random.default_rng(number).permutation(len(cells.tickers)).tolist()
            assert np.array_equal(cells.select(slice(None), order).keep(chosen), cells.keep(chosen)[:, order])

    def test_the_active_period_decides(self) -> None:
        """On the days of a period, the filter of a walk keeps what the filter of only that period keeps."""
        periods = self.make_periods()
        walk = self.make_filter(periods=periods)
        for cells in _cases():
            kept, later = cells.keep(walk), active_period(periods, cells.days) == 1
            for period, rows in zip(periods, (~later, later), strict=True):
                assert np.array_equal(cells.keep(self.make_filter(periods=(period,)))[rows], kept[rows])

    def test_needs_clusters_is_true_exactly_if_it_uses_them(self) -> None:
        """Without clusters, a filter that needs them keeps nothing, and any other filter keeps the same candidates."""
        chosen = self.make_filter(periods=self.make_periods())
        for cells in _cases():
            nothing = np.full_like(cells.cluster, -1)
            bare = replace(cells, cluster=nothing, distance=np.full_like(cells.distance, np.nan))
            if chosen.needs_clusters:
                assert not bare.keep(chosen).any(), "the filter kept candidates without a cluster"
            else:
                assert np.array_equal(bare.keep(chosen), cells.keep(chosen))

    def test_cached_assignments_give_the_same_as_embeddings(self) -> None:
        """Clusters and distances have the same bits from embeddings and from cached assignments."""
        periods = self.make_periods()
        days = FIRST_DAY + np.arange(4)
        cell_days, cell_tickers = np.repeat(days, len(TICKERS)), np.tile(np.array(TICKERS), len(days))
        vectors = np.random.default_rng(3).standard_normal((len(cell_days), DIM)).astype(np.float32)
        assigner = Assigner(periods=periods, fingerprint="")
        cluster, distance = assigner.assign(cell_days, vectors)
        cached = Assignments.of_rows(cell_days, cell_tickers, cluster, distance, k=K)
        distances = assigner.distances(cell_days, vectors).reshape(len(days), len(TICKERS), K)
        chosen = self.make_filter(periods=periods, assignments=replace(cached, distances=distances))
        assert not chosen.needs_embeddings
        for live, stored in zip(chosen.assign(cell_days, vectors), chosen.stored(days, TICKERS), strict=True):
            assert live.tobytes() == stored.ravel().tobytes()

    def test_the_fingerprint_follows_the_settings(self) -> None:
        """Equal settings give equal fingerprints; different clusters, days or seeds give different ones."""
        periods = self.make_periods()
        made = [
            self.make_filter(periods=periods),
            self.make_filter(periods=periods, seed=1),
            self.make_filter(periods=periods[:1]),
            self.make_filter(periods=(replace(periods[0], best=np.array([2], dtype=np.int32)),)),
            self.make_filter(periods=(replace(periods[0], first_day=FIRST_DAY + np.timedelta64(1, "D")),)),
        ]
        assert self.make_filter(periods=periods).fingerprint == made[0].fingerprint
        assert len({chosen.fingerprint for chosen in made}) == len(made)
        assert made[0].name, "the filter has no name"

    def test_it_can_be_pickled(self) -> None:
        """A pickled copy, as the workers of a sweep receive it, keeps the same candidates."""
        chosen = self.make_filter(periods=self.make_periods())
        copy = pickle.loads(pickle.dumps(chosen))  # noqa: S301  # its own bytes
        assert copy.fingerprint == chosen.fingerprint
        for cells in _cases():
            assert np.array_equal(cells.keep(copy), cells.keep(chosen))


def _period(number: int) -> ModelPeriod:
    random = np.random.default_rng(number)
    model = ClusterModel(
        centroids=random.standard_normal((K, DIM)).astype(np.float32),
        mean=np.zeros(DIM, dtype=np.float32),
        scale=np.ones(DIM, dtype=np.float32),
        encoder="",
        fit_start="2024-01-01",
        fit_end="2024-01-05",
        seed=number,
        counts=np.ones(K, dtype=np.int64),
        inertia=1.0,
    )
    first_day = FIRST_DAY + np.timedelta64(2 * number, "D")
    static = Assignments(
        days=np.array([first_day - np.timedelta64(3, "D")]),
        tickers=np.array(TICKERS[1:]),
        cluster=random.integers(K, size=(1, len(TICKERS) - 1)).astype(np.int32),
        distance=np.ones((1, len(TICKERS) - 1), dtype=np.float32),
        k=K,
    )
    best = np.array([[1, 3], [0]][number], dtype=np.int32)
    return ModelPeriod(model=model, best=best, first_day=first_day, rank_end="2024-01-05", static=static)


def _cases() -> Iterator[_Cells]:
    """Generate days of candidates with clusters, ties in the distances, and missing clusters."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        rows, columns = int(random.integers(1, 6)), int(random.integers(1, len(TICKERS) + 1))
        cluster = random.integers(-1, K, size=(rows, columns)).astype(np.int32)
        distance = random.integers(0, 4, size=(rows, columns)).astype(np.float32)
        distance[cluster < 0] = np.nan
        yield _Cells(
            days=FIRST_DAY + np.sort(random.choice(6, rows, replace=False)),
            tickers=TICKERS[:columns],
            candidates=random.random((rows, columns)) < 0.8,
            cluster=cluster,
            distance=distance,
        )
