"""The seam of the stores: rows of (day, ticker) with an embedding, forecasts and two digests, in atomic commits.
Knows no panel, no model and no plan."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NoReturn

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Float64, Int32, Int64, Text, UInt64, day_text, positions, to_day
from encash.errors import FormatError, InputError
from encash.progress import Progress

_SEARCH_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """What every row of a store has in common; fixed when it is created."""

    dim: int
    dtype: str
    """How vectors are stored: float32, float16 or int8 (with a scale a row)."""
    horizons: tuple[int, ...]
    encoder: dict[str, Any]
    """The encoder's description (`EncoderSpec.describe`), empty for a foreign file without provenance."""
    fingerprint: str
    """Identity of encoder and dtype together; empty where it is unknown."""
    forecast_fingerprint: str = ""
    notes: dict[str, Any] | None = None
    """Provenance that is no identity: digests of checkpoint files, versions, "unverified", measured agreement."""

    def describe(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {**asdict(self), "horizons": list(self.horizons)}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> StoreSpec:
        """The spec that `describe` described; fields that a later version added are left out."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in description.items() if name in known}
        return cls(**{**values, "horizons": tuple(values["horizons"])})

    def identity(self) -> dict[str, Any]:
        """The fields that two stores share if their entries may stand side by side, the encoder's own among them."""
        fixed = ("dim", "dtype", "horizons", "fingerprint", "forecast_fingerprint")
        described = self.describe()
        return {f"encoder {name}": value for name, value in self.encoder.items() if name != "format"} | {
            name: described[name] for name in fixed
        }


@dataclass(frozen=True, kw_only=True)
class Entries:
    """n rows in memory. Those given to `write` are sorted by (day, ticker) and rounded as the store keeps them."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    digest: UInt64
    """Digest of each entry's input window; 0 where it is unknown. Shape (n,)."""
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
        """Some of the rows, by place, by mask or as a slice (a view)."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def sorted(self) -> Entries:
        """The same rows by day, then ticker."""
        return self.take(np.lexsort((self.tickers, self.days)))


@dataclass(frozen=True, kw_only=True)
class EntryIndex:
    """The keys of all rows of one version of a store, on a grid of days × tickers."""

    days: Days
    """The distinct days of the rows, ascending; shape (T,)."""
    tickers: Text
    """The distinct tickers of the rows, ascending; shape (N,)."""
    row: Int32
    """The row of each cell, −1 where there is none; shape (T, N). Rows number the entries 0 … n−1 in an order that
    is the store's own and holds for this version alone."""
    digest: UInt64
    """The input digest of each row, shape (n,)."""
    duplicates: int = 0
    """Rows whose key a later row has too (another tool wrote them); the cell shows the last one."""

    @property
    def entries(self) -> int:
        """Number of entries."""
        return len(self.digest) - self.duplicates

    def locate(self, days: Days, tickers: Text) -> Int64:
        """The row of (day i, ticker i) for each i, −1 where there is none; shape (n,)."""
        day, ticker = positions(self.days, days), _positions(self.tickers, tickers)
        if self.row.size == 0:
            return np.full(len(day), -1, dtype=np.int64)
        return np.where((day >= 0) & (ticker >= 0), self.row[day, ticker], -1).astype(np.int64)

    def span(self, start: DayLike | None, end: DayLike | None) -> tuple[int, int]:
        """The place of the first day of a range among the days, and the one after its last.

        Raises:
            InputError: the start lies behind the end.
        """
        if start is not None and end is not None and to_day(start) > to_day(end):
            raise InputError(f"start {day_text(start)} lies behind end {day_text(end)}; give them the other way round")
        first = 0 if start is None else int(np.searchsorted(self.days, to_day(start)))
        return first, len(self.days) if end is None else int(np.searchsorted(self.days, to_day(end), side="right"))

    def keys(self, rows: Int64) -> tuple[Days, Text]:
        """Day and ticker of each row, shape (n,) each; a doubled key's rows that do not count have none to give.

        Raises:
            InputError: a row that no cell shows.
        """
        flat = self.row.reshape(-1)
        cell = np.full(len(self.digest), -1, dtype=np.int64)
        cell[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
        if (strange := rows[cell[rows] < 0]).size:
            raise InputError(f"row {strange[0]} is not the row of any cell; take rows from `row` or `locate`")
        day, ticker = np.unravel_index(cell[rows], self.row.shape)
        return self.days[day], self.tickers[ticker]


def _positions(sorted_tickers: Text, wanted: Text) -> Int64:
    """As `positions`, at once where all tickers are asked for in order: a full session."""
    if len(wanted) == len(sorted_tickers) and np.array_equal(wanted, sorted_tickers):
        return np.arange(len(wanted))
    return positions(sorted_tickers, wanted)


@dataclass(frozen=True, kw_only=True)
class StoreVersion:
    """One commit of a store's history."""

    number: int
    time: dt.datetime
    """When it was committed, by the clock of the machine that did it."""
    entries: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CompactReport:
    """What compacting did."""

    rows_rewritten: int
    versions_removed: int
    bytes_removed: int


@dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """What checking every row of a store found."""

    checked: int
    """Rows read."""
    corrupt: int
    """Rows whose checksum does not fit, or that could not be read."""
    duplicates: int
    not_finite: int
    """Rows with NaN or infinity."""
    findings: tuple[str, ...] = ()
    """One line for each kind of damage, with the first place where it was seen."""
    damaged: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64), compare=False, repr=False)
    """The rows that are corrupt or not finite, for `EmbeddingStore.remove`; empty for a file that has no `remove`."""

    @property
    def passed(self) -> bool:
        """Nothing was found."""
        return not (self.corrupt or self.duplicates or self.not_finite or self.findings)


class EmbeddingStore(ABC):
    """One store of embeddings of one encoder. An instance sees one version until `refresh` or its own `write`.

    `encash.testing.StoreContract` is the test that every implementation passes.
    """

    spec: StoreSpec
    version: int
    location: str
    """Path or URL."""
    engine: str
    """Name of the format: lance, hdf5, memory."""
    writable: bool = True
    mend_damage: str = "`encash cache verify {location} --drop` takes them away, and a build makes them again"
    """What helps where rows are not what was written."""

    @abstractmethod
    def index(self) -> EntryIndex:
        """Keys and digests of this version; read once, then kept."""

    @abstractmethod
    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim).

        Raises:
            InputError: a row that this version does not have.
        """

    @abstractmethod
    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H).

        Raises:
            InputError: a row that this version does not have.
        """

    @abstractmethod
    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches of at most `batch_rows` with bounded memory, in the store's own order (row 0 first).

        Arrays of a batch may be views of the store and are not to be written to.
        """

    @abstractmethod
    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """All that these rows hold, in the order asked, and which of them are what was written by the checksum that
        each carries; shape (n,). A row without one (of another tool) is taken for sound.

        Raises:
            InputError: a row that this version does not have.
        """

    def by_day(self, batch_rows: int) -> Iterator[Entries]:
        """All entries in batches of at most `batch_rows`, sorted by day, then ticker; a doubled key comes once.

        Whoever copies entries reads them here: what is damaged would get a new checksum and pass for sound.

        Raises:
            FormatError: an entry is not what was written.
        """
        index = self.index()
        days_at_once = max(1, batch_rows // max(1, len(index.tickers)))
        for first in range(0, len(index.days), days_at_once):
            part = index.row[first : first + days_at_once]
            day, ticker = np.nonzero(part >= 0)
            for at in range(0, len(day), batch_rows):
                some = slice(at, at + batch_rows)
                yield self.read_sound(part[day[some], ticker[some]].astype(np.int64))

    def read_sound(self, rows: Int64) -> Entries:
        """All that these rows hold, in the order asked.

        Raises:
            FormatError: one of them is not what was written; says how many of the store are not.
        """
        entries, sound = self.read_checked(rows)
        if not sound.all():
            self._refuse_damaged(entries.take(~sound))
        return entries

    def _refuse_damaged(self, entries: Entries) -> NoReturn:
        raise FormatError(
            f"{self.location}: {self.verify().corrupt:,} entries are not what was written, "
            f"({entries.days[0]}, {str(entries.tickers[0])!r}) for one, and are not copied; "
            + self.mend_damage.format(location=self.location)
        )

    def nearest(self, vector: Float32, count: int, *, last_day: np.datetime64) -> tuple[Int64, Float64]:
        """The entries up to a day whose embeddings are nearest to a vector. Every one is measured here; an engine that
        searches by itself finds the same.

        Args:
            vector: shape (dim,).
            count: how many; fewer if there are no more.
            last_day: none of a later day is found.

        Returns:
            Rows (n,) and Euclidean distances (n,), nearest first, ties by day, then ticker.
        """
        index = self.index()
        past = index.row[slice(*index.span(None, last_day))]
        rows = past[past >= 0].astype(np.int64)  # by day, then ticker
        distance = np.empty(len(rows))
        for first in range(0, len(rows), _SEARCH_ROWS):
            some = slice(first, first + _SEARCH_ROWS)
            distance[some] = self.distances_to(vector, rows[some])
        order = np.argsort(distance, kind="stable")[:count]
        return rows[order], distance[order]

    def distances_to(self, vector: Float32, rows: Int64) -> Float64:
        """The Euclidean distance of the embeddings of these rows to a vector, in float64; shape (n,)."""
        gap = self.vectors(rows).astype(np.float64) - vector
        distance: Float64 = np.sqrt(np.vecdot(gap, gap))
        return distance

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
            InputError: entries that do not fit the store, or a store that cannot be written.
            ConflictError: another writer holds the store for too long.
            WorkError: the disk refused; nothing was committed.
        """

    @abstractmethod
    def remove(self, rows: Int64) -> int:
        """Take rows of this version away in one atomic and durable commit; reads none of them, so that damaged rows
        can be removed.

        Returns:
            The newest version, which this instance then sees.

        Raises:
            InputError: a row that this version does not have, or a store that cannot be written.
            ConflictError: another writer has committed since this instance looked; its rows have other numbers.
        """

    @abstractmethod
    def refresh(self) -> None:
        """See the newest version (unless this instance was opened at an older one on purpose)."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes on disk of this version."""

    @abstractmethod
    def versions(self) -> list[StoreVersion]:
        """The commits that can still be opened, oldest first."""

    @abstractmethod
    def tag(self, name: str, version: int | None = None) -> None:
        """Name a version (this instance's own by default), so that it is kept and can be opened by that name.

        Raises:
            InputError: the name belongs to another version already, or has letters a name may not have.
        """

    def adopt(self, spec: StoreSpec) -> None:
        """Commit another description of the same rows: which encoder made them has turned out, say.

        Raises:
            InputError: the description is of other rows (dim, dtype, horizons), or this store cannot be described anew.
        """
        raise InputError(f"{self.location} cannot be described anew; import it into a .lance cache")

    def check_same_rows(self, spec: StoreSpec) -> None:
        """Refuse a description of rows of another shape.

        Raises:
            InputError: dim, dtype or horizons differ.
        """
        ours, theirs = ((of.dim, of.dtype, of.horizons) for of in (self.spec, spec))
        if ours != theirs:
            raise InputError(f"{self.location} holds rows of {ours}; {theirs} describes others")

    @abstractmethod
    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Join small pieces, drop replaced rows, and forget all but the newest and the tagged versions.

        Args:
            keep_versions: how many of the newest versions stay readable, at least 2: readers that opened
                the store a moment ago still see theirs. Counted, not timed: a clock that jumps deletes nothing.
            progress: told in rows: those that were checked, then those that were written again.
        """

    @abstractmethod
    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every row and compare it with its checksum."""
