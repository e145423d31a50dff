"""An interchange file as a snapshot: keys from its names, vectors one by one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5s

from encash.arrays import Bool, Days, Float32, Int64, UInt64, to_days
from encash.errors import EncashError, FormatError, InputError
from encash.hdf5_files import check_storage, declared_bytes, link_names, open_hdf5, reading
from encash.input_files import check_declared
from encash.progress import Progress
from encash.store.base import Entries, StoreCheck, StoreSnapshot, StoreSpec, VersionRows
from encash.store.hdf5.layout import ENTRIES_KEY, SIGNALS_KEY, SPEC_KEY, TICKERS_KEY, signals_checksum, unescape_ticker
from encash.store.index import EntryIndex, RowKeys, check_rows, join_keys
from encash.store.rows import row_checksums
from encash.text_files import parse_json

_EXPORT_AGAIN = "export it again"


class Hdf5Snapshot(StoreSnapshot):
    """An open interchange file. Rows are numbered ticker by ticker, by day within a ticker.

    The open file is the snapshot: an export that replaces the file by a new one does not change what is read here.
    """

    engine = "hdf5"
    version = 1
    repair_hint = "export it again from the cache that it was made from"

    def __init__(self, location: str | os.PathLike[str]):
        """Open a file.

        Raises:
            MissingFileError: no such file.
            FormatError: not HDF5, truncated, or not a cache of embeddings.
        """
        self.location = os.fspath(location)
        self._file = open_hdf5(
            location,
            expected="a file of embeddings, /<TICKER>/<YYYY-MM-DD> with one vector each",
            remake="make it again with `encash cache export`",
        )
        self._content = content_id(self._file.id.get_vfd_handle())
        self._lock = threading.RLock()
        with reading(self.location, _EXPORT_AGAIN, opening=self._file):
            self._bytes = self.size_bytes()
            text = self._file.attrs.get(SPEC_KEY)
            self._ours = text is not None
            if not self._ours and ENTRIES_KEY in self._file.attrs:
                raise FormatError(f"{self.location} is an export of encash without its description; {_EXPORT_AGAIN}")
            self._group_names = self._list_tickers()
            self.spec = self._foreign_spec() if text is None else _own_spec(self.location, text)
        self._groups: dict[str, Any] = {}
        self._index: EntryIndex | None = None
        self._signals: tuple[Float32, Float32] | None = None
        self._checksums: UInt64 | None = None

    def index(self) -> EntryIndex:
        """Return keys and digests; read on first use, then kept."""
        with self._lock, reading(self.location, _EXPORT_AGAIN):
            if self._index is None:
                index = EntryIndex.of(join_keys([self._keys(ticker) for ticker in self._group_names]))
                self._check_written(ENTRIES_KEY, "entries", index.entries)
                what = f"{index.entries:,} vectors of length {self.spec.dim:,} in {self.location}"
                check_declared(what, 4 * index.entries * self.spec.dim, self._bytes)
                self._index = index
            return self._index

    def vectors(self, rows: Int64) -> Float32:
        """Read the embeddings of these rows in the order requested, shape (n, dim)."""
        days, tickers = self.index().keys(check_rows(rows, len(self.index().digest)))
        out = np.empty((len(days), self.spec.dim), dtype=np.float32)
        with reading(self.location, _EXPORT_AGAIN):
            for ticker, day, vector in zip(tickers.tolist(), days.astype(str).tolist(), out, strict=True):
                self._read_vector(ticker, day, vector)
        return out

    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of these rows in the order requested, shape (n, H) each."""
        rows = check_rows(rows, len(self.index().digest))
        with self._lock, reading(self.location, _EXPORT_AGAIN):
            if self._signals is None:
                self._signals = self._read_signals()
        return self._signals[0][rows], self._signals[1][rows]

    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """Iterate over all rows in batches of at most `batch_rows`, ticker by ticker."""
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; expected at least 1")
        count = len(self.index().digest)
        for first in range(0, count, batch_rows):
            rows = np.arange(first, min(first + batch_rows, count))
            yield self.entries_with(rows, self.vectors(rows))

    def read_checked(self, rows: Int64) -> tuple[Entries, Bool]:
        """Read these rows, and check each against its checksum; a foreign file has no checksums."""
        entries = self.entries_with(rows, self.vectors(rows))
        if not self._ours:
            return entries, np.ones(len(entries), dtype=np.bool_)
        sound: Bool = row_checksums(entries.embedding, None, entries) == self._stored_checksums()[rows]
        return entries, sound

    def size_bytes(self) -> int:
        """Return the bytes of the file."""
        return int(self._file.id.get_filesize())

    def content_id(self) -> str:
        """Return the identity of the open file."""
        return self._content

    def verify(self, *, batch_rows: int = 4096, progress: Progress | None = None) -> StoreCheck:
        """Read every vector, and compare it with its checksum if the file has one."""
        none = VersionRows(version=self.version, rows=np.empty(0, dtype=np.int64))
        try:
            count = len(self.index().digest)
            if self._ours:
                self._stored_checksums()
        except EncashError as error:
            return StoreCheck(checked=0, corrupt=0, duplicates=0, not_finite=0, damaged=none, findings=(str(error),))
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
            findings.append(f"{corrupt:,} vectors are damaged (checksums differ); {self.repair_hint}")
        return StoreCheck(
            checked=count, corrupt=corrupt, duplicates=0, not_finite=0, damaged=none, findings=tuple(findings)
        )

    def _damaged(self, rows: Int64) -> list[str]:
        """Return one line for each of these rows that is unreadable or not what was written."""
        try:
            entries, sound = self.read_checked(rows)
        except EncashError as error:
            if len(rows) == 1:
                return [str(error)]
            return [line for row in rows for line in self._damaged(np.array([row]))]
        wrong = np.flatnonzero(~sound)
        return [f"the checksum of ({entries.days[at]}, {str(entries.tickers[at])!r}) differs" for at in wrong]

    def _list_tickers(self) -> dict[str, bytes]:
        """Return tickers, ascending, with the names of their groups."""
        texts = {name: name.decode() for name in link_names(self._file.id, self.location)}
        self._check_written(TICKERS_KEY, "tickers", len(texts))
        return dict(sorted((unescape_ticker(text) if self._ours else text, name) for name, text in texts.items()))

    def _check_written(self, key: str, what: str, found: int) -> None:
        """Compare a count with the one that the export recorded; older and foreign files record none."""
        written = self._file.attrs.get(key)
        if written is not None and int(written) != found:
            raise FormatError(
                f"{self.location} was written with {int(written):,} {what} and has {found:,}: it is damaged, or a "
                f"different tool changed it; {_EXPORT_AGAIN}"
            )

    def _foreign_spec(self) -> StoreSpec:
        """Return the spec of a file without provenance, from the shape of its first vector."""
        for ticker in self._group_names:
            if dates := link_names(self._group(ticker), self.location):
                dataset = self._file[self._group_names[ticker]][dates[0]]
                if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype != np.float32:
                    raise FormatError(
                        f"{self.location}: {ticker}/{dates[0].decode()} is not a float32 vector; "
                        "expected /<TICKER>/<YYYY-MM-DD> with one vector each"
                    )
                return StoreSpec(dim=int(dataset.shape[0]), dtype="float32", horizons=(), encoder={}, fingerprint="")
        raise FormatError(f"{self.location} holds no vectors; expected /<TICKER>/<YYYY-MM-DD> with one vector each")

    def _group(self, ticker: str) -> Any:
        """Open the group of a ticker."""
        name = self._group_names[ticker]
        if h5o.get_info(self._file.id, name).type != h5o.TYPE_GROUP:
            raise FormatError(f"{self.location}: {ticker!r} at the root is not a group; expected tickers only")
        return h5g.open(self._file.id, name)

    def _keys(self, ticker: str) -> RowKeys:
        """Read the keys of one ticker, by day."""
        group = self._group(ticker)
        days = self._days(ticker, link_names(group, self.location))
        digest = self._attribute(group, "digest") if self._ours else np.zeros(len(days), dtype=np.uint64)
        if digest.shape != days.shape:
            raise FormatError(
                f"{self.location}: {ticker} has {len(days)} vectors and {len(digest)} digests; "
                "a different tool changed it after the export: export it again"
            )
        return RowKeys(
            day=days.astype(np.int64).astype(np.int32),
            ticker=np.zeros(len(days), dtype=np.int32),
            names=np.array([ticker]),
            digest=digest.astype(np.uint64),
        )

    def _days(self, ticker: str, names: list[bytes]) -> Days:
        """Return the days that the names of datasets give, ascending."""
        texts = sorted(name.decode() for name in names)
        try:
            days: Days = np.array(texts, dtype="datetime64[D]")
        except ValueError:
            days = np.empty(0, dtype="datetime64[D]")
        if days.astype(str).tolist() != texts:
            try:
                to_days(texts)  # slower, and names the invalid one
            except InputError as error:
                raise FormatError(f"{self.location}: the name of a dataset of {ticker!r}: {error}") from None
        return days

    def _read_vector(self, ticker: str, day: str, out: Float32) -> None:
        """Read one vector into `out`, and check it."""
        known = ticker in self._groups
        if not known:
            self._groups[ticker] = self._group(ticker)
        dataset = h5d.open(self._groups[ticker], day.encode())
        if not (known and self._ours):  # takes as long as to read it; the vectors of an export are alike
            check_storage(dataset, f"{ticker}/{day} in {self.location}", self._bytes)
        if dataset.shape != out.shape or dataset.dtype != np.float32:
            raise FormatError(
                f"{self.location}: the vector of ({day}, {ticker}) is {dataset.dtype} {dataset.shape}, "
                f"expected float32 {out.shape}; it belongs to a different model: build the file again"
            )
        dataset.read(h5s.ALL, h5s.ALL, out)
        if not np.isfinite(out).all():
            raise FormatError(f"{self.location}: the vector of ({day}, {ticker}) holds NaN or infinity")

    def _attribute(self, group: Any, name: str) -> np.ndarray:
        """Read an array stored beside a ticker's vectors."""
        attribute = h5a.open(group, name.encode())
        check_declared(f"the {name} of a ticker in {self.location}", declared_bytes(attribute), self._bytes)
        values = np.empty(attribute.shape, dtype=attribute.dtype)
        attribute.read(values)
        return values

    def _read_signals(self) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of all rows, shape (n, H) each."""
        if not self.spec.horizons:
            without = np.empty((len(self.index().digest), 0), dtype=np.float32)
            return without, without
        none = np.empty((0, len(self.spec.horizons)), dtype=np.float32)
        parts = [self._signals_of(ticker) for ticker in self._group_names]
        forecast = np.concatenate([none, *(part[0] for part in parts)])
        confidence = np.concatenate([none, *(part[1] for part in parts)])
        return self._one_per_entry("forecast", forecast), self._one_per_entry("confidence", confidence)

    def _signals_of(self, ticker: str) -> tuple[Float32, Float32]:
        """Read forecasts and confidences of a ticker, and compare them with their checksum; older files have none."""
        group = self._group(ticker)
        forecast, confidence = (self._attribute(group, name) for name in ("forecast", "confidence"))
        if h5a.exists(group, SIGNALS_KEY.encode()):
            written = self._attribute(group, SIGNALS_KEY)
            if written.shape != () or int(written) != signals_checksum(forecast, confidence):
                raise FormatError(
                    f"{self.location}: the forecasts of {ticker!r} are damaged: their checksum differs; {_EXPORT_AGAIN}"
                )
        width = len(self.spec.horizons)
        return forecast.reshape(-1, width).astype(np.float32), confidence.reshape(-1, width).astype(np.float32)

    def _one_per_entry(self, name: str, values: np.ndarray) -> np.ndarray:
        """Refuse values of all rows that are not one per entry."""
        if len(values) != len(self.index().digest):
            raise FormatError(
                f"{self.location} has {len(self.index().digest):,} vectors and the {name} of {len(values):,}; "
                f"{_EXPORT_AGAIN}"
            )
        return values

    def _stored_checksums(self) -> UInt64:
        """Return the checksums of all rows; read on first use, then kept."""
        with self._lock, reading(self.location, _EXPORT_AGAIN):
            if self._checksums is None:
                parts = [self._attribute(self._group(ticker), "checksum") for ticker in self._group_names]
                found = self._one_per_entry("checksum", np.concatenate(parts or [np.empty(0)]))
                self._checksums = found.astype(np.uint64)
            return self._checksums


def content_id(file: str | int) -> str:
    """Return the identity of a file, given its path or descriptor; a file that replaces it has a different one."""
    found = os.stat(file)
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


def _own_spec(location: str, text: Any) -> StoreSpec:
    """Read the spec that an export wrote."""
    what, plain = f"the description in {location}", text if isinstance(text, bytes) else str(text)
    description = parse_json(plain, what, fix="export it again")
    if not isinstance(description, dict):
        raise FormatError(f"{what} is damaged: not a JSON object; export it again")
    return StoreSpec.from_description(description, what=what)
