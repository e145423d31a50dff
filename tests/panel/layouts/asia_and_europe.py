"""Exchanges and vendors of Asia and Europe: their own words, lots of 100 shares, semicolons and decimal commas."""

from __future__ import annotations

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.write import RAW, daily_files, folder_of_tickers, newest_first, table

AS_TRADED = Taken(volume=("raw", None))
GIVEN = Taken(close="split", volume="split")
TRADED = Taken(close="split", volume=("split", None))
IN_SHARES = Taken(raw_close="raw", volume=("raw", None), raw_volume=("raw", None))
"""The file counts lots of 100 shares: a volume is in shares, or is left out."""
LOW = ("LOW",)
AS_LOW = ReadOptions(ticker="LOW")
SHANGHAI = {"BRK.B": "600519.SH", "LOW": "000333.SZ", "NA": "300750.SZ", "000001": "000001.SZ"}
BAOSTOCK = {"BRK.B": "sh.600519", "LOW": "sz.000333", "NA": "sz.300750", "000001": "sz.000001"}
CODES = {"BRK.B": "72030", "LOW": "67580", "NA": "130A0", "000001": "99840"}
SCRIPS = {"BRK.B": "500325", "LOW": "500002", "NA": "532540", "000001": "500003"}
TUSHARE = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount"
TUSHARE_ROW = (
    "{ticker},{day:%Y%m%d},{raw.open},{raw.high},{raw.low},{raw.close},{before},0.03,0.31,{lots:.2f},{thousands:.3f}"
)
CHINESE = "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率"
CHINESE_ROW = "{day},{ticker},{raw.open},{raw.close},{raw.high},{raw.low},{lots:.0f},{amount},3.87,-0.08,-0.11,4.44"
CHINESE_COLUMNS = {"date": "日期", "ticker": "股票代码", "open": "开盘", "close": "收盘", "high": "最高", "low": "最低"}
BHAVCOPY = "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,"
BHAVCOPY_ROW = (
    "{ticker},EQ,{raw.open},{raw.high},{raw.low},{raw.close},{raw.open},{before},{raw.volume:.0f},{amount},"
    "{day:%d-%b-%Y},370,INE144J01027,"
)
UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,OpnPric,HghPric,LwPric,ClsPric,LastPric,"
    "PrvsClsgPric,SttlmPric,TtlTradgVol,TtlTrfVal,TtlNbOfTxsExctd"
)
UDIFF_ROW = (
    "{day},{day},CM,NSE,STK,101,INE000A01001,{ticker},EQ,,{raw.open},{raw.high},{raw.low},{raw.close},{raw.open},"
    "{before},{raw.close},{raw.volume:.0f},{amount},400"
)
EURONEXT_HEAD = '"Historical Data"\n"From 2024-01-17 to 2024-02-28"\nNL0000226223\n'
EURONEXT = 'Date;Open;High;Low;Last;Close;"Number of Shares";"Number of Trades";Turnover'
EURONEXT_ROW = "{day:%d/%m/%Y};{split.open:.2f};{split.high:.2f};{split.low:.2f};{split.open:.2f};{split.close:.2f};{split.volume:.0f};2195;{amount:.0f}"
GERMAN = "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen"
GERMAN_ROW = "{day:%d.%m.%Y};{split.open:de2};{split.high:de2};{split.low:de2};{split.close:de2};{split.volume:de0}"
GERMAN_COLUMNS = {
    "date": "Datum",
    "open": "Eröffnung",
    "high": "Hoch",
    "low": "Tief",
    "close": "Schluss",
    "volume": "Volumen",
}
BRK = ("BRK.B",)

CASES = [
    Case(
        name="Tushare daily: lots of 100 shares",
        write=table(TUSHARE, TUSHARE_ROW, order=newest_first),
        expect=IN_SHARES,
        names=SHANGHAI,
    ),
    Case(
        name="Tushare daily saved by pandas with row numbers",
        write=table("," + TUSHARE, "{n}," + TUSHARE_ROW),
        expect=IN_SHARES,
        names=SHANGHAI,
    ),
    Case(
        name="Tushare daily with adj_factor",
        write=table(TUSHARE + ",adj_factor", TUSHARE_ROW + ",{backward_factor}"),
        expect=Taken(close=("full", "raw"), raw_close="raw", volume=("raw", "split", "full", None)),
        names=SHANGHAI,
    ),
    Case(
        name="AKShare in Chinese",
        write=table(CHINESE, CHINESE_ROW, encoding="utf-8-sig"),
        expect=(Taken(volume=("raw", None)), Refused("--columns", seen=("日期", "收盘"))),
        names={key: name[:6] for key, name in SHANGHAI.items()},
    ),
    Case(
        name="AKShare in Chinese, columns stated",
        write=table(CHINESE, CHINESE_ROW, encoding="utf-8-sig"),
        expect=Taken(volume=("raw", None)),
        options=ReadOptions(columns=CHINESE_COLUMNS),
        names={key: name[:6] for key, name in SHANGHAI.items()},
    ),
    Case(
        name="AKShare in Chinese, GBK",
        write=table(CHINESE, CHINESE_ROW, encoding="gbk"),
        expect=(Taken(volume=("raw", None)), Refused("UTF-8|--columns")),
    ),
    Case(
        name="Baostock",
        write=table(
            "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST",
            "{day},{ticker},{raw.open:.4f},{raw.high:.4f},{raw.low:.4f},{raw.close:.4f},{before:.4f},{raw.volume:.0f},{amount:.4f},3,0.27,1,-0.09,0",
        ),
        expect=Taken(),
        names=BAOSTOCK,
    ),
    Case(
        name="J-Quants with Adjustment columns",
        write=table(
            "Date,Code,Open,High,Low,Close,UpperLimit,LowerLimit,Volume,TurnoverValue,AdjustmentFactor,AdjustmentOpen,AdjustmentHigh,AdjustmentLow,AdjustmentClose,AdjustmentVolume",
            "{day},{ticker},{raw.open},{raw.high},{raw.low},{raw.close},0,0,{raw.volume:.1f},{amount},1.0,{split.open},{split.high},{split.low},{split.close},{split.volume:.1f}",
        ),
        expect=(Taken(close="split", volume="split"), Refused("--columns", seen=("AdjustmentClose",))),
        names=CODES,
    ),
    Case(
        name="J-Quants V2 with letters",
        write=table(
            "Date,Code,O,H,L,C,UL,LL,Vo,Va,AdjFactor,AdjO,AdjH,AdjL,AdjC,AdjVo",
            "{day},{ticker},{raw.open},{raw.high},{raw.low},{raw.close},0,0,{raw.volume:.1f},{amount},1.0,{split.open},{split.high},{split.low},{split.close},{split.volume:.1f}",
        ),
        expect=(Taken(close="split", volume=("split", None)), Refused("--columns", seen=("AdjO", "C"))),
        names=CODES,
    ),
    Case(
        name="NSE bhavcopy, one file per day",
        write=daily_files(BHAVCOPY, BHAVCOPY_ROW, file="cm{day}bhav.csv"),
        expect=AS_TRADED,
    ),
    Case(
        name="NSE bhavcopy UDiFF",
        write=daily_files(UDIFF, UDIFF_ROW),
        expect=(AS_TRADED, Refused("--columns", seen=("TradDt", "TckrSymb"))),
    ),
    Case(
        name="NSE bhavcopy UDiFF, columns stated",
        write=daily_files(UDIFF, UDIFF_ROW),
        expect=Taken(),
        options=ReadOptions(
            columns={
                "date": "TradDt",
                "ticker": "TckrSymb",
                "open": "OpnPric",
                "high": "HghPric",
                "low": "LwPric",
                "close": "ClsPric",
                "volume": "TtlTradgVol",
            }
        ),
    ),
    Case(
        name="NSE bhavcopy, a symbol in two series on one day",
        write=daily_files(
            BHAVCOPY, BHAVCOPY_ROW + "\n" + BHAVCOPY_ROW.replace("EQ", "BE").replace("{raw.close}", "1.05")
        ),
        expect=Refused("twice|SERIES"),
    ),
    Case(
        name="NSE security-wise: padded names, Indian thousands",
        write=table(
            '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","52W H ","52W L ","VOLUME ","VALUE ","No of trades "',
            '"{day:%d-%b-%Y}","EQ","{raw.open:in2}","{raw.high:in2}","{raw.low:in2}","{before:in2}","{raw.open:in2}","{raw.close:in2}","{raw.high:in2}","568.20","370.05","{raw.volume:in0}","{amount:in2}","34,547"',
            order=newest_first,
            file="LOW.csv",
        ),
        expect=Taken(),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="BSE bhavcopy",
        write=table(
            "SC_CODE,SC_NAME,SC_GROUP,SC_TYPE,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,NO_TRADES,NO_OF_SHRS,NET_TURNOV,TDCLOINDI,ISIN_CODE,TRADING_DATE,FILLER2,FILLER3",
            "{ticker},ABB LTD.    ,A ,Q,{raw.open},{raw.high},{raw.low},{raw.close},{raw.open},{before},751,{raw.volume:.0f},{amount},,INE117A01022,{day:%d-%b-%y},,",
        ),
        expect=(AS_TRADED, Refused("--columns|--date-format")),
        names=SCRIPS,
    ),
    Case(
        name="BSE bhavcopy without a date",
        write=table(
            "SC_CODE,SC_NAME,SC_GROUP,SC_TYPE,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,NO_TRADES,NO_OF_SHRS,NET_TURNOV,TDCLOINDI",
            "{ticker},ABB LTD.,A,Q,{raw.open},{raw.high},{raw.low},{raw.close},{raw.open},{before},751,{raw.volume:.0f},{amount},",
            file="EQ170124.CSV",
        ),
        expect=Refused("date", seen=("SC_CODE", "PREVCLOSE")),
        first="2024-01-17",
        last="2024-01-17",
    ),
    Case(
        name="Euronext with three lines above",
        write=table(
            EURONEXT, EURONEXT_ROW, order=newest_first, head=EURONEXT_HEAD, encoding="utf-8-sig", file="LOW.csv"
        ),
        expect=TRADED,
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Euronext with a column that the header lacks",
        write=table(
            EURONEXT, EURONEXT_ROW + ";{split.high:.4f}", order=newest_first, head=EURONEXT_HEAD, file="LOW.csv"
        ),
        expect=(TRADED, Refused("column|field|line|header")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Euronext with decimal comma",
        write=table(
            EURONEXT,
            EURONEXT_ROW.replace(":.2f", ":de2").replace("split.volume:.0f", "split.volume:de0"),
            order=newest_first,
            head=EURONEXT_HEAD,
            file="BRK.B.csv",
        ),
        expect=(TRADED, Refused("--decimal")),
        tickers=BRK,
        options=ReadOptions(ticker="BRK.B"),
    ),
    Case(
        name="Euronext with decimal comma, as stated",
        write=table(
            EURONEXT,
            EURONEXT_ROW.replace(":.2f", ":de2").replace("split.volume:.0f", "split.volume:de0"),
            order=newest_first,
            head=EURONEXT_HEAD,
            file="BRK.B.csv",
        ),
        expect=TRADED,
        options=ReadOptions(ticker="BRK.B", decimal=",", sep=";"),
        tickers=BRK,
    ),
    Case(
        name="German broker",
        write=table(GERMAN, GERMAN_ROW, file="LOW.csv", encoding="utf-8-sig"),
        expect=(GIVEN, Refused("--columns", seen=("Datum", "Schluss"))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="German broker, columns stated",
        write=table(GERMAN, GERMAN_ROW, file="LOW.csv", encoding="utf-8-sig"),
        expect=GIVEN,
        options=ReadOptions(ticker="LOW", columns=GERMAN_COLUMNS, decimal=","),
        tickers=LOW,
    ),
    Case(
        name="German broker, Latin-1",
        write=table(GERMAN, GERMAN_ROW, file="LOW.csv", encoding="latin-1"),
        expect=(GIVEN, Refused("UTF-8|--columns")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Investing.com in German",
        write=table(
            '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
            '"{day:%d.%m.%Y}","{split.close:de2}","{split.open:de2}","{split.high:de2}","{split.low:de2}","3,81M","0,51%"',
            file="LOW.csv",
        ),
        expect=(Taken(close="split", volume=None), Refused("--columns", seen=("Datum", "Zuletzt"))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Stooq in Polish",
        write=table("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", "{day}," + RAW, file="low_d.csv"),
        expect=(Taken(), Refused("--columns", seen=("Data", "Zamkniecie"))),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Nasdaq Nordic with sep=; above",
        write=table(
            "Date;Bid;Ask;Opening price;High price;Low price;Closing price;Average price;Total volume;Turnover;Trades;",
            "{day};{raw.low:.2f};{raw.high:.2f};{raw.open:.2f};{raw.high:.2f};{raw.low:.2f};{raw.close:.2f};{raw.close:.2f};{raw.volume:.0f};1;1;".replace(
                ":.2f", ":de2"
            ),
            head="sep=;\n",
            file="LOW.csv",
        ),
        expect=(Taken(volume=("raw", None)), Refused("--columns|--decimal|header")),
        tickers=LOW,
        options=AS_LOW,
    ),
    Case(
        name="Netfonds",
        write=table(
            "quote_date;paper;exch;open;high;low;close;volume;value",
            "{day:%Y%m%d};{ticker};N;" + RAW.replace(",", ";") + ";{amount:.0f}",
            file="paperhistory.csv",
        ),
        expect=(Taken(), Refused("--columns", seen=("quote_date", "paper"))),
    ),
    Case(
        name="SGX folder of MetaStock 7 without header",
        write=folder_of_tickers(None, "{ticker},{day:%Y%m%d}," + RAW),
        expect=(Taken(), Refused("header")),
    ),
]
