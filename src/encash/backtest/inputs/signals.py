"""Signals of the candidates, read once into dense arrays of days × tickers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32, Int64, Text, positions
from encash.backtest.inputs.run_setup import RunSetup
from encash.cache.identity import cache_fingerprint
from encash.cache.lookup import Lookup, Signals
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
    """N names, sorted."""
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
        return SignalGrid(
            days=days,
            tickers=tickers,
            horizons=self.horizons,
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
    lookup: Lookup,
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
        _check_encoder(filter, lookup.encoder_spec)
    if missing := [horizon for horizon in horizons if horizon not in lookup.horizons]:
        raise InputError(
            f"no forecasts for a horizon of {missing[0]} sessions; there are {_listed(lookup.horizons)}; "
            "give a cache or a model that forecasts it"
        )
    tickers = setups[0].sessions.tickers
    days, requested = _all_candidates(setups)
    keeping = any(filter is not None and filter.assignments is not None for filter in filters)
    valid = _valid(lookup, days, tickers, requested) if keeping else requested
    clusters = [_Clusters.of(filter, days, tickers, valid) for filter in filters]
    forecasts = _Forecasts.empty(requested.shape, len(horizons))
    unassigned = np.zeros(requested.shape, dtype=bool)
    for one in clusters:
        unassigned |= one.unassigned()
    passes = [mask for mask in (requested & ~unassigned, requested & unassigned) if mask.any()]
    done, total = 0, int(requested.sum())
    for mask in passes:
        row, column = np.nonzero(mask)
        cells = _Cells(row=row, column=column, days=days[row], tickers=np.asarray(tickers)[column])
        which = [lookup.horizons.index(horizon) for horizon in horizons]
        embeddings = bool(unassigned[row[0], column[0]])
        report = None if progress is None else _shifted(progress, done, total)
        for chunk in lookup.read(cells.days, cells.tickers, embeddings=embeddings, progress=report):
            part = cells.where(slice(chunk.start, chunk.stop))
            found = forecasts.take(chunk, part, which)
            for one in clusters:
                one.assign(chunk, part, found)
        done += len(row)
    return tuple(
        SignalGrid(
            days=days,
            tickers=tickers,
            horizons=horizons,
            found=forecasts.found,
            forecast=forecasts.forecast,
            confidence=forecasts.confidence,
            cluster=one.cluster,
            distance=one.distance,
        )
        for one in clusters
    )


def _all_candidates(setups: Sequence[RunSetup]) -> tuple[Days, Bool]:
    """Return the signal days of all setups, ascending, shape (D,), and the candidates on them, shape (D, N)."""
    days = np.unique(np.concatenate([setup.signal_days for setup in setups]))
    requested = np.zeros((len(days), setups[0].candidates.shape[1]), dtype=bool)
    for setup in setups:
        requested[np.searchsorted(days, setup.signal_days)] |= setup.candidates
    return days, requested


def _check_encoder(filter: CandidateFilter | None, spec: EncoderSpec | None) -> None:
    """Refuse clusters of a different encoder, if both are known."""
    if filter is None or spec is None or not filter.encoder:
        return
    if filter.encoder not in {spec.fingerprint, *(cache_fingerprint(spec, dtype) for dtype in DTYPES)}:
        raise MismatchError(
            f"the clusters were fitted on embeddings of a different encoder ({filter.encoder[:12]}…, here "
            f"{spec.fingerprint[:12]}…); fit them on this cache"
        )


def _valid(lookup: Lookup, days: Days, tickers: tuple[str, ...], requested: Bool) -> Bool:
    """Return the requested cells with a valid entry: the cached cluster of a stale one is of a different vector."""
    row, column = np.nonzero(requested)
    valid = np.zeros(requested.shape, dtype=np.bool_)
    valid[row, column] = lookup.valid(days[row], np.asarray(tickers)[column])
    return valid


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Cells of the grid in the order in which they are read; all arrays have shape (n,)."""

    row: Int64
    column: Int64
    days: Days
    tickers: Text

    def where(self, cells: slice | Bool) -> _Cells:
        """Return some of the cells."""
        return _Cells(
            row=self.row[cells], column=self.column[cells], days=self.days[cells], tickers=self.tickers[cells]
        )


@dataclass(frozen=True, kw_only=True)
class _Forecasts:
    """Forecasts of all cells, filled chunk by chunk."""

    found: Bool
    forecast: Float32
    confidence: Float32

    @classmethod
    def empty(cls, shape: tuple[int, ...], num_horizons: int) -> _Forecasts:
        """Return forecasts in which no cell is found."""
        return cls(
            found=np.zeros(shape, dtype=bool),
            forecast=np.full((num_horizons, *shape), np.nan, dtype=np.float32),
            confidence=np.full((num_horizons, *shape), np.nan, dtype=np.float32),
        )

    def take(self, chunk: Signals, cells: _Cells, which: list[int]) -> Bool:
        """Store one chunk; an entry without finite forecasts counts as missing.

        Returns:
            True for each cell of the chunk with an entry.
        """
        forecast, confidence = chunk.forecast[:, which], chunk.confidence[:, which]
        found: Bool = chunk.found & np.isfinite(forecast).all(axis=1) & np.isfinite(confidence).all(axis=1)
        self.found[cells.row, cells.column] = found
        self.forecast[:, cells.row, cells.column] = np.where(found, forecast.T, np.nan)
        self.confidence[:, cells.row, cells.column] = np.where(found, confidence.T, np.nan)
        return found


@dataclass(frozen=True, kw_only=True)
class _Clusters:
    """Cluster and distance of each cell for one filter."""

    filter: CandidateFilter | None
    cluster: Int32
    distance: Float32

    @classmethod
    def of(cls, filter: CandidateFilter | None, days: Days, tickers: tuple[str, ...], valid: Bool) -> _Clusters:
        """Return the cached assignments of valid entries, and none of other cells."""
        cluster = np.full(valid.shape, -1, dtype=np.int32)
        distance = np.full(valid.shape, np.nan, dtype=np.float32)
        if filter is not None and filter.needs_clusters and not filter.needs_embeddings:
            kept, far = filter.stored(days, tickers)
            cluster, distance = np.where(valid, kept, cluster), np.where(valid, far, distance)
        return cls(filter=filter, cluster=cluster, distance=distance)

    def unassigned(self) -> Bool:
        """Return the cells whose cluster the filter needs and does not have, shape (D, N)."""
        needed = self.filter is not None and self.filter.needs_clusters
        return (self.cluster < 0) & needed

    def assign(self, chunk: Signals, cells: _Cells, found: Bool) -> None:
        """Assign the cells of one chunk to clusters by their embeddings."""
        if self.filter is None or not self.filter.needs_clusters or chunk.embedding is None:
            return
        todo = found & (self.cluster[cells.row, cells.column] < 0)
        if todo.any():
            cells = cells.where(todo)
            at = (cells.row, cells.column)
            self.cluster[at], self.distance[at] = self.filter.assign(cells.days, chunk.embedding[todo])


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Return the progress of one of several passes."""
    return lambda part, _: progress(done + part, total)


def _listed(horizons: tuple[int, ...]) -> str:
    return ", ".join(map(str, horizons)) or "none"
