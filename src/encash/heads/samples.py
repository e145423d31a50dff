"""Entries with their forward returns, as a head is fitted on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64, Text, positions, to_day
from encash.errors import InputError
from encash.heads.config import HeadConfig
from encash.metrics import settled_returns
from encash.panel.panel import PriceTable

BLOCKS = 5
"""Consecutive stretches of sessions; each is forecast by a fit on others."""
Batch = tuple[Days, Text, Float32]
"""Days (n,), tickers (n,) and vectors (n, d) of some entries; a session is in one batch."""
EntryReader = Callable[[np.datetime64, np.datetime64], Iterable[Batch]]
"""Reads the entries of a range of days, both ends included, ascending."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """n entries of whole sessions with their returns over H horizons."""

    session: Int64
    """Place of the day among the sessions of the targets, shape (n,)."""
    block: Int64
    """Block of the session, from 0; −1 between two blocks; shape (n,)."""
    vectors: Float32
    """shape (n, d)."""
    excess: Float64
    """Forward return less its mean over the entries of the session; shape (n, H)."""

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.session)

    def take(self, rows: Int64 | Bool) -> Sample:
        """Return some of the entries."""
        return replace(
            self,
            session=self.session[rows],
            block=self.block[rows],
            vectors=self.vectors[rows],
            excess=self.excess[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Forward returns that are known at the end of the prices, on a grid of S sessions × N tickers."""

    days: Days
    """shape (S,)."""
    tickers: Text
    """Ascending, shape (N,)."""
    returns: Float64
    """NaN if unknown; shape (H, S, N)."""
    level: Float64
    """Mean return of all tickers over the sessions, shape (H,)."""
    block: Int64
    """shape (S,)."""

    @property
    def span(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last day of entries whose returns are known."""
        return self.days[0], self.days[-1]


def make_targets(prices: PriceTable, config: HeadConfig, end: np.datetime64) -> Targets:
    """Compute the forward returns that are known at the close of a day.

    Only sessions are kept for which all horizons have ended. A ticker that stopped trading within the horizon is
    settled by the policy of the settings.

    Raises:
        InputError: too few sessions.
    """
    known = prices.as_of(end)
    order = np.argsort(known.tickers)
    close = known.close[:, order]
    first = 0 if config.start is None else int(np.searchsorted(known.days, to_day(config.start)))
    stop = len(known.days) - config.longest
    if stop - first < 2 * BLOCKS * config.longest:
        raise InputError(
            f"{max(0, stop - first)} sessions up to {end} have known returns over {config.longest} sessions; expected "
            f"{2 * BLOCKS * config.longest} or more: give more prices, a later end or a shorter longest horizon"
        )
    returns = np.stack([settled_returns(close, h, config.delisting)[0][first:stop] for h in config.horizons])
    if config.winsorize is not None:
        for grid in returns:
            np.clip(grid, *np.nanquantile(grid, config.winsorize), out=grid)
    return Targets(
        days=known.days[first:stop],
        tickers=np.asarray(known.tickers)[order],
        returns=returns,
        level=np.array([_mean_of_sessions(grid) for grid in returns]),
        block=session_blocks(stop - first, config.longest),
    )


def session_blocks(sessions: int, gap: int) -> Int64:
    """Number consecutive blocks of sessions, −1 for the last ones of each but the last, whose returns reach into the
    next.

    >>> session_blocks(10, 1).tolist()
    [0, -1, 1, -1, 2, -1, 3, -1, 4, 4]
    """
    block = np.arange(sessions) * BLOCKS // sessions
    reaches = np.zeros(sessions, dtype=np.bool_)
    reaches[:-gap] = block[:-gap] != block[gap:]
    return np.where(reaches, -1, block).astype(np.int64)


def samples(read: EntryReader, targets: Targets) -> Iterator[Sample]:
    """Yield the entries that have returns over all horizons, in batches of whole sessions.

    Sessions with a single such entry are left out: a head forecasts differences between stocks.
    """
    for days, tickers, vectors in read(*targets.span):
        row, column = positions(targets.days, days), positions(targets.tickers, tickers)
        returns = np.where((row >= 0) & (column >= 0), targets.returns[:, row, column], np.nan).T
        usable = np.isfinite(returns).all(axis=1) & np.isfinite(vectors).all(axis=1)
        session, place, count = np.unique(row[usable], return_inverse=True, return_counts=True)
        kept = count[place] > 1
        chosen = np.flatnonzero(usable)[kept]
        if not len(chosen):
            continue
        place, values = place[kept], returns[chosen]
        means = np.stack([np.bincount(place, weights=column, minlength=len(session)) for column in values.T], axis=1)
        yield Sample(
            session=session[place],
            block=targets.block[session[place]],
            vectors=vectors[chosen],
            excess=values - means[place] / count[place, None],
        )


def thinned(read: EntryReader, targets: Targets, most: int) -> Sample:
    """Return the entries of every n-th session in memory, with the smallest n that keeps their number within a limit.

    Raises:
        InputError: no entries with known returns.
    """
    counts = np.zeros(len(targets.days), dtype=np.int64)
    for days, _, _ in read(*targets.span):
        row = positions(targets.days, days)
        counts += np.bincount(row[row >= 0], minlength=len(counts))
    step = max(1, -(-int(counts.sum()) // most))
    parts = [part.take(part.session % step == 0) for part in samples(read, targets)]
    if not any(len(part) for part in parts):
        raise InputError(no_entries(targets))
    return Sample(
        session=np.concatenate([part.session for part in parts]),
        block=np.concatenate([part.block for part in parts]),
        vectors=np.concatenate([part.vectors for part in parts]),
        excess=np.concatenate([part.excess for part in parts]),
    )


def no_entries(targets: Targets) -> str:
    """Return the error for a fit without entries."""
    first, last = targets.span
    return (
        f"the cache has no two entries of one session with known returns from {first} to {last}; build the cache for "
        "these days, or give the prices of its tickers"
    )


def _mean_of_sessions(returns: Float64) -> float:
    known = np.isfinite(returns)
    sums, counts = np.where(known, returns, 0.0).sum(axis=1), known.sum(axis=1)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else 0.0
