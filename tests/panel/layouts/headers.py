"""Names of columns and lines that are no bars: what must never become a ticker, and what must stay one."""

from __future__ import annotations

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import LONG, RAW, ROW, by_ticker, folder_of_tickers, table, wide, write

GIVEN = Taken()
CLOSES = Taken(bars=False, volume=None)
LOW = ("LOW",)
PAIR = ("BRK.B", "LOW")
NAMED = ("BRK.B", "LOW", "NA")
AS_LOW = ReadOptions(ticker="LOW")
WAY = "--ticker|--columns"
NAMED_BY_FILE = Taken(bars=False, volume=None, names={"LOW": "prices"})


def only(header: str, template: str, *seen: str, fix: str = WAY, file: str = "prices.csv") -> dict:
    """A table of one stock whose columns are roles: never tickers."""
    return {"write": table(header, "{day}," + template, file=file), "expect": Refused(fix, seen=seen), "tickers": LOW}


def one_close(header: str, template: str, *seen: str, taken: Taken = NAMED_BY_FILE) -> dict:
    """A table of one stock: refused, or taken under the name of the file; its columns are never tickers."""
    return only(header, template, *seen) | {"expect": (taken, Refused(WAY, seen=seen))}


def raw(*fields: str) -> str:
    return ",".join(f"{{raw.{field}}}" for field in fields)


def lines(change):
    """A long table whose lines are changed before they are written."""

    def writer(folder, truth: Truth):
        path = table(LONG, ROW, order=by_ticker)(folder, truth)
        return write(path, "\n".join(change(path.read_text().splitlines())) + "\n")

    return writer


def side_by_side(header: str, dates=str):
    """Each ticker beside its own dates, as terminals export them."""

    def writer(folder, truth: Truth):
        columns = [truth.of(ticker) for ticker in truth.tickers]
        rows = [",".join(f"{dates(c[n].day)},{c[n].raw.close:.2f}" for c in columns) for n in range(len(columns[0]))]
        return write(folder / "prices.csv", "\n".join([header.format(*truth.tickers), *rows]))

    return writer


def bloomberg(folder, truth: Truth):
    """Tickers in one row, fields in the next, ``#N/A N/A`` where nothing traded."""
    tickers = [f"{ticker} US Equity" for ticker in truth.tickers]
    rows = ["," + ",,".join(tickers) + ",", "Dates" + ",PX_LAST,PX_VOLUME" * len(tickers)]
    for day in truth.days:
        found = [truth.cells.get((ticker, day)) for ticker in truth.tickers]
        cells = [f"{row.raw.close:.2f},{row.raw.volume:.0f}" if row else "#N/A N/A,#N/A N/A" for row in found]
        rows.append(f"{day:%m/%d/%Y}," + ",".join(cells))
    return write(folder / "prices.csv", "\n".join(rows))


def unequal(folder, truth: Truth):
    """One file per ticker with the same columns in different orders."""
    a, b = (Truth(tuple(truth.of(ticker))) for ticker in truth.tickers)
    table("Date,Open,High,Low,Close,Volume", "{day}," + RAW, file=f"d/{truth.tickers[0]}.csv")(folder, a)
    reverse = "{raw.close},{raw.low},{raw.high},{raw.open},{raw.volume:.0f}"
    table("Date,Close,Low,High,Open,Volume", "{day}," + reverse, file=f"d/{truth.tickers[1]}.csv")(folder, b)
    return folder / "d"


def bases(folder, truth: Truth):
    """One file with adjusted closes and one without: two bases in one panel."""
    a, b = (Truth(tuple(truth.of(ticker))) for ticker in truth.tickers)
    adjusted = "{day},{split.open},{split.high},{split.low},{split.close},{full.close},{split.volume:.0f}"
    table("Date,Open,High,Low,Close,Adj Close,Volume", adjusted, file=f"d/{truth.tickers[0]}.csv")(folder, a)
    table("Date,Open,High,Low,Close,Volume", "{day}," + RAW, file=f"d/{truth.tickers[1]}.csv")(folder, b)
    return folder / "d"


def overlapping(folder, truth: Truth):
    """Two downloads of the same ticker whose days overlap, the second after the split."""
    old = Truth(tuple(row for row in truth.rows if row.day.month == 1))
    return [
        table(LONG, ROW, file="a.csv")(folder, old),
        table(
            LONG, "{day},{ticker},{split.open},{split.high},{split.low},{split.close},{split.volume:.0f}", file="b.csv"
        )(folder, truth),
    ]


HEADER_AGAIN = 40

CASES = [
    # Names of roles are no tickers
    Case(name="Date and Close", **one_close("Date,Close", raw("close"), "Close")),
    Case(
        name="Date and Close, the ticker stated",
        write=table("Date,Close", "{day},{raw.close}"),
        expect=CLOSES,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Date, Open, High, Low without a close",
        **only("Date,Open,High,Low", raw("open", "high", "low"), "Open", "High", "Low"),
    ),
    Case(name="Date and Last", **one_close("Date,Last", raw("close"), "Last")),
    Case(name="date and prc", **one_close("date,prc", raw("close"), "prc")),
    Case(name="Date and Adj Close", **one_close("Date,Adj Close", raw("close"), "Adj Close")),
    Case(
        name="Date and Settle",
        **one_close("Date,Settle,Open Interest", "{raw.close},{raw.volume:.0f}", "Settle", "Open Interest"),
    ),
    Case(
        name="date, o, h, l, c, v",
        **one_close(
            "date,o,h,l,c,v",
            raw("open", "high", "low", "close", "volume"),
            "o",
            "c",
            taken=Taken(names={"LOW": "prices"}),
        ),
    ),
    Case(name="Date, Bid, Ask", **only("Date,Bid,Ask", raw("low", "high"), "Bid", "Ask")),
    Case(name="date, nav", **one_close("date,nav", raw("close"), "nav")),
    Case(name="Date and VWAP", **only("Date,VWAP,Volume", "{raw.open},{raw.volume:.0f}", "VWAP")),
    Case(name="Date, Close, Return", **one_close("Date,Close,Return", "{raw.close},0.012", "Close")),
    Case(
        name="Date, OpenPrice, ClosePrice",
        **one_close(
            "Date,OpenPrice,HighPrice,LowPrice,ClosePrice",
            raw("open", "high", "low", "close"),
            "ClosePrice",
            taken=Taken(volume=None, names={"LOW": "prices"}),
        ),
    ),
    Case(
        name="four words of Chinese",
        **one_close(
            "日期,开盘,最高,最低,收盘",
            raw("open", "high", "low", "close"),
            "收盘",
            taken=Taken(volume=None, names={"LOW": "prices"}),
        ),
    ),
    Case(name="close_1 and close_2", **only("Date,close_1,close_2", raw("open", "close"), "close_1")),
    Case(name="Close and Close.1", **only("Date,Close,Close.1", raw("open", "close"), "Close.1", fix=WAY + "|header")),
    # Wide tables
    Case(name="wide closes", write=wide(), expect=CLOSES, tickers=NAMED),
    Case(name="wide with a ticker LOW among others", write=wide(), expect=CLOSES, tickers=PAIR),
    Case(name="wide with a ticker OPEN among others", write=wide(), expect=CLOSES, tickers=PAIR, names={"LOW": "OPEN"}),
    Case(name="wide with a ticker ALL only", write=wide(), expect=CLOSES, tickers=LOW, names={"LOW": "ALL"}),
    Case(name="wide with a ticker LOW only", write=wide(), expect=(CLOSES, Refused(WAY, seen=("LOW",))), tickers=LOW),
    Case(name="long with a ticker LOW only", write=table(LONG, ROW), expect=GIVEN, tickers=LOW),
    Case(
        name="a file LOW.csv in a folder with one file",
        write=folder_of_tickers("Date,Close", "{day},{raw.close}"),
        expect=CLOSES,
        tickers=LOW,
    ),
    Case(
        name="wide with tickers of six digits",
        write=wide(),
        expect=(CLOSES, Refused("--columns|ticker|name", seen=("000001",))),
    ),
    Case(
        name="wide with columns 0, 1, 2",
        write=wide(),
        expect=Refused("--columns|ticker|name", seen=("0", "1")),
        tickers=NAMED,
        names={"BRK.B": "0", "LOW": "1", "NA": "2"},
    ),
    Case(
        name="wide without a header", write=wide(lines=lambda rows: rows[1:]), expect=Refused("header"), tickers=NAMED
    ),
    Case(name="wide, names Close_AAPL", write=wide(column="Close_{ticker}"), expect=(CLOSES, Refused("Close_"))),
    Case(name="wide, names AAPL.Close", write=wide(column="{ticker}.Close"), expect=(CLOSES, Refused("LOW.Close"))),
    Case(
        name="wide, names 'AAPL Close Price'",
        write=wide(column="{ticker} Close Price"),
        expect=(CLOSES, Refused("LOW Close Price")),
    ),
    Case(
        name="wide, names 'AAPL (Close)'", write=wide(column="{ticker} (Close)"), expect=(CLOSES, Refused("LOW .Close"))
    ),
    Case(name="wide, names Close(AAPL)", write=wide(column="Close({ticker})"), expect=(CLOSES, Refused("Close.LOW"))),
    Case(name="wide, names close/AAPL", write=wide(column="close/{ticker}"), expect=(CLOSES, Refused("close/LOW"))),
    Case(name="wide, tuples as text", write=wide(column="\"('Close', '{ticker}')\""), expect=CLOSES),
    Case(
        name="wide of volumes by name",
        write=wide("{raw.volume:.0f}", column="Volume_{ticker}"),
        expect=Refused("close|Volume_", seen=("Volume_LOW",)),
    ),
    Case(
        name="wide of daily ranges by name",
        write=wide("{raw.high}", column="High_{ticker}"),
        expect=Refused("close|High_", seen=("High_LOW",)),
    ),
    Case(
        name="wide with row numbers from 1 before the date",
        write=wide(corner=",Date", date=lambda day: f"{day.toordinal() - 738900},{day}"),
        expect=(CLOSES, Refused("name|--columns")),
        tickers=NAMED,
    ),
    Case(
        name="wide with 'Unnamed: 0'",
        write=wide(corner="Unnamed: 0,Date", date=lambda day: f"{day.toordinal() - 738900},{day}"),
        expect=(CLOSES, Refused("Unnamed: 0")),
        tickers=NAMED,
    ),
    Case(
        name="wide with a column Volume",
        write=wide(lines=lambda rows: [rows[0] + ",Volume", *(row + ",1000" for row in rows[1:])]),
        expect=Refused("Volume", seen=("Volume",)),
        tickers=PAIR,
    ),
    Case(
        name="wide with year and month",
        write=wide(lines=lambda rows: [rows[0] + ",Year,Month", *(row + f",2024,{row[5:7]}" for row in rows[1:])]),
        expect=Refused("Year", seen=("Year", "Month")),
        tickers=PAIR,
    ),
    Case(
        name="wide with a mean of all",
        write=wide(lines=lambda rows: [rows[0] + ",Average", *(row + ",101.1" for row in rows[1:])]),
        expect=Refused("Average"),
        tickers=PAIR,
    ),
    Case(
        name="wide, dates across, tickers down",
        write=lambda folder, truth: write(
            folder / "p.csv",
            "\n".join(
                [
                    "Ticker," + ",".join(map(str, truth.days)),
                    *(t + "," + ",".join(f"{r.raw.close:.2f}" for r in truth.of(t)) for t in truth.tickers),
                ]
            ),
        ),
        expect=(CLOSES, Refused("date|transpose|rows", seen=("2024-01-17",))),
        tickers=PAIR,
    ),
    # Two tables beside each other
    Case(
        name="two tables side by side",
        write=side_by_side("Date,{},Date,{}"),
        expect=(CLOSES, Refused("two|Date")),
        tickers=PAIR,
    ),
    Case(
        name="two tables side by side, read by pandas",
        write=side_by_side("Date,{},Date.1,{}"),
        expect=(CLOSES, Refused("Date.1")),
        tickers=PAIR,
    ),
    Case(
        name="two tables side by side, dates as numbers",
        write=side_by_side("Date,{},Date.1,{}", dates="{:%Y%m%d}".format),
        expect=(CLOSES, Refused("Date.1")),
        tickers=PAIR,
    ),
    Case(
        name="two tables side by side, other names",
        write=side_by_side("Date,{},Datum,{}", dates="{:%Y%m%d}".format),
        expect=(CLOSES, Refused("Datum")),
        tickers=PAIR,
    ),
    Case(
        name="Bloomberg: tickers above fields",
        write=bloomberg,
        expect=(Taken(bars=False, names={t: f"{t} US Equity" for t in PAIR}), Refused("--columns|header|row|name")),
        tickers=PAIR,
    ),
    # Lines that are no bars
    Case(
        name="the header repeated below some rows",
        write=lines(lambda rows: [*rows[:HEADER_AGAIN], rows[0], *rows[HEADER_AGAIN:]]),
        expect=(GIVEN, Refused("header|date|number")),
    ),
    Case(
        name="a footer with a total",
        write=lines(lambda rows: [*rows, "Total,,,,,,123456789"]),
        expect=(GIVEN, Refused("Total|row")),
    ),
    Case(
        name="a footer in words",
        write=lines(lambda rows: [*rows, "", '"Past performance is no guarantee, see terms."']),
        expect=(GIVEN, Refused("line|row|column|date")),
    ),
    Case(
        name="a comment above the header",
        write=table(LONG, ROW, head="# exported 2024-03-01 by a tool\n"),
        expect=(GIVEN, Refused("header|column|line")),
    ),
    Case(
        name="a title and an empty line above the header",
        write=table(LONG, ROW, head="Price history\n\n"),
        expect=(GIVEN, Refused("header|column|line")),
    ),
    Case(name="empty lines at the end", write=lines(lambda rows: [*rows, "", ""]), expect=GIVEN),
    Case(
        name="a line cut short",
        write=lines(lambda rows: [*rows[:-1], rows[-1].rpartition(",")[0]]),
        expect=Refused("column|field|line|row"),
    ),
    Case(
        name="a line with a comma in the name",
        write=lines(lambda rows: [*rows[:-1], rows[-1].replace("000001", "000001, Inc.")]),
        expect=Refused("column|field|line|row"),
    ),
    Case(name="a long table without a header", write=table(None, ROW), expect=(GIVEN, Refused("header"))),
    Case(name="only a header", write=table(LONG, ROW), expect=Refused("row|empty|bar"), tickers=("none",)),
    # Separators, encodings, duplicates
    Case(name="BOM", write=table(LONG, ROW, encoding="utf-8-sig"), expect=GIVEN),
    Case(name="UTF-16", write=table(LONG, ROW, encoding="utf-16"), expect=(GIVEN, Refused("UTF"))),
    Case(
        name="tabs in a .csv",
        write=table(LONG.replace(",", "\t"), ROW.replace(",", "\t")),
        expect=(GIVEN, Refused("--sep")),
    ),
    Case(
        name="tabs in a .csv, as stated",
        write=table(LONG.replace(",", "\t"), ROW.replace(",", "\t")),
        expect=GIVEN,
        options=ReadOptions(sep="\t"),
    ),
    Case(
        name="pipes",
        write=table(LONG.replace(",", "|"), ROW.replace(",", "|"), file="p.txt"),
        expect=(GIVEN, Refused("--sep")),
    ),
    Case(
        name="semicolons under commas",
        write=table(LONG, ROW.replace(",", ";")),
        expect=Refused("--sep|separator|column|field"),
    ),
    Case(
        name="blanks of a fixed width",
        write=table(LONG.replace(",", "   "), ROW.replace(",", "   "), file="p.txt"),
        expect=(GIVEN, Refused("--sep|column")),
    ),
    Case(
        name="a wrong separator stated",
        write=table(LONG, ROW),
        expect=Refused("--sep|column", seen=("date",)),
        options=ReadOptions(sep=";"),
    ),
    Case(name="old Mac line ends", write=table(LONG, ROW, eol="\r"), expect=(GIVEN, Refused("line|column"))),
    Case(name="upper case suffix", write=table(LONG, ROW, file="PRICES.CSV"), expect=GIVEN),
    *(
        Case(name=f"packed as .{packed}", write=table(LONG, ROW, file=f"p.csv.{packed}"), expect=GIVEN)
        for packed in ("gz", "zip", "xz", "bz2")
    ),
    Case(
        name="a row twice",
        write=lines(lambda rows: [*rows, rows[-1]]),
        expect=(GIVEN, Refused("twice", seen=("2024-02-28",))),
    ),
    Case(
        name="a day twice with two prices",
        write=lines(lambda rows: [*rows, rows[-1].replace("000001,", "000001,1")]),
        expect=Refused("twice", seen=("000001", "2024-02-28")),
    ),
    Case(
        name="two files of one ticker that overlap",
        write=overlapping,
        expect=Refused("twice", seen=("LOW",)),
        tickers=LOW,
    ),
    Case(
        name="two columns of one name",
        write=table(LONG + ",close", ROW + ",{raw.open}"),
        expect=Refused("two columns|twice", seen=("close",)),
    ),
    Case(
        name="close and Close",
        write=table(LONG + ",Close", ROW + ",{full.close}"),
        expect=Refused("--columns|two|close", seen=("close", "Close")),
    ),
    Case(
        name="two names of tickers",
        write=table("symbol,name," + LONG.replace("ticker,", ""), "{ticker},A Company of {ticker},{day}," + RAW),
        expect=(GIVEN, Refused("--columns", seen=("symbol", "name"))),
    ),
    Case(
        name="a ticker and a symbol that differ",
        write=table("symbol," + LONG, "X{ticker}," + ROW),
        expect=(GIVEN, Refused("--columns", seen=("symbol", "ticker"))),
    ),
    # Folders
    Case(name="files with columns in two orders", write=unequal, expect=GIVEN, tickers=PAIR),
    Case(
        name="an adjusted close in one file of two",
        write=bases,
        expect=Refused("Adj Close|column|adjust"),
        tickers=("LOW", "BRK.B"),
    ),
    # Statements that do not fit
    Case(
        name="a stated column that is not there",
        write=table(LONG, ROW),
        expect=Refused("PRC", seen=("date", "close")),
        options=ReadOptions(columns={"close": "PRC"}),
    ),
    Case(
        name="a stated role that is unknown",
        write=table(LONG, ROW),
        expect=Refused("closing", seen=("close",)),
        options=ReadOptions(columns={"closing": "close"}),
    ),
    Case(
        name="a ticker stated for a table of four",
        write=table(LONG, ROW),
        expect=Refused("--ticker", seen=("ticker",)),
        options=AS_LOW,
    ),
    Case(
        name="unusual names, stated",
        write=table("D,S,P_O,P_H,P_L,P_C,Q", ROW),
        expect=GIVEN,
        options=ReadOptions(
            columns={
                "date": "D",
                "ticker": "S",
                "open": "P_O",
                "high": "P_H",
                "low": "P_L",
                "close": "P_C",
                "volume": "Q",
            }
        ),
    ),
    Case(name="unusual names", write=table("D,S,P_O,P_H,P_L,P_C,Q", ROW), expect=Refused("--columns", seen=("S",))),
    Case(
        name="an unnamed column of notes",
        write=table(LONG + ",", ROW + ",checked"),
        expect=(GIVEN, Refused("name|column")),
    ),
    Case(
        name="open as the last traded price before",
        write=table("date,ticker,prev_close,pre_close,close", "{day},{ticker},{before},{before},{raw.close}"),
        expect=CLOSES,
    ),
    Case(
        name="OHLCV in capitals and blanks",
        write=table("TRADE DATE, TICKER SYMBOL ,OPEN PRICE,HIGH PRICE,LOW PRICE,CLOSE PRICE,TOTAL VOLUME", ROW),
        expect=(GIVEN, Refused("--columns", seen=("TICKER SYMBOL",))),
    ),
]
