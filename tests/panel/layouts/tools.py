"""Files of tools: pandas, polars, R, Lean, qlib, Zipline, backtesting.py, vectorbt, spreadsheets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import dataset, feather, parquet

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import (
    FULL,
    LONG,
    OHLCV,
    RAW,
    ROW,
    SPLIT,
    by_ticker,
    folder_of_tickers,
    frame,
    long_frame,
    table,
    wide,
)

GIVEN = Taken()
CLOSES = Taken(bars=False, volume=None)
LOW = ("LOW",)
AS_LOW = ReadOptions(ticker="LOW")
NAMED = ("BRK.B", "LOW", "NA")
"""Without a ticker that is a number: a wide table of numbers is a different question."""


def hive(key: str, extra: dict[str, str] | None = None, file_format: str = "parquet"):
    """A partitioned folder: the ticker is in the name of the folder and in no column."""

    def writer(folder: Path, truth: Truth) -> Path:
        values = long_frame(truth).rename(columns={"ticker": key})
        for name, column in (extra or {}).items():
            values[name] = getattr(values["date"].dt, column)
        keys = [*(extra or {}), key]
        partitioning = dataset.partitioning(pa.schema([(k, pa.string()) for k in keys]), flavor="hive")
        table_ = pa.Table.from_pandas(values.astype(dict.fromkeys(keys, str)), preserve_index=False)
        dataset.write_dataset(table_, folder / "lake", format=file_format, partitioning=partitioning)
        return folder / "lake"

    return writer


def arrow(change, *, file: str = "prices.parquet", write=parquet.write_table):
    """A file that Arrow writes from a changed table."""

    def save(values: pd.DataFrame, path: Path) -> None:
        write(change(pa.Table.from_pandas(values, preserve_index=False)), path)

    return frame(save, file=file)


def cast(**types: pa.DataType):
    def change(values: pa.Table) -> pa.Table:
        fields = [pa.field(field.name, types.get(field.name, field.type)) for field in values.schema]
        return values.cast(pa.schema(fields))

    return change


def texts(values: pa.Table) -> pa.Table:
    return cast(**dict.fromkeys(values.column_names, pa.string()))(cast(date=pa.date32())(values))


def ints(values: pa.Table) -> pa.Table:
    days = pa.array([int(f"{day:%Y%m%d}") for day in values["date"].to_pylist()])
    return values.set_column(0, "date", days)


def r_rows(folder: Path, truth: Truth) -> Path:
    """``write.csv`` of R: row names from 1, text in quotes, so that a ticker NA is not a missing value."""
    lines = ['"","symbol","date","open","high","low","close","volume","adjusted"']
    for n, row in enumerate(truth.rows, start=1):
        s = row.split
        lines.append(
            f'"{n}","{row.ticker}",{row.day},{s.open},{s.high},{s.low},{s.close},{s.volume:.0f},{row.full.close}'
        )
    path = folder / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def quantmod(folder: Path, truth: Truth) -> Path:
    """``write.zoo`` of quantmod objects merged: LOW.Open, LOW.High, …, LOW.Adjusted."""
    fields = ("Open", "High", "Low", "Close", "Volume")
    names = [f"{ticker}.{name}" for ticker in truth.tickers for name in (*fields, "Adjusted")]
    lines = [",".join(["Index", *names])]
    for day in truth.days:
        cells = [str(day)]
        for ticker in truth.tickers:
            row = truth.cells.get((ticker, day))
            cells += (
                [str(float(getattr(row.split, f.lower()))) for f in fields] + [str(float(row.full.close))]
                if row
                else ["NA"] * 6
            )
        lines.append(",".join(cells))
    path = folder / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def indexed(values: pd.DataFrame) -> pd.DataFrame:
    return values.set_index(["date", "ticker"])


def pivoted(values: pd.DataFrame) -> pd.DataFrame:
    return values.pivot(index="date", columns="ticker", values="close")


def one(values: pd.DataFrame) -> pd.DataFrame:
    return values.drop(columns="ticker").set_index("date").rename_axis(None)


TIDY = Taken(close="full", volume="split")

CASES = [
    Case(name="pandas long CSV with row numbers", write=frame(lambda f, p: f.to_csv(p), file="p.csv"), expect=GIVEN),
    Case(name="pandas long CSV, indexed", write=frame(lambda f, p: indexed(f).to_csv(p), file="p.csv"), expect=GIVEN),
    Case(name="pandas long Parquet", write=frame(lambda f, p: f.to_parquet(p)), expect=GIVEN),
    Case(name="pandas long Parquet, indexed", write=frame(lambda f, p: indexed(f).to_parquet(p)), expect=GIVEN),
    Case(
        name="pandas long Parquet, a filtered index",
        write=frame(lambda f, p: f[f.close > 0].sort_values("ticker").to_parquet(p)),
        expect=GIVEN,
    ),
    Case(
        name="pandas long Parquet, a nameless index of two levels",
        write=frame(lambda f, p: indexed(f).rename_axis([None, None]).to_parquet(p)),
        expect=(GIVEN, Refused("--columns", seen=("__index_level_0__",))),
    ),
    Case(
        name="pandas wide CSV, nameless index",
        write=frame(lambda f, p: pivoted(f).rename_axis(None).to_csv(p), file="p.csv"),
        expect=CLOSES,
        tickers=NAMED,
    ),
    Case(name="pandas wide Parquet", write=frame(lambda f, p: pivoted(f).to_parquet(p)), expect=CLOSES, tickers=NAMED),
    Case(
        name="pandas wide Parquet, nameless index",
        write=frame(lambda f, p: pivoted(f).rename_axis(None).to_parquet(p)),
        expect=CLOSES,
        tickers=NAMED,
    ),
    Case(
        name="pandas wide Parquet, the dates a column after row numbers",
        write=frame(lambda f, p: pivoted(f).reset_index().to_parquet(p)),
        expect=CLOSES,
        tickers=NAMED,
    ),
    Case(
        name="pandas wide Feather",
        write=frame(lambda f, p: pivoted(f).reset_index().to_feather(p), file="p.feather"),
        expect=CLOSES,
        tickers=NAMED,
    ),
    Case(
        name="pandas nameless index of one ticker",
        write=frame(lambda f, p: one(f).to_parquet(p), file="LOW.parquet"),
        expect=GIVEN,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="backtesting.py: nameless index",
        write=table(",Open,High,Low,Close,Volume", "{day}," + RAW, file="LOW.csv"),
        expect=GIVEN,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(name="vectorbt: wide with zone", write=wide(date="{} 00:00:00+00:00".format), expect=CLOSES, tickers=NAMED),
    Case(
        name="polars Parquet: dates, dictionary of tickers",
        write=arrow(cast(date=pa.date32(), ticker=pa.dictionary(pa.uint32(), pa.large_string()))),
        expect=GIVEN,
    ),
    Case(
        name="Arrow: decimals and large text",
        write=arrow(cast(close=pa.decimal128(12, 4), ticker=pa.large_string())),
        expect=GIVEN,
    ),
    Case(
        name="Arrow: single precision",
        write=arrow(cast(**dict.fromkeys(("open", "high", "low", "close"), pa.float32()))),
        expect=Taken(rtol=1e-6),
    ),
    Case(
        name="Arrow: everything text",
        write=arrow(texts),
        expect=(GIVEN, Refused("text|string|number", seen=("close",))),
    ),
    Case(name="Arrow: dates as numbers 20240117", write=arrow(ints), expect=GIVEN),
    Case(
        name="Arrow: instants of New York",
        write=arrow(
            lambda t: t.set_column(
                0,
                "date",
                t["date"]
                .cast(pa.timestamp("us"))
                .combine_chunks()
                .cast(pa.timestamp("us"))
                .cast(pa.timestamp("us", "UTC")),
            )
        ),
        expect=GIVEN,
    ),
    Case(
        name="Feather, compressed",
        write=arrow(lambda t: t, file="p.feather", write=feather.write_feather),
        expect=GIVEN,
    ),
    Case(name="hive folder by ticker", write=hive("ticker"), expect=GIVEN),
    Case(name="hive folder by symbol and year", write=hive("symbol", {"year": "year"}), expect=GIVEN),
    Case(name="hive folder of CSV", write=hive("ticker", file_format="csv"), expect=GIVEN),
    Case(
        name="folder of one Parquet per ticker",
        write=lambda folder, truth: (
            [one(long_frame(Truth(tuple(truth.of(t))))).to_parquet(folder / f"{t}.parquet") for t in truth.tickers]
            and folder
        ),
        expect=GIVEN,
    ),
    Case(
        name="folder of one CSV per ticker",
        write=folder_of_tickers("Date,Open,High,Low,Close,Volume", "{day}," + RAW),
        expect=GIVEN,
    ),
    Case(
        name="tidyquant written by readr",
        write=table(
            "symbol,date,open,high,low,close,volume,adjusted",
            "{ticker},{day}," + SPLIT + ",{full.close}",
            order=by_ticker,
        ),
        expect=TIDY,
    ),
    Case(name="tidyquant written by R", write=r_rows, expect=TIDY),
    Case(name="quantmod merged", write=quantmod, expect=(TIDY, Refused("--columns|long", seen=("BRK.B.Adjusted",)))),
    Case(
        name="Zipline csvdir with dividend and split",
        write=folder_of_tickers("date," + OHLCV + ",dividend,split", "{day}," + RAW + ",{dividend},{ratio}"),
        expect=(Taken(close=("split", "full"), volume="split"), Refused("--columns|split")),
    ),
    Case(
        name="qlib dump with factor",
        write=table(
            "date,symbol," + OHLCV + ",factor",
            "{day},{ticker},{full.open},{full.high},{full.low},{full.close},{full.volume},{full_factor}",
        ),
        expect=Taken(close="full", volume="full"),
    ),
    Case(
        name="QuantConnect Lean: prices times 10,000, no header",
        write=table(
            None,
            "{day:%Y%m%d} 00:00,{raw.open:lean},{raw.high:lean},{raw.low:lean},{raw.close:lean},{raw.volume:.0f}",
            file="low.csv.zip",
        ),
        expect=(Taken(), Refused("header|10,?000")),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="a spreadsheet as Unicode text",
        write=table(LONG.replace(",", "\t"), ROW.replace(",", "\t"), file="Book1.txt", encoding="utf-16", eol="\r\n"),
        expect=GIVEN,
    ),
    Case(
        name="a spreadsheet as CSV UTF-8 with semicolons",
        write=table(LONG.replace(",", ";"), ROW.replace(",", ";"), encoding="utf-8-sig", eol="\r\n"),
        expect=GIVEN,
    ),
    Case(
        name="a European spreadsheet",
        write=table(
            LONG.replace(",", ";"),
            ROW.replace(",", ";").replace(":.2f", ":de2").replace("{day}", "{day:%d.%m.%Y}"),
            eol="\r\n",
        ),
        expect=(GIVEN, Refused("--decimal|--date-format")),
    ),
    Case(
        name="a European spreadsheet, as stated",
        write=table(
            LONG.replace(",", ";"),
            ROW.replace(",", ";").replace(":.2f", ":de2").replace("{day}", "{day:%d.%m.%Y}"),
            eol="\r\n",
        ),
        expect=GIVEN,
        options=ReadOptions(sep=";", decimal=",", date_format="%d.%m.%Y"),
    ),
    Case(
        name="fully adjusted prices, quoted",
        write=table('"' + LONG.replace(",", '","') + '"', '"' + ("{day},{ticker}," + FULL).replace(",", '","') + '"'),
        expect=TIDY,
    ),
]
