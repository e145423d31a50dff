"""Reading of a price table: files → rows → trading days → one long table → bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encash.arrays import Days, Float64, Int64, Text
from encash.errors import FormatError
from encash.panel.adjustment import Basis
from encash.panel.tables.bars import Description, LongTable, PriceBars, to_bars
from encash.panel.tables.dates import DateRules, read_days
from encash.panel.tables.layouts import Layout
from encash.panel.tables.options import NOTHING_STATED, ReadOptions
from encash.panel.tables.rows import Rows, read_rows
from encash.panel.tables.sources import opened

_SHOWN_COLUMNS = ("close", "open", "high", "low", "volume")


def read_bars(
    source: str | Path | Sequence[str | Path], options: ReadOptions = NOTHING_STATED, *, drop_bad: bool = False
) -> PriceBars:
    """Read the bars of a price table.

    A long table has columns date, ticker, close and optionally open, high, low, volume (in any order and case, with
    common synonyms or the names of a vendor). An adjusted close is used as the close, and open, high and low are
    adjusted by the same factor. In a wide table, every column except the date holds the closes of the ticker that it
    names, or a field and a ticker. A table of one stock takes its ticker from the name of its file if it is one of
    several, or from `options`. An empty or NaN close is a day without a trade. The order of the rows does not matter.

    Args:
        source: a file, several, or a folder of them (one file per ticker, or hive-partitioned), plain or compressed;
            with a suffix of `FORMATS`, or of an entry point ``encash.formats``.
        options: the user's options for the table.
        drop_bad: drop and count bars that are otherwise refused.

    Raises:
        MissingFileError: no such file.
        FormatError: unknown or ambiguous names of columns, dates, numbers or files; a duplicate (date,
            ticker); and, unless `drop_bad`, a missing, zero or negative price or a negative volume.
    """
    options.check()
    with opened(source) as sources:
        files = [read_rows(file, options) for file in sources]
    _check_alike(files)
    first = files[0]
    vendor = first.meaning.vendor
    days, has_times, notes = _days(files, options, vendor)
    names, ticker = _joined_tickers(files)
    values = _joined_values(files)
    notes = tuple(dict.fromkeys(note for part in (*(file.notes for file in files), notes) for note in part))
    shown = first.source.shown if len(files) == 1 else f"{first.source.shown} … ({len(files)} files)"
    long = LongTable(
        shown=shown,
        days=days,
        ticker=ticker,
        names=names,
        values=values,
        prices=Basis.UNKNOWN if vendor is None else vendor.prices,
        volumes=Basis.UNKNOWN if vendor is None else vendor.volumes,
        has_times=has_times,
    )
    notes = (*notes, *(_by_vendor(long, vendor) if vendor is not None else ()))
    description = Description(
        layout=first.meaning.layout,
        columns=_columns(first),
        vendor=None if vendor is None else vendor.name,
        notes=notes,
    )
    return to_bars(long, description, drop_bad=drop_bad)


def _check_alike(files: list[Rows]) -> None:
    """Refuse files of different layouts or with different columns."""
    first = files[0]
    for file in files[1:]:
        if file.meaning.layout != first.meaning.layout or file.meaning.vendor != first.meaning.vendor:
            raise FormatError(
                f"{file.source.shown} ({', '.join(file.meaning.header[:8])}) has a different layout than "
                f"{first.source.shown} ({', '.join(first.meaning.header[:8])}); prepare them one by one"
            )
        if odd := sorted(file.values.keys() ^ first.values.keys()):
            raise FormatError(
                f"only one of {file.source.shown} and {first.source.shown} has a column {odd[0]}; add or remove it"
            )


def _days(files: list[Rows], options: ReadOptions, vendor: Layout | None) -> tuple[Days, bool, tuple[str, ...]]:
    """Return the trading day of each row, whether some dates had a time of day, and notes."""
    first = files[0]
    rules = DateRules(
        shown=first.source.shown,
        column=first.meaning.date,
        date_format=options.date_format,
        timezone=options.timezone or (None if vendor is None else vendor.timezone),
        vendor_format=None if vendor is None else vendor.date_format,
        mixed_epochs=vendor is not None and vendor.mixed_epochs,
    )
    found, midnight, notes = read_days([file.dates for file in files], rules)
    days = [own[file.date] for own, file in zip(found, files, strict=True)]
    return np.concatenate(days), not all(own.all() for own in midnight), notes


def _joined_tickers(files: list[Rows]) -> tuple[Text, Int64]:
    """Return the distinct tickers of all files, and the position of the ticker of each row."""
    every = np.array([name for file in files for name in file.tickers], dtype=np.str_)
    names, place = np.unique(every, return_inverse=True)
    starts = np.cumsum([0, *(len(file.tickers) for file in files)])
    parts = [place[start + file.ticker] for start, file in zip(starts[:-1], files, strict=True)]
    return names, np.concatenate(parts).astype(np.int64, copy=False)


def _joined_values(files: list[Rows]) -> dict[str, Float64]:
    """Return the values of all files by role."""
    if len(files) == 1:
        return files[0].values
    return {role: np.concatenate([file.values.pop(role) for file in files]) for role in list(files[0].values)}


def _columns(file: Rows) -> dict[str, str]:
    """Return the column of each price that the bars are made of."""
    columns = file.meaning.columns
    if file.meaning.layout == "wide":
        return {"close": "one column per ticker"}
    shown = {role: columns[role] for role in _SHOWN_COLUMNS if role in columns}
    adjusted = {role: columns[f"adj_{role}"] for role in _SHOWN_COLUMNS if f"adj_{role}" in columns}
    return shown | adjusted


def _by_vendor(long: LongTable, vendor: Layout) -> tuple[str, ...]:
    """Convert the units of a vendor; return a note on each conversion."""
    notes = []
    for role, unit in vendor.units.items():
        if role in long.values:
            long.values[role] = long.values[role] * unit
            notes.append(f"{vendor.name} gives the {role} in units of {unit:g}")
    for role in vendor.reciprocal:
        if role in long.values:
            with np.errstate(divide="ignore", invalid="ignore"):
                long.values[role] = np.where(long.values[role] > 0, 1 / long.values[role], np.nan)
    if vendor.quotes:
        notes += _quotes(long, vendor)
    return tuple(notes)


def _quotes(long: LongTable, vendor: Layout) -> list[str]:
    """Take negative prices as averages of bid and ask, and zeros as missing, in place."""
    values, notes = long.values, []
    quoted = values["close"] < 0
    for role in ("close", "open", "high", "low"):
        if role in values:
            price = np.abs(values[role])
            values[role] = np.where(price == 0, np.nan, price)
    if quoted.any():
        notes.append(
            f"{int(quoted.sum())} negative prices of {vendor.name} are averages of bid and ask: used without sign"
        )
    if "open" in values:
        values["open"] = np.where(quoted & np.isnan(values["open"]), values["close"], values["open"])
        if (np.isnan(values["open"]) & ~np.isnan(values["close"])).any():
            del values["open"]
            notes.append(f"{vendor.name} has no open on some days: opens are left out")
    return notes
