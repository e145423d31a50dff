"""Atomic writing of a panel's two HDF5 files, with one group per ticker.

Datasets are written through the low-level interface of HDF5, in a third of the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from encash.arrays import Days, Float32
from encash.atomic_write import PatientFile, whole_file
from encash.errors import InputError
from encash.panel.bars import Bars
from encash.panel.features import FeatureConfig
from encash.panel.features.record import FEATURE_CONFIG, FEATURE_SET, MEMBER, to_record
from encash.panel.panel import PRICE_COLUMNS, Panel


def write_panel(panel: Panel, features_path: str | Path, prices_path: str | Path | None = None) -> None:
    """Write the files that `open_panel` reads; existing ones are replaced atomically.

    Raises:
        InputError: a prices path for a panel without prices, or a ticker that HDF5 cannot name.
        WorkError: a path cannot be written, or the disk is full.
    """
    with whole_file(features_path) as temporary:
        rows = ((ticker, panel.days(ticker), panel.rows((ticker,)).values) for ticker in panel.tickers)
        write_features(temporary, rows, panel.feature_names, config=panel.feature_config)
    if prices_path is None:
        return
    if panel.prices is None:
        raise InputError(f"the panel has no prices to write to {prices_path}; open it with prices=…")
    with whole_file(prices_path) as temporary:
        write_prices(temporary, _traded(panel), health=panel.prices.health)


def write_features(
    path: Path,
    rows: Iterable[tuple[str, Days, Float32]],
    feature_names: tuple[str, ...] | None,
    *,
    source_file: str = "",
    config: FeatureConfig | None = None,
) -> None:
    """Write ``/<TICKER>/features`` and ``/<TICKER>/dates``, one ticker at a time.

    Args:
        path: the file; its previous content is lost.
        rows: ticker, days (n,) and values (n, F).
        feature_names: F names, or None if unknown.
        source_file: the name of the price table, for information.
        config: the choice of features, None if unknown.

    Raises:
        InputError: a ticker that HDF5 cannot name.
        OSError: the disk is full.
    """
    membership = config.membership if config else None
    with _new_file(path) as (file, disk):
        width = 0
        for ticker, days, values in rows:
            disk.check()
            group = _group(file, ticker, days)
            _write(group, "features", values)
            if membership is not None:
                group.attrs[MEMBER] = membership.stays(ticker).astype("S10")
            width = values.shape[1]
        file.attrs["num_tickers"] = len(file)
        file.attrs["num_features"] = width
        if source_file:
            file.attrs["source_file"] = source_file
        if feature_names:
            file.attrs["feature_names"] = list(feature_names)
        if config is not None:
            file.attrs[FEATURE_SET] = config.feature_set
            file.attrs[FEATURE_CONFIG] = to_record(config)


def write_prices(
    path: Path,
    prices: Iterable[tuple[str, Bars]],
    *,
    source_file: str = "",
    health: Mapping[str, Any] | None = None,
) -> None:
    """Write ``/<TICKER>/prices`` and ``/<TICKER>/dates``, and of `PRICE_COLUMNS` those that the bars have.

    Args:
        path: the file; its previous content is lost.
        prices: ticker and bars.
        source_file: the name of the price table, for information.
        health: the summary of `Health`, plain JSON values; None if unknown.

    Raises:
        InputError: a ticker that HDF5 cannot name.
        OSError: the disk is full.
    """
    with _new_file(path) as (file, disk):
        for ticker, bars in prices:
            disk.check()
            group = _group(file, ticker, bars.days)
            _write(group, "prices", bars.close.astype(np.float32))
            for name in PRICE_COLUMNS:
                if (column := getattr(bars, name)) is not None:
                    _write(group, name, column.astype(np.float32))
        file.attrs["num_tickers"] = len(file)
        if source_file:
            file.attrs["source_file"] = source_file
        if health is not None:
            file.attrs["health"] = json.dumps(health)


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[h5py.File, PatientFile]]:
    """Give a new HDF5 file and the file object under it, whose `check` raises once the disk is full."""
    with PatientFile(path) as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file, disk
        finally:
            disk.check()


def _group(file: h5py.File, ticker: str, days: Days) -> h5py.Group:
    if "/" in ticker or "\0" in ticker or ticker in ("", "."):
        raise InputError(f"HDF5 cannot name a group {ticker!r}; write the ticker in a different way, such as BRK.B")
    group = file.create_group(ticker)
    _write(group, "dates", _texts(days))
    group.attrs["num_dates"] = len(days)
    group.attrs["start_date"], group.attrs["end_date"] = (str(days[0]), str(days[-1])) if len(days) else ("", "")
    return group


def _write(group: h5py.Group, name: str, values: NDArray[np.generic]) -> None:
    """Write one dataset, without the time of writing: the same values give the same bytes."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    kind, shape = h5t.py_create(values.dtype, logical=True), h5s.create_simple(values.shape)
    dataset = h5d.create(group.id, name.encode(), kind, shape, properties)
    if values.size:
        dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(values))


def _texts(days: Days) -> NDArray[np.bytes_]:
    """Return days as bytes YYYY-MM-DD, shape (n,)."""
    if not len(days):
        return days.astype("S10")
    first, last = days[0].astype("datetime64[Y]"), days[-1].astype("datetime64[Y]") + np.timedelta64(1, "Y")
    place = (days - first.astype("datetime64[D]")).astype(np.int64)
    texts: NDArray[np.bytes_] = _texts_of_years(str(first), str(last))[place]
    return texts


@cache
def _texts_of_years(first: str, last: str) -> NDArray[np.bytes_]:
    """Return all days of a range of years as bytes; formatting each ticker's days would take longer."""
    return np.arange(np.datetime64(first, "D"), np.datetime64(last, "D")).astype("S10")


def _traded(panel: Panel) -> Iterator[tuple[str, Bars]]:
    """Yield each ticker's prices on the days on which it has one."""
    assert panel.prices is not None
    for column, ticker in enumerate(panel.prices.tickers):
        grids = panel.prices.grids()
        traded = ~np.isnan(grids["close"][:, column])
        yield (
            ticker,
            Bars(days=panel.prices.days[traded], **{name: grid[traded, column] for name, grid in grids.items()}),
        )
