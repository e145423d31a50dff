"""Signals of the candidates, read once into dense arrays of days × tickers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32, Int64, positions
from encash.backtest.inputs.run_setup import RunSetup
from encash.cache.identity import cache_fingerprint
from encash.cache.lookup import Signals
from encash.cache.signal_reader import SignalReader
from encash.clusters.filters.base import CandidateFilter
from encash.encoders.base import EncoderSpec
from encash.errors import InputError, MismatchError
from encash.progress import Progress
from encash.store.codec import DTYPES


@dataclass(frozen=True, kw_only=True)
class SignalGrid:
    """Signals of D days × N tickers in memory, shared by any number of backtests."""

    days: Days
    """shape (D,), ascending."""
    tickers: tuple[str, ...]
    """N tickers, sorted."""
    horizons: tuple[int, ...]
    """H horizons of the forecasts, in sessions."""
    found: Bool
    """Cells with an entry. Shape (D, N)."""
    forecast: Float32
    """Expected return as a fraction, NaN if not found; shape (H, D, N)."""
    confidence: Float32
    """shape (H, D, N)."""
    cluster: Int32
    """−1 if not found or not assigned; shape (D, N)."""
    distance: Float32
    """Distance to the centroid of the cluster, NaN if there is none; shape (D, N)."""
    of_scores: bool = False
    """The forecasts are a table of scores, which no build completes."""

    def select(self, days: Days, tickers: tuple[str, ...]) -> SignalGrid:
        """Return the signals of some days and tickers, in this order.

        Raises:
            MismatchError: a day or ticker was not looked up.
        """
        rows, same = positions(self.days, days), tickers == self.tickers
        columns = np.arange(len(tickers)) if same else positions(np.asarray(self.tickers), np.asarray(tickers))
        if (rows < 0).any() or (columns < 0).any():
            raise MismatchError("the signals lack a day or a ticker of this run; read them with the widest settings")
        if same and len(rows) == len(self.days):
            return self
        at = np.ix_(rows, columns)
        each = np.ix_(np.arange(len(self.horizons)), rows, columns)
        return replace(
            self,
            days=days,
            tickers=tickers,
            found=self.found[at],
            forecast=self.forecast[each],
            confidence=self.confidence[each],
            cluster=self.cluster[at],
            distance=self.distance[at],
        )

    def of_horizon(self, horizon: int) -> tuple[Float32, Float32]:
        """Return forecast and confidence of one horizon, each of shape (D, N).

        Raises:
            InputError: no forecasts for the horizon.
        """
        if horizon not in self.horizons:
            raise InputError(f"no forecasts for a horizon of {horizon} sessions; there are {_listed(self.horizons)}")
        place = self.horizons.index(horizon)
        return self.forecast[place], self.confidence[place]


def read_signals(
    setups: Sequence[RunSetup],
    lookup: SignalReader,
    *,
    horizons: tuple[int, ...],
    filters: Sequence[CandidateFilter | None] = (None,),
    progress: Progress | None = None,
) -> tuple[SignalGrid, ...]:
    """Look up every candidate of some runs on one universe once, for the ranking and the filters.

    Embeddings are read only for cells whose cluster a filter needs and has not cached.

    Args:
        setups: rebalances and candidates, all of the same universe.
        lookup: source of the signals.
        horizons: of the forecasts to keep.
        filters: filters to assign clusters for; None needs no clusters.
        progress: called with (done, total) cells.

    Returns:
        One grid per filter; they share their forecasts.

    Raises:
        InputError: no forecasts for a horizon.
        MismatchError: clusters of a different encoder.
    """
    for filter in filters:
        check_clusters(filter, lookup.encoder_spec)
    which = lookup.places(horizons)
    tickers = setups[0].sessions.tickers
    days, requested = _all_candidates(setups)
    keeping = any(filter is not None and filter.assignments is not None for filter in filters)
    valid = _valid(lookup, days, tickers, requested) if keeping else requested
    found = np.zeros(requested.shape, dtype=bool)
    forecast, confidence = np.full((2, len(horizons), *requested.shape), np.nan, dtype=np.float32)
    grids = tuple(
        SignalGrid(
            days=days,
            tickers=tickers,
            horizons=horizons,
            found=found,
            forecast=forecast,
            confidence=confidence,
            cluster=cluster,
            distance=distance,
            of_scores=not lookup.horizons,
        )
        for cluster, distance in (_cached_clusters(filter, days, tickers, valid) for filter in filters)
    )
    assigned = [(filter, grid) for filter, grid in zip(filters, grids, strict=True) if filter and filter.needs_clusters]
    unassigned = np.zeros(requested.shape, dtype=bool)
    for _, grid in assigned:
        unassigned |= grid.cluster < 0
    done, total = 0, int(requested.sum())
    for cells, embeddings in ((requested & ~unassigned, False), (requested & unassigned, True)):
        row, column = np.nonzero(cells)
        if not len(row):
            continue
        report = None if progress is None else _shifted(progress, done, total)
        asked = days[row], np.asarray(tickers)[column]
        for chunk in lookup.read(*asked, embeddings=embeddings, progress=report):
            at = row[chunk.start : chunk.stop], column[chunk.start : chunk.stop]
            there = _store_forecasts(grids[0], at, chunk, which)
            for filter, grid in assigned:
                _assign_clusters(filter, grid, at, chunk, there)
        done += len(row)
    return grids


def _all_candidates(setups: Sequence[RunSetup]) -> tuple[Days, Bool]:
    """Return the signal days of all setups, ascending, shape (D,), and the candidates on them, shape (D, N)."""
    days = np.unique(np.concatenate([setup.signal_days for setup in setups]))
    requested = np.zeros((len(days), setups[0].candidates.shape[1]), dtype=bool)
    for setup in setups:
        requested[np.searchsorted(days, setup.signal_days)] |= setup.candidates
    return days, requested


def check_clusters(filter: CandidateFilter | None, spec: EncoderSpec | None) -> None:
    """Refuse clusters of a different encoder, if both are known.

    Raises:
        MismatchError: they are.
    """
    if filter is None or spec is None or not filter.encoder:
        return
    if filter.encoder not in {spec.fingerprint, *(cache_fingerprint(spec, dtype) for dtype in DTYPES)}:
        raise MismatchError(
            f"the clusters were fitted on embeddings of a different encoder ({filter.encoder[:12]}…, here "
            f"{spec.fingerprint[:12]}…); fit them on this cache"
        )


def _valid(lookup: SignalReader, days: Days, tickers: tuple[str, ...], requested: Bool) -> Bool:
    """Return the requested cells with a valid entry: a stale one has the cached cluster of a different vector."""
    row, column = np.nonzero(requested)
    valid = np.zeros(requested.shape, dtype=np.bool_)
    valid[row, column] = lookup.valid(days[row], np.asarray(tickers)[column])
    return valid


def _cached_clusters(
    filter: CandidateFilter | None, days: Days, tickers: tuple[str, ...], valid: Bool
) -> tuple[Int32, Float32]:
    """Return the cached cluster and distance of valid entries that a filter needs, −1 and NaN for other cells."""
    cluster = np.full(valid.shape, -1, dtype=np.int32)
    distance = np.full(valid.shape, np.nan, dtype=np.float32)
    if filter is not None and filter.needs_clusters and not filter.needs_embeddings:
        kept, far = filter.stored(days, tickers)
        cluster, distance = np.where(valid, kept, cluster), np.where(valid, far, distance)
    return cluster, distance


def _store_forecasts(grid: SignalGrid, at: tuple[Int64, Int64], chunk: Signals, which: list[int]) -> Bool:
    """Store the forecasts of a chunk of n cells; an entry without finite forecasts counts as missing.

    Returns:
        True for each cell of the chunk with an entry, shape (n,).
    """
    forecast, confidence = chunk.forecast[:, which], chunk.confidence[:, which]
    found: Bool = chunk.found & np.isfinite(forecast).all(axis=1) & np.isfinite(confidence).all(axis=1)
    grid.found[at] = found
    grid.forecast[:, *at] = np.where(found, forecast.T, np.nan)
    grid.confidence[:, *at] = np.where(found, confidence.T, np.nan)
    return found


def _assign_clusters(
    filter: CandidateFilter, grid: SignalGrid, at: tuple[Int64, Int64], chunk: Signals, found: Bool
) -> None:
    """Assign the found cells of a chunk that have no cluster, by their embeddings."""
    row, column = at
    todo = found & (grid.cluster[at] < 0)
    if chunk.embedding is not None and todo.any():
        cells = row[todo], column[todo]
        grid.cluster[cells], grid.distance[cells] = filter.assign(grid.days[row[todo]], chunk.embedding[todo])


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Return the progress of one of several passes."""
    return lambda part, _: progress(done + part, total)


def _listed(horizons: tuple[int, ...]) -> str:
    return ", ".join(map(str, horizons)) or "none"
