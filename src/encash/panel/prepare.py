"""A price table → the two HDF5 files, features and prices. Tells the story; reading, calculating and writing are
`tables`, `features` and `write`, which are imported when there is something to prepare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encash.arrays import Days, Float32, day_text
from encash.atomic_write import whole_file, writing
from encash.errors import InputError
from encash.panel.features import FeatureConfig, feature_names, panel_features
from encash.panel.panel import distinct_days
from encash.progress import Progress


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What was read, what was left out and what was written."""

    layout: str
    """How the table was understood: ``long`` or ``wide``."""
    columns: dict[str, str]
    """The column that each price was read from."""
    tickers: int
    sessions: int
    """Days on which any ticker traded."""
    first: str
    last: str
    bars: int
    """(ticker, day) with a price."""
    not_traded: int
    """Rows or cells without a price; they are days on which the ticker did not trade."""
    tickers_never_traded: tuple[str, ...]
    """Tickers that the table names and that have no price on any day; they are in neither file."""
    bars_dropped: dict[str, int]
    """Bad bars that were left out on request, by reason."""
    bars_out_of_bounds: int
    """Bars whose high or low did not hold their open and close; range features see them widened to do so."""
    features: int
    feature_names: tuple[str, ...]
    rows: int
    """Feature rows written."""
    rows_dropped_warmup: int
    """The first sessions of each ticker, before the longest span of a feature is full; they have no row."""
    tickers_too_short: tuple[str, ...]
    """Tickers that never leave the warm-up: in the prices, not in the features."""
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
    """Make the features file and the prices file of a price table; features use the past only.

    Both files are written beside their places and moved there when both are whole.

    Args:
        prices_file: CSV, CSV.gz or Parquet; long (date, ticker, close, perhaps open, high, low, volume) or wide (date,
            then one column of closes a ticker).
        features_out: HDF5, ``/<TICKER>/features`` and ``/<TICKER>/dates``.
        prices_out: HDF5, ``/<TICKER>/prices``, ``/<TICKER>/dates`` and, where there are opens, ``/<TICKER>/open``.
        config: which features; the usual ones by default.
        drop_bad: leave out and count bars with a price of zero or below, a hole or a negative volume.
        progress: told (done, total) tickers.

    Raises:
        MissingFileError: no such file.
        FormatError: a table that cannot be understood, or that holds bad bars.
        InputError: paths that are the same, or no ticker with sessions enough for one row of features.
        WorkError: the place cannot be written, or the disk refused.
    """
    from encash.panel.tables import read_bars  # noqa: PLC0415  pyarrow takes a while to import
    from encash.panel.write import write_features, write_prices  # noqa: PLC0415  so does h5py

    config = config or FeatureConfig()
    _check_paths(prices_file, features_out, prices_out)
    table = read_bars(prices_file, drop_bad=drop_bad)
    enough = {ticker: bars for ticker, bars in table.bars.items() if len(bars.days) > config.longest}
    if not enough:
        raise InputError(
            f"no ticker of {prices_file} has more than {config.longest} sessions, which the longest feature looks back "
            "over; give a longer history"
        )
    names = feature_names(next(iter(enough.values())), config)
    source = Path(prices_file).name
    with whole_file(features_out) as features_path, whole_file(prices_out) as prices_path:
        write_prices(prices_path, table.bars.items(), source_file=source)
        rows = _counted(panel_features(enough, config), len(enough), progress)
        with writing(features_out):  # the block around it would blame the other file
            write_features(features_path, rows, names, source_file=source)
    sessions = distinct_days([bars.days for bars in table.bars.values()])
    num_bars = sum(len(bars.days) for bars in table.bars.values())
    num_rows = sum(len(bars.days) - config.longest for bars in enough.values())
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
        features=len(names),
        feature_names=names,
        rows=num_rows,
        rows_dropped_warmup=num_bars - num_rows,
        tickers_too_short=tuple(ticker for ticker in table.bars if ticker not in enough),
        features_out=str(features_out),
        prices_out=str(prices_out),
    )


def _check_paths(*paths: str | Path) -> None:
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise InputError("the table, the features and the prices are three files; give each its own path")


def _counted(
    rows: Iterator[tuple[str, Days, Float32]], total: int, progress: Progress | None
) -> Iterator[tuple[str, Days, Float32]]:
    """The same rows; each ticker that has been taken is reported."""
    for done, row in enumerate(rows, start=1):
        yield row
        if progress is not None:
            progress(done, total)
