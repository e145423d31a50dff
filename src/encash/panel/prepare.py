"""Preparation of the two HDF5 files, features and prices, from a price table.

`tables` reads the table, `features` computes and `write` writes; they are imported on the first call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encash.arrays import Days, Float32, day_text
from encash.atomic_write import whole_file, writing
from encash.errors import InputError
from encash.panel.features import FeatureConfig, feature_days, feature_names, left_out, panel_features
from encash.panel.panel import distinct_days
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """Counts of what was read, left out and written."""

    layout: str
    """``long`` or ``wide``."""
    columns: dict[str, str]
    """The column that each price was read from."""
    tickers: int
    sessions: int
    """Days on which any ticker traded."""
    first: str
    last: str
    bars: int
    """Pairs of ticker and day with a price."""
    not_traded: int
    """Rows or cells without a price: days on which the ticker did not trade."""
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


def prepare(
    prices_file: str | Path,
    *,
    features_out: str | Path,
    prices_out: str | Path,
    config: FeatureConfig | None = None,
    drop_bad: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Write the features file and the prices file of a price table; features use the past only.

    Both files are written atomically, after both are complete.

    Args:
        prices_file: CSV, CSV.gz, Parquet, Feather or a registered format; long (date, ticker, close, optionally open,
            high, low, volume) or wide (date, then one column of closes per ticker).
        features_out: HDF5, ``/<TICKER>/features`` and ``/<TICKER>/dates``.
        prices_out: HDF5, ``/<TICKER>/prices``, ``/<TICKER>/dates`` and, if there are opens, ``/<TICKER>/open``.
        config: the choice of features; the default features if None.
        drop_bad: drop and count bars with a missing, zero or negative price or a negative volume.
        progress: called with (done, total) tickers.

    Raises:
        MissingFileError: no such file.
        FormatError: a table in an unknown format, or with invalid bars.
        InputError: equal paths, or no ticker with enough sessions for one row of features.
        WorkError: a path cannot be written, or the disk is full.
    """
    from encash.panel.tables import read_bars  # noqa: PLC0415  # slow to import: pyarrow
    from encash.panel.write import write_features, write_prices  # noqa: PLC0415  # slow to import: h5py

    config = config or FeatureConfig()
    if len({Path(path).resolve() for path in (prices_file, features_out, prices_out)}) < 3:
        raise InputError("the table, the features and the prices are three files; give each its own path")
    table = read_bars(prices_file, drop_bad=drop_bad)
    num_rows = {ticker: len(feature_days(bars, config)) for ticker, bars in table.bars.items()}
    enough = {ticker: bars for ticker, bars in table.bars.items() if num_rows[ticker]}
    if not enough:
        raise InputError(
            f"no ticker of {prices_file} has more than {config.longest} sessions, the longest lookback of a feature; "
            "give a longer history"
        )
    if config.membership is not None and not set(config.membership.tickers.tolist()) & enough.keys():
        raise InputError(
            f"no ticker of the membership is in {prices_file}; write the tickers as the table does, such as "
            f"{next(iter(enough))}"
        )
    names = feature_names(next(iter(enough.values())), config)
    source = Path(prices_file).name
    with whole_file(features_out) as features_path, whole_file(prices_out) as prices_path:
        write_prices(prices_path, table.bars.items(), source_file=source)
        rows = _counted(panel_features(enough, config), len(enough), progress)
        with writing(features_out):  # the outer block would name the wrong file
            write_features(features_path, rows, names, source_file=source, config=config)
    sessions = distinct_days([bars.days for bars in table.bars.values()])
    num_bars = sum(len(bars.days) for bars in table.bars.values())
    return PrepareReport(
        layout=table.layout,
        columns=table.columns,
        tickers=len(table.bars),
        sessions=len(sessions),
        first=day_text(sessions[0]),
        last=day_text(sessions[-1]),
        bars=num_bars,
        not_traded=table.not_traded,
        tickers_never_traded=table.never_traded,
        bars_dropped=table.dropped,
        bars_out_of_bounds=table.out_of_bounds,
        feature_set=config.feature_set,
        features=len(names),
        feature_names=names,
        left_out=left_out(next(iter(enough.values())), config),
        rows=sum(num_rows.values()),
        rows_dropped_warmup=num_bars - sum(num_rows.values()),
        tickers_too_short=tuple(ticker for ticker in table.bars if ticker not in enough),
        features_out=str(features_out),
        prices_out=str(prices_out),
    )


def _counted(
    rows: Iterator[tuple[str, Days, Float32]], total: int, progress: Progress | None
) -> Iterator[tuple[str, Days, Float32]]:
    """Yield the same rows and report each ticker."""
    for done, row in enumerate(rows, start=1):
        yield row
        if progress is not None:
            progress(done, total)
