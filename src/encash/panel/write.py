"""Atomic writing of a panel's two HDF5 files, with one group per ticker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from encash.arrays import Days, Float32
from encash.atomic_write import PatientFile, whole_file
from encash.errors import InputError
from encash.panel.bars import Bars
from encash.panel.features import FeatureConfig
from encash.panel.features.record import FEATURE_CONFIG, FEATURE_SET, MEMBER, to_record
from encash.panel.panel import Panel


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
        write_prices(temporary, _traded(panel))


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
            group["features"] = values
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


def write_prices(path: Path, prices: Iterable[tuple[str, Bars]], *, source_file: str = "") -> None:
    """Write ``/<TICKER>/prices``, ``/<TICKER>/dates`` and, if there are opens, ``/<TICKER>/open``.

    Raises:
        InputError: a ticker that HDF5 cannot name.
        OSError: the disk is full.
    """
    with _new_file(path) as (file, disk):
        for ticker, bars in prices:
            disk.check()
            group = _group(file, ticker, bars.days)
            group["prices"] = bars.close.astype(np.float32)
            if bars.open is not None:
                group["open"] = bars.open.astype(np.float32)
        file.attrs["num_tickers"] = len(file)
        if source_file:
            file.attrs["source_file"] = source_file


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
    group["dates"] = days.astype("S10")
    group.attrs["num_dates"] = len(days)
    group.attrs["start_date"], group.attrs["end_date"] = (str(days[0]), str(days[-1])) if len(days) else ("", "")
    return group


def _traded(panel: Panel) -> Iterator[tuple[str, Bars]]:
    """Yield each ticker's prices on the days on which it has one."""
    assert panel.prices is not None
    for column, ticker in enumerate(panel.prices.tickers):
        close = panel.prices.close[:, column]
        traded = ~np.isnan(close)
        opens = None if panel.prices.open is None else panel.prices.open[traded, column]
        yield ticker, Bars(days=panel.prices.days[traded], close=close[traded], open=opens)
