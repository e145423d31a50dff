"""Preparation of the two HDF5 files, features and prices, from a price table.

`tables` reads the table, `untraded` leaves out days without a trade, `health` looks for suspicious data, `features`
computes and `write` writes. What is slow to import is imported on the first call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash.arrays import Days, Float32, day_text
from encash.atomic_write import whole_file, write_whole, writing
from encash.errors import InputError
from encash.input_files import path_or_url
from encash.panel.bars import Bars
from encash.panel.calendars import check_one_calendar, sessions_per_year
from encash.panel.features import FeatureConfig, feature_days, feature_names, left_out, panel_features
from encash.panel.health import Health, measure_health
from encash.panel.panel import distinct_days
from encash.panel.untraded import ZeroVolume, traded_bars
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.panel.tables import ReadOptions

_NAMED_FILES = 10
"""Files that the attribute `source_file` of the outputs names at most."""


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """Counts of what was read, left out and written."""

    layout: str
    """``long`` or ``wide``."""
    columns: dict[str, str]
    """The column that each price was read from."""
    vendor: str | None
    """The recognized layout of a vendor."""
    notes: tuple[str, ...]
    """Decisions about the table made by a documented rule."""
    tickers: int
    sessions: int
    """Days on which any ticker traded."""
    sessions_per_year: int
    """Measured from the days; annualizes the figures of a backtest."""
    first: str
    last: str
    bars: int
    """Pairs of ticker and day with a price."""
    not_traded: int
    """Rows or cells without a price: days on which the ticker did not trade."""
    zero_volume: ZeroVolume
    """Meaning of a volume of zero."""
    zero_volume_bars: int
    """Bars with a volume of zero on which the ticker did not trade (`untraded.is_untraded`)."""
    zero_volume_left_out: int
    """Those that were left out: days without a price and without features."""
    tickers_without_volume: tuple[str, ...]
    """Tickers with a volume on less than 5% of their bars, such as an index: most of their bars count as traded."""
    tickers_never_traded: tuple[str, ...]
    """Tickers of the table without a price on any day; they are in neither file."""
    bars_dropped: dict[str, int]
    """Invalid bars that were dropped on request, by reason."""
    bars_out_of_bounds: int
    """Bars whose open or close was outside of low and high, which were widened for the features of ranges."""
    feature_set: str
    """Name of the feature set; a model is used with the set that it was trained on."""
    features: int
    feature_names: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]
    """Features of the set that this table does not allow, by reason."""
    rows: int
    """Feature rows written."""
    rows_dropped_warmup: int
    """Sessions without a row: the first ones of each history, as many as the longest lookback of a feature."""
    tickers_too_short: tuple[str, ...]
    """Tickers without a session after the warm-up: in the prices, not in the features."""
    features_out: str
    prices_out: str
    health_out: str
    """JSON file of `health`, beside the features."""
    health: Health
    """Suspicious data; none of it was changed."""


def prepare(
    prices_file: str | Path | Sequence[str | Path],
    *,
    features_out: str | Path,
    prices_out: str | Path,
    config: FeatureConfig | None = None,
    options: ReadOptions | None = None,
    drop_bad: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Write the features file and the prices file of a price table; features use the past only.

    Both files are written atomically, after both are complete. Suspicious data is reported (`Health`), written beside
    the features as ``<features>.health.json`` and summarized in the prices file; it is never changed.

    Args:
        prices_file: a file or its URL, several, or a folder of them (one file per ticker, or hive-partitioned): CSV or
            other separated text, Parquet, Feather or a registered format, plain or compressed; long (date, ticker,
            close, optionally open, high, low, volume) or wide (date, then one column of closes per ticker).
        features_out: HDF5, ``/<TICKER>/features`` and ``/<TICKER>/dates``.
        prices_out: HDF5, ``/<TICKER>/prices``, ``/<TICKER>/dates`` and, if the table has them, `PRICE_COLUMNS`.
        config: the choice of features; the default features if None.
        options: statements about the table, if it is not recognized without them. By default, bars with a volume of
            zero are left out (`untraded.is_untraded`): the ticker has no price and no features on such a day, and can
            be neither bought nor sold.
        drop_bad: drop and count bars with a missing, zero or negative price or a negative volume.
        progress: called with (done, total) tickers.

    Raises:
        MissingFileError: no such file.
        FormatError: a table in an unknown format, with invalid bars, or of tickers with different calendars.
        InputError: equal paths, or no ticker with enough sessions for one row of features.
        WorkError: a path cannot be written, or the disk is full.
    """
    from encash.panel.tables import NOTHING_STATED, read_bars  # noqa: PLC0415  # slow to import: pyarrow
    from encash.panel.write import write_features, write_prices  # noqa: PLC0415  # slow to import: h5py

    config = config or FeatureConfig()
    sources = [path_or_url(path) for path in ([prices_file] if isinstance(prices_file, str | Path) else prices_file)]
    outputs = {os.path.realpath(path) for path in (features_out, prices_out)}
    if len(outputs) < 2 or outputs & set(map(os.path.realpath, sources)):
        raise InputError("the table, the features and the prices are three files; give each its own path")
    options = options or NOTHING_STATED
    table = read_bars(sources, options, drop_bad=drop_bad)
    traded = traded_bars(table.bars, options.zero_volume)
    named = ", ".join(map(str, sources[:_NAMED_FILES]))
    check_one_calendar(((ticker, own.days) for ticker, own in traded.bars.items()), of=named)
    num_rows = _rows_with_features(traded.bars, config, named)
    enough = {ticker: bars for ticker, bars in traded.bars.items() if num_rows[ticker]}
    health = measure_health(traded, today=np.datetime64("today", "D"), outside=table.outside)
    names = feature_names(next(iter(enough.values())), config)
    source = ", ".join(Path(path).name for path in sources[:_NAMED_FILES])
    with whole_file(features_out) as features_path, whole_file(prices_out) as prices_path:
        write_prices(prices_path, traded.bars.items(), source_file=source, health=health.summary())
        rows = _counted(panel_features(enough, config), len(enough), progress)
        with writing(features_out):  # the outer block would name the wrong file
            write_features(features_path, rows, names, source_file=source, config=config)
    health_out = health_file(features_out)
    write_whole(health_out, (json.dumps(health.to_json(), indent=2, allow_nan=False) + "\n").encode())
    sessions = distinct_days([bars.days for bars in traded.bars.values()])
    num_bars = sum(len(bars.days) for bars in traded.bars.values())
    return PrepareReport(
        layout=table.layout,
        columns=table.columns,
        vendor=table.vendor,
        notes=table.notes,
        tickers=len(traded.bars),
        sessions=len(sessions),
        sessions_per_year=sessions_per_year(sessions),
        first=day_text(sessions[0]),
        last=day_text(sessions[-1]),
        bars=num_bars,
        not_traded=table.not_traded,
        zero_volume=options.zero_volume,
        zero_volume_bars=health.zero_volume.count,
        zero_volume_left_out=traded.left_out,
        tickers_without_volume=traded.without_volume,
        tickers_never_traded=table.never_traded,
        bars_dropped=table.dropped,
        bars_out_of_bounds=table.out_of_bounds,
        feature_set=config.feature_set,
        features=len(names),
        feature_names=names,
        left_out=left_out(next(iter(enough.values())), config),
        rows=sum(num_rows.values()),
        rows_dropped_warmup=num_bars - sum(num_rows.values()),
        tickers_too_short=tuple(ticker for ticker in traded.bars if ticker not in enough),
        features_out=str(features_out),
        prices_out=str(prices_out),
        health_out=str(health_out),
        health=health,
    )


def health_file(features_out: str | Path) -> Path:
    """Return the file beside the features that says what is suspicious in the prices."""
    return Path(features_out).with_suffix(".health.json")


def _rows_with_features(bars: Mapping[str, Bars], config: FeatureConfig, named: str) -> dict[str, int]:
    """Return the number of feature rows of each ticker; refuse a table or a universe without any."""
    num_rows = {ticker: len(feature_days(own, config)) for ticker, own in bars.items()}
    enough = [ticker for ticker, rows in num_rows.items() if rows]
    if not enough:
        raise InputError(
            f"no ticker of {named} has more than {config.longest} sessions, the longest lookback of a feature; "
            "give a longer history"
        )
    if config.membership is not None and not set(config.membership.tickers.tolist()).intersection(enough):
        raise InputError(
            f"no ticker of the membership is in {named}; write the tickers as the table does, such as {enough[0]}"
        )
    return num_rows


def _counted(
    rows: Iterator[tuple[str, Days, Float32]], total: int, progress: Progress | None
) -> Iterator[tuple[str, Days, Float32]]:
    """Yield the same rows and report each ticker."""
    for done, row in enumerate(rows, start=1):
        yield row
        if progress is not None:
            progress(done, total)
