"""Price tables of users: long or wide, read as what they are, counted, or refused in one line."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, files
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from encash.errors import FormatError, InputError, MissingFileError, WorkError
from encash.panel import FeatureConfig, open_panel, open_prices, prepare
from encash.panel.features import panel_features
from encash.panel.formats.comma import Csv
from encash.panel.formats.registry import FORMATS
from encash.panel.tables import read_bars

SMALL = FeatureConfig(spans=(1, 2, 5), scale_span=5)
DAYS = [f"2024-01-{day:02d}" for day in (2, 3, 4, 5, 8, 9, 10, 11)]


def long_text(*, header: str = "date,ticker,open,high,low,close,volume", sep: str = "\n") -> str:
    lines = [header]
    for n, day in enumerate(DAYS):
        lines += [f"{day},{ticker},{10 + n},{12 + n},{9 + n},{11 + n},{1000 * (n + 1)}" for ticker in ("BBB", "AAA")]
    return sep.join(lines) + sep


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def run(source: Path, folder: Path, **options):
    options = {"config": SMALL, **options}
    return prepare(source, features_out=folder / "f.h5", prices_out=folder / "p.h5", **options)


def test_a_long_table_becomes_two_files_that_open(tmp_path):
    """Features and prices agree with the table; the report counts what was read, dropped and written."""
    done: list[tuple[int, int]] = []
    report = run(table(tmp_path / "long.csv", long_text()), tmp_path, progress=lambda *event: done.append(event))
    panel = open_panel(report.features_out, prices=report.prices_out)
    assert (report.layout, report.tickers, report.sessions, report.bars) == ("long", 2, 8, 16)
    assert (report.first, report.last) == (DAYS[0], DAYS[-1])
    assert (report.rows, report.rows_dropped_warmup) == (6, 10)
    assert report.columns == {name: name for name in ("close", "open", "high", "low", "volume")}
    assert panel.feature_names == report.feature_names
    assert len(report.feature_names) == report.features == panel.num_features
    assert {"return_1", "gap_1", "volume_5"} <= set(report.feature_names)
    assert panel.rows().values.shape == (6, report.features)
    assert panel.prices is not None
    assert panel.prices.open is not None
    assert panel.prices.close[:, 0].tolist() == [11 + n for n in range(8)]
    assert panel.prices.open[:, 1].tolist() == [10 + n for n in range(8)]
    assert done == [(1, 2), (2, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.h5", "f.health.json", "long.csv", "p.h5"]
    with h5py.File(report.features_out) as file:
        assert file.attrs["source_file"] == "long.csv"


def test_a_wide_table_is_read_as_closes(tmp_path):
    """A date and one column a ticker; an empty cell is a day on which it did not trade, and is counted."""
    lines = ["Date,LOW,OPEN,NONE"] + [f"{day},{n + 1},{'' if n == 3 else n + 5}," for n, day in enumerate(DAYS)]
    report = run(table(tmp_path / "wide.csv", "\n".join(lines)), tmp_path)
    assert (report.layout, report.tickers, report.bars, report.not_traded) == ("wide", 2, 15, 9)
    assert report.tickers_never_traded == ("NONE",)
    prices = open_prices(report.prices_out)
    assert prices.tickers == ("LOW", "OPEN")
    assert np.isnan(prices.close[:, 1]).tolist() == [n == 3 for n in range(8)]
    # The gap closes up: the return over it is one session of the ticker's own.
    panel = open_panel(report.features_out)
    assert str(panel.days("OPEN")[0]) == DAYS[6]


def test_the_same_table_in_any_format_gives_the_same_bars(tmp_path):
    """The same table in every registered format, rows in any order, gives the same bytes."""
    plain = table(tmp_path / "a.csv", long_text())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    shuffled = plain.read_text().splitlines()
    table(tmp_path / "b.csv", "\n".join([shuffled[0], *sorted(shuffled[1:], key=lambda line: line[::-1])]))
    frame = pa.csv.read_csv(plain)
    pq.write_table(frame, tmp_path / "a.parquet")
    pq.write_table(
        frame.set_column(0, "date", frame["date"].cast(pa.timestamp("ns"))).set_column(
            1, "ticker", frame["ticker"].dictionary_encode()
        ),
        tmp_path / "b.parquet",
    )
    pq.write_table(frame, tmp_path / "a.pq")
    (tmp_path / "a.txt").write_bytes(plain.read_bytes())
    (tmp_path / "a.tsv").write_bytes(plain.read_bytes().replace(b",", b"\t"))
    feather.write_feather(frame, tmp_path / "a.feather")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, frame.schema) as writer:
        writer.write_table(frame, max_chunksize=3)
    found = []
    for name in (*(f"a{suffix}" for suffix in FORMATS), "a.csv.gz", "b.csv", "b.parquet"):
        bars = read_bars(tmp_path / name).bars
        assert list(bars) == ["AAA", "BBB"]
        columns = [getattr(own, name) for own in bars.values() for name in ("days", "close", "low", "volume")]
        found.append([column.tobytes() for column in columns])
    assert all(same == found[0] for same in found)


class Semicolons(Csv):
    """A vendor's format as a user would write it."""

    delimiter = ";"


def test_a_format_of_a_vendor_is_one_class_and_one_name(tmp_path, monkeypatch):
    """An entry point is found by its suffix; a different separator needs no code."""
    text = "<DATE>;<TICKER>;<CLOSE>\n20240102;A;1.5\n"
    entry = EntryPoint(name=".txt", value=f"{__name__}:Semicolons", group="encash.formats")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group, name: [entry] if name == ".txt" else [])
    found = read_bars(table(tmp_path / "t.2024.txt", text))
    assert found.columns == {"close": "<CLOSE>"}
    assert found.bars["A"].close.tolist() == [1.5]


@pytest.mark.parametrize(
    "header",
    ["Symbol,Date,Close", "asset,datetime,PRICE", "instrument, Trading Day ,Closing_Price", "\ufeffticker,date,close"],
)
def test_usual_names_of_columns_are_known(tmp_path, header):
    """Synonyms in any case and order."""
    lines = [header, *(f"A,{day},{n + 1}" for n, day in enumerate(DAYS))]
    found = read_bars(table(tmp_path / "t.csv", "\n".join(lines)))
    assert found.layout == "long"
    assert found.bars["A"].close.tolist() == list(range(1, 9))


def test_an_adjusted_close_adjusts_the_bar(tmp_path):
    """Open, high and low are scaled by adjusted close / close; without a close that cannot be."""
    text = "date,ticker,open,high,low,close,adj close\n2024-01-02,A,10,20,5,10,5\n"
    found = read_bars(table(tmp_path / "t.csv", text))
    own = found.bars["A"]
    columns = [getattr(own, name) for name in ("close", "open", "high", "low")]
    assert [column[0] for column in columns] == [5, 5, 10, 2.5]
    assert found.columns["close"] == "adj close"
    with pytest.raises(FormatError, match="add the close"):
        read_bars(table(tmp_path / "t.csv", "date,ticker,open,adj close\n2024-01-02,A,10,5\n"))
    only = read_bars(table(tmp_path / "t.csv", "date,ticker,adj close\n2024-01-02,A,5\n"))
    assert only.bars["A"].close.tolist() == [5]


@pytest.mark.parametrize("text", ["20240102", "2024-01-02 00:00:00-05:00", "2024-01-02T21:00:00Z", "2024-01-02"])
def test_dates_may_carry_a_time_which_is_left(tmp_path, text):
    """The calendar day is the one that is written, whatever its time zone."""
    found = read_bars(table(tmp_path / "t.csv", f"date,ticker,close\n{text},A,1\n"))
    assert str(found.bars["A"].days[0]) == "2024-01-02"


def test_parquet_times_with_a_zone_keep_their_own_day(tmp_path):
    """Midnight in Tokyo is that day in Tokyo, not the one before in Greenwich; whole numbers are dates too."""
    day = np.array(["2024-01-02"], dtype="datetime64[s]") - np.timedelta64(9, "h")
    dates = pa.array(day).cast(pa.timestamp("s", tz="Asia/Tokyo"))
    for column in (dates, pa.array([20240102]), pa.array(["2024-01-02"])):
        pq.write_table(pa.table({"date": column, "ticker": [7203], "close": [1]}), tmp_path / "t.parquet")
        found = read_bars(tmp_path / "t.parquet")
        assert str(found.bars["7203"].days[0]) == "2024-01-02"


def test_tickers_that_look_like_numbers_or_nothing_stay_what_they_are(tmp_path):
    """`007`, `NA`, `TRUE` and `ÆTHER` are tickers."""
    text = "date,ticker,close\n" + "".join(f"2024-01-02,{name},1\n" for name in ("007", "NA", "TRUE", "ÆTHER"))
    assert list(read_bars(table(tmp_path / "t.csv", text)).bars) == ["007", "NA", "TRUE", "ÆTHER"]


def test_bars_out_of_bounds_are_widened_and_counted(tmp_path):
    """A high below the close and a low above the open are moved to hold them; the count says how many bars."""
    text = (
        "date,ticker,open,high,low,close\n2024-01-02,A,10,9,8,11\n2024-01-03,A,10,12,10.5,11\n2024-01-04,A,10,12,9,11\n"
    )
    found = read_bars(table(tmp_path / "t.csv", text))
    assert found.out_of_bounds == 2
    own = found.bars["A"]
    assert own.high is not None
    assert own.low is not None
    assert (own.high.tolist(), own.low.tolist()) == ([11, 12, 12], [8, 10, 9])


def test_bad_bars_are_refused_or_dropped_and_counted(tmp_path):
    """Zero and negative prices, holes in a bar and negative volumes: an error by default, a count on request."""
    good = "2024-01-02,A,10,12,9,11,5\n"
    bad = {
        "close not above zero": ["2024-01-03,A,10,12,9,0,5\n", "2024-01-04,A,10,12,9,-1,5\n"],
        "open, high or low absent or not above zero": ["2024-01-05,A,,12,9,11,5\n", "2024-01-08,A,10,12,0,11,5\n"],
        "volume absent or below zero": ["2024-01-09,A,10,12,9,11,-5\n"],
    }
    head = "date,ticker,open,high,low,close,volume\n"
    for reason, rows in bad.items():
        with pytest.raises(FormatError, match=f"'A' on .*: {reason} .{len(rows)} such bars.*--drop-bad"):
            read_bars(table(tmp_path / "t.csv", head + good + "".join(rows)))
    everything = head + good + "".join(row for rows in bad.values() for row in rows)
    found = read_bars(table(tmp_path / "t.csv", everything), drop_bad=True)
    assert found.dropped == {reason: len(rows) for reason, rows in bad.items()}
    assert found.bars["A"].days.astype(str).tolist() == ["2024-01-02"]


BAD = {
    "no date": ("ticker,close\nA,1\n", "no date column among ticker, close"),
    "no close": ("date,ticker,open\n2024-01-02,A,1\n", "no close among"),
    "no ticker": ("Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n", "has a close and no ticker"),
    "bad date": ("date,ticker,close\n2024-01-02,A,1\nsoon,A,2\n", "'soon' in 'date' is not a date"),
    "american date": ("date,ticker,close\n01/02/2024,A,1\n", "'01/02/2024' in 'date' is ambiguous"),
    "no such day": ("date,ticker,close\n2024-02-30,A,1\n", "'2024-02-30' in 'date' is not a date"),
    "empty date": ("date,ticker,close\n,A,1\n", "'' in 'date' is not a date"),
    "first column no date": ("A,B\n1,2\n", "'1' in 'A' is not a date"),
    "twice": ("date,ticker,close\n2024-01-02,A,1\n2024-01-02,A,1\n", "'A' on 2024-01-02 twice"),
    "wide twice": ("date,A,B\n2024-01-02,1,1\n2024-01-02,1,1\n", "'A' on 2024-01-02 twice"),
    "text": ("date,ticker,close\n2024-01-02,A,one\n", "invalid value 'one'"),
    "infinite": ("date,ticker,close\n2024-01-02,A,inf\n", "close not above zero"),
    "empty ticker": ("date,ticker,close\n2024-01-02,,1\n", "rows without a ticker"),
    "two columns of one name": ("date,A,A\n2024-01-02,1,1\n", "two columns 'A'"),
    "no name": ("date,A,\n2024-01-02,1,1\n", "a column without a name"),
    "one column": ("date\n2024-01-02\n", "has 1 columns .date.; .*--sep"),
    "ragged": ("date,A,B\n2024-01-02,1\n", "Expected 3 columns, got 2"),
    "empty": ("", "has 0 columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_cannot_be_understood_get_one_clear_line(tmp_path, case):
    """What came, what was expected; exit code 2; nothing is written."""
    text, message = BAD[case]
    with pytest.raises(FormatError, match=message) as caught:
        run(table(tmp_path / "t.csv", text), tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_files_that_are_no_tables_are_refused(tmp_path):
    """No file, an unknown suffix, bytes that are not what the suffix says, text where numbers belong."""
    with pytest.raises(MissingFileError, match="does not exist"):
        read_bars(tmp_path / "nowhere.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(FormatError, match=re.escape(f"none of {', '.join(FORMATS)}; rename")):
        read_bars(tmp_path / "t.xlsx")
    for name in ("t.parquet", "t.csv.gz", "t.feather", "t.arrow"):
        (tmp_path / name).write_bytes(b"date,ticker\n\xff")
        with pytest.raises(FormatError, match="write it again"):
            read_bars(tmp_path / name)
    (tmp_path / "latin.csv").write_bytes("dät,A\n".encode("latin-1"))
    with pytest.raises(FormatError, match="UTF-8"):
        read_bars(tmp_path / "latin.csv")
    words = pa.table({"date": ["2024-01-02"], "A": ["one"]})
    pq.write_table(words, tmp_path / "t.parquet")
    feather.write_feather(words, tmp_path / "t.feather")
    for name in ("t.parquet", "t.feather"):
        with pytest.raises(FormatError, match="column 'A' is string"):
            read_bars(tmp_path / name)
    pq.write_table(pa.table({"date": pa.array([None], pa.date32()), "A": [1.0]}), tmp_path / "t.parquet")
    with pytest.raises(FormatError, match="rows without a date"):
        read_bars(tmp_path / "t.parquet")


def test_short_histories_are_named_and_no_history_is_refused(tmp_path):
    """A ticker that never leaves the warm-up has prices and no features; a table of such tickers alone is an error."""
    text = long_text() + "".join(f"{day},NEW,1,1,1,1,1\n" for day in DAYS[-3:])
    report = run(table(tmp_path / "t.csv", text), tmp_path)
    assert report.tickers_too_short == ("NEW",)
    assert open_prices(report.prices_out).tickers == ("AAA", "BBB", "NEW")
    assert open_panel(report.features_out).tickers == ("AAA", "BBB")
    with pytest.raises(InputError, match="more than 120 sessions"):
        run(tmp_path / "t.csv", tmp_path, config=FeatureConfig())


def test_the_same_table_gives_the_same_bytes_and_its_own_file_is_never_overwritten(tmp_path):
    """Preparing again changes nothing; an output path that is the input is refused."""
    source = table(tmp_path / "t.csv", long_text())
    run(source, tmp_path)
    before = [(tmp_path / name).read_bytes() for name in ("f.h5", "p.h5")]
    run(source, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("f.h5", "p.h5")] == before
    with pytest.raises(InputError, match="three files"):
        prepare(source, features_out=tmp_path / "f.h5", prices_out=source)
    with pytest.raises(WorkError, match="a file stands where a folder is needed"):
        prepare(source, features_out=source / "f.h5", prices_out=tmp_path / "p.h5", config=SMALL)


def test_a_ticker_that_hdf5_cannot_name_is_refused(tmp_path):
    """`BRK/B` would be a group in a group; the message says how to write it."""
    source = table(tmp_path / "t.csv", long_text().replace("AAA", "BRK/B"))
    with pytest.raises(InputError, match=r"'BRK/B'.*BRK\.B"):
        run(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("wide", [False, True])
def test_a_ticker_with_a_nul_is_refused_and_never_renamed(wide, tmp_path):
    """HDF5 would cut `n NUL l` to `n`; the message names the ticker and its row."""
    columns = {"date": [*DAYS, *DAYS], "ticker": ["n"] * 8 + ["n\0l"] * 8, "close": [1.0] * 16}
    if wide:
        columns = {"date": DAYS, "n": [1.0] * 8, "n\0l": [1.0] * 8}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(FormatError, match="column" if wide else "row 9") as caught:
        run(tmp_path / "t.parquet", tmp_path)
    assert repr("n\0l") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_later_rows_of_a_table_do_not_move_earlier_features(tmp_path):
    """Truncating the user's own file leaves the features up to that day the same, bit for bit."""
    random = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(0.02 * random.normal(size=(60, 3)), axis=0))
    days = np.datetime64("2024-01-01") + np.arange(60)
    lines = [f"{day},{','.join(map(str, row))}" for day, row in zip(days, close.tolist(), strict=True)]
    rows = []
    for stop in (60, 40):
        source = table(tmp_path / f"{stop}.csv", "\n".join(["date,A,B,C", *lines[:stop]]))
        rows.append(open_panel(run(source, tmp_path).features_out).rows(end=days[39]).values.tobytes())
    assert rows[0] == rows[1]


def test_the_prices_that_a_package_ships_are_prepared():
    """Twenty US stocks over 33 years, wide and gzipped: all sessions, a finite row for each after the warm-up."""
    try:
        shipped = [file for file in files("skfolio") or [] if file.name == "sp500_dataset.csv.gz"]
    except PackageNotFoundError:
        pytest.skip("skfolio, whose prices these are, is not installed")
    found = read_bars(Path(str(shipped[0].locate())))
    assert (found.layout, len(found.bars), found.not_traded) == ("wide", 20, 0)
    rows = {ticker: values for ticker, _, values in panel_features(found.bars, FeatureConfig())}
    assert {values.shape for values in rows.values()} == {(8313 - 120, 38)}
    assert all(np.isfinite(values).all() for values in rows.values())


NYSE = Path(__file__).parents[3] / "shared" / "data" / "nyse403.parquet"


@pytest.mark.slow
@pytest.mark.skipif(not NYSE.exists(), reason="real prices for trying at scale, not part of the project, are not here")
def test_real_bars_with_known_flaws_are_counted(tmp_path):
    """403 tickers of real bars: their flaws are found and kept, days without volume are left out, rows are finite."""
    report = prepare(NYSE, features_out=tmp_path / "f.h5", prices_out=tmp_path / "p.h5")
    assert (report.tickers, report.sessions, report.bars, report.features) == (403, 6430, 2_549_088, 64)
    assert (report.bars_out_of_bounds, report.bars_dropped, report.zero_volume_left_out) == (43_632, {}, 42_202)
    health = report.health
    largest = health.largest_moves.worst[0]
    assert (largest.ticker, largest.day) == ("SU", "1993-12-01")
    assert largest.size == pytest.approx(35.2, abs=0.01)
    assert sum(case.size > 1 for case in health.largest_moves.worst) <= 8
    assert health.zero_volume.share == pytest.approx(0.0163, abs=0.0001)
    assert health.out_of_bounds.count == 43_632
    assert 0.10 < health.unchanged_runs.share < 0.12
    assert (health.all_alive_at_the_end, health.weekend_rows.count, health.future_dates.count) == (True, 0, 0)
    assert any(case.ticker == "SU" for case in health.gaps.worst)
    panel = open_panel(tmp_path / "f.h5", tmp_path / "p.h5")
    assert panel.prices is not None
    assert panel.prices.close[panel.prices.days == np.datetime64("1993-12-01"), panel.prices.tickers.index("SU")] > 1.4
    assert np.isnan(panel.prices.close).sum() == 42_202
    assert all(np.isfinite(panel.rows((ticker,)).values).all() for ticker in panel.tickers[::20])


FULL = """
import resource, sys
from encash.errors import WorkError
from encash.panel import FeatureConfig, prepare
folder, limit, small = sys.argv[1], int(sys.argv[2]), FeatureConfig(spans=(1, 2, 5), scale_span=5)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    prepare(folder + "/t.csv", features_out=folder + "/f.h5", prices_out=folder + "/p.h5", config=small)
except WorkError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 3_000, "prices fit"])
def test_a_full_disk_is_one_clear_error(tmp_path, limit):
    """Wherever the disk is full, the file that had no room is named with the reason, and what was there stays; HDF5,
    which cannot bear it, neither complains on its own nor takes the process down."""
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-06-01"))
    table(tmp_path / "t.csv", "date,AAA,BBB\n" + "".join(f"{day},{n + 10},{n + 20}\n" for n, day in enumerate(days)))
    run(tmp_path / "t.csv", tmp_path)
    room = (tmp_path / "p.h5").stat().st_size if limit == "prices fit" else limit
    assert room < (tmp_path / "f.h5").stat().st_size
    for name in ("f.h5", "p.h5"):
        (tmp_path / name).write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(tmp_path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    refused = tmp_path / ("f.h5" if limit == "prices fit" else "p.h5")  # prices come first
    assert done.stdout.startswith(f"{refused} could not be written: File too large; what was there is kept")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.h5")} == {"f.h5": b"old", "p.h5": b"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.h5", "f.health.json", "p.h5", "t.csv"]


@pytest.mark.parametrize("price", ["5e-324", "1e-31", "1e31", "1e300"])
def test_a_price_that_float32_cannot_hold_is_refused(tmp_path, price):
    """It would be stored as zero or infinite, and its ratio to its neighbors has no number."""
    days = np.arange("2024-01-01", "2024-07-01", dtype="datetime64[D]")
    rows = [f"{day},A,10,10,{price if at == 50 else 10},10,1000" for at, day in enumerate(days)]
    (tmp_path / "p.csv").write_text("\n".join(["date,ticker,open,high,low,close,volume", *rows]) + "\n")
    with pytest.raises(FormatError, match=r"'A' on 2024-02-20.*--drop-bad"):
        prepare(tmp_path / "p.csv", features_out=tmp_path / "f.h5", prices_out=tmp_path / "o.h5")
