"""Writers of files: a header and a template per row, in the shapes in which vendors and tools deliver them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from tests.panel.layouts.case import FileWriter, Writer
from tests.panel.layouts.truth import Row, Truth

RAW = "{raw.open:.2f},{raw.high:.2f},{raw.low:.2f},{raw.close:.2f},{raw.volume:.0f}"
SPLIT = "{split.open:.2f},{split.high:.2f},{split.low:.2f},{split.close:.2f},{split.volume:.0f}"
FULL = "{full.open},{full.high},{full.low},{full.close},{split.volume:.0f}"
"""Open, high, low, close and volume; the volume of fully adjusted prices is adjusted for splits."""
LONG = "date,ticker,open,high,low,close,volume"
ROW = "{day},{ticker}," + RAW
OHLCV = "open,high,low,close,volume"


def fill(template: str, row: Row) -> str:
    return template.format(**{name: getattr(row, name) for name in _NAMES if f"{{{name}" in template})


_NAMES = (
    *Row.__dataclass_fields__,
    *(name for name, value in vars(Row).items() if isinstance(value, property)),
)


PACKED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def by_day(truth: Truth) -> list[Row]:
    return list(truth.rows)


def by_ticker(truth: Truth) -> list[Row]:
    return [row for ticker in truth.tickers for row in truth.of(ticker)]


def newest_first(truth: Truth) -> list[Row]:
    return list(truth.rows)[::-1]


def write(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    """Write text, compressed as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode(encoding)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, content)
        return path
    path.write_bytes(PACKED.get(path.suffix, bytes)(content))
    return path


def table(
    header: str | None,
    template: str,
    *,
    file: str = "prices.csv",
    order: Callable[[Truth], Iterable[Row]] = by_day,
    head: str = "",
    foot: str = "",
    encoding: str = "utf-8",
    eol: str = "\n",
) -> FileWriter:
    """One file: lines above the header, the header, one line per row, lines below."""

    def writer(folder: Path, truth: Truth) -> Path:
        lines = [*head.splitlines(), *([] if header is None else [header])]
        lines += [fill(template, row) for row in order(truth)]
        return write(folder / file, eol.join([*lines, *foot.splitlines()]) + eol, encoding=encoding)

    return writer


def folder_of_tickers(
    header: str | None, template: str, *, file: str = "{ticker}.csv", order: Callable[[Truth], Iterable[Row]] = by_day
) -> FileWriter:
    """One file per ticker, named by it."""

    def writer(folder: Path, truth: Truth) -> Path:
        for ticker in truth.tickers:
            one = Truth(tuple(truth.of(ticker)))
            table(header, template, file=f"data/{file.format(ticker=ticker)}", order=order)(folder, one)
        return folder / "data"

    return writer


def daily_files(header: str | None, template: str, *, file: str = "{day}.csv") -> Writer:
    """One file per day, given as a list."""

    def writer(folder: Path, truth: Truth) -> Sequence[Path]:
        return [
            table(header, template, file=file.format(day=day))(folder, Truth(tuple(r for r in truth.rows if r.day == day)))
            for day in truth.days
        ]  # fmt: skip

    return writer


def wide(
    cell: str = "{raw.close:.2f}",
    *,
    corner: str = "Date",
    date: Callable[[date], str] = str,
    column: str = "{ticker}",
    sep: str = ",",
    file: str = "prices.csv",
    absent: str = "",
    lines: Callable[[list[str]], list[str]] = list,
) -> FileWriter:
    """One row per day, one column per ticker; `lines` changes the lines before they are written."""

    def writer(folder: Path, truth: Truth) -> Path:
        rows = [sep.join([corner, *(column.format(ticker=ticker) for ticker in truth.tickers)])]
        for day in truth.days:
            found = [truth.cells.get((ticker, day)) for ticker in truth.tickers]
            rows.append(sep.join([date(day), *(fill(cell, row) if row else absent for row in found)]))
        return write(folder / file, "\n".join(lines(rows)) + "\n")

    return writer


def long_frame(truth: Truth, basis: str = "raw") -> pd.DataFrame:
    """Return the rows as a frame with columns date, ticker, open, high, low, close, volume."""
    values = [
        [pd.Timestamp(row.day), row.ticker, *(float(getattr(getattr(row, basis), name)) for name in OHLCV.split(","))]
        for row in truth.rows
    ]
    return pd.DataFrame(values, columns=["date", "ticker", *OHLCV.split(",")])


def frame(
    save: Callable[[pd.DataFrame, Path], object], *, file: str = "prices.parquet", basis: str = "raw"
) -> FileWriter:
    """A file that pandas or Arrow writes from the frame of `long_frame`."""

    def writer(folder: Path, truth: Truth) -> Path:
        save(long_frame(truth, basis), folder / file)
        return folder / file

    return writer
