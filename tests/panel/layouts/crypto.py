"""Coins: milliseconds and microseconds, files without a header, volumes in money, a link above the header."""

from __future__ import annotations

from pathlib import Path

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import RAW, newest_first, table

BTC = ReadOptions(ticker="BTCUSDT")
NAMES = {"LOW": "BTCUSDT"}
GIVEN = Taken()
LOW = ("LOW",)
KLINES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
PRICES = "{raw.open:.8f},{raw.high:.8f},{raw.low:.8f},{raw.close:.8f},{raw.volume:.5f}"


def klines(unit: str, end: str, header: str | None = None, file: str = "BTCUSDT-1d-2024-01.csv"):
    row = "{seconds}" + unit + "," + PRICES + ",{last_second}" + end + ",{amount},4711,{lots},{lots},0"
    return table(header, row, file=file)


MS, US = ("000", "999"), ("000000", "999999")


def two_months(folder: Path, truth: Truth) -> list[Path]:
    """Milliseconds until December 2024, microseconds since: here the months of the truth."""
    january = Truth(tuple(row for row in truth.rows if row.day.month == 1))
    february = Truth(tuple(row for row in truth.rows if row.day.month == 2))
    return [
        klines(*MS, file="BTCUSDT-1d-a.csv")(folder, january),
        klines(*US, file="BTCUSDT-1d-b.csv")(folder, february),
    ]


DOWNLOAD = "https://www.CryptoDataDownload.com\n"

CASES = [
    Case(name="Binance klines, no header, ms", write=klines(*MS), expect=GIVEN, options=BTC, tickers=LOW, names=NAMES),
    Case(name="Binance klines, no header, µs", write=klines(*US), expect=GIVEN, options=BTC, tickers=LOW, names=NAMES),
    Case(
        name="Binance klines with header, ms",
        write=klines(*MS, KLINES),
        expect=GIVEN,
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="Binance klines with header, µs, named by the file",
        write=klines(*US, KLINES, "BTCUSDT.csv"),
        expect=GIVEN,
        tickers=LOW,
        names=NAMES,
        options=BTC,
    ),
    Case(
        name="Binance klines in a zip",
        write=klines(*MS, file="BTCUSDT-1d-2024-01.csv.zip"),
        expect=GIVEN,
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="Binance klines, ms in one file and µs in the next",
        write=two_months,
        expect=GIVEN,
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="CryptoDataDownload with a link above the header",
        write=table(
            "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
            "{seconds}000,{day} 00:00:00,{ticker}," + PRICES + ",{amount}",
            order=newest_first,
            head=DOWNLOAD,
        ),
        expect=(Taken(volume=("raw", None)), Refused("--columns", seen=("unix", "date"))),
        tickers=LOW,
        names={"LOW": "BTC/USD"},
    ),
    Case(
        name="CoinGecko: the volume is money",
        write=table(
            "snapped_at,price,market_cap,total_volume",
            "{day} 00:00:00 UTC,{raw.close},1500517590,{amount}",
            file="btc-usd-max.csv",
        ),
        expect=(
            Taken(bars=False, volume=None),
            Refused("--columns", seen=("snapped_at", "total_volume")),
        ),
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="CoinMarketCap with five times",
        write=table(
            "timeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;timestamp",
            '"{day}T00:00:00.000Z";"{day}T23:59:59.999Z";"{day}T09:03:00.000Z";"{day}T21:40:00.000Z";"2781";{raw.open};{raw.high};{raw.low};{raw.close};{amount};1500517590;"{day}T23:59:59.999Z"',
            order=newest_first,
        ),
        expect=(Taken(volume=None), Refused("--columns|--ticker", seen=("name",))),
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="Coinbase candles without header: low before high, open before close",
        write=table(None, "{seconds},{raw.low},{raw.high},{raw.open},{raw.close},{raw.volume}", order=newest_first),
        expect=(GIVEN, Refused("header")),
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="Coinbase candles with header",
        write=table(
            "time,low,high,open,close,volume",
            "{seconds},{raw.low},{raw.high},{raw.open},{raw.close},{raw.volume}",
        ),
        expect=(GIVEN, Refused("--date-format|--columns")),
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="Kraken without header: the volume is the seventh of eight",
        write=table(None, "{seconds},{raw.open},{raw.high},{raw.low},{raw.close},{raw.high},{raw.volume},211"),
        expect=(GIVEN, Refused("header")),
        options=BTC,
        tickers=LOW,
        names=NAMES,
    ),
    Case(
        name="OKX in a long file",
        write=table(
            "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
            "{ticker}," + RAW + ",{amount},{amount},{seconds}000,1",
        ),
        expect=(Taken(), Refused("--columns", seen=("open_time", "vol_ccy"))),
    ),
]
