"""Dates that could be read in two ways: formats, integers, instants, two columns, bars that are not daily."""

from __future__ import annotations

from typing import Any

import pandas as pd

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import LONG, RAW, fill, frame, table, wide, write

GIVEN = Taken()
REST = ",{ticker}," + RAW
CLOSES = Taken(bars=False, volume=None)
SMALL: dict[str, Any] = {"first": "2024-02-01", "last": "2024-02-12"}
"""No day above 12: day and month cannot be told apart."""
DATE_FORMAT = Refused("--date-format")


def dated(date: str, **options):
    return table(LONG, date + REST, **options)


def half_swapped(folder, truth: Truth):
    """Days up to 12 were turned into dates with day and month exchanged, the others stayed as text (DD/MM/YYYY)."""
    lines = [LONG]
    for row in truth.rows:
        date = f"{row.day:%Y-%d-%m}" if row.day.day <= 12 else f"{row.day:%d/%m/%Y}"
        lines.append(date + fill(REST, row))
    return write(folder / "prices.csv", "\n".join(lines))


def mixed(folder, truth: Truth):
    """Two sources pasted together: MM/DD/YYYY for one ticker, DD/MM/YYYY for the others."""
    lines = [LONG]
    for row in truth.rows:
        form = "%m/%d/%Y" if row.ticker == "LOW" else "%d/%m/%Y"
        lines.append(format(row.day, form) + fill(REST, row))
    return write(folder / "prices.csv", "\n".join(lines))


def intraday(folder, truth: Truth):
    lines = [LONG]
    for row in truth.rows:
        lines += [f"{row.day} {hour}:30:00" + fill(REST, row) for hour in ("09", "10", "11")]
    return write(folder / "prices.csv", "\n".join(lines))


def in_utc(zone: str):
    def save(values: pd.DataFrame, path) -> None:
        values["date"] = values["date"].dt.tz_localize(zone).dt.tz_convert("UTC")
        values.to_parquet(path)

    return frame(save)


TOKYO = ReadOptions(timezone="Asia/Tokyo")
EPOCHS = {"seconds": "{seconds}", "ms": "{seconds}000", "µs": "{seconds}000000", "ns": "{seconds}000000000"}

CASES = [
    Case(name="dates YYYYMMDD", write=dated("{day:%Y%m%d}"), expect=GIVEN),
    Case(name="dates YYYY/MM/DD", write=dated("{day:%Y/%m/%d}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates YYYY.MM.DD", write=dated("{day:%Y.%m.%d}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates with a time and Z", write=dated("{day}T00:00:00Z"), expect=GIVEN),
    Case(name="dates YYYY-M-D", write=dated("{day.year}-{day.month}-{day.day}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates DD-Mon-YYYY", write=dated("{day:%d-%b-%Y}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates in words", write=dated('"{day:%A, %B %d, %Y}"'), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates MM/DD/YYYY", write=dated("{day:%m/%d/%Y}"), expect=GIVEN),
    Case(name="dates M/D/YYYY", write=dated("{day.month}/{day.day}/{day.year}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates DD/MM/YYYY", write=dated("{day:%d/%m/%Y}"), expect=GIVEN),
    Case(name="dates DD.MM.YYYY", write=dated("{day:%d.%m.%Y}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates DD.MM.YYYY, no day above 12", write=dated("{day:%d.%m.%Y}"), expect=(GIVEN, DATE_FORMAT), **SMALL),
    Case(
        name="dates DD/MM/YYYY, no day above 12",
        write=dated("{day:%d/%m/%Y}"),
        expect=(GIVEN, Refused("--date-format", seen=("01/02/2024",))),
        **SMALL,
    ),
    Case(
        name="dates MM/DD/YYYY, no day above 12",
        write=dated("{day:%m/%d/%Y}"),
        expect=(GIVEN, Refused("--date-format", seen=("02/01/2024",))),
        **SMALL,
    ),
    Case(
        name="dates DD/MM/YYYY, no day above 12, as stated",
        write=dated("{day:%d/%m/%Y}"),
        expect=GIVEN,
        options=ReadOptions(date_format="%d/%m/%Y"),
        **SMALL,
    ),
    Case(
        name="dates DD/MM/YYYY stated as MM/DD/YYYY",
        write=dated("{day:%d/%m/%Y}"),
        expect=Refused("date"),
        options=ReadOptions(date_format="%m/%d/%Y"),
    ),
    Case(name="dates DD/MM/YY", write=dated("{day:%d/%m/%y}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates YY/MM/DD", write=dated("{day:%y/%m/%d}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates YY/MM/DD, no day above 12", write=dated("{day:%y/%m/%d}"), expect=(GIVEN, DATE_FORMAT), **SMALL),
    Case(name="dates YYYY-DD-MM", write=dated("{day:%Y-%d-%m}"), expect=(GIVEN, Refused("--date-format"))),
    Case(name="dates DDMMYYYY", write=dated("{day:%d%m%Y}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates YYMMDD", write=dated("{day:%y%m%d}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates YYYYDDD (day of the year)", write=dated("{day:%Y%j}"), expect=(GIVEN, DATE_FORMAT)),
    Case(name="dates as floats 20240117.0", write=dated("{day:%Y%m%d}.0"), expect=(GIVEN, DATE_FORMAT)),
    Case(
        name="dates as Excel serials",
        write=dated("{excel}"),
        expect=(GIVEN, Refused("--date-format|date", seen=("45308",))),
    ),
    Case(
        name="dates as days since 1970",
        write=dated("{day_number}"),
        expect=(GIVEN, Refused("--date-format|date", seen=("19739",))),
    ),
    *(
        Case(name=f"dates as {unit} since 1970", write=dated(cell), expect=(GIVEN, Refused("--date-format|date")))
        for unit, cell in EPOCHS.items()
    ),
    Case(
        name="dates as seconds with a fraction",
        write=dated("{seconds}.0"),
        expect=(GIVEN, Refused("--date-format|date")),
    ),
    Case(name="dates of two orders pasted together", write=mixed, expect=Refused("date")),
    Case(name="dates that a spreadsheet half converted", write=half_swapped, expect=Refused("date")),
    Case(
        name="wide, dates DD/MM/YYYY, no day above 12",
        write=wide(date="{:%d/%m/%Y}".format),
        expect=(CLOSES, DATE_FORMAT),
        tickers=("BRK.B", "LOW"),
        **SMALL,
    ),
    Case(name="Tokyo: midnights with +09:00", write=dated("{day} 00:00:00+09:00"), expect=GIVEN),
    Case(
        name="Tokyo: midnights in UTC",
        write=dated("{tokyo:%Y-%m-%d %H:%M:%S}+00:00"),
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(
        name="Tokyo: midnights in UTC, as stated",
        write=dated("{tokyo:%Y-%m-%d %H:%M:%S}+00:00"),
        expect=GIVEN,
        options=TOKYO,
    ),
    Case(
        name="Tokyo: midnights in UTC without a zone",
        write=dated("{tokyo:%Y-%m-%d %H:%M:%S}"),
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(
        name="Tokyo: midnights in UTC, Tuesday to Friday",
        write=dated("{tokyo:%Y-%m-%d %H:%M:%S}+00:00"),
        first="2024-01-23",
        last="2024-01-26",
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(name="Tokyo: midnights in UTC, Parquet", write=in_utc("Asia/Tokyo"), expect=(GIVEN, Refused("--timezone"))),
    Case(name="Tokyo: midnights in UTC, Parquet, as stated", write=in_utc("Asia/Tokyo"), expect=GIVEN, options=TOKYO),
    Case(
        name="Tokyo: midnights as seconds",
        write=dated("{tokyo_seconds}"),
        expect=(GIVEN, Refused("--timezone|--date-format")),
    ),
    Case(
        name="Tokyo: midnights as milliseconds, as stated",
        write=dated("{tokyo_seconds}000"),
        expect=(GIVEN, Refused("--date-format")),
        options=TOKYO,
    ),
    Case(
        name="Paris: midnights in UTC", write=dated("{paris:%Y-%m-%dT%H:%M:%SZ}"), expect=(GIVEN, Refused("--timezone"))
    ),
    Case(
        name="New York: midnights in UTC, Parquet",
        write=in_utc("America/New_York"),
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(
        name="New York: closes at 16:00 without a zone",
        write=dated("{day} 16:00:00"),
        expect=(GIVEN, Refused("--timezone|--date-format")),
    ),
    Case(
        name="a date and a time in two columns",
        write=table("date,time,ticker,open,high,low,close,volume", "{day},16:00:00" + REST),
        expect=(GIVEN, Refused("--columns")),
    ),
    Case(
        name="a date and the day of the download",
        write=table("timestamp," + LONG, "2024-03-01 07:12:09,{day}" + REST),
        expect=(GIVEN, Refused("--columns", seen=("timestamp", "date"))),
    ),
    Case(
        name="a trade date and a settlement date",
        write=table("settlement date,trade date,ticker,open,high,low,close,volume", "{settled},{day}" + REST),
        expect=(GIVEN, Refused("--columns", seen=("settlement date", "trade date"))),
    ),
    Case(
        name="a date that is the quarter's end",
        write=table("datadate,day,ticker,open,high,low,close,volume", "2023-12-31,{day}" + REST),
        expect=(GIVEN, Refused("--columns")),
    ),
    Case(
        name="two dates, one stated",
        write=table("timestamp," + LONG, "2024-03-01 07:12:09,{day}" + REST),
        expect=GIVEN,
        options=ReadOptions(columns={"date": "date"}),
    ),
    Case(name="intraday bars", write=intraday, expect=Refused("day|daily|intraday")),
    Case(
        name="weekly bars",
        write=dated("{day}"),
        every=5,
        expect=(Taken(note="week|session"), Refused("week|daily|session")),
    ),
    Case(
        name="monthly bars",
        write=dated("{day}"),
        every=20,
        expect=(Taken(note="month|week|session"), Refused("month|daily|session|week")),
    ),
]
