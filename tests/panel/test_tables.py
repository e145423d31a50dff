"""The rules by which tables are read: files, names, dates and numbers, each resolved in one way or refused."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.cli.main import main
from encash.errors import FormatError, InputError
from encash.panel.tables import ReadOptions, layouts, read_bars
from encash.panel.tables.dates import DateRules, read_days
from encash.panel.tables.layouts import LAYOUTS, Layout, find_layout
from encash.panel.tables.numbers import read_numbers
from encash.panel.tables.roles import STATED_ROLES

RULES = DateRules(shown="t.csv", column="date")
WEEKDAYS = [day for day in (dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(60)) if day.weekday() < 5]
NAMED = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%Y-%m-%dT00:00:00Z",
)


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def days_of(texts, rules: DateRules = RULES):
    days, _, notes = read_days([pa.array(texts)], rules)
    return days[0].astype("datetime64[D]").astype(dt.date).tolist(), notes


def bars_of_one(words: str, rows: int = 30) -> str:
    lines = [f"{words}"]
    for n, day in enumerate(WEEKDAYS[:rows]):
        close, before = 100 + n * 7 % 11, 100 + (n - 1) * 7 % 11
        lines.append(f"{day},{before},{max(close, before) + 1},{min(close, before) - 1},{close},{1000 + n}")
    return "\n".join(lines)


def wide_of(values) -> str:
    return "\n".join(["Date,AAPL,MSFT", *(f"{day},{a},{b}" for day, (a, b) in zip(WEEKDAYS, values, strict=False))])


@settings(max_examples=60)
@given(
    days=st.lists(st.dates(dt.date(1930, 1, 1), dt.date(2090, 1, 1)), min_size=1, max_size=20),
    form=st.sampled_from(NAMED),
)
def test_dates_with_one_meaning_are_read_as_written(days, form):
    """The year first, the month in words, or points: every day comes back, whatever the days are."""
    days = [day for day in days if day.weekday() != 6] or [dt.date(2024, 1, 2)]
    assert days_of([day.strftime(form) for day in days])[0] == days


@settings(max_examples=60)
@given(
    days=st.lists(st.dates(dt.date(1970, 1, 1), dt.date(2060, 1, 1)), min_size=1, max_size=20),
    form=st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"]),
)
def test_day_and_month_are_told_apart_by_the_whole_column_or_refused(days, form):
    """Whatever the days are, the answer is these days or a refusal with the flag, and the flag gives these days."""
    texts = [day.strftime(form) for day in days]
    stated = DateRules(shown="t.csv", column="date", date_format=form, timezone="Asia/Riyadh")
    assert days_of(texts, stated)[0] == days
    proven = any(day.day > 12 for day in days) or all(day.day == day.month for day in days)
    if proven:
        assert days_of(texts, DateRules(shown="t.csv", column="date", timezone="Asia/Riyadh"))[0] == days
    else:
        with pytest.raises(FormatError, match=r"'.*' in 'date' is not a date of one meaning.*--date-format %d"):
            days_of(texts)


@settings(max_examples=60)
@given(
    days=st.lists(st.dates(dt.date(1960, 1, 1), dt.date(2090, 1, 1)), min_size=1, max_size=20),
    unit=st.sampled_from([("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)]),
)
def test_epochs_are_read_in_the_unit_of_their_size_or_refused(days, unit):
    """An epoch is these days, or refused: never a different day, in text and in integers alike."""
    name, scale = unit
    seconds = [(day - dt.date(1970, 1, 1)).days * 86_400 for day in days]
    rules = DateRules(shown="t.csv", column="date", timezone="Asia/Riyadh")
    for column in ([str(value * scale) for value in seconds], [value * scale for value in seconds]):
        with suppress(FormatError) if min(days) < dt.date(1990, 1, 1) else nullcontext():
            assert days_of(column, rules) == (days, (f"'date' holds epochs in {name}",))


def test_a_column_that_mixes_two_forms_of_dates_is_refused():
    """A spreadsheet converts some dates and leaves others."""
    with pytest.raises(FormatError, match="'13/01/2024' and '2024-05-01' in 'date' are mixed"):
        days_of(["2024-05-01", "13/01/2024"])


@pytest.mark.parametrize(
    "zone", ["Asia/Tokyo", "Asia/Shanghai", "Europe/Berlin", "Australia/Sydney", "America/New_York"]
)
def test_midnights_of_any_exchange_in_utc_are_its_days_or_refused(zone):
    """Stored in UTC they are a day early in the east: refused with --timezone, which gives the days of the exchange."""
    instants = pa.array([dt.datetime(day.year, day.month, day.day) for day in WEEKDAYS]).cast(pa.timestamp("us"))
    utc = pa.compute.assume_timezone(instants, zone).cast(pa.timestamp("us", tz="UTC"))
    stated, _, _ = read_days([utc], DateRules(shown="t", column="date", timezone=zone))
    assert stated[0].astype(dt.date).tolist() == WEEKDAYS
    if zone == "America/New_York":
        assert read_days([utc], RULES)[0][0].astype(dt.date).tolist() == WEEKDAYS
    else:
        with pytest.raises(FormatError, match=r"weekends.*--timezone"):
            read_days([utc], RULES)


def test_days_that_lost_their_zone_are_refused_unless_the_exchange_opens_on_sundays():
    """Dates of Tokyo that were cut in UTC: Sundays and never a Friday, as in Riyadh, whose zone can be stated."""
    early = [str(day - dt.timedelta(days=1)) for day in WEEKDAYS]
    with pytest.raises(FormatError, match=r"are Sundays and none is a Friday.*--timezone Asia/Riyadh"):
        days_of(early)
    with pytest.raises(FormatError, match="Sundays"):
        days_of(early, DateRules(shown="t", column="date", timezone="Asia/Tokyo"))
    found, _ = days_of(early, DateRules(shown="t", column="date", timezone="Asia/Riyadh"))
    assert list(map(str, found)) == early


def test_the_order_of_one_file_proves_nothing_for_another(tmp_path):
    """A file whose days are all up to 12 is refused beside one with a clear order; the flag reads both."""
    for name, day in (("A", "03/01/2024"), ("B", "16/01/2024")):
        table(tmp_path / f"{name}.csv", f"Date,Close\n{day},1\n")
    with pytest.raises(FormatError, match="--date-format"):
        read_bars(tmp_path)
    found = read_bars(tmp_path, ReadOptions(date_format="%d/%m/%Y"))
    assert [str(own.days[0]) for own in found.bars.values()] == ["2024-01-03", "2024-01-16"]


@settings(max_examples=60)
@given(
    values=st.lists(st.integers(1, 10**9).map(lambda cents: cents / 100), min_size=1, max_size=12),
    style=st.sampled_from(["{:,.2f}", "${:,.2f}", "{:.2f} €", "de", "ch", "fr"]),
)
def test_numbers_of_any_style_are_the_numbers(values, style):
    """Thousands, currencies and decimal commas; the mark is found in the column."""
    signs = {"de": (".", ","), "ch": ("'", "."), "fr": ("\u202f", ",")}
    if style in signs:
        group, mark = signs[style]
        texts = [f"{value:,.2f}".translate(str.maketrans(",.", group + mark)) for value in values]
    else:
        texts = [style.format(value) for value in values]
    found, _ = read_numbers("t.csv", {"close": pa.chunked_array([texts])}, ["close"], None)
    assert found["close"].tolist() == values


@pytest.mark.parametrize("texts", [["1,234"], ["1,234", "12,345", "-"], ["1,234", "7"]])
def test_a_comma_of_either_meaning_is_refused_and_can_be_stated(texts):
    """Thousands or decimals: only --decimal says it."""
    column = {"close": pa.chunked_array([texts])}
    with pytest.raises(FormatError, match=r"like '1,234'.*--decimal"):
        read_numbers("t.csv", column, ["close"], None)
    assert read_numbers("t.csv", column, ["close"], ".")[0]["close"][0] == 1234
    assert read_numbers("t.csv", column, ["close"], ",")[0]["close"][0] == 1.234


def test_points_between_semicolons_may_separate_thousands(tmp_path):
    """`1.234;1.000` is refused; the stated decimal mark decides."""
    source = table(tmp_path / "t.csv", "date;ticker;close;volume\n2024-01-02;A;1.234;1.000\n2024-01-03;A;1.235;2.000\n")
    with pytest.raises(FormatError, match=r"like '1.234'.*--decimal"):
        read_bars(source)
    closes = {mark: read_bars(source, ReadOptions(decimal=mark)).bars["A"].close.tolist() for mark in ".,"}
    assert closes == {".": [1.234, 1.235], ",": [1234, 1235]}


@pytest.mark.parametrize(
    "words", ["Dato,Apning,Hoyest,Lavest,Slutt,Antall", "a,b,c,d,e,f", "День,Откр,Макс,Мин,Закр,Объем"]
)
def test_fields_of_one_stock_in_any_language_are_never_tickers(words, tmp_path):
    """The columns themselves show a high and a low; the flag of the message gives the bars."""
    source = table(tmp_path / "t.csv", bars_of_one(words))
    with pytest.raises(FormatError, match=r"as high and low of one stock are.*--columns.*--ticker"):
        read_bars(source)
    date, first, high, low, close, volume = words.split(",")
    columns = {"date": date, "open": first, "high": high, "low": low, "close": close, "volume": volume}
    found = read_bars(source, ReadOptions(columns=columns, ticker="X"))
    assert found.bars["X"].volume is not None
    assert found.bars["X"].volume[0] == 1000
    assert found.out_of_bounds == 0


def test_returns_are_never_prices(tmp_path):
    """Returns, also plus one, are refused, with --drop-bad too; prices near one are taken."""
    steps = np.random.default_rng(0).normal(0, 0.01, (40, 2))
    returns = table(tmp_path / "r.csv", wide_of(steps))
    gross = table(tmp_path / "g.csv", wide_of(1 + steps))
    prices = table(tmp_path / "p.csv", wide_of(np.cumprod(1 + steps, axis=0)))
    for drop_bad in (False, True):
        with pytest.raises(FormatError, match="as returns are"):
            read_bars(returns, drop_bad=drop_bad)
        with pytest.raises(FormatError, match="returns plus 1"):
            read_bars(gross, drop_bad=drop_bad)
    assert list(read_bars(prices).bars) == ["AAPL", "MSFT"]


@pytest.mark.parametrize("name", ["LOW", "OPEN", "ALL", "NA", "NULL", "TRUE", "NAN", "BID", "C", "T", "DAY", "DATE.L"])
def test_a_real_ticker_with_the_name_of_a_field_stays_a_ticker(name, tmp_path):
    """Among other tickers of a wide table, and in every row of a long one."""
    source = table(tmp_path / "w.csv", wide_of([(1, 2), (3, 4)]).replace("MSFT", name))
    assert sorted(read_bars(source).bars) == sorted(["AAPL", name])
    source = table(tmp_path / "l.csv", f"date,ticker,close\n2024-01-02,{name},1\n2024-01-02,AAPL,2\n")
    assert sorted(read_bars(source).bars) == sorted(["AAPL", name])


def packed(folder: Path, suffix: str, text: str) -> Path:
    path = folder / f"prices.csv{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("prices.csv", text)
    else:
        packs: dict[str, Callable[[bytes], bytes]] = {
            ".gz": gzip.compress,
            ".bz2": bz2.compress,
            ".xz": lzma.compress,
            ".GZ": gzip.compress,
        }
        path.write_bytes(packs[suffix](text.encode()))
    return path


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip", ".GZ"])
def test_compressed_files_are_read_and_damaged_ones_refused(suffix, tmp_path):
    """The same bars as those of the plain file; half of the bytes is one clear line, and nothing is left behind."""
    text = "date,ticker,close\n" + "".join(f"{day},A,{n + 1}\n" for n, day in enumerate(WEEKDAYS))
    path = packed(tmp_path, suffix, text)
    assert read_bars(path).bars["A"].close.tolist() == [float(n + 1) for n in range(len(WEEKDAYS))]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FormatError, match=r"cannot be read.*write it again") as caught:
        read_bars(path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_names_its_tickers_and_keeps_zeros(tmp_path):
    """One file per ticker, in any format and compression; a hive-partitioned folder; names are kept as they are."""
    table(tmp_path / "000001.csv", "date,close\n2024-01-02,1\n")
    (tmp_path / "BRK.B.csv.gz").write_bytes(gzip.compress(b"date,close\n2024-01-02,2\n"))
    pq.write_table(pa.table({"date": ["2024-01-02"], "close": [3.0]}), tmp_path / "NA.parquet")
    found = read_bars(tmp_path).bars
    assert {name: own.close[0] for name, own in found.items()} == {"000001": 1, "BRK.B": 2, "NA": 3}
    hive = tmp_path / "hive" / "ticker=007"
    hive.mkdir(parents=True)
    pq.write_table(pa.table({"date": ["2024-01-02"], "close": [3.0]}), hive / "part-0.parquet")
    assert list(read_bars(tmp_path / "hive").bars) == ["007"]


def test_files_of_a_folder_that_do_not_belong_together_are_refused(tmp_path):
    """Different columns, layouts or vendors, a stray file, a second download, and a folder without a table."""
    table(tmp_path / "A.csv", "date,close\n2024-01-02,1\n")
    for name, text, message in (
        ("B.csv", "date,close,volume\n2024-01-02,1,1\n", "a column volume"),
        ("B.csv", "date,AAPL,MSFT\n2024-01-02,1,1\n", "different layout"),
        ("B.doc", "words", "is none of"),
        ("A (1).csv", "date,close\n2024-01-03,1\n", "second download"),
        ("B.csv", "date,ticker,close\n2024-01-02,A,1\n", "'A' on 2024-01-02 twice"),
    ):
        other = table(tmp_path / name, text)
        with pytest.raises(FormatError, match=message):
            read_bars(tmp_path)
        other.unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no table"):
        read_bars(tmp_path / "empty")
    with pytest.raises(FormatError, match="no table of prices is named"):
        read_bars([])


def test_every_layout_is_complete_and_recognized_by_its_own_columns():
    """Roles that exist, a date and a close, and no earlier layout takes its table."""
    for layout in LAYOUTS:
        assert set(layout.columns) <= set(STATED_ROLES), layout.name
        assert {"close", "adj_close"} & set(layout.columns), layout.name
        assert set(layout.units) | set(layout.reciprocal) <= set(layout.columns)
        found = find_layout(list(layout.exact or layout.required))
        assert found is not None
        assert found.name == layout.name


def test_a_layout_is_one_entry(tmp_path, monkeypatch):
    """A vendor that nobody knew is read after one entry: its columns, its units, its ticker in the file's name."""
    mine = Layout(
        name="Mine",
        required=("when", "px in cents"),
        columns={"date": "when", "close": "px in cents"},
        units={"close": 0.01},
        file_name=r"(?P<ticker>\w+)_daily",
    )
    monkeypatch.setattr(layouts, "LAYOUTS", (mine,))
    found = read_bars(table(tmp_path / "abc_daily.csv", "when,px_in_cents\n2024-01-02,1250\n"))
    assert (found.vendor, found.bars["abc"].close.tolist()) == ("Mine", [12.5])
    assert "Mine gives the close in units of 0.01" in found.notes


def test_statements_are_flags_of_prepare_and_a_wrong_one_is_named(tmp_path, capsys):
    """The columns, the ticker, the format of dates, the separator and the decimal mark; exit code 2 and one line."""
    lines = [f"{day:%m/%d/%Y}|{100 + n},5" for n, day in enumerate(WEEKDAYS[:40])]
    rows = "\n".join(["when|paid", *lines])
    source = str(table(tmp_path / "t.csv", rows))
    out = ["--features-out", str(tmp_path / "f.h5"), "--prices-out", str(tmp_path / "p.h5"), "--json", "--quiet"]
    stated = [
        "--columns",
        "date=when,close=paid",
        "--ticker",
        "X",
        "--date-format",
        "%m/%d/%Y",
        "--sep",
        "|",
        "--decimal",
        ",",
    ]
    assert main(["prepare", source, *stated, *out]) == 2  # too short for the features, which is after the reading
    assert "no ticker of" in capsys.readouterr().err
    for flags, message in (
        (["--columns", "close=paid"], "no date column|has a close and no ticker"),
        (
            ["--columns", "date=when,close=price"],
            "no column 'price' (when, paid); name one of them with --columns close=",
        ),
        (["--columns", "paid"], "expected ROLE=COLUMN"),
        ([*stated, "--sep", "||"], "expected --sep with one character"),
        ([*stated, "--decimal", "x"], "expected --decimal . or --decimal ,"),
        ([*stated, "--timezone", "Mars/North"], "unknown time zone 'Mars/North'"),
    ):
        try:
            code = main(["prepare", source, *flags, *out])
        except SystemExit as stop:
            code = int(str(stop.code))
        error = capsys.readouterr().err
        assert code == 2
        assert any(part in error for part in message.split("|")), error
        assert error.count("\n") == 1


def test_what_was_decided_is_in_the_result(tmp_path, capsys):
    """`prepare --json` names the layout and each decision by a rule."""
    days = [dt.date(2023, 1, 2) + dt.timedelta(days=n) for n in range(300)]
    rows = [
        f"{day:%m/%d/%Y},${100 + n % 7},1000,$99,$120,$90" for n, day in enumerate(d for d in days if d.weekday() < 5)
    ]
    source = table(tmp_path / "AAPL.csv", "\n".join(["Date,Close/Last,Volume,Open,High,Low", *rows]))
    out = ["--features-out", str(tmp_path / "f.h5"), "--prices-out", str(tmp_path / "p.h5"), "--json", "--quiet"]
    assert main(["prepare", str(source), *out]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["vendor"] == "Nasdaq"
    assert "the ticker 'AAPL' is the name of the file" in result["notes"]
    assert any("month first" in note for note in result["notes"])


def test_options_are_checked_before_any_file_is_opened():
    """A wrong statement about text is an error of input, whatever the file is."""
    with pytest.raises(InputError, match="--sep"):
        read_bars("nowhere.csv", ReadOptions(sep=""))


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_table_without_rows_is_refused(tmp_path, dictionary):
    """A Parquet file with columns and no rows, plain or dictionary-encoded, has no rows."""
    keys = {"date": pa.array([], pa.date32()), "ticker": pa.array([], pa.string())}
    columns = {name: column.dictionary_encode() if dictionary else column for name, column in keys.items()}
    pq.write_table(pa.table({**columns, "close": pa.array([], pa.float64())}), tmp_path / "t.parquet")
    with pytest.raises(FormatError, match="has no rows"):
        read_bars(tmp_path / "t.parquet")
