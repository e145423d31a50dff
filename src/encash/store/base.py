"""The interface of a store: rows of (day, ticker) with an embedding, forecasts and two digests, in atomic commits."""

from __future__ import annotations

import datetime as dt
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64, Text, UInt64
from encash.errors import FormatError, InputError
from encash.progress import Progress
from encash.serialization import FORMAT, describe, from_description, identity
from encash.store.index import EntryIndex

_SEARCH_ROWS = _CHECKED_ROWS = 4096
_PRODUCT_ERROR = 1e-12
"""Error of a squared distance by a matrix product, as a fraction of the squared lengths; much more than it is."""


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """Description shared by all rows of a store, fixed when the store is created."""

    dim: int
    dtype: str
    """How vectors are stored: float32, float16 or int8 (with one scale per row)."""
    horizons: tuple[int, ...]
    encoder: dict[str, Any]
    """The encoder's description (`EncoderSpec.describe`); empty for a foreign file without provenance."""
    fingerprint: str
    """Identity of encoder and dtype together; empty if unknown."""
    forecast_fingerprint: str = ""
    notes: dict[str, Any] | None = None
    """Provenance outside the identity: digests of checkpoint files, versions, "unverified", measured agreement."""

    def describe(self) -> dict[str, Any]:
        """Return all fields as plain JSON values, with their format version."""
        return describe(self)

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, what: str = "the store's description") -> StoreSpec:
        """Read what `describe` returned.

        Args:
            description: from this or an earlier version of encash.
            what: the subject of an error message.

        Raises:
            FormatError: a newer encash wrote it, or a field is unknown, missing or of a different type.
        """
        return from_description(cls, description, what=what)

    def identity(self) -> dict[str, Any]:
        """Return the fields that must be equal for entries of two stores to be mixed, the encoder's among them."""
        own = identity(self)
        del own["encoder"], own["notes"]
        return own | {f"encoder {name}": value for name, value in self.encoder.items() if name != FORMAT}


@dataclass(frozen=True, kw_only=True)
class Entries:
    """n rows in memory. Rows passed to `write` are sorted by (day, ticker) and rounded to the store's dtype."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    digest: UInt64
    """Digest of each entry's input window, 0 if unknown; shape (n,)."""
    embedding: Float32
    """shape (n, dim)."""
    forecast: Float32
    """Expected returns as fractions, shape (n, H)."""
    confidence: Float32
    """shape (n, H)."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.days)

    def take(self, rows: Int64 | Bool | slice) -> Entries:
        """Return some of the rows, by position, by mask, or as a slice (a view)."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def sorted(self) -> Entries:
        """Return the same rows ordered by day, then ticker."""
        return self.take(np.lexsort((self.tickers, self.days)))


@dataclass(frozen=True, kw_only=True)
class StoreVersion:
    """One commit in a store's history."""

    number: int
    time: dt.datetime
    """Commit time, by the clock of the machine that committed."""
    entries: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CompactReport:
    """Summary of a compaction."""

    rows_rewritten: int
    versions_removed: int
    bytes_removed: int


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Summary of a return to an earlier version."""

    version: int
    """The newest version from now on."""
    content_of: int
    """The earlier version whose content it has; the same number if only damaged versions were newer."""
    set_aside: tuple[int, ...]
    """Damaged versions whose manifests were moved aside, newest first."""
    entries: int
    """Entries of the newest version."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VersionRows:
    """Row numbers together with the one version in which they are valid."""

    version: int
    rows: Int64
    """shape (n,)."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)


@dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """Result of checking every row of a snapshot."""

    checked: int
    """Rows read."""
    corrupt: int
    """Rows whose checksum does not match, or that could not be read."""
    duplicates: int
    not_finite: int
    """Rows with NaN or infinity."""
    damaged: VersionRows = field(compare=False, repr=False)
    """Corrupt or non-finite rows, for `EmbeddingStore.remove`."""
    findings: tuple[str, ...] = ()
    """One line per kind of damage, with the first place where it was seen."""

    @property
    def passed(self) -> bool:
        """True if nothing was found."""
        return not (self.corrupt or self.duplicates or self.not_finite or self.findings)


class StoreSnapshot(ABC):
    """One version of a store: immutable, and safe to read from several threads.

    Row numbers belong to the snapshot whose index gave them. Writes, refreshes and compactions, of this process or of
    others, make new versions and change nothing here. If the files of an old version have been removed by a compaction
    (`keep_versions`), reading them is an error, never a different row.
    """

    spec: StoreSpec
    version: int
    location: str
    """Path or URL of the store."""
    engine: str
    """Name of the format: lance, hdf5, memory."""
    repair_hint: str = "`encash cache verify {location} --drop` removes them, and a build makes them again"
    """How to fix rows that are not what was written."""

    @abstractmethod
    def index(self) -> EntryIndex:
        """Return keys and digests of all rows; read on first use, then kept."""

    @abstractmethod
    def vectors(self, rows: Int64) -> Float32:
        """Read the embeddings of these rows in the order requested, shape (n, dim).

        Raises:
            InputError: a row that this version does not have.
        """

    @abstractmethod
    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of these rows in the order requested, shape (n, H) each.

        Raises:
            InputError: a row that this version does not have.
            FormatError: forecasts that are not what was written.
        """

    def stored_forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Read forecasts as they are stored, for `read_checked` to check; by default like `forecasts`."""
        return self.forecasts(rows)

    @abstractmethod
    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """Iterate over all rows in batches of at most `batch_rows` with bounded memory, row 0 first.

        Arrays of a batch may be views of the store and must not be written to.
        """

    @abstractmethod
    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """Read these rows in the order requested, and check each against its checksum.

        Returns:
            The rows, and which of them are what was written, shape (n,). A row without a checksum (written by a
            different tool) counts as sound.

        Raises:
            InputError: a row that this version does not have.
        """

    @abstractmethod
    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every row and compare it with its checksum."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Return the bytes on disk of this version."""

    @abstractmethod
    def content_id(self) -> str:
        """Return a text that is equal in two processes exactly if they see the same rows under the same numbers."""

    def by_day(self, batch_rows: int) -> Iterator[Entries]:
        """Iterate over all entries in batches of at most `batch_rows`, sorted by day, then ticker, each key once.

        Entries are copied only through this method: a damaged row would get a new checksum and pass as sound.

        Raises:
            FormatError: an entry is not what was written.
        """
        index = self.index()
        days_at_once = max(1, batch_rows // max(1, len(index.tickers)))
        for first in range(0, len(index.days), days_at_once):
            part = index.row[first : first + days_at_once]
            rows = part[part >= 0].astype(np.int64)
            for at in range(0, len(rows), batch_rows):
                yield self.read_sound(rows[at : at + batch_rows])

    def read_sound(self, rows: Int64) -> Entries:
        """Read these rows in the order requested.

        Raises:
            FormatError: one of them is not what was written; says how many.
        """
        entries, sound = self.read_checked(rows)
        if not sound.all():
            damaged = entries.take(~sound)
            raise FormatError(
                f"{self.location}: {len(damaged):,} of {len(rows):,} entries read are damaged (checksums differ), "
                f"the first ({damaged.days[0]}, {str(damaged.tickers[0])!r}); "
                + self.repair_hint.format(location=self.location)
            )
        return entries

    def reader_of_vectors(self, checked: bool) -> Callable[[Int64], Float32]:
        """Return `vectors`, or the same with each row checked as `read_sound` does."""
        return (lambda rows: self.read_sound(rows).embedding) if checked else self.vectors

    def check_rows(self, rows: Int64) -> None:
        """Compare these rows with their checksums.

        Raises:
            FormatError: see `read_sound`.
        """
        for first in range(0, len(rows), _CHECKED_ROWS):
            self.read_sound(rows[first : first + _CHECKED_ROWS])

    def nearest(self, vector: Float32, count: int, *, last_day: np.datetime64) -> tuple[Int64, Float64]:
        """Find the entries up to a day whose embeddings are nearest to a vector.

        This default measures every entry; an engine with its own search must find the same.

        Args:
            vector: shape (dim,).
            count: how many to find; the result has fewer if the store has fewer.
            last_day: later days are excluded.

        Returns:
            Rows (n,) and Euclidean distances (n,), nearest first, ties by day, then ticker.
        """
        rows = self.index().rows(None, last_day)
        distance = np.empty(len(rows))
        for first in range(0, len(rows), _SEARCH_ROWS):
            some = slice(first, first + _SEARCH_ROWS)
            distance[some] = self.distances_to(vector, rows[some])
        order = np.argsort(distance, kind="stable")[:count]
        return rows[order], distance[order]

    def nearest_to_each(
        self, vectors: Float32, count: int, *, last_days: Days, checked: bool = False
    ) -> list[tuple[Int64, Float64]]:
        """Find the nearest entries of many vectors in one pass over the store, one matrix product per chunk of it.

        Args:
            vectors: shape (n, dim).
            count: how many to find of each, 1 or more.
            last_days: later days are excluded, one for each vector; shape (n,).
            checked: compare each entry read with its checksum.

        Returns:
            One pair per vector, as `nearest` returns it.

        Raises:
            FormatError: an entry that was checked is not what was written.
        """
        if not len(vectors):
            return []
        rows = self.index().rows(None, last_days.max())
        stops = np.searchsorted(self.index().keys(rows)[0], last_days, side="right").tolist()
        read, wanted = self.reader_of_vectors(checked), vectors.astype(np.float64)
        places = [np.empty(0, dtype=np.int64)] * len(vectors)
        distances = [np.empty(0)] * len(vectors)
        for first in range(0, len(rows), _SEARCH_ROWS):
            found = read(rows[first : first + _SEARCH_ROWS]).astype(np.float64)
            lengths = np.vecdot(wanted, wanted)[:, None] + np.vecdot(found, found)
            squares = lengths - 2.0 * wanted @ found.T
            slack = _PRODUCT_ERROR * lengths.max(initial=0.0)
            for at, stop in enumerate(stops):
                near = squares[at, : max(0, stop - first)]
                limit = distances[at][-1] ** 2 if len(distances[at]) == count else np.inf
                if len(near) > count:
                    limit = min(limit, np.partition(near, count - 1)[count - 1])
                some = np.flatnonzero(near <= limit + slack)
                gap = found[some] - wanted[at]
                both = np.concatenate([distances[at], np.sqrt(np.vecdot(gap, gap))])
                order = np.argsort(both, kind="stable")[:count]
                places[at], distances[at] = np.concatenate([places[at], first + some])[order], both[order]
        return [(rows[place], distance) for place, distance in zip(places, distances, strict=True)]

    def distances_to(self, vector: Float32, rows: Int64) -> Float64:
        """Return the Euclidean distance of the embeddings of these rows to a vector, in float64; shape (n,)."""
        gap = self.vectors(rows).astype(np.float64) - vector
        distance: Float64 = np.sqrt(np.vecdot(gap, gap))
        return distance

    def entries_with(self, rows: Int64, embedding: Float32) -> Entries:
        """Return these rows with the given embeddings, which may have width 0."""
        days, tickers = self.index().keys(rows)
        forecast, confidence = self.stored_forecasts(rows)
        digest = self.index().digest[rows]
        return Entries(
            days=days, tickers=tickers, digest=digest, embedding=embedding, forecast=forecast, confidence=confidence
        )


class EmbeddingStore(ABC):
    """One store of embeddings of one encoder: hands out snapshots, and commits new versions.

    An instance sees one version until `refresh` or its own commit. No method takes bare row numbers.
    `encash.testing.StoreContract` is the test that every implementation passes.
    """

    location: str
    """Path or URL."""
    writable: bool = True

    @abstractmethod
    def snapshot(self) -> StoreSnapshot:
        """Return the version that this instance sees: the same object until it sees a different one."""

    @property
    def spec(self) -> StoreSpec:
        """Description of the version that this instance sees."""
        return self.snapshot().spec

    @property
    def version(self) -> int:
        """Number of the version that this instance sees."""
        return self.snapshot().version

    @abstractmethod
    def refresh(self) -> None:
        """See the newest version (unless this instance was opened at an older one on purpose)."""

    @abstractmethod
    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Commit entries atomically and durably: all of them or none; an entry with the same key is replaced.

        Args:
            entries: sorted by (day, ticker), each key once, vectors rounded by `codec.round_vectors`.
            skip_valid: leave out entries that the store already has with the same, known digest: then several
                builders that did the same work end with every key once.

        Returns:
            The newest version, which this instance then sees.

        Raises:
            InputError: entries that do not fit the store, or a read-only store.
            ConflictError: another writer holds the store for too long.
            WorkError: the disk refused; nothing was committed.
        """

    @abstractmethod
    def remove(self, selected: VersionRows) -> int:
        """Remove rows in one atomic and durable commit; reads none of them, so that damaged rows can be removed.

        Returns:
            The newest version, which this instance then sees.

        Raises:
            InputError: a row that the version does not have, or a read-only store.
            ConflictError: the rows are of a version that is not the newest.
        """

    @abstractmethod
    def versions(self) -> list[StoreVersion]:
        """List the commits that can still be opened, oldest first."""

    @abstractmethod
    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version (by default the one that this instance sees), so that it is kept and can be opened by name.

        Raises:
            InputError: the name belongs to a different version already, or has invalid characters.
        """

    def adopt(self, spec: StoreSpec) -> None:
        """Commit a different description of the same rows, for example when their encoder has become known.

        Raises:
            InputError: dim, dtype or horizons differ, or the metadata of this store cannot be changed.
        """
        raise InputError(f"{self.location} has metadata that cannot be changed; import it into a .lance cache")

    @abstractmethod
    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small fragments, drop replaced rows, and forget all but the newest and the tagged versions.

        Args:
            keep_versions: how many of the newest versions stay readable, at least 2, so that readers that opened
                the store a moment ago still see theirs. Counted, not timed: a clock that jumps deletes nothing.
            progress: called with (done, total) rows: first as they are checked, then as they are rewritten.
        """

    def check_same_rows(self, spec: StoreSpec) -> None:
        """Refuse a description of rows of a different shape.

        Raises:
            InputError: dim, dtype or horizons differ.
        """
        ours, theirs = ((of.dim, of.dtype, of.horizons) for of in (self.spec, spec))
        if ours != theirs:
            raise InputError(f"{self.location} holds rows of (dim, dtype, horizons) = {ours}, not {theirs}")


def check_tag(name: str) -> None:
    """Refuse a name that a version cannot have.

    Raises:
        InputError: characters other than letters, digits, ".", "-" and "_".
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise InputError(f"{name!r} cannot name a version; use letters, digits, '.', '-' and '_'")
