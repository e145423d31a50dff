"""One cache of one encoder: read it, look at it, build it. Knows a store, and panels and encoders where they are given;
nothing of clusters and portfolios."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Float64, Int64, Text, positions, to_day
from encash.cache import identity
from encash.cache.agreement import LEAST_AGREEMENT, check_share, note_agreement, sample_agreement
from encash.cache.build import BuildReport, Work, build
from encash.cache.executors.base import Executor
from encash.cache.executors.local import LocalExecutor
from encash.cache.info import CacheInfo, Coverage, cover, describe
from encash.cache.plan import Plan, make_plan, process_peak_bytes
from encash.cache.prefetch import read_ahead
from encash.cache.row_lookup import Places
from encash.cache.selection import Selection, SelectionFields, one_selection
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError, MismatchError, MissingFileError, UnknownKeyError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, EntryIndex, StoreSpec, StoreVersion
from encash.store.locator import LANCE_SUFFIXES, ensure_store, open_store

if TYPE_CHECKING:
    import pyarrow as pa

    from encash.cache.lookup import Lookup
    from encash.cache.verify import Sample, VerifyReport

PREFETCHED_DAYS = 4
SECONDS_OF_A_RATE = 1.0
"""Encoding for less than this says nothing of how fast an encoder is."""


class Cache:
    """Embeddings and forecasts of one encoder by (day, ticker).

    An instance sees one version of the cache until `refresh` or its own build. It may be read from several threads;
    it may not cross a fork.
    """

    def __init__(self, path: str | os.PathLike[str], store: EmbeddingStore | None, *, as_of: int | str | None = None):
        self.path = os.fspath(path)
        self._store = store
        self._as_of = as_of
        self._reading = threading.Lock()
        self._seen: tuple[int, Places] | None = None

    def __reduce__(self) -> tuple[Callable[..., Cache], tuple[str, int | str | None]]:
        """Another process opens the cache by itself, at the version that was asked for."""
        return Cache.at, (self.path, self._as_of)

    @classmethod
    def at(cls, path: str | os.PathLike[str], version: int | str | None = None) -> Cache:
        """The cache at a path or URL; where nothing is there, it can be built and nothing else. See `open_cache`."""
        try:
            return cls(path, open_store(path, version=version), as_of=version)
        except MissingFileError:
            if version is not None:
                raise
            return cls(path, None)

    # -- what it is

    @property
    def store(self) -> EmbeddingStore:
        """Where the entries are.

        Raises:
            MissingFileError: nothing has been built here yet.
        """
        if self._store is None:
            mend = "make one with `encash cache export` or `python -m cluster.cache_embeddings`"
            if Path(self.path).suffix.lower() in LANCE_SUFFIXES:
                mend = f"build it first: encash build --model M --data F --cache {self.path}"
            raise MissingFileError(f"there is no cache at {self.path}; {mend}")
        return self._store

    @property
    def exists(self) -> bool:
        """Whether anything has been built here."""
        return self._store is not None

    @property
    def spec(self) -> StoreSpec:
        """What all entries have in common."""
        return self.store.spec

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder that made the entries; None where nobody wrote it down."""
        return identity.encoder_of(self.spec)

    @property
    def model_files(self) -> int:
        """How many model files the cache is known to come from (`recognises`)."""
        return len((self.spec.notes or {}).get(identity.SOURCES, []))

    @property
    def verified(self) -> bool:
        """Whether it is known which model made the entries; False for a cache imported on trust."""
        return not identity.is_unverified(self.spec)

    @property
    def version(self) -> int:
        """The version that this instance sees."""
        return self.store.version

    def check(self, spec: EncoderSpec) -> None:
        """Refuse an encoder that did not make this cache.

        Raises:
            MismatchError: names each field that differs.
        """
        identity.check_encoder(self.spec, spec)

    def recognises(self, model: str | Path | Encoder) -> bool:
        """Whether a model's file is, byte for byte, one that this cache was built from; of a path nothing is loaded.

        False is no proof of the contrary: load the model and `check` its spec.
        """
        return identity.recognises(self.spec, model)

    def info(self) -> CacheInfo:
        """What is in it, and how large it is."""
        return describe(self)

    def refresh(self) -> None:
        """See the newest version."""
        with self._reading:
            self.store.refresh()

    # -- reading

    def index(self) -> EntryIndex:
        """Keys and digests of all entries."""
        return self._places().index

    def get(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Bool]:
        """Embeddings of some tickers on one day.

        Args:
            day: any calendar day.
            tickers: n of them, in any order.

        Returns:
            Vectors, shape (n, dim), NaN where there is no entry, and which were found, shape (n,).

        Raises:
            InputError: no day, or one text instead of a list of tickers.
        """
        rows = self._places().rows(day, tickers)
        found = rows >= 0
        with self._reading:
            if found.all():
                return self.store.vectors(rows), found
            vectors = np.full((len(rows), self.spec.dim), np.nan, dtype=np.float32)
            vectors[found] = self.store.vectors(rows[found])
        return vectors, found

    def forecasts(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Float32, Bool]:
        """Expected returns (fractions) and confidences, shape (n, H) each, and which were found, shape (n,)."""
        rows = self._places().rows(day, tickers)
        found = rows >= 0
        forecast = np.full((len(rows), len(self.spec.horizons)), np.nan, dtype=np.float32)
        confidence = forecast.copy()
        with self._reading:
            forecast[found], confidence[found] = self.store.forecasts(rows[found])
        return forecast, confidence, found

    def read(self, rows: Int64) -> tuple[Float32, Float32, Float32]:
        """Embeddings (n, dim), forecasts and confidences (n, H) of n rows, numbered as in `index`."""
        with self._reading:
            return self.store.vectors(rows), *self.store.forecasts(rows)

    def days(
        self, start: DayLike | None = None, end: DayLike | None = None
    ) -> Iterator[tuple[np.datetime64, Text, Float32]]:
        """One cross-section a day: the day, its tickers (n,), embeddings (n, dim); the next are read meanwhile.

        Raises:
            InputError: the start lies behind the end.
        """
        index = self.index()
        first, stop = index.span(start, end)
        with closing(read_ahead(self._cross_sections(index, first, stop), PREFETCHED_DAYS)) as sections:
            yield from sections

    @property
    def first_day(self) -> np.datetime64 | None:
        """The first day with an entry; None for an empty cache."""
        days = self.index().days
        return days[0] if len(days) else None

    def count(self, start: DayLike | None = None, end: DayLike | None = None) -> int:
        """Entries of a range of days, both included."""
        index = self.index()
        return int(np.count_nonzero(index.row[slice(*index.span(start, end))] >= 0))

    def history(self, ticker: str) -> tuple[Days, Float32]:
        """The days of one ticker, ascending (n,), and its embeddings (n, dim).

        Raises:
            UnknownKeyError: the cache has no entry of this ticker.
        """
        index = self.index()
        column = int(positions(index.tickers, np.asarray([ticker]))[0])
        if column < 0:
            raise UnknownKeyError(f"the cache has no entry of {ticker!r}; it has {len(index.tickers)} other tickers")
        rows = index.row[:, column]
        with self._reading:
            return index.days[rows >= 0], self.store.vectors(rows[rows >= 0].astype(np.int64))

    def nearest(self, vector: Float32, count: int, *, last_day: DayLike) -> tuple[Days, Text, Float64]:
        """The entries up to a day whose embeddings are nearest to a vector, by the engine's own search.

        Args:
            vector: shape (dim,).
            count: how many, 1 or more; fewer are found if there are no more.
            last_day: none of a later day is found.

        Returns:
            Days (n,), tickers (n,) and Euclidean distances (n,), nearest first, ties by day, then ticker.

        Raises:
            InputError: a count below 1.
            MismatchError: a vector of another length.
        """
        if count < 1:
            raise InputError(f"{count} neighbours asked for; expected 1 or more")
        if vector.shape != (self.spec.dim,):
            raise MismatchError(f"the vector has shape {vector.shape}, the entries have length {self.spec.dim}")
        index = self.index()
        with self._reading:
            rows, distance = self.store.nearest(vector, count, last_day=to_day(last_day))
        return *index.keys(rows), distance

    def scan(self, batch_rows: int = 4_096) -> Iterator[Entries]:
        """All entries in batches with bounded memory, in the store's own order."""
        return self.store.scan(batch_rows)

    def to_arrow(self, batch_rows: int = 4_096) -> pa.RecordBatchReader:
        """All entries as a stream of Arrow batches; ``.read_all()`` makes a table of it."""
        from encash.cache.views import arrow_reader  # noqa: PLC0415 - pyarrow is imported when it is asked for

        return arrow_reader(self.spec, lambda: self.scan(batch_rows))

    def to_xarray(self, start: DayLike | None = None, end: DayLike | None = None) -> Any:
        """The entries of a range as an ``xarray.Dataset`` on days × tickers, NaN where there is none.

        Raises:
            MissingExtraError: xarray is not installed.
        """
        from encash.cache.views import xarray_dataset  # noqa: PLC0415 - likewise

        return xarray_dataset(self, start, end)

    def torch_dataset(self) -> Any:
        """All entries as a map-style ``torch.utils.data.Dataset``.

        A ``DataLoader`` with worker processes takes ``multiprocessing_context="spawn"``; a forked worker is refused.

        Raises:
            MissingExtraError: torch is not installed.
        """
        from encash.cache.views import torch_dataset  # noqa: PLC0415 - likewise

        return torch_dataset(self)

    def with_fallback(
        self, panel: Panel, encoder: Encoder | Callable[[], Encoder], *, write_back: bool = False
    ) -> Lookup:
        """Read through: stale and missing cells are encoded, counted, and written back if asked."""
        from encash.cache.lookup import Lookup  # noqa: PLC0415 - it imports this file

        if isinstance(encoder, Encoder):
            given = encoder
            return Lookup(cache=self, panel=panel, encoder=lambda: given, spec=given.spec, write_back=write_back)
        return Lookup(cache=self, panel=panel, encoder=encoder, write_back=write_back)

    # -- building

    def plan(
        self,
        panel: Panel,
        encoder: Encoder | EncoderSpec,
        selection: Selection | None = None,
        *,
        dtype: str | None = None,
        **choice: Unpack[SelectionFields],
    ) -> Plan:
        """What `build` would do.

        Args:
            panel: the data.
            encoder: the model, or its spec.
            selection: days and tickers; or give its fields as keywords (``months=6``).
            dtype: how vectors are kept; None takes the cache's, float32 for a new one.

        Raises:
            MismatchError: the cache belongs to another encoder or dtype, or the features are not the encoder's.
        """
        spec = encoder if isinstance(encoder, EncoderSpec) else encoder.spec
        if self._store is not None:
            self.refresh()
        chosen = one_selection(selection, choice)
        plan = make_plan(panel, spec, self._store, chosen, dtype=dtype, rate=self._rate(encoder))
        if isinstance(encoder, EncoderSpec):
            return plan
        return replace(plan, peak_memory_bytes=plan.peak_memory_bytes + process_peak_bytes())

    def build(
        self,
        panel: Panel,
        encoder: Encoder,
        selection: Selection | None = None,
        *,
        dtype: str | None = None,
        least_agreement: float = LEAST_AGREEMENT,
        executor: Executor | None = None,
        progress: Progress | None = None,
        **choice: Unpack[SelectionFields],
    ) -> BuildReport:
        """Make every missing or stale entry of a selection valid; resumes by itself.

        Args:
            panel: the data.
            encoder: the model.
            selection: days and tickers; or give its fields as keywords (``months=6``).
            dtype: how vectors are kept; None takes the cache's, float32 for a new one.
            least_agreement: a new cache narrower than float32 is refused if it keeps less than this share of the
                cluster assignments, of the order of distances and of the picks on a sample (`measure_agreement`).
            executor: where tasks run; None runs them in this process. It stays open.
            progress: told (done, total) entries; before these, the windows that a narrower dtype is measured on.

        Raises:
            MismatchError: as `plan`; or the dtype changes too much.
            InputError: a narrower dtype, and too few windows to measure it on; or an agreement that is no share.
            WorkError: the store could not be written; what was committed before stays.
        """
        check_share(least_agreement)
        began = time.perf_counter()
        plan = self.plan(panel, encoder, selection, dtype=dtype, **choice)
        if self._store is None:
            spec = identity.store_spec(encoder.spec, dtype or "float32", [encoder.source_digest])
            measured = sample_agreement(panel, encoder, plan, spec.dtype, progress=progress)
            self._store = ensure_store(self.path, note_agreement(spec, measured, least_agreement))
        with LocalExecutor(encoder) as local:
            work = Work(
                panel=panel,
                spec=encoder.spec,
                store=self._store,
                plan=plan,
                executor=local if executor is None else executor,
                device=str(getattr(encoder, "device", "cpu")),
                rate=self._rate(encoder),
                began=began,
            )
            report = build(work, progress)
        self._remember(encoder, report)
        return report

    # -- looking after it

    def coverage(self, panel: Panel, selection: Selection | None = None, **choice: Unpack[SelectionFields]) -> Coverage:
        """The state of every cell of a panel; no model is needed.

        Raises:
            MismatchError: the cache does not say which model made it, or the panel has other features.
        """
        return cover(self, panel, one_selection(selection, choice))

    def verify(
        self,
        panel: Panel | None = None,
        encoder: Encoder | None = None,
        *,
        sample: Sample = None,
        drop: bool = False,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Check every row, compare it with the panel, and encode a sample again; see `encash.cache.verify`."""
        from encash.cache.verify import verify  # noqa: PLC0415 - it imports this file

        return verify(self, panel, encoder, sample=sample, drop=drop, progress=progress)

    def versions(self) -> list[StoreVersion]:
        """The commits that can still be opened, oldest first."""
        return self.store.versions()

    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version (the one seen by default), so that it is kept and can be opened by that name."""
        self.store.tag(name, version)

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small pieces, drop replaced rows, forget old versions that have no tag; progress is told in entries."""
        return self.store.compact(keep_versions=keep_versions, progress=progress)

    # -- inside

    def _rate(self, encoder: Encoder | EncoderSpec) -> float | None:
        """Entries a second: what the encoder has measured, else what was noted when this cache was built."""
        rate = getattr(encoder, "entries_per_second", None)
        if not rate and self._store is not None:
            rate = (self.spec.notes or {}).get(identity.RATE)
        return float(rate) if rate else None

    def _remember(self, encoder: Encoder, report: BuildReport) -> None:
        """Note the model's file and speed with the cache, where they are new."""
        long_enough = report.encode_seconds >= SECONDS_OF_A_RATE
        rate = report.computed / report.encode_seconds if long_enough else None
        spec = identity.remember(self.spec, encoder.source_digest, rate)
        if spec is not self.spec:
            self.store.adopt(spec)

    def _places(self) -> Places:
        """Where the entries of the version seen are; made anew when another is."""
        store = self.store
        if self._seen is None or self._seen[0] != store.version:
            with self._reading:
                self._seen = store.version, Places(store.index())
        return self._seen[1]

    def _cross_sections(
        self, index: EntryIndex, first: int, stop: int
    ) -> Iterator[tuple[np.datetime64, Text, Float32]]:
        for place in range(first, stop):
            row = index.row[place]
            held = np.flatnonzero(row >= 0)
            with self._reading:
                vectors = self.store.vectors(row[held].astype(np.int64))
            yield index.days[place], index.tickers[held], vectors
