"""A cache of one encoder: reading, building, checking and maintaining it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from encash.arguments import typed
from encash.cache import identity
from encash.cache.build import BuildReport, Work, build
from encash.cache.dtype_agreement import LEAST_AGREEMENT, check_share, note_agreement, sample_agreement
from encash.cache.executors.base import Executor
from encash.cache.executors.local import LocalExecutor
from encash.cache.info import CacheInfo, Coverage, cover, describe
from encash.cache.lookup import Lookup
from encash.cache.plan import Plan, make_plan, process_peak_bytes
from encash.cache.reader import CacheReader, CacheSnapshot
from encash.cache.selection import Selection, SelectionFields, one_selection
from encash.cache.verify import Sample, VerifyReport, verify
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import MissingFileError
from encash.panel.panel import Panel
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, StoreVersion
from encash.store.locator import LANCE_SUFFIXES, ensure_store, open_store

SECONDS_OF_A_RATE = 1.0
"""Shortest encoding time from which an encoder's rate is noted."""


class Cache(CacheReader):
    """Embeddings and forecasts of one encoder by (day, ticker).

    An instance sees one version of the cache until `refresh` or its own build; each call reads exactly one version
    (`CacheReader`). It may be read from several threads while others refresh it; it may not cross a fork. It can be
    pickled: its files are opened again where it is unpickled, at the same version.
    """

    def __init__(self, path: str | os.PathLike[str], store: EmbeddingStore | None):
        self.path = os.fspath(path)
        self._store = store
        self._seen: CacheSnapshot | None = None

    def __repr__(self) -> str:
        """Show its location and the shape of an entry."""
        return super().__repr__() if self.exists else f"Cache {self.path}: nothing built yet"

    @classmethod
    def at(cls, path: str | os.PathLike[str], version: int | str | None = None) -> Cache:
        """Open the cache at a path or URL; if nothing is there, it can only be built. See `open_cache`."""
        try:
            return cls(path, open_store(path, version=version))
        except MissingFileError:
            if version is not None:
                raise
            return cls(path, None)

    @property
    def store(self) -> EmbeddingStore:
        """Storage of the entries.

        Raises:
            MissingFileError: nothing has been built here yet.
        """
        if self._store is None:
            hint = "make one with `encash cache export` or `python -m cluster.cache_embeddings`"
            if Path(self.path).suffix.lower() in LANCE_SUFFIXES:
                hint = f"build it first: encash build --model M --data F --cache {self.path}"
            raise MissingFileError(f"there is no cache at {self.path}; {hint}")
        return self._store

    @property
    def exists(self) -> bool:
        """True once anything has been built here."""
        return self._store is not None

    def snapshot(self) -> CacheSnapshot:
        """Return the version that this instance sees now, which never changes.

        Raises:
            MissingFileError: nothing has been built here yet.
        """
        store, seen = self.store.snapshot(), self._seen
        if seen is None or seen.store is not store:
            seen = self._seen = CacheSnapshot(self.path, store)
        return seen

    def refresh(self) -> None:
        """See the newest version from now on; snapshots, iterators, datasets and lookups keep theirs."""
        self.store.refresh()

    def write_back(self, entries: Entries) -> CacheSnapshot:
        """Commit entries that were encoded for a reader, except those that are valid already."""
        self.store.write(entries, skip_valid=True)
        return self.snapshot()

    @typed
    def with_fallback(
        self, panel: Panel, encoder: Encoder | Callable[[], Encoder], *, write_back: bool = False
    ) -> Lookup:
        """Read through: stale and missing cells are encoded, counted, and written back if requested."""
        return Lookup(cache=self, panel=panel, encoder=encoder, write_back=write_back)

    # -- building

    @typed
    def plan(
        self,
        panel: Panel,
        encoder: Encoder | EncoderSpec,
        selection: Selection | None = None,
        *,
        dtype: str | None = None,
        **choice: Unpack[SelectionFields],
    ) -> Plan:
        """Return what `build` would do.

        Args:
            panel: the data.
            encoder: the model, or its spec.
            selection: days and tickers; or give its fields as keywords (``months=6``).
            dtype: how vectors are stored; None takes the cache's, or float32 for a new one.

        Raises:
            MismatchError: the cache has a different encoder or dtype, or the features are not the encoder's.
        """
        spec = encoder if isinstance(encoder, EncoderSpec) else encoder.spec
        if self._store is not None:
            self.refresh()
        chosen = one_selection(selection, choice)
        snapshot = None if self._store is None else self._store.snapshot()
        plan = make_plan(panel, spec, snapshot, chosen, dtype=dtype, rate=self._rate(encoder))
        if isinstance(encoder, EncoderSpec):
            return plan
        return replace(plan, peak_memory_bytes=plan.peak_memory_bytes + process_peak_bytes())

    @typed
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
        """Encode every missing or stale entry of a selection; resumes automatically.

        Args:
            panel: the data.
            encoder: the model.
            selection: days and tickers; or give its fields as keywords (``months=6``).
            dtype: how vectors are stored; None takes the cache's, or float32 for a new one.
            least_agreement: a new cache narrower than float32 is refused if it keeps less than this fraction of the
                cluster assignments, of the order of distances and of the picks on a sample (`measure_agreement`).
            executor: where tasks run; None runs them in this process. It stays open.
            progress: called with (done, total) entries; before these, with windows that measure a narrower dtype.

        Raises:
            MismatchError: as `plan`; or the dtype changes too much.
            InputError: a narrower dtype with too few windows to measure it on; or an invalid agreement.
            WorkError: the store could not be written; earlier commits are kept.
        """
        check_share(least_agreement)
        began = time.perf_counter()
        plan = self.plan(panel, encoder, selection, dtype=dtype, **choice)
        if self._store is None:
            spec = identity.store_spec(encoder.spec, dtype or "float32", [encoder.source_digest])
            measured = sample_agreement(panel, encoder, plan, spec.dtype, progress=progress)
            self._store = ensure_store(self.path, note_agreement(spec, measured, least_agreement))
        with LocalExecutor(encoder) if executor is None else nullcontext(executor) as running:
            work = Work(
                panel=panel,
                spec=encoder.spec,
                store=self._store,
                plan=plan,
                executor=running,
                device=str(getattr(encoder, "device", "cpu")),
                rate=self._rate(encoder),
                began=began,
            )
            report = build(work, progress)
        self._remember(encoder, report)
        return report

    # -- maintenance

    def info(self) -> CacheInfo:
        """Summarize contents and size."""
        return describe(self.snapshot(), versions=len(self.versions()))

    @typed
    def coverage(self, panel: Panel, selection: Selection | None = None, **choice: Unpack[SelectionFields]) -> Coverage:
        """Return the state of every cell of a panel; no model is needed.

        Raises:
            MismatchError: the cache does not record which model made it, or the panel has different features.
        """
        return cover(self.snapshot(), panel, one_selection(selection, choice))

    @typed
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
        return verify(self.store, panel, encoder, sample=sample, drop=drop, progress=progress)

    def versions(self) -> list[StoreVersion]:
        """List the commits that can still be opened, oldest first."""
        return self.store.versions()

    @typed
    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version (the one seen by default), so that it is kept and can be opened by that name."""
        self.store.tag(name, version)

    @typed
    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small fragments, drop replaced rows, forget old versions without a tag; progress counts entries."""
        return self.store.compact(keep_versions=keep_versions, progress=progress)

    def _rate(self, encoder: Encoder | EncoderSpec) -> float | None:
        """Return entries per second: the encoder's measurement, else what was noted when this cache was built."""
        rate = getattr(encoder, "entries_per_second", None)
        if not rate and self._store is not None:
            rate = (self.spec.notes or {}).get(identity.RATE)
        return float(rate) if rate else None

    def _remember(self, encoder: Encoder, report: BuildReport) -> None:
        """Note the model's file and speed in the cache if they are new."""
        long_enough = report.encode_seconds >= SECONDS_OF_A_RATE
        rate = report.computed / report.encode_seconds if long_enough else None
        spec = identity.remember(self.spec, encoder.source_digest, rate)
        if spec is not self.spec:
            self.store.adopt(spec)
