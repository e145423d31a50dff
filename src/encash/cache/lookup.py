"""What a backtest reads through: a cell comes from the cache where its entry is valid, from the model where it is not,
and every cell is counted. Knows caches, panels and encoders; nothing of portfolios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Int8, Int64, Text, to_day
from encash.cache.encode_misses import encode_cells
from encash.cache.lazy_encoder import LateEncoder
from encash.cache.lookup_stats import Kind, Tally, kinds_of
from encash.cache.task import Cells, join_entries
from encash.cache.window_digests import ExpectedDigests
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import Entries

if TYPE_CHECKING:
    from encash.cache.cache import Cache


MOST_CELLS = 65_536
"""Cells of one chunk where no embeddings are asked for."""
CHUNK_BYTES = 64 * 2**20
"""Embeddings of one chunk."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """What is known of the cells start … stop − 1 of those asked for, m of them."""

    start: int
    stop: int
    embedding: Float32 | None
    """shape (m, D); None where embeddings were not asked for."""
    forecast: Float32
    """Expected returns as fractions, shape (m, H)."""
    confidence: Float32
    """shape (m, H)."""
    found: Bool
    """False: nothing valid is known of the cell and its values are NaN; shape (m,)."""

    def put(self, places: Int64, entries: Entries, rows: Int64, *, vectors: Bool) -> None:
        """Take cells from entries: cell `places[i]` is entry `rows[i]`, its vector where `vectors[i]`; shape (m,)
        each."""
        if self.forecast.shape[1]:
            self.forecast[places], self.confidence[places] = entries.forecast[rows], entries.confidence[rows]
        if self.embedding is not None:
            self.embedding[places[vectors]] = entries.embedding[rows[vectors]]
        self.found[places] = True


class Lookup:
    """Reads cells through a cache, a model, or both.

    With a cache and a panel, an entry is used only if its digest is that of the window which the panel has now. With
    an encoder, misses and stale entries are encoded, in batches across days, through the same rounding, so that a
    hit and a miss are the same vector. Without an encoder they are not found. Nothing is dropped in silence: `tally`.

    Whether the cache belongs to the model is proven as soon as the encoder is loaded; where all cells are hits it
    never is. Prove it before: `Cache.recognises` a model file, or give `spec`.
    """

    def __init__(
        self,
        *,
        cache: Cache | None = None,
        panel: Panel | None = None,
        encoder: Callable[[], Encoder] | None = None,
        spec: EncoderSpec | None = None,
        write_back: bool = False,
        dtype: str = "float32",
    ):
        """Read through these.

        Args:
            cache: where to look first; None encodes every cell.
            panel: what entries are compared with, and where windows are.
            encoder: gives the model; called at most once, when the first cell needs it.
            spec: what that encoder is, where it is known without loading it.
            write_back: keep what was encoded in the cache.
            dtype: how embeddings are rounded where there is no cache; else the cache's holds.

        Raises:
            InputError: nothing to read from, or an encoder without a panel.
            MismatchError: the cache belongs to another encoder, or does not say to which; or the panel has other
                features than it.
        """
        if cache is None and encoder is None:
            raise InputError("there is neither a cache nor a model to read from; give one of them, or both")
        if encoder is not None and panel is None:
            raise InputError("a model needs windows; give the panel that it encodes")
        self._cache, self._write_back = cache, write_back
        self._dtype = dtype if cache is None else cache.spec.dtype
        self.tally = Tally(stale=0 if cache is None else None)
        self._encoder = LateEncoder(
            encoder, spec=spec, cache=cache, panel=panel, write_back=write_back, tally=self.tally
        )
        self._expected: ExpectedDigests | None = None
        if panel is not None and (known := self._encoder.stated) is not None:
            known.check_features(panel.num_features, panel.feature_names)
            if cache is not None:
                self._expected, self.tally.stale = ExpectedDigests(panel, known.lookback), 0

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each forecast; loads the model only if the cache holds no forecasts of it."""
        return self._encoder.horizons

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder whose signals these are: the cache's where there is one, which needs no model for it; None where
        nobody wrote it down."""
        return self._encoder.spec

    def get(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Bool]:
        """Embeddings of some tickers on one day, (n, dim), and which were found, (n,); NaN where not."""
        if isinstance(tickers, str):
            raise InputError(f"{tickers!r} came as the tickers; expected a list of them, such as [{tickers!r}]")
        names = np.asarray(tickers, dtype=np.str_)
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
        """What is known of n cells (day i, ticker i), in chunks, in order.

        Args:
            days: shape (n,), in any order.
            tickers: shape (n,).
            embeddings: give the vectors too.
            forecasts: forecasts are needed; where they are not, they may be NaN for cells that were found.
            progress: told (done, total) cells.

        Raises:
            MismatchError: the encoder is not the one that built the cache; forecasts are asked for and neither the
                cache nor a model has any.
            WorkError: the model failed; names the tickers, the days and the cause.
        """
        cells = Cells(days=days.astype("datetime64[D]"), tickers=np.asarray(tickers, dtype=np.str_))
        if len(cells.days) != len(cells.tickers):
            raise InputError(
                f"{len(cells.days)} days and {len(cells.tickers)} tickers came; cell i is (day i, ticker i)"
            )
        kind, unchecked = self._kinds(cells)
        self.tally.unchecked += int(unchecked.sum())
        if self._encoder.given and np.isin(kind, (Kind.MISS, Kind.STALE)).any():
            self._encoder.load()
        cached_forecasts = forecasts and self._encoder.choose_forecasts()
        wanted = _Wanted(embeddings=embeddings, forecasts=forecasts, cached_forecasts=cached_forecasts)
        size = self._chunk_cells(embeddings)
        for start in range(0, len(cells), size):
            places = np.arange(start, min(start + size, len(cells)))
            part = _Part(cells.take(places), kind[places], start, len(cells))
            yield self._read_part(part, wanted, progress)

    def valid(self, days: Days, tickers: Text) -> Bool:
        """Which cells (day i, ticker i) are hits; nothing is read or counted. Shape (n,)."""
        hits: Bool = self._kinds(Cells(days=days, tickers=tickers))[0] == Kind.HIT
        return hits

    def _kinds(self, cells: Cells) -> tuple[Int8, Bool]:
        """A `Kind` for each cell, and which hits nobody could compare; shape (n,) each."""
        return kinds_of(cells, None if self._cache is None else self._cache.index(), self._expected)

    def _read_part(self, part: _Part, wanted: _Wanted, progress: Progress | None) -> Signals:
        """One chunk of cells."""
        signals = self._read_hits(part, wanted)
        live = wanted.forecasts and not wanted.cached_forecasts
        encode = np.flatnonzero((part.kind != Kind.UNAVAILABLE) & (live | ~signals.found))
        if self._encoder.given and len(encode):
            signals.found[encode] = False
            self._encode(part, encode, signals, progress)
            self.tally.forecasts_computed += int((part.kind[encode] == Kind.HIT)[signals.found[encode]].sum())
            part.kind[encode[~signals.found[encode]]] = Kind.UNAVAILABLE  # the panel was asked and has no window
        self.tally.count(part.kind, signals.found)
        if progress is not None:
            progress(signals.stop, part.total)
        return signals

    def _read_hits(self, part: _Part, wanted: _Wanted) -> Signals:
        """What the cache has of a chunk; NaN elsewhere."""
        count, horizons = len(part.cells), len(self.horizons) if wanted.forecasts else 0
        hits = np.flatnonzero(part.kind == Kind.HIT)
        vectors, forecast, confidence = _unknown(0, 0), _unknown(0, horizons), _unknown(0, horizons)
        if self._cache is not None and len(hits):
            store, cells = self._cache.store, part.cells.take(hits)
            rows = store.index().locate(cells.days, cells.tickers)
            if wanted.embeddings:
                vectors = store.vectors(rows)
            if wanted.cached_forecasts:
                forecast, confidence = store.forecasts(rows)
        return Signals(
            start=part.start,
            stop=part.start + count,
            embedding=_spread(vectors, hits, count, self._encoder.dim) if wanted.embeddings else None,
            forecast=_spread(forecast, hits, count, horizons),
            confidence=_spread(confidence, hits, count, horizons),
            found=part.kind == Kind.HIT,
        )

    def _encode(self, part: _Part, places: Int64, signals: Signals, progress: Progress | None) -> None:
        """Encode these cells of a chunk and put the results where they belong; a hit keeps the embedding of the
        cache."""

        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(part.start + len(part.cells) * done // (total + 1), part.total)

        made: list[Entries] = []
        for encoded in encode_cells(
            part.cells.take(places),
            self._encoder.panel,
            self._encoder.load(),
            dtype=self._dtype,
            tally=self.tally,
            progress=told,
        ):
            to = places[encoded.places]
            signals.put(to, encoded.entries, encoded.rows, vectors=part.kind[to] != Kind.HIT)
            made.append(encoded.entries)
        if self._write_back and self._cache is not None and made:
            self._cache.store.write(join_entries(made), skip_valid=True)

    def _chunk_cells(self, embeddings: bool) -> int:
        return max(1, min(MOST_CELLS, CHUNK_BYTES // (4 * self._encoder.dim))) if embeddings else MOST_CELLS


@dataclass(frozen=True)
class _Wanted:
    embeddings: bool
    forecasts: bool
    cached_forecasts: bool


@dataclass(frozen=True)
class _Part:
    """One chunk of the cells asked for."""

    cells: Cells
    kind: Int8
    start: int
    total: int


def _spread(values: Float32, places: Int64, count: int, width: int) -> Float32:
    """Rows at their places among `count`, NaN elsewhere; no values are NaN everywhere. Nothing is copied that fits."""
    if len(values) == count and values.shape[1] == width:
        return values
    spread = _unknown(count, width)
    if len(values):
        spread[places] = values
    return spread


def _unknown(rows: int, columns: int) -> Float32:
    return np.full((rows, columns), np.nan, dtype=np.float32)
