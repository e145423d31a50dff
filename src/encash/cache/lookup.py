"""Read-through: a cell comes from the cache if its entry is valid, else from the model, and every cell is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Int64, Text, to_day
from encash.cache.encode_misses import encode_cells
from encash.cache.forecast_source import ForecastSource
from encash.cache.lazy_encoder import LazyEncoder
from encash.cache.lookup_stats import Kind, LocatedCells, LookupStats, locate
from encash.cache.reader import CacheReader, CacheSnapshot
from encash.cache.row_lookup import check_tickers
from encash.cache.task import Cells, join_entries
from encash.cache.window_digests import DigestCache
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import Entries

MOST_CELLS = 65_536
"""Cells of one chunk if no embeddings are requested."""
CHUNK_BYTES = 64 * 2**20
"""Embeddings of one chunk."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """Signals of the m cells start … stop − 1 of a request."""

    start: int
    stop: int
    embedding: Float32 | None
    """shape (m, D); None if embeddings were not requested."""
    forecast: Float32
    """Expected returns as fractions, shape (m, H)."""
    confidence: Float32
    """shape (m, H)."""
    found: Bool
    """False: nothing valid is known of the cell, and its values are NaN; shape (m,)."""

    def put(self, cells: Int64, entries: Entries, rows: Int64, *, vectors: Bool) -> None:
        """Take cells from entries: cell `cells[i]` is entry `rows[i]`, with its vector if `vectors[i]`; shape (m,)
        each."""
        if self.forecast.shape[1]:
            self.forecast[cells], self.confidence[cells] = entries.forecast[rows], entries.confidence[rows]
        if self.embedding is not None:
            self.embedding[cells[vectors]] = entries.embedding[rows[vectors]]
        self.found[cells] = True


class Lookup:
    """Reads cells through a cache, a model, or both.

    With a cache and a panel, an entry is used only if its digest is that of the panel's current window. With an
    encoder, misses and stale entries are encoded, in batches across days, with the same rounding, so that a hit and a
    miss are the same vector. Without an encoder they are not found. Nothing is dropped silently: see `stats`.

    A lookup reads one snapshot: the cache's at its creation, or the one that its own `write_back` made. Make a new
    lookup to read what others have written since.

    Whether the cache belongs to the model is checked as soon as the encoder is loaded; if all cells are hits it never
    is. To check earlier, use `Cache.recognizes` with a model file, or give `spec`.
    """

    def __init__(
        self,
        *,
        cache: CacheReader | None = None,
        panel: Panel | None = None,
        encoder: Callable[[], Encoder] | None = None,
        spec: EncoderSpec | None = None,
        forecasts: ForecastSource | None = None,
        write_back: bool = False,
        dtype: str = "float32",
    ):
        """Read through a cache, a model, or both.

        Args:
            cache: where to look first; None encodes every cell.
            panel: the data that entries are compared with, and that windows are read from.
            encoder: returns the model; called at most once, when the first cell needs it.
            spec: that encoder's spec, if known without loading it.
            forecasts: source of the forecasts, in place of the cache and the model. A cell needs both an entry, if
                there is a cache or a model, and a forecast.
            write_back: store what was encoded in the cache.
            dtype: how embeddings are rounded without a cache; with one, its dtype is used.

        Raises:
            InputError: nothing to read from, or an encoder without a panel.
            MismatchError: the cache belongs to a different encoder, or does not record which; or the panel has
                different features.
        """
        if cache is None and encoder is None and (forecasts is None or forecasts.needs_vectors):
            raise InputError("neither a cache nor a model was given; give one of them, or both")
        if encoder is not None and panel is None:
            raise InputError("a model needs windows; give the panel that it encodes")
        self._cache, self._write_back = cache, write_back
        self.forecasts = forecasts
        """Source of the forecasts; None takes those of the cache or the model."""
        self._snapshot: CacheSnapshot | None = None if cache is None else cache.snapshot()
        self._dtype = dtype if self._snapshot is None else self._snapshot.spec.dtype
        self.first_day: np.datetime64 | None = None
        """See `SignalReader`; the training period of a single encoder says so."""
        self.stats = LookupStats(stale=0 if cache is None else None)
        self._encoder = LazyEncoder(
            encoder, spec=spec, cache=self._snapshot, panel=panel, write_back=write_back, stats=self.stats
        )
        self._digests: DigestCache | None = None
        if panel is not None and (known := self._encoder.stated) is not None:
            known.check_features(panel.num_features, panel.feature_names)
            if cache is not None:
                self._digests, self.stats.stale = DigestCache(panel, known.lookback), 0

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each forecast; empty if there are none, or one for any horizon. Loads the model only if the
        cache holds no forecasts of it."""
        return self._encoder.horizons if self.forecasts is None else self.forecasts.horizons

    def places(self, horizons: Sequence[int]) -> list[int]:
        """Return the columns of the forecasts of some horizons.

        Raises:
            InputError: no forecasts for a horizon.
        """
        if self.forecasts is not None and not self.forecasts.horizons:
            return [0] * len(horizons)
        known = self.horizons
        if missing := [horizon for horizon in horizons if horizon not in known]:
            raise InputError(
                f"no forecasts for a horizon of {missing[0]} sessions; there are "
                f"{', '.join(map(str, known)) or 'none'}; give a cache or a model that forecasts it, or fit a head on "
                f"the cache: encash head fit --horizon {missing[0]}"
            )
        return [known.index(horizon) for horizon in horizons]

    @property
    def newest_day(self) -> np.datetime64 | None:
        """Last day that can be read: of the cache's entries, or of the panel's features if a model was given; and not
        after the last of the forecasts from elsewhere."""
        days = [] if self._snapshot is None else [*self._snapshot.index().days[-1:]]
        if self._encoder.given:
            days += [*self._encoder.panel.feature_days()[-1:]]
        forecast = None if self.forecasts is None else self.forecasts.newest_day
        ends = [end for end in (max(days, default=None), forecast) if end is not None]
        return min(ends, default=None)

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder of these signals: the cache's if there is one, which does not load the model; None if not
        recorded."""
        return self._encoder.spec

    @property
    def encoder_fingerprint(self) -> str:
        """Identity of the encoder; empty if unknown."""
        spec = self.encoder_spec
        return "" if spec is None else spec.fingerprint

    @property
    def training_period(self) -> str | None:
        """Last day of the training of the encoder, and of others whose forecasts are used; None if not recorded."""
        others = () if self.forecasts is None else self.forecasts.encoders
        specs = dict.fromkeys((self.encoder_spec, *others))
        ends = [None if spec is None else spec.train_end for spec in specs]
        return None if None in ends else ", ".join(end for end in dict.fromkeys(ends) if end is not None)

    @property
    def tickers(self) -> Text:
        """Tickers of the cache's entries, ascending; none without a cache."""
        return np.empty(0, dtype=np.str_) if self._snapshot is None else self._snapshot.index().tickers

    def other_forecasts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return forecasts beside those of `forecasts`, for comparison: their parts, or else the encoder's own.

        Nothing is counted, and no model is loaded.

        Args:
            days: shape (n,).
            tickers: shape (n,).
            horizon: sessions ahead.

        Returns:
            By name, shape (n,) each, NaN without one; empty if there are none.
        """
        if self.forecasts is None or (parts := self.forecasts.parts(days, tickers, horizon)):
            return {} if self.forecasts is None else parts
        snapshot = self._snapshot
        if snapshot is None or horizon not in snapshot.spec.horizons:
            return {}
        cells = self._locate(days, tickers)
        hits = np.flatnonzero(cells.kind == Kind.HIT)
        own = np.full(len(days), np.nan, dtype=np.float32)
        own[hits] = snapshot.store.forecasts(cells.rows[hits])[0][:, snapshot.spec.horizons.index(horizon)]
        return {"encoder": own}

    @property
    def forecast_fingerprint(self) -> str:
        """Identity of the forecasts: of their source, or else of the encoder's; empty if unknown."""
        if self.forecasts is not None:
            return self.forecasts.fingerprint
        spec = self.encoder_spec
        return "" if spec is None else spec.forecast_fingerprint

    def get(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Bool]:
        """Read the embeddings of some tickers on one day, (n, dim), NaN if not found, and which were found, (n,)."""
        names = np.asarray(check_tickers(tickers), dtype=np.str_)
        days = np.full(len(names), to_day(day), dtype="datetime64[D]")
        parts = list(self.read(days, names, embeddings=True, forecasts=False))
        if not parts:
            return np.empty((0, self._encoder.dim), dtype=np.float32), np.empty(0, dtype=np.bool_)
        embeddings = [part.embedding for part in parts if part.embedding is not None]
        return np.concatenate(embeddings), np.concatenate([part.found for part in parts])

    def read(
        self,
        days: Days,
        tickers: Text,
        *,
        embeddings: bool,
        forecasts: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Signals]:
        """Read n cells (day i, ticker i), in chunks, in order.

        Args:
            days: shape (n,), in any order.
            tickers: shape (n,).
            embeddings: return the vectors too.
            forecasts: forecasts are needed; if not, they may be NaN for cells that were found.
            progress: called with (done, total) cells.

        Raises:
            MismatchError: the encoder is not the one that built the cache; or forecasts are requested, and neither the
                cache nor a model has any.
            WorkError: the model failed; names the tickers, the days and the cause.
        """
        if len(days) != len(tickers):
            raise InputError(f"{len(days)} days and {len(tickers)} tickers came; cell i is (day i, ticker i)")
        snapshot, cells = self._snapshot, self._locate(days, tickers)
        self.stats.unchecked += int(cells.unchecked.sum())
        if self._encoder.given and np.isin(cells.kind, (Kind.MISS, Kind.STALE)).any():
            self._encoder.load()
        source = self.forecasts if forecasts else None
        own = forecasts and source is None
        wanted = _Wanted(
            embeddings=embeddings,
            forecasts=own,
            cached_forecasts=own and self._encoder.choose_forecasts(),
            source=source,
        )
        size = self._chunk_cells(embeddings or (source is not None and source.needs_vectors))
        for start in range(0, len(cells), size):
            chunk = _Chunk(cells.take(slice(start, start + size)), start, len(cells), snapshot)
            yield self._read_chunk(chunk, wanted, progress)

    def valid(self, days: Days, tickers: Text) -> Bool:
        """Return which cells (day i, ticker i) are hits; nothing is read or counted. Shape (n,)."""
        hits: Bool = self._locate(days, tickers).kind == Kind.HIT
        return hits

    def _locate(self, days: Days, tickers: Text) -> LocatedCells:
        cells = Cells(days=days.astype("datetime64[D]"), tickers=np.asarray(tickers, dtype=np.str_))
        return locate(cells, None if self._snapshot is None else self._snapshot.index(), self._digests)

    def _read_chunk(self, chunk: _Chunk, wanted: _Wanted, progress: Progress | None) -> Signals:
        """Read one chunk: first the hits, then what has to be encoded."""
        if wanted.source is not None and not wanted.embeddings:
            wanted = replace(wanted, embeddings=self._needs_vectors(wanted.source, chunk.cells))
        signals, kind = self._read_hits(chunk, wanted), chunk.cells.kind
        encode_all = wanted.forecasts and not wanted.cached_forecasts
        encode = np.flatnonzero((kind != Kind.UNAVAILABLE) & (encode_all | ~signals.found))
        if self._encoder.given and len(encode):
            signals.found[encode] = False
            self._encode(chunk, encode, signals, progress)
            self.stats.forecasts_computed += int((kind[encode] == Kind.HIT)[signals.found[encode]].sum())
            kind[encode[~signals.found[encode]]] = Kind.UNAVAILABLE  # the panel has no window there after all
        if wanted.source is not None:
            signals = self._with_forecasts(wanted.source, signals, chunk)
        self.stats.count(kind, signals.found)
        if progress is not None:
            progress(signals.stop, chunk.total)
        return signals

    def _read_hits(self, chunk: _Chunk, wanted: _Wanted) -> Signals:
        """Read what the cache has of a chunk; NaN elsewhere."""
        count, horizons = len(chunk.cells), len(self.horizons) if wanted.forecasts else 0
        hits = np.flatnonzero(chunk.cells.kind == Kind.HIT)
        vectors, forecast, confidence = _unknown(0, 0), _unknown(0, horizons), _unknown(0, horizons)
        if chunk.snapshot is not None and len(hits):
            store, rows = chunk.snapshot.store, chunk.cells.rows[hits]
            if wanted.embeddings:
                entries = store.read_sound(rows)
                vectors = entries.embedding
                if wanted.cached_forecasts:
                    forecast, confidence = entries.forecast, entries.confidence
            elif wanted.cached_forecasts:
                forecast, confidence = store.forecasts(rows)
        return Signals(
            start=chunk.start,
            stop=chunk.start + count,
            embedding=_scatter(vectors, hits, count, self._encoder.dim) if wanted.embeddings else None,
            forecast=_scatter(forecast, hits, count, horizons),
            confidence=_scatter(confidence, hits, count, horizons),
            found=chunk.cells.kind == Kind.HIT,
        )

    def _needs_vectors(self, source: ForecastSource, cells: LocatedCells) -> bool:
        """Return True if some forecast of a chunk is made from a vector."""
        if not source.needs_vectors:
            return False
        known, _, _ = source.known(cells.cells.days, cells.cells.tickers)
        encoded = np.isin(cells.kind, (Kind.MISS, Kind.STALE)) & self._encoder.given
        return bool((encoded | ((cells.kind == Kind.HIT) & ~known)).any())

    def _with_forecasts(self, source: ForecastSource, signals: Signals, chunk: _Chunk) -> Signals:
        """Take the forecasts of a chunk from a source; a cell without one is not found."""
        cells, kind = chunk.cells.cells, chunk.cells.kind
        known, forecast, confidence = source.known(cells.days, cells.tickers)
        alone = self._snapshot is None and not self._encoder.given
        if source.needs_vectors:
            known &= kind == Kind.HIT
            asked = np.flatnonzero(signals.found & ~known)
            if len(asked):
                assert signals.embedding is not None
                made = source.forecast(cells.days[asked], cells.tickers[asked], signals.embedding[asked])
                forecast[asked], confidence[asked] = made
        finite: Bool = np.isfinite(np.concatenate([forecast, confidence], axis=1)).all(axis=1)
        if alone:
            kind[:] = np.where(finite, Kind.HIT, Kind.UNAVAILABLE)
        found = finite if alone else finite & signals.found
        forecast[~found], confidence[~found] = np.nan, np.nan
        return replace(signals, forecast=forecast, confidence=confidence, found=found)

    def _encode(self, chunk: _Chunk, cells: Int64, signals: Signals, progress: Progress | None) -> None:
        """Encode these cells of a chunk and fill in the results; a hit keeps the embedding of the cache."""

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(chunk.start + len(chunk.cells) * done // (total + 1), chunk.total)

        made: list[Entries] = []
        for encoded in encode_cells(
            chunk.cells.cells.take(cells),
            self._encoder.panel,
            self._encoder.load(),
            dtype=self._dtype,
            stats=self.stats,
            progress=report,
        ):
            to = cells[encoded.cells]
            signals.put(to, encoded.entries, encoded.rows, vectors=chunk.cells.kind[to] != Kind.HIT)
            made.append(encoded.entries)
        if self._write_back and self._cache is not None and made:
            self._snapshot = self._cache.write_back(join_entries(made))

    def _chunk_cells(self, embeddings: bool) -> int:
        return max(1, min(MOST_CELLS, CHUNK_BYTES // (4 * self._encoder.dim))) if embeddings else MOST_CELLS


@dataclass(frozen=True)
class _Wanted:
    embeddings: bool
    forecasts: bool
    """Those of the cache or the model."""
    cached_forecasts: bool
    source: ForecastSource | None


@dataclass(frozen=True)
class _Chunk:
    """Consecutive cells of a request, and the snapshot in which they were located."""

    cells: LocatedCells
    start: int
    total: int
    snapshot: CacheSnapshot | None


def _scatter(values: Float32, positions: Int64, count: int, width: int) -> Float32:
    """Return `count` rows with the values at their positions and NaN elsewhere; not copied if they fill all rows."""
    if len(values) == count and values.shape[1] == width:
        return values
    scattered = _unknown(count, width)
    if len(values):
        scattered[positions] = values
    return scattered


def _unknown(rows: int, columns: int) -> Float32:
    return np.full((rows, columns), np.nan, dtype=np.float32)
