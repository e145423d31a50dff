"""Feature and price files (HDF5, one group per ticker) and arrays in memory as sources of a panel.

HDF5 is read through its low-level interface, which is five times as fast on thousands of small datasets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from h5py import h5d, h5i, h5s, h5t
from numpy.typing import NDArray

from encash.arrays import Days, Float32, Float64
from encash.errors import EncashError, FormatError, InputError, UnknownKeyError
from encash.hdf5_files import check_link, check_storage, declared_bytes, link_names, open_hdf5, reading
from encash.input_files import check_declared
from encash.panel.calendars import FRIDAY, check_one_calendar, weekdays
from encash.panel.checks import (
    check_days,
    check_features,
    check_one_day_per_row,
    check_prices,
    check_width,
    days_from_bytes,
)
from encash.panel.features import FeatureConfig
from encash.panel.features.record import FEATURE_CONFIG, FEATURE_SET, MEMBER, from_record
from encash.panel.health import is_spans
from encash.panel.panel import PRICE_COLUMNS, Panel, PriceTable, distinct_days
from encash.remote_files import pinned
from encash.text_files import parse_json

Value = TypeVar("Value")
_COPY_AGAIN = "copy it again, or make it with encash prepare"
_DATE_BYTES = 10
_TEXTS_AT_ONCE = 4096
"""Texts of variable length that are read before their lengths are checked."""


def open_panel(
    features: str | Path, prices: str | Path | None = None, *, price_columns: Collection[str] = ("open",)
) -> Panel:
    """Open a features file and, if given, a prices file as a panel.

    Names, shapes and widths of all tickers are checked now; feature rows and dates are read and checked on demand. The
    features file stays open until the panel is closed (`Panel.close`, or a ``with`` block) or collected. A panel can be
    pickled: it opens the features file again where it is unpickled, which must have the same path or URL there.

    Args:
        features: a path, or a URL as text: HDF5, ``/<TICKER>/features`` float32 (rows, F) and ``/<TICKER>/dates`` bytes
            YYYY-MM-DD (rows,).
        prices: HDF5 as `open_prices` reads it.
        price_columns: its `columns`.

    Raises:
        MissingFileError: a path that does not exist.
        FormatError: a file in a different format; the message names the ticker and the fix.
    """
    return Panel(HdfSource(features), None if prices is None else open_prices(prices, columns=price_columns))


def open_prices(path: str | Path, *, columns: Collection[str] = ("open",)) -> PriceTable:
    """Read the prices of a file on the grid of all its days × tickers.

    Args:
        path: a path, or a URL as text: HDF5, ``/<TICKER>/prices`` (or ``close``) and ``/<TICKER>/dates`` bytes
            YYYY-MM-DD, both (rows,), and optionally those of `PRICE_COLUMNS`. NaN is a day without a trade.
        columns: those of `PRICE_COLUMNS` to read, if the file has them.

    Raises:
        MissingFileError: the path does not exist.
        FormatError: a different format; unsorted or duplicate dates; a price of zero, below zero or infinite; tickers
            of different calendars, such as stocks and coins.
    """
    with _open(path) as file, reading(path, _COPY_AGAIN):
        reader = _Reader(file, path)
        tickers = reader.tickers()
        closes = _name_of_closes(reader, tickers[0], path)
        own_days = [reader.days(ticker) for ticker in tickers]
        days = distinct_days(own_days)
        reader.declare(f"a grid of {len(days):,} days x {len(tickers):,} tickers", 8 * len(days) * len(tickers))
        close = _on_grid(reader, closes, tickers, own_days, days)
        grids = {
            name: _on_grid(reader, name, tickers, own_days, days)
            for name in PRICE_COLUMNS
            if name in columns and reader.has(tickers[0], name)
        }
        health = reader.health()
    check_prices(tickers, days, close, of="close")
    for name in ("open", "raw_close"):
        if name in grids:
            check_prices(tickers, days, grids[name], of=name.replace("_", " "))
    if (weekdays(days) > FRIDAY).any():  # without a weekend there is only one calendar
        check_one_calendar(((ticker, days[~np.isnan(close[:, n])]) for n, ticker in enumerate(tickers)), of=path)
    return PriceTable(days=days, tickers=tickers, close=close, health=health, **grids)


class HdfSource:
    """Features in an HDF5 file, read on demand. A `FeatureSource`."""

    def __init__(self, path: str | Path):
        self._path = pinned(path)
        self._file = _open(self._path if isinstance(self._path, str) else path)
        self._days: dict[str, Days] = {}
        with reading(path, _COPY_AGAIN, opening=self._file):
            self._reader = _Reader(self._file, path)
            self.tickers: tuple[str, ...] = self._reader.tickers()
            self._num_rows, self.num_features = self._check_shapes()
            self.feature_names: tuple[str, ...] | None = self._reader.feature_names(self.num_features)
            self.feature_config = self._reader.feature_config(self.tickers)

    def __reduce__(self) -> tuple[type[HdfSource], tuple[str | Path]]:
        """Pickle the path, or the URL and its version; the file is opened again where it is unpickled."""
        return HdfSource, (self._path,)

    def close(self) -> None:
        """Close the file; nothing more can be read."""
        self._file.close()

    def days(self, ticker: str) -> Days:
        """Return the days of one ticker's rows, ascending and distinct.

        Raises:
            UnknownKeyError: no such ticker.
            FormatError: unsorted, duplicate or malformed dates, or not one per row.
        """
        if ticker not in self._days:
            num_rows = _known(self._num_rows, ticker)
            with reading(self._path, _COPY_AGAIN):
                days = self._reader.days(ticker)
            check_one_day_per_row(ticker, days, num_rows, of="features")
            self._days[ticker] = days
        return self._days[ticker]

    def read_into(self, ticker: str, first: int, out: Float32) -> None:
        """Fill `out`, shape (rows, F), with the rows of one ticker from number `first` on."""
        num_rows = _known(self._num_rows, ticker)
        if len(out):
            with reading(self._path, _COPY_AGAIN):
                dataset = self._reader.open(ticker, "features")
                self._reader.fill(out, dataset, None if len(out) == num_rows else first)

    def _check_shapes(self) -> tuple[dict[str, int], int]:
        """Return the number of rows of each ticker, and the number of features."""
        num_rows: dict[str, int] = {}
        expected = 0
        for ticker in self.tickers:
            dataset = self._reader.open(ticker, "features")
            width = check_features(ticker, dataset.shape, dataset.dtype)
            self._reader.declare(f"features of {ticker!r}", declared_bytes(dataset))
            expected = expected or width
            check_width(ticker, width, self.tickers[0], expected)
            num_rows[ticker] = dataset.shape[0]
        return num_rows, expected


class ArraySource:
    """Features in memory. A `FeatureSource`.

    >>> source = ArraySource({"A": (np.array(["2024-01-02"], dtype="datetime64[D]"), np.ones((1, 3), np.float32))})
    >>> Panel(source).rows().values
    array([[1., 1., 1.]], dtype=float32)
    """

    def __init__(
        self,
        rows: Mapping[str, tuple[Days, Float32]],
        feature_names: tuple[str, ...] | None = None,
        feature_config: FeatureConfig | None = None,
    ):
        """Check and keep the days (rows,) and values (rows, F) of each ticker.

        Raises:
            FormatError: as for a file with the same content.
            InputError: no ticker, or not one name per feature.
        """
        if not rows:
            raise InputError("no ticker given; a panel has at least one")
        self.tickers: tuple[str, ...] = tuple(sorted(rows))
        self._rows = dict(rows)
        first = rows[self.tickers[0]][1]
        self.num_features = check_features(self.tickers[0], first.shape, first.dtype)
        for ticker in self.tickers:
            days, values = rows[ticker]
            width = check_features(ticker, values.shape, values.dtype)
            check_width(ticker, width, self.tickers[0], self.num_features)
            check_one_day_per_row(ticker, days, len(values), of="features")
            check_days(ticker, days)
        if feature_names is not None and len(feature_names) != self.num_features:
            raise InputError(f"{len(feature_names)} feature names for {self.num_features} features; give one for each")
        self.feature_names = feature_names
        self.feature_config = feature_config

    def close(self) -> None:
        """Do nothing: there is no file."""

    def days(self, ticker: str) -> Days:
        """Return the days of one ticker's rows, ascending and distinct."""
        return _known(self._rows, ticker)[0]

    def read_into(self, ticker: str, first: int, out: Float32) -> None:
        """Fill `out`, shape (rows, F), with the rows of one ticker from number `first` on."""
        out[:] = _known(self._rows, ticker)[1][first : first + len(out)]


class _Reader:
    """Datasets of an open file by ticker and name; what they declare together is compared with the size of the file."""

    def __init__(self, file: h5py.File, path: str | Path):
        self._file = file
        self._path = path
        self._bytes = int(file.id.get_filesize())
        self._declared = 0
        self._parsed: dict[bytes, Days] = {}
        self._types: dict[np.dtype[np.generic], h5t.TypeID] = {}

    def tickers(self) -> tuple[str, ...]:
        """Return the names of the groups, sorted."""
        names = tuple(sorted(name.decode(errors="surrogateescape") for name in link_names(self._file.id, self._path)))
        if not names:
            raise FormatError(f"{self._path} is empty; expected one group per ticker")
        return names

    def feature_names(self, num_features: int) -> tuple[str, ...] | None:
        """Return the names of the features, None if the file does not record them."""
        names = self._file.attrs.get("feature_names")
        if names is None:
            return None
        texts = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(names))
        if len(texts) != num_features:
            raise FormatError(
                f"{self._path} names {len(texts)} features and has {num_features}; prepare the file again"
            )
        return texts

    def health(self) -> dict[str, Any] | None:
        """Return the summary of suspicious data, None if the file does not record it."""
        text = self._file.attrs.get("health")
        if text is None:
            return None
        what = f"the health of {self._path}"
        found = parse_json(text if isinstance(text, bytes) else str(text), what, fix="prepare the file again")
        if not isinstance(found, dict):
            raise FormatError(f"{what} is not a JSON object; prepare the file again")
        if not is_spans(found.get("spans", {})):
            raise FormatError(f"{what} does not list days by finding and ticker under 'spans'; prepare the file again")
        return found

    def feature_config(self, tickers: tuple[str, ...]) -> FeatureConfig | None:
        """Return the choice of features, None if the file does not record it."""
        feature_set, record = (self._file.attrs.get(name) for name in (FEATURE_SET, FEATURE_CONFIG))
        if feature_set is None or record is None:
            return None

        def stays() -> dict[str, Days]:
            return {ticker: self._file[ticker].attrs[MEMBER].astype("datetime64[D]") for ticker in tickers}

        return from_record(str(feature_set), str(record), stays, what=str(self._path))

    def declare(self, what: str, size: int) -> None:
        """Refuse values that take more memory, with those declared before, than the file can hold."""
        self._declared += size
        check_declared(f"{self._path} up to {what}", self._declared, self._bytes)

    def has(self, ticker: str, name: str) -> bool:
        """Return whether a ticker has a dataset of this name."""
        return f"{ticker}/{name}" in self._file

    def open(self, ticker: str, name: str) -> h5d.DatasetID:
        """Open a ticker's dataset.

        Raises:
            FormatError: the ticker does not have it, or its values are in a different file.
            InputError: the file was closed.
        """
        place = f"{ticker}/{name}".encode(errors="surrogateescape")
        try:
            check_link(self._file.id, place, self._path)
            dataset = h5d.open(self._file.id, place)
        except EncashError:
            raise
        except (RuntimeError, KeyError, TypeError, ValueError):
            if not self._file:
                raise InputError(
                    f"{self._path} was closed; open the panel again, or read before it is closed"
                ) from None
            raise FormatError(
                f"{ticker!r} in {self._path} has no dataset {name!r}; expected one group per ticker, each with dates "
                "and values"
            ) from None
        check_storage(dataset, f"{name} of {ticker!r} in {self._path}", self._bytes)
        return dataset

    def fill(self, out: NDArray[np.generic], dataset: h5d.DatasetID, first: int | None = None) -> None:
        """Fill an array from a whole dataset, or from its rows from `first` on; HDF5 converts to the array's dtype.

        Raises:
            FormatError: the file is truncated, or its data cannot be unpacked.
        """
        if len(out) == 0:
            return
        memory = stored = h5s.ALL
        if first is not None:
            memory, stored = h5s.create_simple(out.shape), dataset.get_space()
            stored.select_hyperslab((first,) + (0,) * (out.ndim - 1), out.shape)
        if out.dtype not in self._types:  # making one takes as long as a small read
            self._types[out.dtype] = h5t.py_create(out.dtype)
        try:
            dataset.read(memory, stored, out, self._types[out.dtype])
        except OSError as error:
            name = h5i.get_name(dataset).decode(errors="replace")
            raise FormatError(
                f"{name} in {self._path} cannot be read ({error}); the file is damaged, copy it again"
            ) from None

    def days(self, ticker: str) -> Days:
        """Read a ticker's days, ascending and distinct. Equal bytes are parsed once: most tickers share sessions."""
        dataset = self.open(ticker, "dates")
        dtype, shape = dataset.dtype, dataset.shape
        if len(shape) != 1 or h5py.check_string_dtype(dtype) is None:
            raise FormatError(
                f"the dates of {ticker!r} in {self._path} have dtype {dtype} and shape {shape}; "
                "expected bytes YYYY-MM-DD, one per row"
            )
        self.declare(f"dates of {ticker!r}", declared_bytes(dataset))
        if dtype.kind == "O":
            dates = self._texts(ticker, dataset)
        else:
            dates = np.empty(shape, dtype=dtype)
            self.fill(dates, dataset)
        key = dates.tobytes()
        if key not in self._parsed:
            days = days_from_bytes(ticker, dates)
            check_days(ticker, days)
            self._parsed[key] = days
        return self._parsed[key]

    def _texts(self, ticker: str, dataset: h5d.DatasetID) -> NDArray[np.bytes_]:
        """Read dates of variable length as bytes of one length; a long text stops it before the next ones are read."""
        texts = np.empty(dataset.shape, dtype=dataset.dtype)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[first : first + _TEXTS_AT_ONCE]
            self.fill(part, dataset, first)
            if long := [text for text in part if len(text) > _DATE_BYTES]:
                raise FormatError(f"{ticker!r} has the date {long[0][:40]!r}; expected bytes YYYY-MM-DD")
        return np.array([text if isinstance(text, bytes) else text.encode() for text in texts], dtype=np.bytes_)

    def prices(self, ticker: str, name: str) -> Float64:
        """Read one price of a ticker on each of its days, shape (rows,)."""
        dataset = self.open(ticker, name)
        shape = dataset.shape
        if len(shape) != 1 or dataset.get_type().get_class() not in (h5t.FLOAT, h5t.INTEGER):
            raise FormatError(
                f"{name} of {ticker!r} has dtype {dataset.dtype} and shape {shape}; expected float32, one price per "
                "date"
            )
        self.declare(f"{name} of {ticker!r}", 8 * shape[0])
        values = np.empty(shape, dtype=np.float64)
        self.fill(values, dataset)
        return values


def _open(path: str | Path) -> h5py.File:
    return open_hdf5(path, expected="an HDF5 file with one group per ticker", remake=_COPY_AGAIN)


def _name_of_closes(reader: _Reader, ticker: str, path: str | Path) -> str:
    """Return the name under which a file keeps its closes.

    Raises:
        FormatError: it has neither.
    """
    for name in ("prices", "close"):
        if reader.has(ticker, name):
            return name
    raise FormatError(
        f"{ticker!r} in {path} has no dataset 'prices' (nor 'close'); expected one group per ticker, each with dates "
        "and prices: is this the prices file?"
    )


def _on_grid(reader: _Reader, name: str, tickers: tuple[str, ...], own_days: list[Days], days: Days) -> Float64:
    """Read one price of every ticker on the grid of all days, NaN where it has no row; shape (T, N)."""
    grid = np.full((len(tickers), len(days)), np.nan)
    shared = {id(own): own for own in own_days}  # most tickers share their days
    rows = {key: np.searchsorted(days, own) for key, own in shared.items()}
    for line, ticker, own in zip(grid, tickers, own_days, strict=True):
        values = reader.prices(ticker, name)
        check_one_day_per_row(ticker, own, len(values), of=name)
        line[rows[id(own)]] = values
    return np.ascontiguousarray(grid.T)


def _known(table: Mapping[str, Value], ticker: str) -> Value:
    try:
        return table[ticker]
    except KeyError:
        raise UnknownKeyError(f"no features for {ticker!r} ({len(table)} tickers have features)") from None
