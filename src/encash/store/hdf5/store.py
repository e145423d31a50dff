"""An interchange file as a store, read-only: keys from its names, vectors one by one. Knows HDF5 and the seam; nothing
of our own engine."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5s

from encash.arrays import Bool, Days, Float32, Int32, Int64, UInt64, to_days
from encash.errors import EncashError, FormatError, InputError, MissingFileError, reason
from encash.progress import Progress
from encash.store.base import CompactReport, EmbeddingStore, Entries, EntryIndex, StoreCheck, StoreSpec, StoreVersion
from encash.store.hdf5.layout import SPEC_KEY, unescape_ticker
from encash.store.keys import PieceKeys, build_index
from encash.store.rows import check_rows, row_checksums


class Hdf5Store(EmbeddingStore):
    """An interchange file, read-only. Rows are numbered ticker by ticker, by day within a ticker."""

    engine = "hdf5"
    writable = False
    version = 1
    mend_damage = "export it again from the cache that it was made from"

    def __init__(self, location: str | os.PathLike[str]):
        """Open a file.

        Raises:
            MissingFileError: no such file.
            FormatError: no HDF5, cut short, or no cache of embeddings.
        """
        self.location = os.fspath(location)
        self._file = _open(self.location)
        with _reading(self.location):
            text = self._file.attrs.get(SPEC_KEY)
            self._ours = text is not None
            self._group_names = self._list_tickers()
            self.spec = self._foreign_spec() if text is None else _own_spec(self.location, text)
        self._groups: dict[str, Any] = {}
        self._indexed: tuple[EntryIndex, Int32, Int32] | None = None
        self._signals: tuple[Float32, Float32] | None = None
        self._checksums: UInt64 | None = None

    def index(self) -> EntryIndex:
        """Keys and digests; read once, then kept."""
        return self._index()[0]

    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim)."""
        index, day, ticker = self._index()
        rows = check_rows(rows, len(day))
        out = np.empty((len(rows), self.spec.dim), dtype=np.float32)
        names, texts = index.tickers[ticker[rows]].tolist(), index.days[day[rows]].astype(str).tolist()
        with _reading(self.location):
            for name, text, vector in zip(names, texts, out, strict=True):
                self._read_vector(name, text, vector)
        return out

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H)."""
        rows = check_rows(rows, len(self._index()[1]))
        if self._signals is None:
            with _reading(self.location):
                self._signals = (self._signal("forecast"), self._signal("confidence"))
        return self._signals[0][rows], self._signals[1][rows]

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All rows in batches of at most `batch_rows`, ticker by ticker."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        count = len(self._index()[1])
        for first in range(0, count, batch_rows):
            yield self._entries(np.arange(first, min(first + batch_rows, count)))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """All that these rows hold, and which of them are what was exported; a foreign file has no checksums."""
        entries = self._entries(check_rows(rows, len(self._index()[1])))
        if not self._ours:
            return entries, np.ones(len(entries), dtype=np.bool_)
        sound: Bool = row_checksums(entries.embedding, None, entries) == self._stored_checksums()[rows]
        return entries, sound

    def write(self, entries: Entries, *, skip_valid: bool = False) -> int:
        """Not possible."""
        self._refuse("written in place; build a .lance cache and export it")

    def remove(self, rows: Int64) -> int:
        """Not possible."""
        self._refuse("changed; import it into a .lance cache, which leaves out nothing in silence")

    def refresh(self) -> None:
        """Nothing new to see: a file has one version."""

    def size_bytes(self) -> int:
        """Bytes of the file."""
        return os.path.getsize(self.location)

    def versions(self) -> list[StoreVersion]:
        """The file as it is."""
        time = dt.datetime.fromtimestamp(os.path.getmtime(self.location))
        return [StoreVersion(number=1, time=time, entries=self.index().entries)]

    def tag(self, name: str, version: int | None = None) -> None:
        """Not possible."""
        self._refuse("tagged; import it into a .lance cache")

    def compact(self, *, keep_versions: int = 20, progress: Progress | None = None) -> CompactReport:
        """Not possible."""
        self._refuse("compacted; it has one version and no history")

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every vector, and compare it with its checksum where the file has one."""
        try:
            count = len(self._index()[1])
            if self._ours:
                self._stored_checksums()
        except EncashError as error:
            return StoreCheck(checked=0, corrupt=0, duplicates=0, not_finite=0, findings=(str(error),))
        findings: list[str] = []
        corrupt = 0
        for first in range(0, count, batch_rows):
            rows = np.arange(first, min(first + batch_rows, count))
            bad = self._damaged(rows)
            corrupt += len(bad)
            findings += bad[: max(0, 10 - len(findings))]
            if progress is not None:
                progress(first + len(rows), count)
        if corrupt:
            findings.append(f"{corrupt:,} vectors are not what was written; {self.mend_damage}")
        return StoreCheck(checked=count, corrupt=corrupt, duplicates=0, not_finite=0, findings=tuple(findings))

    def _entries(self, rows: Int64) -> Entries:
        """These rows with everything that belongs to them."""
        index, day, ticker = self._index()
        forecast, confidence = self.forecasts(rows)
        return Entries(
            days=index.days[day[rows]],
            tickers=index.tickers[ticker[rows]],
            digest=index.digest[rows],
            embedding=self.vectors(rows),
            forecast=forecast,
            confidence=confidence,
        )

    def _damaged(self, rows: Int64) -> list[str]:
        """One line for each of these rows that cannot be read or is not what was written."""
        try:
            entries, sound = self.read_checked(rows)
        except EncashError as error:
            if len(rows) == 1:
                return [str(error)]
            return [line for row in rows for line in self._damaged(np.array([row]))]
        wrong = np.flatnonzero(~sound)
        return [f"the checksum of ({entries.days[at]}, {str(entries.tickers[at])!r}) differs" for at in wrong]

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.location} is an interchange file and cannot be {what}")

    def _list_tickers(self) -> dict[str, bytes]:
        """Tickers, ascending, with the names of their groups."""
        texts = {name: name.decode() for name in _names(self._file.id)}
        return dict(sorted((unescape_ticker(text) if self._ours else text, name) for name, text in texts.items()))

    def _foreign_spec(self) -> StoreSpec:
        """What can be said of a file without provenance: the shape of its first vector."""
        for ticker in self._group_names:
            if dates := _names(self._group(ticker)):
                dataset = self._file[self._group_names[ticker]][dates[0]]
                if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype != np.float32:
                    raise FormatError(
                        f"{self.location}: {ticker}/{dates[0].decode()} is no vector of float32; "
                        "expected /<TICKER>/<YYYY-MM-DD> with one vector each"
                    )
                return StoreSpec(dim=int(dataset.shape[0]), dtype="float32", horizons=(), encoder={}, fingerprint="")
        raise FormatError(f"{self.location} holds no vectors; expected /<TICKER>/<YYYY-MM-DD> with one vector each")

    def _group(self, ticker: str) -> Any:
        """The group of a ticker."""
        name = self._group_names[ticker]
        if h5o.get_info(self._file.id, name).type != h5o.TYPE_GROUP:
            raise FormatError(f"{self.location}: {ticker!r} at the root is no group; expected tickers and nothing else")
        return h5g.open(self._file.id, name)

    def _index(self) -> tuple[EntryIndex, Int32, Int32]:
        """The index, and of each row the place of its day and ticker in it."""
        if self._indexed is None:
            with _reading(self.location):
                pieces = [self._keys(number, ticker) for number, ticker in enumerate(self._group_names)]
            self._indexed = build_index(pieces, list(self._group_names))
        return self._indexed

    def _keys(self, number: int, ticker: str) -> PieceKeys:
        """The keys of one ticker, by day."""
        group = self._group(ticker)
        days = self._days(ticker, _names(group))
        digest = self._attribute(group, "digest") if self._ours else np.zeros(len(days), dtype=np.uint64)
        if digest.shape != days.shape:
            raise FormatError(
                f"{self.location}: {ticker} has {len(days)} vectors and {len(digest)} digests; "
                "another tool changed it after the export: export it again"
            )
        return PieceKeys(
            day=days.astype(np.int64).astype(np.int32),
            ticker=np.full(len(days), number, dtype=np.int32),
            digest=digest.astype(np.uint64),
        )

    def _days(self, ticker: str, names: list[bytes]) -> Days:
        """The days that the names of datasets say, ascending."""
        texts = sorted(name.decode() for name in names)
        try:
            days: Days = np.array(texts, dtype="datetime64[D]")
        except ValueError:
            days = np.empty(0, dtype="datetime64[D]")
        if days.astype(str).tolist() != texts:
            try:
                to_days(texts)  # slower, and names the one
            except InputError as error:
                raise FormatError(f"{self.location}: the name of a dataset of {ticker!r}: {error}") from None
        return days

    def _read_vector(self, ticker: str, day: str, out: Float32) -> None:
        """One vector, checked, to `out`."""
        if ticker not in self._groups:
            self._groups[ticker] = self._group(ticker)
        dataset = h5d.open(self._groups[ticker], day.encode())
        if dataset.shape != out.shape or dataset.dtype != np.float32:
            raise FormatError(
                f"{self.location}: the vector of ({day}, {ticker}) is {dataset.dtype} {dataset.shape}, "
                f"expected float32 {out.shape}; it is of another model: build the file again"
            )
        dataset.read(h5s.ALL, h5s.ALL, out)
        if not np.isfinite(out).all():
            raise FormatError(f"{self.location}: the vector of ({day}, {ticker}) holds NaN or infinity")

    def _attribute(self, group: Any, name: str) -> np.ndarray:
        """An array beside a ticker's vectors."""
        attribute = h5a.open(group, name.encode())
        values = np.empty(attribute.shape, dtype=attribute.dtype)
        attribute.read(values)
        return values

    def _signal(self, name: str) -> Float32:
        """Forecasts or confidences of all rows, shape (n, H)."""
        width = len(self.spec.horizons)
        if not width:
            return np.empty((len(self._index()[1]), 0), dtype=np.float32)
        parts = [self._attribute(self._group(ticker), name).reshape(-1, width) for ticker in self._group_names]
        return np.concatenate(parts or [np.empty((0, width))]).astype(np.float32)

    def _stored_checksums(self) -> UInt64:
        """The checksums of all rows."""
        if self._checksums is None:
            with _reading(self.location):
                parts = [self._attribute(self._group(ticker), "checksum") for ticker in self._group_names]
            self._checksums = np.concatenate(parts or [np.empty(0)]).astype(np.uint64)
        return self._checksums


def _names(group: Any) -> list[bytes]:
    """The names in a group."""
    names: list[bytes] = []
    group.links.iterate(names.append)
    return names


def _own_spec(location: str, text: Any) -> StoreSpec:
    """The spec that an export wrote."""
    try:
        return StoreSpec.from_description(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"the description in {location} is damaged ({error}); export it again") from None


def _open(location: str) -> Any:
    """The file, for reading."""
    if not os.path.exists(location):
        raise MissingFileError(f"there is no file {location}; make one with `encash cache export`")
    try:
        return h5py.File(location, "r")
    except OSError as error:
        what = "it was cut short" if "truncated" in str(error) else "it is no HDF5 file, or damaged"
        raise FormatError(f"{location} cannot be read: {what}; make it again with `encash cache export`") from None


@contextmanager
def _reading(location: str) -> Iterator[None]:
    """HDF5's errors in our words."""
    try:
        yield
    except EncashError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{location} cannot be read, it is damaged{reason(error)}; export it again") from None
