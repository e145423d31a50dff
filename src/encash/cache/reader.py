"""Reading a cache: each call reads exactly one version, and a snapshot always reads the same one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Float64, Int64, Text, positions, to_day
from encash.cache import identity
from encash.cache.prefetch import prefetch
from encash.cache.row_lookup import RowLookup
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError, MismatchError, UnknownKeyError
from encash.store.base import Entries, StoreSnapshot, StoreSpec
from encash.store.index import EntryIndex

if TYPE_CHECKING:
    import pyarrow as pa

_PREFETCHED_DAYS = 4


class CacheReader(ABC):
    """Embeddings and forecasts of one encoder by (day, ticker): the methods that a cache and its snapshots share.

    Each call takes one snapshot and reads only from it, so that the keys and the vectors that it returns belong
    together, whatever is written meanwhile. Iterators and datasets hold theirs until they end.
    """

    path: str
    """Path or URL of the cache."""

    @abstractmethod
    def snapshot(self) -> CacheSnapshot:
        """Return the version that is read now; it never changes."""

    def write_back(self, entries: Entries) -> CacheSnapshot:
        """Commit entries that were encoded for a reader, except those that are valid already.

        Returns:
            The version that was committed.

        Raises:
            InputError: a snapshot, which cannot be written.
        """
        raise InputError(f"a snapshot of {self.path} cannot be written; open the cache to write back to it")

    # -- what it is

    def __repr__(self) -> str:
        """Show where it is and what an entry holds."""
        spec = self.spec
        forecasts = ", ".join(map(str, spec.horizons))
        ahead = f"forecasts over {forecasts} sessions" if forecasts else "no forecasts"
        return f"{type(self).__name__} {self.path}: embeddings of {spec.dim} × {spec.dtype}, {ahead}"

    @property
    def spec(self) -> StoreSpec:
        """Description shared by all entries."""
        return self.snapshot().store.spec

    @property
    def version(self) -> int:
        """Number of the version that is read."""
        return self.snapshot().store.version

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder that made the entries; None if not recorded."""
        return identity.encoder_of(self.spec)

    @property
    def model_files(self) -> int:
        """Number of model files that the cache is known to come from (`recognizes`)."""
        return len((self.spec.notes or {}).get(identity.SOURCES, []))

    @property
    def verified(self) -> bool:
        """True if the model that made the entries is known; False for a cache imported on trust."""
        return not identity.is_unverified(self.spec)

    def check(self, spec: EncoderSpec) -> None:
        """Refuse an encoder that did not make this cache.

        Raises:
            MismatchError: names each field that differs.
        """
        identity.check_encoder(self.spec, spec)

    def recognizes(self, model: str | Path | Encoder) -> bool:
        """Return whether a model's file is, byte for byte, one that this cache was built from; a path is not loaded.

        False does not prove the opposite: load the model and `check` its spec.
        """
        return identity.recognizes(self.spec, model)

    # -- reading

    def index(self) -> EntryIndex:
        """Return keys and digests of all entries."""
        return self.snapshot().store.index()

    def get(self, day: DayLike, tickers: Sequence[str], *, checked: bool = False) -> tuple[Float32, Bool]:
        """Read the embeddings of some tickers on one day.

        Args:
            day: any calendar day.
            tickers: n of them, in any order.
            checked: compare each entry with its checksum, which takes several times as long.

        Returns:
            Vectors, shape (n, dim), NaN if not found, and which were found, shape (n,).

        Raises:
            InputError: an invalid day, or one text instead of a list of tickers.
            FormatError: an entry that was checked is not what was written.
        """
        snapshot = self.snapshot()
        rows = snapshot.row_lookup.rows(day, tickers)
        found, read = rows >= 0, snapshot.store.reader_of_vectors(checked)
        if found.all():
            return read(rows), found
        vectors = np.full((len(rows), snapshot.store.spec.dim), np.nan, dtype=np.float32)
        vectors[found] = read(rows[found])
        return vectors, found

    def forecasts(self, day: DayLike, tickers: Sequence[str]) -> tuple[Float32, Float32, Bool]:
        """Read expected returns (fractions) and confidences, shape (n, H) each, and which were found, shape (n,)."""
        snapshot = self.snapshot()
        rows = snapshot.row_lookup.rows(day, tickers)
        found = rows >= 0
        forecast = np.full((len(rows), len(snapshot.store.spec.horizons)), np.nan, dtype=np.float32)
        confidence = forecast.copy()
        forecast[found], confidence[found] = snapshot.store.forecasts(rows[found])
        return forecast, confidence, found

    def days(
        self, start: DayLike | None = None, end: DayLike | None = None, *, checked: bool = False
    ) -> Iterator[tuple[np.datetime64, Text, Float32]]:
        """Iterate over cross-sections: a day, its tickers (n,), embeddings (n, dim). The next days are prefetched.

        Args:
            start: first day; None for the first of the cache.
            end: last day; None for the last of the cache.
            checked: compare each entry with its checksum.

        Raises:
            InputError: the start is after the end.
            FormatError: an entry that was checked is not what was written.
        """
        store = self.snapshot().store
        first, stop = store.index().span(start, end)
        with closing(prefetch(_cross_sections(store, first, stop, checked), _PREFETCHED_DAYS)) as sections:
            yield from sections

    @property
    def first_day(self) -> np.datetime64 | None:
        """The first day with an entry; None for an empty cache."""
        days = self.index().days
        return days[0] if len(days) else None

    def count(self, start: DayLike | None = None, end: DayLike | None = None) -> int:
        """Count the entries in a range of days, both included."""
        return len(self.index().rows(start, end))

    def history(self, ticker: str) -> tuple[Days, Float32]:
        """Read the days of one ticker, ascending (n,), and its embeddings (n, dim).

        Raises:
            UnknownKeyError: the cache has no entry of this ticker.
        """
        store = self.snapshot().store
        index = store.index()
        column = int(positions(index.tickers, np.asarray([ticker]))[0])
        if column < 0:
            raise UnknownKeyError(f"the cache has no entry of {ticker!r}; it has {len(index.tickers)} other tickers")
        rows = index.row[:, column]
        return index.days[rows >= 0], store.vectors(rows[rows >= 0].astype(np.int64))

    def nearest(
        self, vector: Float32, count: int, *, last_day: DayLike, checked: bool = False
    ) -> tuple[Days, Text, Float64]:
        """Find the entries up to a day whose embeddings are nearest to a vector, with the engine's own search.

        Args:
            vector: shape (dim,).
            count: how many, 1 or more; fewer are found if the cache has fewer.
            last_day: later days are excluded.
            checked: compare every entry that may be found with its checksum.

        Returns:
            Days (n,), tickers (n,) and Euclidean distances (n,), nearest first, ties by day, then ticker.

        Raises:
            InputError: a count below 1.
            MismatchError: a vector of a different length.
            FormatError: an entry that was checked is not what was written.
        """
        store = self.snapshot().store
        if count < 1:
            raise InputError(f"{count} neighbors were requested; expected 1 or more")
        if vector.shape != (store.spec.dim,):
            raise MismatchError(f"the vector has shape {vector.shape}, the entries have length {store.spec.dim}")
        if checked:
            store.check_rows(store.index().rows(None, last_day))
        rows, distance = store.nearest(vector, count, last_day=to_day(last_day))
        return *store.index().keys(rows), distance

    def nearest_to_each(
        self, vectors: Float32, count: int, *, last_days: Days, checked: bool = False
    ) -> list[tuple[Days, Text, Float64]]:
        """Find the nearest entries of many vectors, each up to a day of its own, in one pass over the cache.

        Args:
            vectors: shape (n, dim).
            count: how many to find of each, 1 or more.
            last_days: later days are excluded; shape (n,).
            checked: compare each entry read with its checksum.

        Returns:
            One triple per vector, as `nearest` returns it.

        Raises:
            FormatError: an entry that was checked is not what was written.
        """
        store = self.snapshot().store
        found = store.nearest_to_each(vectors, count, last_days=last_days, checked=checked)
        return [(*store.index().keys(rows), distance) for rows, distance in found]

    def scan(self, batch_rows: int = 4_096) -> Iterator[Entries]:
        """Iterate over all entries in batches with bounded memory, in the store's own order."""
        return self.snapshot().store.scan(batch_rows)

    def to_arrow(self, batch_rows: int = 4_096) -> pa.RecordBatchReader:
        """Return all entries as a stream of Arrow batches; ``.read_all()`` makes a table of it."""
        from encash.cache.views import arrow_reader  # noqa: PLC0415 - pyarrow is imported when needed

        return arrow_reader(self.snapshot().store, batch_rows)

    def to_xarray(self, start: DayLike | None = None, end: DayLike | None = None) -> Any:
        """Return the entries of a range as an ``xarray.Dataset`` on days × tickers, NaN if missing.

        Raises:
            MissingExtraError: xarray is not installed.
        """
        from encash.cache.views import xarray_dataset  # noqa: PLC0415 - likewise

        return xarray_dataset(self.snapshot().store, start, end)

    def torch_dataset(self) -> Any:
        """Return all entries as a map-style ``torch.utils.data.Dataset``; it always reads the version of this moment.

        A ``DataLoader`` with worker processes needs ``multiprocessing_context="spawn"``; a forked worker is refused.

        Raises:
            MissingExtraError: torch is not installed.
        """
        from encash.cache.views import torch_dataset  # noqa: PLC0415 - likewise

        return torch_dataset(self.snapshot().store)


class CacheSnapshot(CacheReader):
    """One version of a cache, which never changes; safe to read from several threads."""

    def __init__(self, path: str, store: StoreSnapshot):
        self.path = path
        self.store = store

    @cached_property
    def row_lookup(self) -> RowLookup:
        """Rows by day and ticker."""
        return RowLookup(self.store.index())

    def snapshot(self) -> CacheSnapshot:
        """Return this snapshot."""
        return self

    def read(self, rows: Int64) -> tuple[Float32, Float32, Float32]:
        """Read embeddings (n, dim), forecasts and confidences (n, H) of n rows, numbered as in this snapshot's index.

        Raises:
            InputError: a row that this snapshot does not have.
        """
        return self.store.vectors(rows), *self.store.forecasts(rows)


def _cross_sections(
    store: StoreSnapshot, first: int, stop: int, checked: bool
) -> Iterator[tuple[np.datetime64, Text, Float32]]:
    """Iterate over the days first … stop − 1 of a snapshot."""
    index, read = store.index(), store.reader_of_vectors(checked)
    for day in range(first, stop):
        row = index.row[day]
        held = np.flatnonzero(row >= 0)
        yield index.days[day], index.tickers[held], read(row[held].astype(np.int64))
