"""Files that look right and are not: names of real tickers that are words, units in names, statements that do not fit."""

from __future__ import annotations

import zipfile

import pandas as pd

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.tools import hive
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import (
    FULL,
    LONG,
    RAW,
    ROW,
    SPLIT,
    fill,
    folder_of_tickers,
    frame,
    long_frame,
    table,
    wide,
    write,
)
from tests.panel.layouts.yahoo import ADJUSTED, flat, nameless, saved, swapped

GIVEN = Taken()
CLOSES = Taken(bars=False, volume=None)
LOW = ("LOW",)
AS_LOW = ReadOptions(ticker="LOW")
PAIR = ("BRK.B", "LOW")
WORDS = {"BRK.B": "TRUE", "LOW": "NAN", "NA": "NULL", "000001": "INF"}
"""Tickers, of which readers like to make booleans, nothing and infinity."""
LETTERS = {"BRK.B": "V", "LOW": "O", "NA": "C", "000001": "L"}
"""Visa, Realty Income, Citigroup and Loews."""
OHLC = {"BRK.B": "O", "LOW": "H", "NA": "L", "000001": "C"}
ROLES = {"BRK.B": "OPEN", "NA": "ALL", "000001": "DAY"}
COLUMNS = Refused("--columns")


def text(content: str, file: str = "prices.csv"):
    return lambda folder, truth: write(folder / file, content)


def zip_of(*extra: tuple[str, str]):
    """An archive with the table and other members."""

    def writer(folder, truth: Truth):
        inner = table(LONG, ROW, file="inner.csv")(folder, truth)
        with zipfile.ZipFile(folder / "prices.zip", "w") as archive:
            archive.write(inner, "prices.csv")
            for name, content in extra:
                archive.writestr(name, content)
        return folder / "prices.zip"

    return writer


def beside(*extra: tuple[str, str]):
    """A folder of one file per ticker, and other files."""

    def writer(folder, truth: Truth):
        source = folder_of_tickers("Date,Open,High,Low,Close,Volume", "{day}," + RAW)(folder, truth)
        for name, content in extra:
            write(source / name, content)
        return source

    return writer


def tidy(fields: str):
    """One row per day, ticker and field."""

    def writer(folder, truth: Truth):
        values = long_frame(truth).melt(["date", "ticker"], value_vars=fields.split(","), var_name="field")
        values.to_csv(folder / "prices.csv", index=False)
        return folder / "prices.csv"

    return writer


def epochs(unit: str):
    def save(values: pd.DataFrame, path) -> None:
        values["date"] = values["date"].astype(f"datetime64[{unit}]").astype("int64")
        values.to_parquet(path)

    return frame(save)


def two_orders(folder, truth: Truth):
    """DD/MM/YYYY in one file; MM/DD/YYYY in the other, where no day is above 12."""
    first, second = (truth.of(ticker) for ticker in truth.tickers)
    early = Truth(tuple(row for row in second if "2024-02-01" <= str(row.day) <= "2024-02-12"))
    return [
        table(LONG, ROW.replace("{day}", "{day:%d/%m/%Y}"), file="a.csv")(folder, Truth(tuple(first))),
        table(LONG, ROW.replace("{day}", "{day:%m/%d/%Y}"), file="b.csv")(folder, early),
    ]


def hive_of_nothing(folder, truth: Truth):
    """The rows without a ticker are in the folder that Hive makes for nothing."""
    source = hive("ticker")(folder, truth)
    (source / "ticker=LOW").rename(source / "ticker=__HIVE_DEFAULT_PARTITION__")
    return source


def crsp_short(folder, truth: Truth):
    """PERMNO, date, PRC and VOL; a negative PRC is the average of bid and ask."""
    lines = ["PERMNO,date,PRC,VOL"]
    lines += [
        fill("{ticker},{day:%Y%m%d}," + ("" if row.traded else "-") + "{raw.close:.2f},{raw.volume:.0f}", row)
        for row in truth.rows
    ]
    return write(folder / "dsf.csv", "\n".join(lines))


def plain(row: str = ROW, **case):
    return {"write": table(LONG, row), **case}


SINGLE = "Date,Open,High,Low,Close,Volume"
NAIVE = ROW.replace("{day}", "{day} 00:00:00")
NEW_YORK = ReadOptions(timezone="America/New_York")

CASES = [
    # Tickers that are words, letters or roles
    Case(name="tickers TRUE, NAN, NULL and INF, long", write=table(LONG, ROW), expect=GIVEN, names=WORDS),
    Case(name="tickers TRUE, NAN, NULL and INF, wide", write=wide(), expect=CLOSES, names=WORDS),
    Case(name="tickers TRUE, NAN, NULL and INF, yfinance", write=saved(), expect=ADJUSTED, names=WORDS),
    Case(name="tickers TRUE, NAN, NULL and INF, hive folder", write=hive("ticker"), expect=GIVEN, names=WORDS),
    Case(
        name="tickers TRUE, NAN, NULL and INF, one file each",
        write=folder_of_tickers(SINGLE, "{day}," + RAW),
        expect=GIVEN,
        names=WORDS,
    ),
    Case(name="a pair of currencies in a hive folder", write=hive("symbol"), expect=GIVEN, names={"LOW": "BTC/USD"}),
    Case(
        name="tickers with ^ and =",
        write=wide(),
        expect=CLOSES,
        tickers=PAIR,
        names={"LOW": "^GSPC", "BRK.B": "EURUSD=X"},
    ),
    Case(name="wide of the tickers V, O, C, L", write=wide(), expect=(CLOSES, COLUMNS), names=LETTERS),
    Case(name="wide of the tickers O, H, L, C", write=wide(), expect=(CLOSES, COLUMNS), names=OHLC),
    Case(
        name="wide of the tickers O, H, L, C, one stock stated",
        write=wide(),
        expect=Refused("high|--columns|ticker"),
        names=OHLC,
        options=ReadOptions(ticker="X"),
    ),
    Case(name="wide of the tickers OPEN, LOW, ALL, DAY", write=wide(), expect=(CLOSES, COLUMNS), names=ROLES),
    Case(name="yfinance of the tickers OPEN, LOW, ALL, DAY", write=saved(), expect=ADJUSTED, names=ROLES),
    Case(
        name="yfinance of OPEN, LOW, ALL, DAY, without names",
        write=saved(nameless),
        expect=(ADJUSTED, Refused("header|--columns")),
        names=ROLES,
    ),
    Case(
        name="yfinance of OPEN and LOW, swapped, without names",
        write=saved(lambda f: swapped(nameless(f))),
        expect=(ADJUSTED, Refused("header|--columns")),
        tickers=PAIR,
        names=ROLES,
    ),
    Case(
        name="yfinance of OPEN and LOW, flattened Close_LOW",
        write=saved(flat("{price}_{ticker}")),
        expect=(ADJUSTED, COLUMNS),
        tickers=PAIR,
        names=ROLES,
    ),
    Case(
        name="yfinance of OPEN and LOW, flattened LOW_Close",
        write=saved(flat("{ticker}_{price}")),
        expect=(ADJUSTED, COLUMNS),
        tickers=PAIR,
        names=ROLES,
    ),
    Case(
        name="yfinance of LOW, flattened LOW_Close",
        write=saved(flat("{ticker}_{price}")),
        expect=(ADJUSTED, COLUMNS),
        tickers=LOW,
    ),
    Case(name="a row without a ticker", write=table(LONG, ROW, foot="2024-02-29,,1,1,1,1,1"), expect=Refused("ticker")),
    Case(
        name="wide of OPEN and LOW, names 'LOW (Close)'",
        write=wide(column="{ticker} (Close)"),
        expect=(CLOSES, Refused("close")),
        tickers=PAIR,
        names=ROLES,
    ),
    # Closes that are none, volumes that are no shares
    Case(
        name="a previous close only",
        write=table("date,ticker,prev_close", "{day},{ticker},{before}"),
        expect=Refused("--columns", seen=("prev_close",)),
    ),
    Case(
        name="a change of the close only",
        write=table("date,ticker,close_change", "{day},{ticker},0.31"),
        expect=Refused("--columns", seen=("close_change",)),
    ),
    Case(
        name="an adjusted close beside open, high and low",
        write=table(
            "Date,Adj Close,Volume,Open,High,Low",
            "{day},{full.close},{split.volume:.0f},{split.open},{split.high},{split.low}",
            file="LOW.csv",
        ),
        expect=Refused("adjusted close"),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="a bid and an ask only",
        write=table("date,ticker,bid,ask", "{day},{ticker},{raw.low},{raw.high}"),
        expect=Refused("--columns", seen=("bid", "ask")),
    ),
    Case(
        name="a volume in thousands",
        write=table("date,ticker,close,Volume (000)", "{day},{ticker},{raw.close},{thousand_shares}"),
        expect=(CLOSES, Refused("olume")),
    ),
    Case(
        name="a volume in dollars",
        write=table("date,ticker,close,dollar volume", "{day},{ticker},{raw.close},{amount}"),
        expect=(CLOSES, Refused("olume")),
    ),
    Case(
        name="a turnover",
        write=table("date,ticker,close,turnover", "{day},{ticker},{raw.close},{amount}"),
        expect=(CLOSES, Refused("turnover")),
    ),
    Case(
        name="two volumes",
        write=table("date,ticker,close,volume,volume usd", "{day},{ticker},{raw.close},{raw.volume:.0f},{amount}"),
        expect=(Taken(bars=False), Refused("--columns")),
    ),
    Case(
        name="a volume with points for thousands beside decimal points",
        write=table(LONG, ROW.replace("raw.volume:.0f", "raw.volume:de0")),
        expect=(GIVEN, Refused("--decimal|number")),
    ),
    Case(
        name="blanks for thousands, decimal comma",
        write=table(
            LONG.replace(",", ";"),
            ROW.replace(",", ";").replace(":.2f", ":de2").replace("raw.volume:.0f", "raw.volume:blank"),
        ),
        expect=(GIVEN, Refused("--decimal|number")),
    ),
    Case(
        name="thousands with commas under semicolons",
        write=table("date;ticker;close", "{day};{ticker};{thousand.close:,.2f}"),
        expect=(Taken(close="thousand", bars=False, volume=None), Refused("--decimal|number")),
        tickers=("BRK.B",),
    ),
    # Factors
    Case(
        name="J-Quants with the factor of the day only",
        write=table("Date,Code,Open,High,Low,Close,Volume,AdjustmentFactor", "{day},{ticker}," + RAW + ",{day_factor}"),
        expect=(Taken(close=("raw", "split"), volume=("raw", "split")), COLUMNS),
    ),
    Case(
        name="splits written 4:1",
        write=table(LONG + ",dividend,split", ROW + ",{dividend},{ratio:.0f}:1"),
        expect=(Taken(close=("raw", "split", "full"), volume=("raw", "split")), Refused("split", seen=(":1",))),
    ),
    Case(
        name="an unexplained adj_factor",
        write=table(LONG + ",adj_factor", ROW + ",{full_factor}"),
        expect=(Taken(close=("raw", "full"), volume=("raw", "split", "full")), COLUMNS),
    ),
    Case(
        name="CRSP rows doubled by distributions",
        write=table(
            "PERMNO,date,TICKER,DISTCD,PRC,VOL,CFACPR,CFACSHR",
            "{ticker},{day:%Y%m%d},{name},1232,{raw.close},{raw.volume:.0f},{later_split},{later_split}\n{ticker},{day:%Y%m%d},{name},3763,{raw.close},{raw.volume:.0f},{later_split},{later_split}",
        ),
        expect=(Taken(close=("split", "full"), bars=False, volume="split"), Refused("twice")),
        tickers=PAIR,
        names={"BRK.B": "83443", "LOW": "61399"},
    ),
    # More files of vendors
    Case(
        name="Kaggle stock details with Company",
        write=table(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits,Company",
            "{day} 00:00:00-05:00," + FULL + ",{split_dividend},{event},{ticker}",
        ),
        expect=(ADJUSTED, COLUMNS),
    ),
    Case(
        name="Kaggle world stocks with brand and ticker",
        write=table(
            "Date,Open,High,Low,Close,Volume,Brand_Name,Ticker,Industry_Tag,Country,Dividends,Stock Splits",
            "{day} 00:00:00-05:00," + FULL + ",a brand,{ticker},retail,usa,{split_dividend},{event}",
        ),
        expect=ADJUSTED,
    ),
    Case(
        name="Kaggle folder of .us.txt with OpenInt",
        write=folder_of_tickers(
            "Date,Open,High,Low,Close,Volume,OpenInt", "{day}," + FULL + ",0", file="{ticker}.us.txt"
        ),
        expect=Taken(
            close="full", volume="split", names={name: f"{name}.us" for name in ("BRK.B", "LOW", "NA", "000001")}
        ),
    ),
    Case(
        name="Hugging Face with report_date",
        write=table("symbol,report_date,open,high,low,close,volume", "{ticker},{day}," + RAW),
        expect=(GIVEN, Refused("--columns", seen=("report_date",))),
    ),
    Case(
        name="'Unnamed: 0' that holds the dates",
        write=table("Unnamed: 0,Open,High,Low,Close,Volume", "{day}," + RAW, file="LOW.csv"),
        expect=(GIVEN, Refused("--columns", seen=("Unnamed: 0",))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="wide, 'Unnamed: 0' holds the dates",
        write=wide(corner="Unnamed: 0"),
        expect=(CLOSES, Refused("--columns", seen=("Unnamed: 0",))),
        tickers=PAIR,
    ),
    Case(
        name="indicators beside the prices",
        write=table(SINGLE + ",SMA20,RSI,MACD_Signal,BB_Lower", "{day}," + RAW + ",1,2,3,4", file="LOW.csv"),
        expect=GIVEN,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="comments with # above the header",
        write=table(SINGLE, "{day}," + RAW, head="# Stock data for LOW\n# Total records: 30\n\n", file="LOW.csv"),
        expect=(GIVEN, Refused("header|column|line")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Bloomberg of one security under its particulars",
        write=table(
            "Date,PX_LAST,PX_OPEN,PX_HIGH,PX_LOW",
            "{day:%m/%d/%y},{split.close},{split.open},{split.high},{split.low}",
            head="Security,LOW US Equity,,,\nPeriod,D,,,\nCurrency,USD,,,\n,,,,",
            file="LOW.csv",
        ),
        expect=(Taken(close="split", volume=None), Refused("header|--columns|column|line")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="units in the line below the header",
        write=table(LONG + "\n,,USD,USD,USD,USD,shares", ROW),
        expect=(GIVEN, Refused("date|number|line|row")),
    ),
    Case(
        name="a comma at the end of each row only",
        write=table(LONG, ROW + ","),
        expect=(GIVEN, Refused("column|field|line|row")),
    ),
    Case(
        name="one row per field",
        write=tidy("open,high,low,close,volume"),
        expect=(GIVEN, Refused("twice|--columns|field")),
    ),
    Case(
        name="one row per field, closes only",
        write=tidy("close"),
        expect=(CLOSES, Refused("--columns|pivot", seen=("value",))),
    ),
    # Dates
    Case(
        name="dates without a year",
        write=table(LONG, ROW.replace("{day}", "{day:%d-%b}")),
        expect=Refused("date", seen=("17-Jan",)),
    ),
    Case(
        name="dates without a day",
        write=table(LONG, ROW.replace("{day}", "{day:%Y-%m}")),
        expect=Refused("date", seen=("2024-01",)),
    ),
    Case(
        name="dates that do not exist",
        write=table(LONG, ROW, foot="2024-02-30,LOW,1,1,1,1,1"),
        expect=Refused("date", seen=("2024-02-30",)),
    ),
    Case(name="dates stated with a zone are not moved", **plain(options=NEW_YORK, expect=GIVEN)),
    Case(
        name="midnights without a zone, New York stated",
        **plain(NAIVE, options=NEW_YORK, expect=(GIVEN, Refused("--timezone"))),
    ),
    Case(
        name="midnights without a zone, New York stated, Parquet",
        write=frame(lambda f, p: f.to_parquet(p)),
        options=NEW_YORK,
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(
        name="dates 20240117, New York stated",
        **plain(ROW.replace("{day}", "{day:%Y%m%d}"), options=NEW_YORK, expect=(GIVEN, Refused("--timezone"))),
    ),
    Case(
        name="midnights of UTC, New York stated",
        **plain(
            ROW.replace("{day}", "{day}T00:00:00Z"),
            options=NEW_YORK,
            expect=(GIVEN, Refused("--timezone|weekend|date")),
        ),
    ),
    Case(name="dates as seconds, Parquet", write=epochs("s"), expect=(GIVEN, Refused("--date-format|date"))),
    Case(name="dates as ms, Parquet", write=epochs("ms"), expect=(GIVEN, Refused("--date-format|date"))),
    Case(name="dates as ns, Parquet", write=epochs("ns"), expect=(GIVEN, Refused("--date-format|date"))),
    Case(
        name="a day twice in a wide table",
        write=wide(lines=lambda rows: [*rows, rows[-1]]),
        expect=(CLOSES, Refused("twice")),
        tickers=PAIR,
    ),
    Case(
        name="a date format that does not fit",
        **plain(options=ReadOptions(date_format="%d.%m.%Y"), expect=Refused("--date-format", seen=("2024-01-17",))),
    ),
    # Statements that do not fit
    Case(
        name="the adjusted close stated as the close",
        write=table(
            "date,ticker,Open,High,Low,Close,Adj Close,Volume",
            "{day},{ticker},{split.open},{split.high},{split.low},{split.close},{full.close},{split.volume:.0f}",
        ),
        expect=(ADJUSTED, Refused("adj_close|adjusted")),
        options=ReadOptions(columns={"close": "Adj Close"}),
    ),
    Case(
        name="a date format without a year",
        write=table(LONG, ROW.replace("{day}", "{day:%d-%b}")),
        expect=Refused("year|--date-format"),
        options=ReadOptions(date_format="%d-%b"),
    ),
    Case(
        name="a date format without a day",
        write=table(LONG, ROW.replace("{day}", "{day:%Y-%m}")),
        expect=Refused("twice|--date-format"),
        options=ReadOptions(date_format="%Y-%m"),
    ),
    Case(
        name="CRSP in three columns, stated",
        write=crsp_short,
        expect=(Taken(bars=False), Refused("PRC|above zero")),
        options=ReadOptions(columns={"close": "PRC", "ticker": "PERMNO"}),
        names={"BRK.B": "83443", "LOW": "61399", "NA": "10107", "000001": "14593"},
    ),
    Case(
        name="CRSP in three columns, stated, bad rows dropped",
        write=crsp_short,
        expect=(Taken(bars=False), Refused("PRC|above zero")),
        options=ReadOptions(columns={"close": "PRC", "ticker": "PERMNO"}),
        names={"BRK.B": "83443", "LOW": "61399", "NA": "10107", "000001": "14593"},
        drop_bad=True,
    ),
    Case(
        name="columns stated by their position, without a header",
        write=table(None, "{ticker},{day:%Y%m%d}," + RAW),
        expect=(GIVEN, Refused("header")),
        options=ReadOptions(
            columns={"ticker": "1", "date": "2", "open": "3", "high": "4", "low": "5", "close": "6", "volume": "7"}
        ),
    ),
    Case(
        name="a zone that does not exist",
        **plain(options=ReadOptions(timezone="Mars/Olympus"), expect=Refused("Mars/Olympus")),
    ),
    Case(name="a separator of two characters", **plain(options=ReadOptions(sep=";;"), expect=Refused(";;"))),
    Case(name="an invalid decimal mark", **plain(options=ReadOptions(decimal="x"), expect=Refused("decimal"))),
    Case(
        name="the close stated as the ticker's column",
        **plain(options=ReadOptions(columns={"close": "ticker"}), expect=Refused("number|ticker")),
    ),
    Case(
        name="the date stated as the close",
        **plain(options=ReadOptions(columns={"date": "close"}), expect=Refused("date", seen=("close",))),
    ),
    # Roles by another word, or by their values
    Case(
        name="open, high, low and close in Portuguese",
        write=table("Data,Abertura,Máxima,Mínima,Fechamento", "{day},{raw.open},{raw.high},{raw.low},{raw.close}"),
        expect=Refused("--columns", seen=("Fechamento",)),
        tickers=LOW,
    ),
    Case(
        name="open, high, low and close in a language of four letters",
        write=table("Day,wwww,xxxx,yyyy,zzzz", "{day},{raw.open},{raw.high},{raw.low},{raw.close}"),
        expect=Refused("--columns", seen=("zzzz",)),
        tickers=LOW,
    ),
    Case(
        name="open, high, low, close and volume in unknown words",
        write=table("Day,wwww,xxxx,yyyy,zzzz,vvvv", "{day}," + RAW),
        expect=Refused("--columns", seen=("zzzz",)),
        tickers=LOW,
    ),
    Case(
        name="wide of logarithms by name",
        write=wide("5.12", column="log_{ticker}"),
        expect=Refused("log_"),
        tickers=PAIR,
    ),
    Case(name="wide of averages by name", write=wide(column="{ticker}_sma20"), expect=Refused("sma20"), tickers=PAIR),
    Case(
        name="high and low exchanged",
        write=table("date,ticker,open,low,high,close,volume", ROW),
        expect=Refused("high|low|--columns"),
    ),
    Case(
        name="a close in cents beside prices in dollars",
        write=table(LONG, ROW.replace("{raw.close:.2f}", "{raw.close:cents}")),
        expect=Refused("high|low|close|--columns"),
    ),
    Case(
        name="open and close exchanged with high and low",
        write=table("date,ticker,high,open,close,low", "{day},{ticker},{raw.open},{raw.high},{raw.low},{raw.close}"),
        expect=Refused("high|low|--columns"),
    ),
    Case(
        name="Stooq with weekly bars by its PER column",
        write=table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            "{ticker},W,{day:%Y%m%d},000000," + FULL + ",0",
        ),
        expect=(Taken(close="full", volume="split", note="week|session"), Refused("week|daily|PER")),
        every=5,
    ),
    Case(
        name="two files whose dates have different orders, one of them of two meanings",
        write=two_orders,
        expect=Refused("--date-format|date"),
        tickers=PAIR,
    ),
    Case(
        name="a hive folder with a partition of nothing", write=hive_of_nothing, expect=Refused("HIVE_DEFAULT|ticker")
    ),
    Case(
        name="a close that is empty in every row",
        write=table(LONG, ROW.replace("{raw.close:.2f}", "")),
        expect=Refused("close"),
    ),
    Case(
        name="two adjusted closes",
        write=table(
            "date,ticker,close,adj close,adjusted close", "{day},{ticker},{raw.close},{full.close},{split.close}"
        ),
        expect=Refused("--columns", seen=("adj close", "adjusted close")),
    ),
    Case(
        name="a flag called adjusted", write=table(LONG + ",adjusted", ROW + ",1"), expect=(GIVEN, Refused("adjusted"))
    ),
    Case(
        name="a currency that changes within a ticker",
        write=table("date,ticker,close,currency", "{day},{ticker},{raw.close},{currency}"),
        expect=Refused("currenc"),
    ),
    Case(name="tickers written nan by pandas", write=table(LONG, ROW), expect=Refused("ticker"), names={"LOW": "nan"}),
    Case(
        name="tickers guarded from a spreadsheet",
        write=table("date,ticker,close", '{day},"=""{ticker}""",{raw.close}'),
        expect=(CLOSES, Refused("ticker")),
    ),
    Case(
        name="dates of the year 24",
        write=table(LONG, ROW.replace("{day}", "00{day:%y-%m-%d}")),
        expect=Refused("date", seen=("0024-01-17",)),
    ),
    Case(
        name="dates of Iran (1402)",
        write=table(LONG, ROW.replace("{day}", "1402-{day:%m-%d}")),
        expect=Refused("date", seen=("1402-01-17",)),
    ),
    Case(
        name="dates of Thailand (2567)",
        write=table(LONG, ROW.replace("{day}", "{day:%d/%m}/2567")),
        expect=(GIVEN, Refused("date", seen=("17/01/2567",))),
    ),
    Case(
        name="dates of Taiwan (113)",
        write=table(LONG, ROW.replace("{day}", "113/{day:%m/%d}")),
        expect=(GIVEN, Refused("date", seen=("113/01/17",))),
    ),
    # More vendors
    Case(
        name="FactSet: P_DATE, P_PRICE, P_VOLUME",
        write=table("P_DATE,P_PRICE,P_VOLUME", "{day},{raw.close},{raw.volume:.0f}"),
        expect=(Taken(bars=False), COLUMNS),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Refinitiv in a long file",
        write=table(
            "Instrument,Date,Price Close,Price Open,Price High,Price Low,Volume",
            "{ticker},{day}T00:00:00Z,{raw.close},{raw.open},{raw.high},{raw.low},{raw.volume:.0f}",
        ),
        expect=(GIVEN, Refused("--columns", seen=("Price Close",))),
    ),
    Case(
        name="Refinitiv wide with tuples",
        write=wide(column="\"('{ticker}.N', 'Price Close')\""),
        expect=(Taken(bars=False, volume=None, names={t: f"{t}.N" for t in PAIR}), COLUMNS),
        tickers=PAIR,
    ),
    Case(
        name="Bloomberg wide with PX_LAST in the names",
        write=wide(column="{ticker} US Equity PX_LAST"),
        expect=(Taken(bars=False, volume=None, names={t: f"{t} US Equity" for t in PAIR}), COLUMNS),
        tickers=PAIR,
    ),
    Case(
        name="Bloomberg wide",
        write=wide(column="{ticker} US Equity"),
        expect=Taken(bars=False, volume=None, names={t: f"{t} US Equity" for t in PAIR}),
        tickers=PAIR,
    ),
    Case(
        name="Cboe",
        write=table("DATE,OPEN,HIGH,LOW,CLOSE", "{day:%m/%d/%Y},{raw.open},{raw.high},{raw.low},{raw.close}"),
        expect=Taken(volume=None),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="FRED",
        write=wide("{raw.close}", corner="observation_date", absent="."),
        expect=CLOSES,
        tickers=("BRK.B", "NA"),
    ),
    Case(
        name="Tehran: <OPEN> is the close before, <FIRST> the open",
        write=table(
            "<TICKER>,<DTYYYYMMDD>,<FIRST>,<HIGH>,<LOW>,<CLOSE>,<VALUE>,<VOL>,<OPENINT>,<PER>,<OPEN>,<LAST>",
            "{ticker},{day:%Y%m%d},{raw.open},{raw.high},{raw.low},{raw.close},1,{raw.volume:.0f},5,D,{before},{raw.close}",
        ),
        expect=(GIVEN, COLUMNS),
    ),
    Case(
        name="Moscow with a line and a blank one above",
        write=table(
            "BOARDID;TRADEDATE;SHORTNAME;SECID;NUMTRADES;VALUE;OPEN;LOW;HIGH;LEGALCLOSEPRICE;WAPRICE;CLOSE;VOLUME",
            "TQBR;{day};x;{ticker};1;1;{raw.open};{raw.low};{raw.high};{before};{raw.open};{raw.close};{raw.volume:.0f}",
            head="history\n\n",
        ),
        expect=(GIVEN, COLUMNS),
    ),
    Case(
        name="OANDA: the day begins at 22:00 or 23:00 in UTC",
        write=table(
            "time,instrument,open,high,low,close,volume",
            "{paris:%Y-%m-%dT%H:%M:%S}.000000000Z,{ticker},{raw.open},{raw.high},{raw.low},{raw.close},{raw.volume:.0f}",
        ),
        expect=(GIVEN, Refused("--timezone")),
    ),
    Case(
        name="Dukascopy",
        write=table("Gmt time,Open,High,Low,Close,Volume", "{day:%d.%m.%Y} 00:00:00.000," + RAW),
        expect=(GIVEN, Refused("--columns|--date-format", seen=("Gmt time",))),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Sierra Chart",
        write=table(
            "Date, Time, Open, High, Low, Last, Volume, NumberOfTrades, BidVolume, AskVolume",
            "{day:%Y/%m/%d}, 00:00:00, " + RAW.replace(",", ", ") + ", 1, 2, 3",
        ),
        expect=(GIVEN, COLUMNS),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="KuCoin: close before high",
        write=table(
            "time,open,close,high,low,volume,turnover",
            "{seconds},{raw.open},{raw.close},{raw.high},{raw.low},{raw.volume},{amount}",
        ),
        expect=(GIVEN, Refused("--date-format|--columns")),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="KuCoin without header",
        write=table(None, "{seconds},{raw.open},{raw.close},{raw.high},{raw.low},{raw.volume},{amount}"),
        expect=(GIVEN, Refused("header")),
        options=AS_LOW,
        tickers=LOW,
    ),
    # Splits and prices on any basis
    Case(
        name="an adjusted open and a close as traded only",
        write=table("date,ticker,close,adjusted_open", "{day},{ticker},{raw.close},{full.open}"),
        expect=(CLOSES, Refused("adjusted")),
    ),
    Case(
        name="a close only beside its ticker and day",
        write=table("date,ticker,close", "{day},{ticker},{raw.close}"),
        expect=CLOSES,
    ),
    Case(
        name="an adjusted open without an adjusted close",
        write=table(LONG + ",adjusted_open", ROW + ",{full.open}"),
        expect=(GIVEN, Refused("adjusted|outside of low and high")),
    ),
    Case(
        name="many columns beside the right ones",
        write=table(
            "prev_close,vwap,high_52w,low_limit,next_open,close_sma20,dollar_volume,last_update,isin,rank,pct_change,"
            + LONG,
            "{before},{raw.high},999,1,{raw.low},{raw.high},{amount},2024-03-01,US000,{n},0.31," + ROW,
        ),
        expect=GIVEN,
    ),
    Case(
        name="yfinance Ticker.history, auto_adjust off, with actions",
        write=table(
            "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits",
            "{day} 00:00:00-05:00,{split.open},{split.high},{split.low},{split.close},{full.close},{split.volume:.0f},{split_dividend},{event}",
        ),
        expect=ADJUSTED,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="yfinance, Adj Close removed, with actions",
        write=table(
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
            "{day} 00:00:00-05:00,{split.open},{split.high},{split.low},{split.close},{split.volume:.0f},{split_dividend},{event}",
        ),
        expect=Taken(close=("split", "full"), volume="split"),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="an unknown vendor with splits, prices as traded",
        write=table(LONG + ",dividend,split", ROW + ",{dividend},{event}"),
        expect=(Taken(close=("raw", "split", "full"), volume=("raw", "split")), COLUMNS),
    ),
    Case(
        name="an unknown vendor with splits, prices adjusted for them",
        write=table(LONG + ",dividend,split", "{day},{ticker}," + SPLIT + ",{split_dividend},{event}"),
        expect=(Taken(close=("split", "full"), volume="split"), Refused("split")),
    ),
    Case(
        name="csvdir of Zipline with adjusted prices",
        write=folder_of_tickers(
            "date,open,high,low,close,volume,dividend,split", "{day}," + SPLIT + ",{split_dividend},{ratio}"
        ),
        expect=(Taken(close=("split", "full"), volume="split"), Refused("split")),
    ),
    Case(
        name="Alpha Vantage columns with adjusted prices",
        write=table(
            "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
            "{day},{split.open},{split.high},{split.low},{split.close},{full.close},{split.volume:.0f},{split_dividend},{ratio}",
        ),
        expect=(ADJUSTED, Refused("split")),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Alpha Vantage JSON names",
        write=table(
            "date,1. open,2. high,3. low,4. close,5. adjusted close,6. volume,7. dividend amount,8. split coefficient",
            "{day},{raw.open},{raw.high},{raw.low},{raw.close},{full.close},{raw.volume:.0f},{dividend},{ratio}",
        ),
        expect=(Taken(close="full", volume=("split", "raw")), COLUMNS),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Tiingo adjusted columns only",
        write=table(
            "date,symbol,adjClose,adjHigh,adjLow,adjOpen,adjVolume",
            "{day},{ticker},{full.close},{full.high},{full.low},{full.open},{split.volume:.0f}",
        ),
        expect=(ADJUSTED, COLUMNS),
    ),
    Case(
        name="IEX with uClose beside close",
        write=table(
            "date,uOpen,uClose,uHigh,uLow,uVolume,open,close,high,low,volume,symbol",
            "{day},{raw.open},{raw.close},{raw.high},{raw.low},{raw.volume:.0f},{split.open},{split.close},{split.high},{split.low},{split.volume:.0f},{ticker}",
        ),
        expect=Taken(close="split", volume="split"),
    ),
    Case(
        name="Twelve Data with semicolons",
        write=table("datetime;open;high;low;close;volume", "{day};" + SPLIT.replace(",", ";")),
        expect=Taken(close="split", volume="split"),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Norgate with the unadjusted close",
        write=table(
            "Date,Symbol,Open,High,Low,Close,Volume,Turnover,Unadjusted Close,Dividend",
            "{day},{ticker}," + FULL + ",1,{raw.close},{dividend}",
        ),
        expect=ADJUSTED,
    ),
    Case(
        name="Baostock, adjusted by its flag",
        write=table(
            "date,code,open,high,low,close,volume,adjustflag",
            "{day},{ticker},{full.open},{full.high},{full.low},{full.close},{split.volume:.0f},2",
        ),
        expect=ADJUSTED,
    ),
    # Answers of servers, archives, folders
    Case(
        name="an error of a server as JSON",
        write=text('{"Note": "Thank you for using our API! 25 requests per day."}'),
        expect=Refused("column|header|table"),
    ),
    Case(
        name="an error of a server in words",
        write=text("Exceeded the daily hits limit"),
        expect=Refused("column|header|table"),
    ),
    Case(
        name="a web page",
        write=text(
            "<!DOCTYPE html>\n<html><head><title>429</title></head>\n<body>Too many requests, try later, please</body></html>\n"
        ),
        expect=Refused("column|header|table|date"),
    ),
    Case(name="an empty file", write=text(""), expect=Refused("column|header|empty")),
    Case(
        name="a spreadsheet with the suffix of a CSV",
        write=lambda folder, truth: zip_of()(folder, truth).rename(folder / "prices.csv"),
        expect=Refused("UTF-8|CSV|read|column"),
    ),
    Case(
        name="a zip with two tables",
        write=zip_of(("other.csv", "date,ticker,close\n2024-01-17,XYZ,1\n")),
        expect=Refused("two|one|2|other.csv"),
    ),
    Case(
        name="a zip from a Mac", write=zip_of(("__MACOSX/._prices.csv", "\0\1\2")), expect=(GIVEN, Refused("two|one|2"))
    ),
    Case(
        name="a folder with a README beside",
        write=beside(("README.md", "# Prices\n")),
        expect=(GIVEN, Refused("README")),
    ),
    Case(name="a folder with hidden files", write=beside((".DS_Store", "\0"), ("._LOW.csv", "\0")), expect=GIVEN),
    Case(
        name="a folder with a list of tickers beside",
        write=beside(("tickers.csv", "ticker,name\nLOW,Lowe's\n")),
        expect=Refused("tickers.csv|date|column"),
    ),
    Case(
        name="a folder with one ticker in two formats",
        write=beside(("LOW.tsv", SINGLE.replace(",", "\t") + "\n2024-01-17\t1\t1\t1\t1\t1\n")),
        expect=Refused("twice|LOW"),
        options=AS_LOW,
    ),
    Case(name="an empty folder", write=lambda folder, truth: folder, expect=Refused("no|empty")),
    Case(
        name="a long file and a wide one",
        write=lambda folder, truth: [
            table(LONG, ROW, file="a.csv")(folder, Truth(tuple(truth.of("LOW")))),
            wide(file="b.csv")(folder, Truth(tuple(truth.of("BRK.B")))),
        ],
        expect=Refused("wide|long|column|close"),
        tickers=PAIR,
    ),
]
