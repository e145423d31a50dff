"""Yahoo Finance: yfinance `download` and `Ticker.history`, as pandas writes them, and the web site.

Prices are adjusted for splits; with ``auto_adjust`` (the default since 0.2.51) for dividends too. The volume is adjusted
for splits, so that no column is raw.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import FULL, SPLIT, newest_first, table, wide

YAHOO = {"BRK.B": "BRK-B", "000001": "000001.SZ"}
ADJUSTED = Taken(close="full", volume="split")
PLAIN = ("Close", "High", "Low", "Open", "Volume")
LOW = ("LOW",)
AS_LOW = ReadOptions(ticker="LOW")


def download(truth: Truth, *, adjusted: bool = True) -> pd.DataFrame:
    """Return what ``yfinance.download`` does: columns of (price, ticker), sorted."""
    cells = {}
    for row in truth.rows:
        prices = row.full if adjusted else row.split
        for price in PLAIN:
            value = row.split.volume if price == "Volume" else getattr(prices, price.lower())
            cells[price, row.ticker, row.day] = float(value)
        if not adjusted:
            cells["Adj Close", row.ticker, row.day] = float(row.full.close)
    frame = pd.Series(cells).unstack([0, 1]).sort_index(axis=1)
    frame.index = pd.DatetimeIndex(frame.index, name="Date")
    frame.columns.names = ["Price", "Ticker"]
    return frame


def saved(change=lambda frame: frame, *, adjusted: bool = True, file: str = "prices.csv", **options):
    def writer(folder: Path, truth: Truth) -> Path:
        result = change(download(truth, adjusted=adjusted))
        path = folder / file
        result.to_parquet(path, **options) if path.suffix == ".parquet" else result.to_csv(path, **options)
        return path

    return writer


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.swaplevel(axis=1).sort_index(axis=1)


def flat(pattern: str):
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.columns = [pattern.format(price=price, ticker=ticker) for price, ticker in frame.columns]
        return frame

    return change


def nameless(frame: pd.DataFrame) -> pd.DataFrame:
    frame.columns.names = [None, None]
    return frame.rename_axis(index=None)


def stacked(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.stack(level="Ticker", future_stack=True).dropna(how="all")


def read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame after a round trip that took the first row for the header."""
    return pd.read_csv(StringIO(frame.to_csv())).set_index("Price")


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a ticker that Yahoo does not have: its columns are empty."""
    for price in PLAIN:
        frame[price, "DELISTED"] = float("nan")
    return frame.sort_index(axis=1)


def joined(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its index and its names joined by ``_``, so that the date is ``Date_``."""
    frame = frame.reset_index()
    frame.columns = ["_".join(names) for names in frame.columns]
    return frame


def by_key(frame: pd.DataFrame, *, axis: int) -> pd.DataFrame:
    """Return one frame per ticker, concatenated with the tickers as keys."""
    parts = {ticker: frame.xs(ticker, axis=1, level="Ticker") for ticker in frame.columns.levels[1]}
    return pd.concat(parts, axis=axis, names=["Ticker"]).dropna(how="all")


HISTORY = "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits"
WEB = "{day:%b %d, %Y}\t{split.open:.2f}\t{split.high:.2f}\t{split.low:.2f}\t{split.close:.2f}\t{full.close}\t{split.volume:,.0f}"


def web_page(*, events: bool):
    """The table of the web page, copied: a dividend and a split are rows of their own."""

    def writer(folder: Path, truth: Truth) -> Path:
        header = "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume"
        path = table(header, WEB, order=newest_first, file="LOW.tsv")(folder, truth)
        if events:
            split, dividend = "Feb 07, 2024\t4:1 Stock Splits\n", "Jan 24, 2024\t0.28 Dividend\n"
            text = (
                path.read_text()
                .replace("Feb 06, 2024", split + "Feb 06, 2024")
                .replace("Jan 23, 2024", dividend + "Jan 23, 2024")
            )
            path.write_text(text)
        return path

    return writer


CASES = [
    Case(name="yfinance download", write=saved(), expect=ADJUSTED, names=YAHOO),
    Case(name="yfinance download, a ticker NA and one 000001", write=saved(), expect=ADJUSTED),
    Case(name="yfinance download, group_by ticker", write=saved(swapped), expect=ADJUSTED, names=YAHOO),
    Case(name="yfinance download, auto_adjust off", write=saved(adjusted=False), expect=ADJUSTED, names=YAHOO),
    Case(name="yfinance download, levels without names", write=saved(nameless, adjusted=False), expect=ADJUSTED),
    Case(
        name="yfinance download, swapped, without names", write=saved(lambda f: swapped(nameless(f))), expect=ADJUSTED
    ),
    Case(name="yfinance download of one ticker", write=saved(), expect=ADJUSTED, tickers=LOW),
    Case(name="yfinance flattened Close_AAPL", write=saved(flat("{price}_{ticker}")), expect=ADJUSTED),
    Case(name="yfinance flattened AAPL_Close", write=saved(flat("{ticker}_{price}")), expect=ADJUSTED),
    Case(name="yfinance flattened 'Close AAPL'", write=saved(flat("{price} {ticker}")), expect=ADJUSTED, names=YAHOO),
    Case(
        name="yfinance flattened, auto_adjust off",
        write=saved(flat("{price}_{ticker}"), adjusted=False),
        expect=ADJUSTED,
    ),
    Case(name="yfinance Parquet with tuple names", write=saved(file="p.parquet"), expect=ADJUSTED),
    Case(name="yfinance Parquet, tuples swapped", write=saved(swapped, file="p.parquet"), expect=ADJUSTED),
    Case(name="yfinance Parquet, auto_adjust off", write=saved(adjusted=False, file="p.parquet"), expect=ADJUSTED),
    Case(name="yfinance tuples as text in CSV", write=saved(flat("('{price}', '{ticker}')")), expect=ADJUSTED),
    Case(name="yfinance stacked", write=saved(stacked), expect=ADJUSTED),
    Case(name="yfinance stacked Parquet", write=saved(stacked, file="p.parquet"), expect=ADJUSTED),
    Case(
        name="yfinance download, read back and saved with numbered columns",
        write=saved(read_back),
        expect=(ADJUSTED, Refused(r"header|--columns", seen=("Close.1",))),
        tickers=("BRK.B", "LOW"),
    ),
    Case(
        name="yfinance closes only",
        write=wide("{full.close}"),
        expect=Taken(close="full", bars=False, volume=None),
        names=YAHOO,
    ),
    Case(
        name="yfinance Ticker.history",
        write=table(HISTORY, "{day} 00:00:00-05:00," + FULL + ",{split_dividend},{event}", file="LOW.csv"),
        expect=ADJUSTED,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="yfinance Ticker.history Parquet with a zone",
        write=saved(
            lambda f: f.droplevel("Ticker", axis=1).tz_localize("America/New_York").assign(Dividends=0.0),
            file="LOW.parquet",
        ),
        expect=ADJUSTED,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Yahoo web download with null rows",
        write=table(
            "Date,Open,High,Low,Close,Adj Close,Volume",
            "{day},{split.open:.6f},{split.high:.6f},{split.low:.6f},{split.close:.6f},{full.close},{split.volume:.0f}",
            file="LOW.csv",
            foot="2024-02-29,null,null,null,null,null,null",
        ),
        expect=ADJUSTED,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Yahoo web page copied",
        write=web_page(events=False),
        expect=(ADJUSTED, Refused("--columns", seen=("Close*", "Adj Close**"))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Yahoo web page copied, with rows of a dividend and a split",
        write=web_page(events=True),
        expect=(ADJUSTED, Refused("--columns|row|line|columns")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="yfinance multi_level_index off",
        write=table("Date,Open,High,Low,Close,Volume", "{day}," + SPLIT, file="LOW.csv"),
        expect=Taken(close="split", volume="split"),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(name="yfinance download, one ticker failed", write=saved(failed), expect=ADJUSTED),
    Case(
        name="yfinance Parquet after reset_index",
        write=saved(lambda f: f.reset_index(), file="p.parquet"),
        expect=ADJUSTED,
    ),
    Case(
        name="yfinance CSV after reset_index",
        write=saved(lambda f: f.reset_index(), index=False),
        expect=(ADJUSTED, Refused("header")),
    ),
    Case(name="yfinance joined names with Date_", write=saved(joined, index=False), expect=ADJUSTED),
    Case(name="yfinance concatenated by rows", write=saved(lambda f: by_key(f, axis=0)), expect=ADJUSTED),
    Case(name="yfinance concatenated by columns", write=saved(lambda f: by_key(f, axis=1)), expect=ADJUSTED),
    Case(
        name="yfinance without the tickers",
        write=saved(lambda f: f.droplevel("Ticker", axis=1)),
        expect=Refused("header|two"),
    ),
    Case(
        name="yfinance with one row per price",
        write=saved(lambda f: f.stack(level="Price", future_stack=True)),
        expect=Refused("Price"),
    ),
    Case(name="yfinance transposed", write=saved(lambda f: f.T), expect=Refused("date", seen=("2024-01-17",))),
    Case(
        name="yfinance with midnights of New York in UTC",
        write=saved(lambda f: f.tz_localize("America/New_York").tz_convert("UTC")),
        expect=(ADJUSTED, Refused("--timezone")),
    ),
    Case(
        name="yfinance daily returns",
        write=saved(lambda f: f["Close"].pct_change(fill_method=None)),
        expect=Refused("return"),
        tickers=("BRK.B", "LOW", "NA"),
    ),
]
