"""Planted clusters with known returns, small enough to look at."""

from dataclasses import dataclass

import numpy as np
import pytest

from encash.clusters import Assignments
from encash.panel.panel import PriceTable


@dataclass(frozen=True)
class Planted:
    """Entries of `num_tickers` × `num_sessions`; `label` is the truth, and drives the return to the next session."""

    days: np.ndarray
    tickers: tuple[str, ...]
    label: np.ndarray
    grid: np.ndarray
    prices: PriceTable

    def batch(self, start=None, end=None):
        """Days, tickers and vectors from one day to another, one row an entry."""
        rows = np.ones(len(self.days), dtype=bool)
        rows &= True if start is None else self.days >= start
        rows &= True if end is None else self.days <= end
        days = np.repeat(self.days[rows], len(self.tickers))
        return days, np.tile(np.array(self.tickers), rows.sum()), self.grid[rows].reshape(len(days), -1)

    def read(self, start, end):
        """Two batches, as a cache would stream them."""
        days, tickers, vectors = self.batch(start, end)
        half = len(days) // 2
        yield days[:half], tickers[:half], vectors[:half]
        yield days[half:], tickers[half:], vectors[half:]

    def assignments(self, **origin):
        """The truth, as if a model had found it."""
        return Assignments(
            days=self.days,
            tickers=np.array(self.tickers),
            cluster=self.label.astype(np.int32),
            distance=np.ones(self.label.shape, dtype=np.float32),
            k=int(self.label.max()) + 1,
            **origin,
        )


@pytest.fixture
def contents():
    """Reads a folder: path below it → bytes."""

    def read(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


@pytest.fixture
def planted():
    """A factory of planted clusters; `drift` is the mean return of one session in each of them."""

    def make(seed=0, num_sessions=200, num_tickers=20, dim=8, drift=(-0.004, 0.0, 0.004), spread=6.0, noise=0.01):
        random = np.random.default_rng(seed)
        days = np.busday_offset(np.datetime64("2020-01-01"), np.arange(num_sessions), roll="forward")
        tickers = tuple(f"T{number:02d}" for number in range(num_tickers))
        label = random.integers(len(drift), size=(num_sessions, num_tickers))
        centres = spread * np.linalg.qr(random.normal(size=(dim, len(drift))))[0].T
        grid = (centres[label] + random.normal(size=(*label.shape, dim))).astype(np.float32)
        returns = np.zeros(label.shape)
        returns[1:] = np.array(drift)[label[:-1]] + noise * random.normal(size=(num_sessions - 1, num_tickers))
        prices = PriceTable(days=days, tickers=tickers, close=100 * np.cumprod(1 + returns, axis=0, dtype=np.float64))
        return Planted(days, tickers, label, grid, prices)

    return make
