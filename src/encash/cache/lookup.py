"""What a backtest reads through: a cell comes from the cache where its entry is valid, from the model where it is not,
and every cell is counted. Knows caches, panels and encoders; nothing of portfolios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Int8, Int64, Text, UInt64, to_day
from encash.cache.ahead import read_ahead
from encash.cache.expected import ExpectedDigests
from encash.cache.identity import UNVERIFIED, check_encoder, encoder_of, is_unverified
from encash.cache.task import Cells, Task, join_entries, read_tasks, run_task
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import EncashError, InputError, MismatchError, WorkError
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


@dataclass(kw_only=True)
class Tally:
    """Where cells came from. Each cell counts once in hits, misses, stale or unavailable."""

    hits: int = 0
    """Valid entries of the cache."""
    misses: int = 0
    """Cells that have a window, as far as is known, and no entry."""
    stale: int | None = None
    """Entries made from another window than the panel has now; None where they cannot be compared: no panel was given,
    or the cache does not say how it was made."""
    unavailable: int = 0
    """Cells without a window in the panel."""
    unserved: int = 0
    """Misses and stale entries for which there was no model: not found."""
    computed: int = 0
    """Windows that went through the model."""
    forecasts_computed: int = 0
    """Hits that went through the model all the same, for a forecast that the cache does not have."""
    unchecked: int = 0
    """Hits whose input nobody recorded (files of foreign tools), so that they could not be compared."""
    model_loaded: bool = False
    encode_seconds: float = 0.0
    verified: bool = True
    """False: the cache was imported on trust, and nobody knows which model made it."""


class Kind(IntEnum):
    """Where a cell comes from."""

    HIT = 0
    MISS = 1
    STALE = 2
    UNAVAILABLE = 3


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
        self._cache, self._panel, self._make_encoder, self._write_back = cache, panel, encoder, write_back
        self._encoder: Encoder | None = None
        self._spec = spec
        self._dtype = dtype if cache is None else cache.spec.dtype
        self._served_forecasts = False
        self.tally = Tally()
        if cache is not None:
            self._check_cache(cache)
        else:
            self.tally.stale = 0
        self._expected: ExpectedDigests | None = None
        if panel is not None and (known := self._stated_spec()) is not None:
            known.check_features(panel.num_features, panel.feature_names)
            if cache is not None:
                self._expected, self.tally.stale = ExpectedDigests(panel, known.lookback), 0

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each forecast; loads the model only if the cache holds no forecasts of it."""
        if self._cache is not None and self._cache.spec.horizons and self._cached_forecasts_hold():
            return self._cache.spec.horizons
        spec = self._known_spec()
        return () if spec is None else spec.horizons

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder whose signals these are: the cache's where there is one, which needs no model for it; None where
        nobody wrote it down."""
        if self._encoder is None and self._cache is not None:
            return self._stated_spec()
        return self._known_spec()

    def get(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Bool]:
        """Embeddings of some tickers on one day, (n, dim), and which were found, (n,); NaN where not."""
        if isinstance(tickers, str):
            raise InputError(f"{tickers!r} came as the tickers; expected a list of them, such as [{tickers!r}]")
        names = np.asarray(tickers, dtype=np.str_)
        days = np.full(len(names), to_day(day), dtype="datetime64[D]")
        parts = list(self.read(days, names, embeddings=True, forecasts=False))
        if not parts:
            return np.empty((0, self._dim()), dtype=np.float32), np.empty(0, dtype=np.bool_)
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
        if self._make_encoder is not None and np.isin(kind, (Kind.MISS, Kind.STALE)).any():
            self._load()
        cached_forecasts = forecasts and self._choose_forecasts()
        wanted = _Wanted(embeddings=embeddings, forecasts=forecasts, cached_forecasts=cached_forecasts)
        size = self._chunk_cells(embeddings)
        for start in range(0, len(cells), size):
            places = np.arange(start, min(start + size, len(cells)))
            part = _Part(cells.take(places), kind[places], start, len(cells))
            yield self._read_part(part, wanted, progress)

    # -- which cell comes from where

    def valid(self, days: Days, tickers: Text) -> Bool:
        """Which cells (day i, ticker i) are hits; nothing is read or counted. Shape (n,)."""
        hits: Bool = self._kinds(Cells(days=days, tickers=tickers))[0] == Kind.HIT
        return hits

    def _kinds(self, cells: Cells) -> tuple[Int8, Bool]:
        """A `Kind` for each cell, and which hits nobody could compare; shape (n,) each."""
        row, stored = self._stored(cells)
        held = row >= 0
        kind = np.where(held, Kind.HIT, Kind.MISS).astype(np.int8)
        if self._expected is None:
            return kind, np.zeros(len(cells), dtype=np.bool_)
        digest = self._expected.digests(cells)
        kind[held & (stored != 0) & (stored != digest)] = Kind.STALE
        kind[digest == 0] = Kind.UNAVAILABLE
        return kind, held & (stored == 0) & (digest != 0)

    def _stored(self, cells: Cells) -> tuple[Int64, UInt64]:
        """The row of each cell, −1 for none, and its digest, 0 for none or unknown."""
        if self._cache is None:
            return np.full(len(cells), -1, dtype=np.int64), np.zeros(len(cells), dtype=np.uint64)
        index = self._cache.index()
        row = index.locate(cells.days, cells.tickers)
        digest = np.zeros(len(cells), dtype=np.uint64)
        digest[row >= 0] = index.digest[row[row >= 0]]
        return row, digest

    def _choose_forecasts(self) -> bool:
        """Whether cached forecasts are used; refuses to answer where there are none at all."""
        if self._cache is not None and self._cache.spec.horizons and self._cached_forecasts_hold():
            self._served_forecasts = True
            return True
        if not self.horizons:
            raise MismatchError(
                "forecasts are needed, and neither the cache nor a model has any; give the model (--model) that built "
                "the cache, or one that forecasts"
            )
        return False

    def _cached_forecasts_hold(self) -> bool:
        """Whether the cached forecasts are those of the encoder, as far as it is known."""
        spec = self._encoder.spec if self._encoder is not None else self._spec
        return self._cache is not None and (
            spec is None or spec.forecast_fingerprint == self._cache.spec.forecast_fingerprint
        )

    # -- reading

    def _read_part(self, part: _Part, wanted: _Wanted, progress: Progress | None) -> Signals:
        """One chunk of cells."""
        signals = self._read_hits(part, wanted)
        live = wanted.forecasts and not wanted.cached_forecasts
        encode = np.flatnonzero((part.kind != Kind.UNAVAILABLE) & (live | ~signals.found))
        if self._make_encoder is not None and len(encode):
            signals.found[encode] = False
            self._encode(part, encode, signals, progress)
            self.tally.forecasts_computed += int((part.kind[encode] == Kind.HIT)[signals.found[encode]].sum())
            part.kind[encode[~signals.found[encode]]] = Kind.UNAVAILABLE  # the panel was asked and has no window
        self._count(part.kind, signals.found)
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
            embedding=_spread(vectors, hits, count, self._dim()) if wanted.embeddings else None,
            forecast=_spread(forecast, hits, count, horizons),
            confidence=_spread(confidence, hits, count, horizons),
            found=part.kind == Kind.HIT,
        )

    def _encode(self, part: _Part, places: Int64, signals: Signals, progress: Progress | None) -> None:
        """Encode these cells of a chunk and put the results where they belong; each distinct cell once."""
        encoder = self._load()
        places = places[np.isin(part.cells.tickers[places], np.asarray(self._the_panel().tickers, dtype=np.str_))]
        if len(places) == 0:
            return
        cells, copies = _distinct(part.cells.take(places))
        fresh: list[Entries] = []
        done = 0

        def on_batch(windows: int) -> None:
            nonlocal done
            done += windows
            if progress is not None:
                progress(part.start + len(part.cells) * done // (len(cells) + 1), part.total)

        for task in read_ahead(read_tasks(self._the_panel(), cells, encoder.spec, self._dtype), 1):
            entries = self._run(task, encoder, on_batch)
            self._place(entries, task.places, copies, places, part.kind, signals)
            fresh.append(entries)
        if self._write_back and self._cache is not None and fresh:
            self._cache.store.write(join_entries(fresh), skip_valid=True)

    def _run(self, task: Task, encoder: Encoder, on_batch: Callable[[int], None]) -> Entries:
        try:
            result = run_task(task, encoder, on_batch)
        except EncashError as error:
            names, days = np.unique(task.cells.tickers), task.cells.days
            raise WorkError(
                f"{len(days):,} windows could not be encoded ({names[0]} … {names[-1]}, {days.min()} to {days.max()}): "
                f"{error}"
            ) from error
        self.tally.computed += len(task.cells)
        self.tally.encode_seconds += result.encode_seconds
        return result.entries

    def _place(self, entries: Entries, done: Int64, copies: Int64, places: Int64, kind: Int8, signals: Signals) -> None:
        """Put entries at every cell that asked for them; a hit keeps the embedding of the cache."""
        source = np.full(int(copies.max()) + 1, -1, dtype=np.int64)
        source[done] = np.arange(len(done))
        known = np.flatnonzero(source[copies] >= 0)
        to, take = places[known], source[copies[known]]
        if signals.forecast.shape[1]:
            signals.forecast[to], signals.confidence[to] = entries.forecast[take], entries.confidence[take]
        fresh = kind[to] != Kind.HIT
        if signals.embedding is not None:
            signals.embedding[to[fresh]] = entries.embedding[take[fresh]]
        signals.found[to] = True

    def _count(self, kind: Int8, found: Bool) -> None:
        counts = np.bincount(kind, minlength=len(Kind))
        self.tally.unserved += int((~found & (kind != Kind.UNAVAILABLE)).sum())
        self.tally.hits += int(counts[Kind.HIT])
        self.tally.misses += int(counts[Kind.MISS])
        self.tally.unavailable += int(counts[Kind.UNAVAILABLE])
        if self.tally.stale is not None:
            self.tally.stale += int(counts[Kind.STALE])

    # -- what is known of the encoder

    def _check_cache(self, cache: Cache) -> None:
        if is_unverified(cache.spec):
            if UNVERIFIED not in (cache.spec.notes or {}):
                raise MismatchError(
                    f"{cache.path} does not say which model made it; import it (encash cache import {cache.path} "
                    "CACHE.lance --trust) and let `encash cache verify` compare it with the model"
                )
            self.tally.verified = False
        elif self._spec is not None:
            check_encoder(cache.spec, self._spec)

    def _stated_spec(self) -> EncoderSpec | None:
        """The encoder as far as it is known without loading it: the one given, else the cache's."""
        if self._spec is not None or self._cache is None:
            return self._spec
        return encoder_of(self._cache.spec)

    def _load(self) -> Encoder:
        """The encoder, loaded once, and proven to be that of the cache."""
        if self._encoder is not None:
            return self._encoder
        if self._make_encoder is None:
            raise InputError("a cell has to be encoded and no model is given; give --model")
        encoder = self._make_encoder()
        self.tally.model_loaded = True
        panel = self._the_panel()
        encoder.spec.check_features(panel.num_features, panel.feature_names)
        if self._cache is not None:
            self._check_loaded(self._cache, encoder.spec)
        self._encoder = encoder
        return encoder

    def _check_loaded(self, cache: Cache, spec: EncoderSpec) -> None:
        if not is_unverified(cache.spec):
            check_encoder(cache.spec, spec, forecasts=self._served_forecasts or self._write_back)
        elif spec.dim != cache.spec.dim:
            raise MismatchError(f"the cache holds vectors of {cache.spec.dim} numbers, the model makes {spec.dim}")
        elif self._write_back:
            raise MismatchError("nothing is written back to a cache that does not say which model made it; verify it")

    def _known_spec(self) -> EncoderSpec | None:
        if self._encoder is not None:
            return self._encoder.spec
        if self._spec is not None:
            return self._spec
        return None if self._make_encoder is None else self._load().spec

    def _dim(self) -> int:
        return self._cache.spec.dim if self._cache is not None else self._load().spec.dim

    def _the_panel(self) -> Panel:
        if self._panel is None:
            raise InputError("a cell has to be encoded and no panel is given; give --data")
        return self._panel

    def _chunk_cells(self, embeddings: bool) -> int:
        return max(1, min(MOST_CELLS, CHUNK_BYTES // (4 * self._dim()))) if embeddings else MOST_CELLS


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


def _distinct(cells: Cells) -> tuple[Cells, Int64]:
    """Each cell once, by day and ticker, and for each cell asked for the place of its one; shape (n,)."""
    names, code = np.unique(cells.tickers, return_inverse=True)
    keys, copies = np.unique(cells.days.astype(np.int64) * len(names) + code, return_inverse=True)
    return Cells(days=(keys // len(names)).astype("datetime64[D]"), tickers=names[keys % len(names)]), copies
