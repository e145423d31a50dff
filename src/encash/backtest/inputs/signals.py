"""What the model says of the candidates, read once: dense arrays of days × tickers. Knows the lookup and what a filter
needs of embeddings; nothing of picks, prices or money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Int32, Int64, Text, positions
from encash.backtest.inputs.run_setup import Frame
from encash.cache.identity import cache_fingerprint
from encash.cache.lookup import Lookup, Signals
from encash.clusters.filters.base import CandidateFilter
from encash.encoders.base import EncoderSpec
from encash.errors import InputError, MismatchError
from encash.progress import Progress
from encash.store.codec import DTYPES


@dataclass(frozen=True, kw_only=True)
class SignalGrid:
    """Signals of D days × N tickers, held in memory and shared by as many backtests as one likes."""

    days: Days
    """shape (D,), ascending."""
    tickers: tuple[str, ...]
    """N names, sorted."""
    horizons: tuple[int, ...]
    """H of them."""
    asked: Bool
    """Cells that were looked up; the others say nothing. Shape (D, N)."""
    found: Bool
    """Cells with an entry. Shape (D, N)."""
    forecast: Float32
    """Expected return as a fraction, NaN where not found; shape (H, D, N)."""
    confidence: Float32
    """shape (H, D, N)."""
    cluster: Int32
    """−1 where not found or not assigned; shape (D, N)."""
    distance: Float32
    """To the centroid of the cluster, NaN where there is none; shape (D, N)."""

    def select(self, days: Days, tickers: tuple[str, ...]) -> SignalGrid:
        """The same signals for some days and tickers, in this order.

        Raises:
            MismatchError: a day or ticker that was not looked up.
        """
        rows, same = positions(self.days, days), tickers == self.tickers
        columns = np.arange(len(tickers)) if same else positions(np.asarray(self.tickers), np.asarray(tickers))
        if (rows < 0).any() or (columns < 0).any():
            raise MismatchError("a day or a ticker of this run was not prepared; prepare with the widest settings")
        if same and len(rows) == len(self.days):
            return self
        at = np.ix_(rows, columns)
        each = np.ix_(np.arange(len(self.horizons)), rows, columns)
        return SignalGrid(
            days=days,
            tickers=tickers,
            horizons=self.horizons,
            asked=self.asked[at],
            found=self.found[at],
            forecast=self.forecast[each],
            confidence=self.confidence[each],
            cluster=self.cluster[at],
            distance=self.distance[at],
        )

    def of_horizon(self, horizon: int) -> tuple[Float32, Float32]:
        """Forecast and confidence of one horizon, each (D, N).

        Raises:
            InputError: a horizon without forecasts.
        """
        if horizon not in self.horizons:
            raise InputError(f"no forecasts for a horizon of {horizon} sessions; there are {_listed(self.horizons)}")
        place = self.horizons.index(horizon)
        return self.forecast[place], self.confidence[place]


def read_signals(
    frames: Sequence[Frame],
    lookup: Lookup,
    *,
    horizons: tuple[int, ...],
    filters: Sequence[CandidateFilter | None] = (None,),
    progress: Progress | None = None,
) -> tuple[SignalGrid, ...]:
    """Look every candidate of some runs on one universe up once, and keep what the ranking and the filters need.

    Embeddings are read for those cells alone whose cluster a filter needs and has not kept.

    Args:
        frames: rebalances and candidates, all of the same universe.
        lookup: hits and misses are its business.
        horizons: of the forecasts to keep.
        filters: whose clusters are assigned while the embeddings pass by; None assigns nothing.
        progress: called with cells done and cells in all.

    Returns:
        One grid for each filter; they share their forecasts.

    Raises:
        InputError: a horizon without forecasts.
        MismatchError: clusters of another encoder.
    """
    for filter in filters:
        _check_encoder(filter, lookup.encoder_spec)
    if missing := [horizon for horizon in horizons if horizon not in lookup.horizons]:
        raise InputError(
            f"no forecasts for a horizon of {missing[0]} sessions; there are {_listed(lookup.horizons)}; "
            "give a cache or a model that forecasts it"
        )
    tickers = frames[0].sessions.tickers
    days, asked = _all_candidates(frames)
    keeping = any(filter is not None and filter.assignments is not None for filter in filters)
    valid = _valid(lookup, days, tickers, asked) if keeping else asked
    places = [_Places.of(filter, days, tickers, valid) for filter in filters]
    told = _Told.empty(asked.shape, len(horizons))
    unassigned = np.zeros(asked.shape, dtype=bool)
    for place in places:
        unassigned |= place.wanting()
    passes = [mask for mask in (asked & ~unassigned, asked & unassigned) if mask.any()]
    done, total = 0, int(asked.sum())
    for mask in passes:
        row, column = np.nonzero(mask)
        cells = _Cells(row=row, column=column, days=days[row], tickers=np.asarray(tickers)[column])
        which = [lookup.horizons.index(horizon) for horizon in horizons]
        embeddings = bool(unassigned[row[0], column[0]])
        report = None if progress is None else _shifted(progress, done, total)
        for chunk in lookup.read(cells.days, cells.tickers, embeddings=embeddings, progress=report):
            part = cells.where(slice(chunk.start, chunk.stop))
            found = told.take(chunk, part, which)
            for place in places:
                place.assign(chunk, part, found)
        done += len(row)
    return tuple(
        SignalGrid(
            days=days,
            tickers=tickers,
            horizons=horizons,
            asked=asked,
            found=told.found,
            forecast=told.forecast,
            confidence=told.confidence,
            cluster=place.cluster,
            distance=place.distance,
        )
        for place in places
    )


def _all_candidates(frames: Sequence[Frame]) -> tuple[Days, Bool]:
    """The signal days of all frames, ascending (D,), and the candidates on them, (D, N)."""
    days = np.unique(np.concatenate([frame.signal_days for frame in frames]))
    asked = np.zeros((len(days), frames[0].asked.shape[1]), dtype=bool)
    for frame in frames:
        asked[np.searchsorted(days, frame.signal_days)] |= frame.asked
    return days, asked


def _check_encoder(filter: CandidateFilter | None, spec: EncoderSpec | None) -> None:
    """Refuse clusters of another encoder, where both are known."""
    if filter is None or spec is None or not filter.encoder:
        return
    if filter.encoder not in {spec.fingerprint, *(cache_fingerprint(spec, dtype) for dtype in DTYPES)}:
        raise MismatchError(
            f"the clusters were fitted on embeddings of another encoder ({filter.encoder[:12]}…, here "
            f"{spec.fingerprint[:12]}…); fit them on this cache"
        )


def _valid(lookup: Lookup, days: Days, tickers: tuple[str, ...], asked: Bool) -> Bool:
    """Asked cells with a valid entry in the cache: what was kept of a stale one is of another vector. Shape (D, N)."""
    row, column = np.nonzero(asked)
    valid = np.zeros(asked.shape, dtype=np.bool_)
    valid[row, column] = lookup.valid(days[row], np.asarray(tickers)[column])
    return valid


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Some cells of the grid, in the order in which they are read."""

    row: Int64
    column: Int64
    days: Days
    tickers: Text

    def where(self, cells: slice | Bool) -> _Cells:
        """Some of them."""
        return _Cells(
            row=self.row[cells], column=self.column[cells], days=self.days[cells], tickers=self.tickers[cells]
        )


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What the model says of each cell."""

    found: Bool
    forecast: Float32
    confidence: Float32

    @classmethod
    def empty(cls, shape: tuple[int, ...], num_horizons: int) -> _Told:
        """Nothing yet."""
        return cls(
            found=np.zeros(shape, dtype=bool),
            forecast=np.full((num_horizons, *shape), np.nan, dtype=np.float32),
            confidence=np.full((num_horizons, *shape), np.nan, dtype=np.float32),
        )

    def take(self, chunk: Signals, cells: _Cells, which: list[int]) -> Bool:
        """Write one chunk down; an entry without finite forecasts is none.

        Returns:
            Which cells of the chunk have an entry.
        """
        forecast, confidence = chunk.forecast[:, which], chunk.confidence[:, which]
        found: Bool = chunk.found & np.isfinite(forecast).all(axis=1) & np.isfinite(confidence).all(axis=1)
        self.found[cells.row, cells.column] = found
        self.forecast[:, cells.row, cells.column] = np.where(found, forecast.T, np.nan)
        self.confidence[:, cells.row, cells.column] = np.where(found, confidence.T, np.nan)
        return found


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Cluster and distance of each cell under one filter."""

    filter: CandidateFilter | None
    cluster: Int32
    distance: Float32

    @classmethod
    def of(cls, filter: CandidateFilter | None, days: Days, tickers: tuple[str, ...], valid: Bool) -> _Places:
        """What the filter has kept of entries that are valid; nothing yet of others."""
        cluster = np.full(valid.shape, -1, dtype=np.int32)
        distance = np.full(valid.shape, np.nan, dtype=np.float32)
        if filter is not None and filter.needs_clusters and not filter.needs_embeddings:
            kept, far = filter.stored(days, tickers)
            cluster, distance = np.where(valid, kept, cluster), np.where(valid, far, distance)
        return cls(filter=filter, cluster=cluster, distance=distance)

    def wanting(self) -> Bool:
        """Cells whose cluster the filter needs and does not know."""
        needed = self.filter is not None and self.filter.needs_clusters
        return (self.cluster < 0) & needed

    def assign(self, chunk: Signals, cells: _Cells, found: Bool) -> None:
        """Clusters of one chunk, from its embeddings."""
        if self.filter is None or not self.filter.needs_clusters or chunk.embedding is None:
            return
        todo = found & (self.cluster[cells.row, cells.column] < 0)
        if todo.any():
            cells = cells.where(todo)
            at = (cells.row, cells.column)
            self.cluster[at], self.distance[at] = self.filter.assign(cells.days, chunk.embedding[todo])


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Progress of one of several passes."""
    return lambda part, _: progress(done + part, total)


def _listed(horizons: tuple[int, ...]) -> str:
    return ", ".join(map(str, horizons)) or "none"
