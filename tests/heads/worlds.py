"""Prices whose next return depends on embeddings, or on nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Float32, Float64, Text
from encash.panel import PriceTable


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """S sessions of N tickers with embeddings of d dimensions, all known to the test."""

    prices: PriceTable
    vectors: Float32
    """shape (S, N, d)."""
    signal: Float64
    """Expected excess return of the next session, shape (S, N)."""

    def read(self, start: np.datetime64, end: np.datetime64) -> Iterator[tuple[Days, Text, Float32]]:
        """Yield the entries of a range of days, many sessions at a time."""
        days, tickers = self.prices.days, np.asarray(self.prices.tickers)
        inside = np.flatnonzero((days >= start) & (days <= end))
        for rows in np.array_split(inside, -(-len(inside) // 50)):
            vectors = self.vectors[rows].reshape(-1, self.vectors.shape[2])
            yield np.repeat(days[rows], len(tickers)), np.tile(tickers, len(rows)), vectors


def make_world(
    seed: int, *, strength: float, sessions: int = 400, tickers: int = 40, dim: int = 8, noise: float = 0.02
) -> World:
    """Draw a world whose next returns have `strength` times the first dimension, less half the second."""
    rng = np.random.default_rng(seed)
    days = np.arange("2015-01-01", "2025-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:sessions]
    vectors = (3.0 + rng.standard_normal((sessions, tickers, dim))).astype(np.float32)
    signal = strength * (vectors[..., 0] - 3.0 - 0.5 * (vectors[..., 1] - 3.0)).astype(np.float64)
    returns = rng.normal(0.0, noise, (sessions, tickers)) + rng.normal(0.0003, 0.01, (sessions, 1))
    returns[1:] += signal[:-1]
    names = tuple(f"T{number:03d}" for number in range(tickers))
    prices = PriceTable(
        days=days, tickers=names, close=np.asarray(100.0 * np.cumprod(1.0 + returns, axis=0), dtype=np.float64)
    )
    return World(prices=prices, vectors=vectors, signal=signal)
