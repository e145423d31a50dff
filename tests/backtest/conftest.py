"""A lookup of arrays and random prices: what a backtest sees, without cache, panel or model."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from encash.cache import Lookup
from encash.clusters import ModelPeriod
from encash.clusters.model import ClusterModel
from encash.encoders.base import EncoderSpec
from encash.panel.panel import PriceTable


@dataclass
class Tally:
    hits: int = 0
    misses: int = 0
    stale: int | None = None
    computed: int = 0
    forecasts_computed: int = 0
    unavailable: int = 0
    unserved: int = 0
    unchecked: int = 0
    verified: bool = True
    model_loaded: bool = False


@dataclass(frozen=True)
class Signals:
    start: int
    stop: int
    embedding: object
    forecast: np.ndarray
    confidence: np.ndarray
    found: np.ndarray


class FakeReader:
    """What a `SignalReader` of one encoder with forecasts of its own says of itself."""

    forecasts = None
    first_day = None
    horizons: tuple
    encoder_spec: EncoderSpec | None

    @property
    def encoder_fingerprint(self):
        return "" if self.encoder_spec is None else self.encoder_spec.fingerprint

    @property
    def forecast_fingerprint(self):
        return "" if self.encoder_spec is None else self.encoder_spec.forecast_fingerprint

    @property
    def training_period(self):
        return None if self.encoder_spec is None else self.encoder_spec.train_end

    places, describe_forecasts = Lookup.places, Lookup.describe_forecasts


@dataclass
class ArrayLookup(FakeReader):
    """Signals of arrays over days × tickers, handed out in chunks of 7 cells."""

    days: np.ndarray
    tickers: tuple
    forecast: np.ndarray
    confidence: np.ndarray
    horizons: tuple = (1, 5)
    embedding: np.ndarray | None = None
    absent: np.ndarray | None = None
    stats: Tally = field(default_factory=Tally)
    encoder_spec: EncoderSpec | None = None
    reads: list = field(default_factory=list)
    chunk: int = 7

    def read(self, days, tickers, *, embeddings, forecasts=True, progress=None):
        self.reads.append((len(days), embeddings))
        row = np.searchsorted(self.days, days)
        place = {ticker: column for column, ticker in enumerate(self.tickers)}
        column = np.array([place[ticker] for ticker in tickers.tolist()], dtype=int)
        for start in range(0, len(days), self.chunk):
            cells = slice(start, min(start + self.chunk, len(days)))
            r, c = row[cells], column[cells]
            found = np.ones(len(r), bool) if self.absent is None else ~self.absent[r, c]
            self.stats.hits += int(found.sum())
            self.stats.unavailable += int((~found).sum())
            repeated = np.repeat(np.where(found, self.forecast[r, c], np.nan)[:, None], len(self.horizons), axis=1)
            sure = np.repeat(np.where(found, self.confidence[r, c], np.nan)[:, None], len(self.horizons), axis=1)
            vectors = None
            if embeddings:
                assert self.embedding is not None
                vectors = self.embedding[r, c]
            yield Signals(cells.start, cells.stop, vectors, repeated.astype("f4"), sure.astype("f4"), found)
            if progress is not None:
                progress(cells.stop, len(days))


def random_prices(seed=0, num_sessions=60, num_tickers=12, *, drift=0.0, opens=False, start="2024-01-01"):
    """Random walks on business days; tickers T00, T01, …"""
    rng = np.random.default_rng(seed)
    days = np.busday_offset(start, np.arange(num_sessions), roll="forward").astype("datetime64[D]")
    steps = rng.normal(drift, 0.02, (num_sessions, num_tickers))
    close = rng.uniform(5, 200, num_tickers) * np.exp(np.cumsum(steps, axis=0))
    tickers = tuple(f"T{number:02d}" for number in range(num_tickers))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape)) if opens else None
    return PriceTable(days=days, tickers=tickers, close=close, open=open_)


def random_lookup(prices, seed=0, **changes):
    """Forecasts and confidences drawn at random for every cell of the prices."""
    rng = np.random.default_rng(seed + 1000)
    shape = prices.close.shape
    return ArrayLookup(prices.days, prices.tickers, rng.normal(0, 0.01, shape), rng.uniform(0.2, 1.0, shape), **changes)


def sign_clusters(best=1, first_day="2000-01-01"):
    """Clusters of one-number embeddings: 0 below zero, 1 above."""
    model = ClusterModel(
        centroids=np.array([[-1], [1]], dtype=np.float32), mean=np.zeros(1, "f4"), scale=np.ones(1, "f4"), encoder="",
        fit_start="", fit_end="1999-01-01", seed=0, counts=np.array([1, 1]), inertia=0.0,
    )  # fmt: skip
    return ModelPeriod(
        model=model, best=np.array([best], dtype=np.int32), first_day=np.datetime64(first_day), rank_end="1999"
    )


@pytest.fixture(scope="session")
def make_prices():
    return random_prices


@pytest.fixture(scope="session")
def make_lookup():
    return random_lookup


@pytest.fixture(scope="session")
def two_clusters():
    return sign_clusters
