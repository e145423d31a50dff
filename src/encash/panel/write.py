"""Panels → the two HDF5 files, one group a ticker, each written beside its place and moved there when it is whole.
Knows the layout of the files; knows nothing of where the numbers came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from encash.arrays import Days, Float32
from encash.errors import InputError, MissingFileError, WorkError
from encash.panel.features import Bars
from encash.panel.panel import Panel


def write_panel(panel: Panel, features_path: str | Path, prices_path: str | Path | None = None) -> None:
    """The files that `open_panel` reads back as this panel; existing ones are replaced, never half.

    Raises:
        InputError: prices asked of a panel without, or a ticker that HDF5 cannot name.
        MissingFileError: the folder does not exist.
        WorkError: the disk refused.
    """
    with replacing(features_path) as temporary:
        rows = ((ticker, panel.days(ticker), panel.rows((ticker,)).values) for ticker in panel.tickers)
        write_features(temporary, rows, panel.feature_names)
    if prices_path is None:
        return
    if panel.prices is None:
        raise InputError(f"the panel has no prices to write to {prices_path}; open it with prices=…")
    with replacing(prices_path) as temporary:
        write_prices(temporary, _traded(panel))


def write_features(
    path: Path,
    rows: Iterable[tuple[str, Days, Float32]],
    feature_names: tuple[str, ...] | None,
    *,
    source_file: str = "",
) -> None:
    """Write ``/<TICKER>/features`` and ``/<TICKER>/dates``, one ticker at a time.

    Args:
        path: the file, which must not be there yet.
        rows: ticker, days (n,) and values (n, F).
        feature_names: F names, or None where nobody knows them.
        source_file: where the numbers came from, for the reader's eye.
    """
    with h5py.File(path, "x") as file:
        width = 0
        for ticker, days, values in rows:
            group = _group(file, ticker, days)
            group["features"] = values
            width = values.shape[1]
        file.attrs["num_tickers"] = len(file)
        file.attrs["num_features"] = width
        if source_file:
            file.attrs["source_file"] = source_file
        if feature_names:
            file.attrs["feature_names"] = list(feature_names)


def write_prices(path: Path, prices: Iterable[tuple[str, Bars]], *, source_file: str = "") -> None:
    """Write ``/<TICKER>/prices``, ``/<TICKER>/dates`` and, where there are any, ``/<TICKER>/open``."""
    with h5py.File(path, "x") as file:
        for ticker, bars in prices:
            group = _group(file, ticker, bars.days)
            group["prices"] = bars.close.astype(np.float32)
            if bars.open is not None:
                group["open"] = bars.open.astype(np.float32)
        file.attrs["num_tickers"] = len(file)
        if source_file:
            file.attrs["source_file"] = source_file


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path`, durably, when the block ends well.

    Raises:
        MissingFileError: the folder does not exist.
        WorkError: the disk refused; what stood there before still does.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"the folder {path.parent} does not exist; make it, or write elsewhere")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise WorkError(f"{path} could not be written ({error}); what stood there before is unharmed") from error
    finally:
        temporary.unlink(missing_ok=True)


def _group(file: h5py.File, ticker: str, days: Days) -> h5py.Group:
    if "/" in ticker or "\0" in ticker or ticker in ("", "."):
        raise InputError(f"HDF5 cannot name a group {ticker!r}; write the ticker in another way, such as BRK.B")
    group = file.create_group(ticker)
    group["dates"] = days.astype("S10")
    group.attrs["num_dates"] = len(days)
    group.attrs["start_date"], group.attrs["end_date"] = (str(days[0]), str(days[-1])) if len(days) else ("", "")
    return group


def _traded(panel: Panel) -> Iterator[tuple[str, Bars]]:
    """Each ticker's prices on the days on which it has one."""
    assert panel.prices is not None
    for column, ticker in enumerate(panel.prices.tickers):
        close = panel.prices.close[:, column]
        traded = ~np.isnan(close)
        opens = None if panel.prices.open is None else panel.prices.open[traded, column]
        yield ticker, Bars(days=panel.prices.days[traded], close=close[traded], open=opens)
