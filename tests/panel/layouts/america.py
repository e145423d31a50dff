"""Vendors of American prices; each case says on which basis the vendor documents its columns."""

from __future__ import annotations

from pathlib import Path

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import MISSING, Truth
from tests.panel.layouts.write import (
    FULL,
    RAW,
    SPLIT,
    by_ticker,
    daily_files,
    folder_of_tickers,
    newest_first,
    table,
)

ADJUSTED = Taken(close="full", volume="split")
EVERYTHING = Taken(close="full", volume="split", raw_close="raw", raw_volume="raw")
AS_TRADED = Taken(raw_close="raw", raw_volume="raw")
GIVEN = Taken(close="split", volume="split")
LOW = ("LOW",)
AS_LOW = ReadOptions(ticker="LOW")
STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
STOOQ_ROW = "{ticker},D,{day:%Y%m%d},000000," + FULL + ",0"
DOT_US = {"BRK.B": "BRK-B.US", "LOW": "LOW.US", "NA": "NA.US", "000001": "ONE.US"}
PERMNO = {"BRK.B": "83443", "LOW": "61399", "NA": "10107", "000001": "14593"}
ADJ_FIVE = "{full.open},{full.high},{full.low},{full.close},{split.volume:.0f}"
TIINGO = "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor"
TIINGO_ROW = (
    "{raw.close},{raw.high},{raw.low},{raw.open},{raw.volume:.0f},"
    "{full.close},{full.high},{full.low},{full.open},{split.volume:.0f},{dividend},{ratio}"
)
WIKI_ROW = RAW + ",{dividend},{ratio}," + ADJ_FIVE
EOD_ROW = "{raw.open},{raw.high},{raw.low},{raw.close},{full.close},{split.volume:.0f}"
EODHD = Taken(close="full", volume="split", raw_close="raw")
"""Open, high, low and close as traded; the volume adjusted for splits."""
CRSP = "PERMNO,date,TICKER,BIDLO,ASKHI,PRC,VOL,RET,SHROUT,OPENPRC,CFACPR,CFACSHR"
IN_CRSP = Taken(close=("split", "full"), volume="split", raw_close="raw", raw_volume="raw", unknown_open=True)


def crsp(date: str = "{day:%Y%m%d}", header: str = CRSP, **options):
    """A SAS export: a negative PRC is the average of bid and ask, a day without a price has RET B, the first has C."""
    traded = (
        "{name},"
        + "{raw.low:.2f},{raw.high:.2f},{raw.close:.5f},{raw.volume:.0f},0.001000,651000,{raw.open:.5f},{later_split},{later_split}"
    )
    quoted = "{name},{raw.low:.2f},{raw.high:.2f},-{raw.close:.5f},0,0.000000,651000,,{later_split},{later_split}"

    def writer(folder: Path, truth: Truth) -> Path:
        lines = [header]
        for ticker in truth.tickers:
            for row in truth.of(ticker):
                template = f"{{ticker}},{date}," + (traded if row.traded else quoted)
                line = table(None, template, file="line.csv")(folder, Truth((row,))).read_text().strip()
                lines.append(line if row.n else line.replace(",0.001000,", ",C,"))
            if truth.of(ticker)[0].name == MISSING[0]:
                absent = date.format(day=MISSING[1])
                lines.append(f"{ticker},{absent},{MISSING[0]},,,,,B,651000,,1,1")
        (folder / "line.csv").unlink()
        path = folder / options.get("file", "dsf.csv")
        path.write_text("\n".join(lines) + "\n")
        return path

    return writer


INVESTING = '"Date","Price","Open","High","Low","Vol.","Change %"'
INVESTING_ROW = (
    '"{day:%m/%d/%Y}","{split.close:,.2f}","{split.open:,.2f}","{split.high:,.2f}","{split.low:,.2f}",'
    '"{split.volume:human}","0.51%"'
)
NASDAQ = "Date,Close/Last,Volume,Open,High,Low"
NASDAQ_ROW = "{day:%m/%d/%Y},${split.close:.2f},{split.volume:.0f},${split.open:.2f},${split.high:.2f},${split.low:.2f}"

CASES = [
    Case(name="Stooq bulk", write=table(STOOQ, STOOQ_ROW, file="daily.txt", order=by_ticker), expect=ADJUSTED),
    Case(
        name="Stooq folder of .us.txt",
        write=folder_of_tickers(STOOQ, STOOQ_ROW, file="{ticker}.txt"),
        expect=ADJUSTED,
        names=DOT_US,
    ),
    Case(
        name="Stooq web",
        write=table("Date,Open,High,Low,Close,Volume", "{day}," + FULL, file="low_us_d.csv"),
        expect=ADJUSTED,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Kaggle S&P 500 with Name",
        write=table("date,open,high,low,close,volume,Name", "{day}," + SPLIT + ",{ticker}", order=by_ticker),
        expect=GIVEN,
    ),
    Case(
        name="Alpha Vantage daily",
        write=table("timestamp,open,high,low,close,volume", "{day}," + RAW, order=newest_first, file="daily_LOW.csv"),
        expect=Taken(),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Alpha Vantage daily adjusted",
        write=table(
            "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
            "{day},{raw.open},{raw.high},{raw.low},{raw.close},{full.close},{raw.volume:.0f},{dividend:.4f},{ratio}",
            order=newest_first,
            file="daily_adjusted_LOW.csv",
        ),
        expect=EVERYTHING,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Tiingo",
        write=table(TIINGO, "{day}," + TIINGO_ROW, file="LOW.csv"),
        expect=EVERYTHING,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Tiingo with instants",
        write=table(TIINGO, "{day}T00:00:00.000Z," + TIINGO_ROW, file="LOW.csv"),
        expect=EVERYTHING,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(name="Tiingo bulk", write=table("ticker," + TIINGO, "{ticker},{day}," + TIINGO_ROW), expect=EVERYTHING),
    Case(name="Tiingo folder", write=folder_of_tickers(TIINGO, "{day}," + TIINGO_ROW), expect=EVERYTHING),
    Case(
        name="Nasdaq WIKI table in a zip",
        write=table(
            "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,adj_low,adj_close,adj_volume",
            "{ticker},{day}," + WIKI_ROW,
            order=by_ticker,
            file="WIKI_PRICES.csv.zip",
        ),
        expect=EVERYTHING,
    ),
    Case(
        name="Quandl WIKI of one ticker",
        write=table(
            "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume",
            "{day}," + WIKI_ROW,
            order=newest_first,
            file="WIKI-LOW.csv",
        ),
        expect=EVERYTHING,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Polygon flat files, one gzip per day",
        write=daily_files(
            "ticker,volume,open,close,high,low,window_start,transactions",
            "{ticker},{raw.volume:.0f},{raw.open},{raw.close},{raw.high},{raw.low},{new_york_seconds}000000000,4211",
            file="{day}.csv.gz",
        ),
        expect=AS_TRADED,
    ),
    Case(
        name="Polygon REST saved as CSV: T is the ticker, t the time",
        write=table(
            "T,v,vw,o,c,h,l,t,n",
            "{ticker},{raw.volume:.0f},{raw.open},{raw.open},{raw.close},{raw.high},{raw.low},{new_york_seconds}000,4211",
        ),
        expect=(Taken(), Refused("--columns", seen=("T", "t"))),
    ),
    Case(name="CRSP daily stock file", write=crsp(), expect=IN_CRSP, names=PERMNO),
    Case(
        name="CRSP with SAS dates 17JAN2024",
        write=crsp("{day:%d%b%Y}"),
        expect=(IN_CRSP, Refused("--date-format", seen=("17Jan2024",))),
        names=PERMNO,
    ),
    Case(name="CRSP with dates MM/DD/YYYY", write=crsp("{day:%m/%d/%Y}"), expect=IN_CRSP, names=PERMNO),
    Case(name="CRSP in lower case (WRDS Python)", write=crsp("{day}", CRSP.lower()), expect=IN_CRSP, names=PERMNO),
    Case(
        name="CRSP by TICKER, as stated",
        write=crsp(),
        expect=Taken(
            close=("split", "full"),
            volume="split",
            raw_close="raw",
            raw_volume="raw",
            unknown_open=True,
            names={PERMNO[t]: t for t in PERMNO},
        ),
        options=ReadOptions(columns={"ticker": "TICKER"}),
        names=PERMNO,
    ),
    Case(
        name="CRSP CIZ (2022 format)",
        write=table(
            "PERMNO,Ticker,DlyCalDt,DlyPrc,DlyPrcFlg,DlyRet,DlyVol,DlyClose,DlyLow,DlyHigh,DlyOpen,DlyCumFacPr,DlyCumFacShr",
            "{ticker},{name},{day},{raw.close},TR,0.001,{raw.volume:.0f},{raw.close},{raw.low},{raw.high},{raw.open},{later_split},{later_split}",
            order=by_ticker,
        ),
        expect=(IN_CRSP, Refused("--columns", seen=("DlyPrc", "DlyCalDt"))),
        names=PERMNO,
    ),
    Case(
        name="Compustat security daily",
        write=table(
            "gvkey,iid,datadate,tic,conm,ajexdi,cshtrd,prccd,prchd,prcld,prcod,trfd",
            "00{n}110,01,{day:%Y%m%d},{ticker},A COMPANY,{later_split},{raw.volume:.0f},{raw.close},{raw.high},{raw.low},{raw.open},1",
        ),
        expect=(
            Taken(close=("split", "full"), volume="split", raw_close="raw"),
            Refused("--columns", seen=("prccd", "datadate")),
        ),
    ),
    Case(
        name="EODHD of one ticker",
        write=table("Date,Open,High,Low,Close,Adjusted_close,Volume", "{day}," + EOD_ROW, file="LOW.US.csv"),
        expect=EODHD,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="EODHD bulk, one file per day",
        write=daily_files("Code,Ex,Date,Open,High,Low,Close,Adjusted_close,Volume", "{ticker},US,{day}," + EOD_ROW),
        expect=EODHD,
    ),
    Case(
        name="Sharadar SEP",
        write=table(
            "ticker,date,open,high,low,close,volume,closeadj,closeunadj,lastupdated",
            "{ticker},{day}," + SPLIT + ",{full.close},{raw.close},2024-03-01",
            order=by_ticker,
            file="SHARADAR_SEP.csv",
        ),
        expect=Taken(close="full", volume="split", raw_close="raw"),
    ),
    Case(
        name="Investing.com",
        write=table(
            INVESTING, INVESTING_ROW, order=newest_first, file="Lowe's Historical Data.csv", encoding="utf-8-sig"
        ),
        expect=Taken(close="split", volume="split", volume_rtol=5e-3),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Investing.com, a day whose volume is a dash",
        write=table(INVESTING, INVESTING_ROW.replace('"{split.volume:human}"', '"-"'), order=newest_first),
        expect=(Taken(close="split", volume=None), Refused("volume|Vol", seen=("-",))),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Investing.com, dates 'Jan 17, 2024'",
        write=table(INVESTING, INVESTING_ROW.replace("%m/%d/%Y", "%b %d, %Y"), order=newest_first, file="LOW.csv"),
        expect=(
            Taken(close="split", volume="split", volume_rtol=5e-3),
            Refused("--date-format", seen=("Feb 28, 2024",)),
        ),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Nasdaq.com with Close/Last and $",
        write=table(NASDAQ, NASDAQ_ROW, order=newest_first, file="HistoricalData_1709.csv"),
        expect=GIVEN,
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Nasdaq.com, the file names nothing",
        write=table(NASDAQ, NASDAQ_ROW, order=newest_first, file="HistoricalData_1709251200.csv"),
        expect=(Taken(close="split", volume="split", names={"LOW": "HistoricalData_1709251200"}), Refused("--ticker")),
        tickers=LOW,
    ),
    Case(
        name="MarketWatch",
        write=table(
            "Date,Open,High,Low,Close,Volume",
            '{day:%m/%d/%Y},{split.open:,.2f},{split.high:,.2f},{split.low:,.2f},{split.close:,.2f},"{split.volume:,.0f}"',
            order=newest_first,
            file="LOW.csv",
        ),
        expect=GIVEN,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="WSJ: blanks after commas, years of two digits",
        write=table(
            "Date, Open, High, Low, Close, Volume",
            "{day:%m/%d/%y}, " + SPLIT.replace(",", ", "),
            order=newest_first,
            file="LOW.csv",
        ),
        expect=(GIVEN, Refused("--date-format", seen=("02/28/24",))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="WSJ with the date format",
        write=table(
            "Date, Open, High, Low, Close, Volume",
            "{day:%m/%d/%y}, " + SPLIT.replace(",", ", "),
            order=newest_first,
            file="LOW.csv",
        ),
        expect=GIVEN,
        options=ReadOptions(ticker="LOW", date_format="%m/%d/%y"),
        tickers=LOW,
    ),
    Case(
        name="Barchart with a footer",
        write=table(
            "Symbol,Time,Open,High,Low,Latest,Change,%Change,Volume",
            "{ticker},{day},{split.open:.2f},{split.high:.2f},{split.low:.2f},{split.close:.2f},+0.31,+0.61%,{split.volume:.0f}",
            order=newest_first,
            foot='"Downloaded from Barchart.com as of 02-28-2024 05:24pm CST"',
        ),
        expect=(GIVEN, Refused("--columns|line|row")),
    ),
    Case(
        name="FirstRate: no header",
        write=table(None, "{day}," + FULL, file="LOW_full_1day_adjsplitdiv.txt"),
        expect=(ADJUSTED, Refused("header")),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="Kibot: no header, MM/DD/YYYY",
        write=table(None, "{day:%m/%d/%Y}," + FULL, file="LOW.txt"),
        expect=(ADJUSTED, Refused("header")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Alpaca: midnight of New York in UTC, as stated",
        write=table(
            "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
            "{ticker},{new_york:%Y-%m-%d %H:%M:%S}+00:00," + RAW + ",41,{raw.open}",
        ),
        expect=Taken(),
        options=ReadOptions(timezone="America/New_York"),
    ),
    Case(
        name="Alpaca: midnight of New York in UTC",
        write=table(
            "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
            "{ticker},{new_york:%Y-%m-%d %H:%M:%S}+00:00," + RAW + ",41,{raw.open}",
        ),
        expect=(Taken(), Refused("--timezone")),
    ),
    Case(
        name="Interactive Brokers (ib_insync)",
        write=table(
            ",date,open,high,low,close,volume,average,barCount",
            "{n},{day}," + SPLIT + ",{split.open},211",
            file="LOW.csv",
        ),
        expect=GIVEN,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Financial Modeling Prep",
        write=table(
            "date,open,high,low,close,adjClose,volume,unadjustedVolume,change,changePercent,vwap,label,changeOverTime",
            '{day},{split.open},{split.high},{split.low},{split.close},{full.close},{split.volume:.0f},{raw.volume:.0f},-0.3,-0.15,{split.open},"January 17, 24",-0.0015',
            order=newest_first,
            file="LOW.csv",
        ),
        expect=(ADJUSTED, Refused("--columns", seen=("adjClose", "label"))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Marketstack",
        write=table(
            "open,high,low,close,volume,adj_high,adj_low,adj_close,adj_open,adj_volume,split_factor,dividend,symbol,exchange,date",
            RAW
            + ",{full.high},{full.low},{full.close},{full.open},{split.volume:.1f},{ratio},{dividend},{ticker},XNYS,{day}T00:00:00+0000",
        ),
        expect=ADJUSTED,
    ),
    Case(
        name="SimFin with semicolons",
        write=table(
            "Ticker;SimFinId;Date;Open;Low;High;Close;Adj. Close;Dividend;Volume;Shares Outstanding",
            "{ticker};1{n};{day};{split.open:.2f};{split.low:.2f};{split.high:.2f};{split.close:.2f};{full.close};;{split.volume:.0f};64000000",
            order=by_ticker,
        ),
        expect=ADJUSTED,
    ),
    Case(
        name="Databento: prices in units of 1e-9",
        write=table(
            "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
            "{seconds}000000000,35,1,12345,{raw.open:nano},{raw.high:nano},{raw.low:nano},{raw.close:nano},{raw.volume:.0f},{ticker}",
        ),
        expect=(Taken(), Refused("1e-9|price|scale", seen=("ts_event",))),
    ),
    Case(
        name="Google Sheets GOOGLEFINANCE",
        write=table("Date,Open,High,Low,Close,Volume", "{day:%m/%d/%Y} 16:00:00," + SPLIT, file="LOW.csv"),
        expect=(GIVEN, Refused("--date-format|--timezone")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="TradingView",
        write=table("time,open,high,low,close,Volume,Volume MA", "{seconds}," + FULL + ",{n}", file="NYSE_LOW, 1D.csv"),
        expect=(ADJUSTED, Refused("--date-format|--columns|seconds")),
        options=AS_LOW,
        tickers=LOW,
    ),
    Case(
        name="MetaTrader 5",
        write=table(
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            "{day:%Y.%m.%d}\t" + SPLIT.rpartition(",")[0].replace(",", "\t") + "\t4711\t{split.volume:.0f}\t3",
            file="LOW_Daily.csv",
        ),
        expect=(GIVEN, Refused("--columns|--sep|--date-format")),
        options=AS_LOW,
        tickers=LOW,
    ),
]
