"""Feature and price files: what is read back, and one clear line for each file that cannot be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encash.errors import FormatError, InputError, MissingFileError, UnknownKeyError, WorkError
from encash.panel import ArraySource, Panel, open_panel, open_prices, toy_panel, write_panel

DATES = np.array([b"2024-01-02", b"2024-01-03", b"2024-01-05"])
DAYS = np.array(["2024-01-02", "2024-01-03", "2024-01-05"], dtype="datetime64[D]")
Group = dict[str, Any]


def write(path: Path, tickers: dict[str, Group], **root: Any) -> Path:
    with h5py.File(path, "w") as file:
        for ticker, datasets in tickers.items():
            group = file.create_group(ticker)
            for name, values in datasets.items():
                group[name] = values
        file.attrs.update(root)
    return path


def features(num_features: int = 2, dates: Any = DATES, rows: int = 3) -> Group:
    return {"features": np.arange(rows * num_features, dtype="f4").reshape(rows, num_features), "dates": dates}


def prices(values: Any = (1.0, 2.0, 3.0), dates: Any = DATES, name: str = "prices") -> Group:
    return {name: np.asarray(values, dtype="f4"), "dates": dates}


def test_a_panel_that_is_written_is_read_back(tmp_path):
    """Rows, days, names and prices of odd histories survive the two files unchanged."""
    panel = toy_panel(1, 6, 60, odd=True)
    write_panel(panel, tmp_path / "f.h5", tmp_path / "p.h5")
    back = open_panel(tmp_path / "f.h5", prices=tmp_path / "p.h5")
    assert back.tickers == panel.tickers
    assert back.feature_names == panel.feature_names
    for ours, theirs in ((panel.rows(), back.rows()), (panel.rows(end=DAYS[0]), back.rows(end=DAYS[0]))):
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.days, theirs.days)
        np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(back.sessions, panel.sessions)
    assert back.prices is not None
    assert panel.prices is not None
    np.testing.assert_array_equal(back.prices.close, panel.prices.close.astype("f4"))


@pytest.mark.parametrize("lookback", [1, 7])
def test_part_of_a_file_is_what_memory_gives(tmp_path, lookback):
    """Rows between two days, with the sessions before them, are the same from a file and from arrays."""
    panel = toy_panel(2, 5, 80, odd=True)
    write_panel(panel, tmp_path / "f.h5")
    file = open_panel(tmp_path / "f.h5")
    start, end = panel.sessions[40], panel.sessions[60]
    ours = panel.rows(("T0000", "HOLE"), start=start, end=end, lookback=lookback)
    theirs = file.rows(("T0000", "HOLE"), start=start, end=end, lookback=lookback)
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.days, theirs.days)
    assert np.diff(ours.offsets)[0] == 21 + lookback - 1


def test_nothing_after_the_day_can_be_read_as_of_it(tmp_path):
    """`as_of` serves rows and prices up to the day, from a file too."""
    panel = toy_panel(2, 5, 80)
    write_panel(panel, tmp_path / "f.h5", tmp_path / "p.h5")
    day = panel.sessions[50]
    past = open_panel(tmp_path / "f.h5", tmp_path / "p.h5").as_of(day)
    assert past.rows().days.max() == day
    assert past.prices is not None
    assert past.prices.days[-1] == day
    assert past.as_of(panel.sessions[70]).rows().days.max() == day


def test_the_files_are_those_that_users_have(tmp_path):
    """Layout and attributes of the format, readable without us; the same panel gives the same bytes."""
    panel = toy_panel(1, 4, 40)
    for name in "ab":
        write_panel(panel, tmp_path / f"{name}.h5", tmp_path / f"{name}p.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "ap.h5").read_bytes() == (tmp_path / "bp.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file, h5py.File(tmp_path / "ap.h5") as price_file:
        assert file["T0001/features"].dtype == np.float32
        assert file["T0001/dates"].dtype == "S10"
        assert file["T0001/dates"][0].decode() == str(panel.days("T0001")[0])
        assert (file.attrs["num_tickers"], file.attrs["num_features"]) == (4, panel.num_features)
        assert file["T0001"].attrs["num_dates"] == 20
        assert file["T0001"].attrs["end_date"] == str(panel.sessions[-1])
        assert price_file["T0001/prices"].dtype == np.float32


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    """What stood there before survives; nothing half-written is left."""
    write_panel(toy_panel(1, 4, 40), tmp_path / "f.h5")
    before = (tmp_path / "f.h5").read_bytes()
    bad = Panel(ArraySource({"A/B": (DAYS, np.ones((3, 2), np.float32))}))
    with pytest.raises(InputError, match="A/B"):
        write_panel(bad, tmp_path / "f.h5")
    assert (tmp_path / "f.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]
    with pytest.raises(WorkError, match="a file stands where a folder is needed"):
        write_panel(toy_panel(1, 4, 40), tmp_path / "f.h5" / "f.h5")


def test_odd_names_and_weekends_work(tmp_path):
    """Dots, carets and letters beyond ASCII name tickers; features may have days that are no sessions."""
    names = ["BRK.B", "7203.T", "^GSPC", "ÆTHER", "..", "with space"]
    saturday = np.array([b"2024-01-05", b"2024-01-06"])
    path = write(tmp_path / "ä b.h5", {name: features(dates=saturday, rows=2) for name in names})
    panel = open_panel(path, write(tmp_path / "p.h5", {name: prices() for name in names}))
    assert panel.tickers == tuple(sorted(names))
    assert panel.rows(("ÆTHER", "..")).values.shape == (4, 2)
    assert panel.prices is not None
    assert panel.prices.select(("^GSPC",)).close.tolist() == [[1], [2], [3]]


def test_prices_lie_on_the_grid_of_all_sessions(tmp_path):
    """Each ticker has prices on its own days and NaN elsewhere; `close` is another name for `prices`."""
    path = write(tmp_path / "p.h5", {"B": prices(name="close"), "A": prices([7, np.nan], DATES[1:], name="close")})
    table = open_prices(path)
    assert table.tickers == ("A", "B")
    np.testing.assert_array_equal(table.days, DAYS)
    np.testing.assert_array_equal(table.close, [[np.nan, 1], [7, 2], [np.nan, 3]])
    assert table.open is None


def test_opens_are_read_where_the_file_has_them(tmp_path):
    """`open` beside the prices becomes the table's opens."""
    table = open_prices(write(tmp_path / "p.h5", {"A": {**prices(), "open": np.array([4, 5, 6], "f4")}}))
    assert table.open is not None
    assert table.open[:, 0].tolist() == [4, 5, 6]


@pytest.mark.parametrize("dtype", ["S10", "S12", h5py.string_dtype()])
def test_dates_may_be_bytes_of_any_kind(tmp_path, dtype):
    """Fixed bytes, longer bytes with nothing after the date, and strings of variable length are read alike."""
    dates = np.array(DATES.astype("U").astype(object) if dtype == h5py.string_dtype() else DATES, dtype=dtype)
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["A/features"] = np.zeros((3, 1), "f4")
        file.create_dataset("A/dates", data=dates, dtype=dtype)
    np.testing.assert_array_equal(open_panel(path).days("A"), DAYS)


def test_float64_and_compressed_features_are_read_as_float32(tmp_path):
    """HDF5 converts and unpacks; names in the file come with the panel."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("A/features", data=np.arange(6.0).reshape(3, 2), compression="gzip", chunks=(2, 2))
        file["A/dates"] = DATES
        file.attrs["feature_names"] = ["one", "two"]
    panel = open_panel(path)
    assert panel.rows(start="2024-01-03").values.tolist() == [[2, 3], [4, 5]]
    assert panel.feature_names == ("one", "two")


BAD_FEATURES = {
    "no dates": ({"A": {"features": np.zeros((3, 2), "f4")}}, "'A'.*no dataset 'dates'"),
    "no features": ({"A": {"dates": DATES}}, "'A'.*no dataset 'features'"),
    "no group": ({}, "is empty"),
    "fewer dates than rows": ({"A": features(dates=DATES[:2])}, "'A' has 2 dates for 3 rows"),
    "unsorted": ({"A": features(dates=DATES[[1, 0, 2]])}, "'A' has unsorted dates: 2024-01-02 follows 2024-01-03"),
    "doubled": ({"A": features(dates=DATES[[0, 1, 1]])}, "'A' has duplicate dates: 2024-01-03"),
    "no dates at all": ({"A": features(dates=np.array([b"yesterday!", *DATES[1:]]))}, "'A' has the date 'yesterday!'"),
    "short dates": ({"A": features(dates=np.array([b"2024", b"2025", b"2026"]))}, "'A' has the date '2024'"),
    "times": ({"A": features(dates=np.array([b"2024-01-02 16:00"] * 3))}, "has the date '2024-01-02 16:00'"),
    "no such day": ({"A": features(dates=np.array([b"2024-02-30", *DATES[1:]]))}, "'A' has a date that does not exist"),
    "numbers": ({"A": features(dates=np.array([20240102, 20240103, 20240104]))}, "dates of 'A'.* dtype int64"),
    "another width": ({"A": features(2), "B": features(3)}, "'B' has 3 features and 'A' has 2"),
    "one dimension": ({"A": {"features": np.zeros(3, "f4"), "dates": DATES}}, r"'A' have shape \(3,\)"),
    "three dimensions": ({"A": {"features": np.zeros((3, 1, 2), "f4"), "dates": DATES}}, r"'A' have shape \(3, 1, 2\)"),
    "text": ({"A": {"features": np.full((3, 1), b"x"), "dates": DATES}}, "'A' are .S1; expected float32"),
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_bad_features_get_one_clear_line(tmp_path, case):
    """Each names the ticker, says what came and what was expected."""
    tickers, message = BAD_FEATURES[case]
    with pytest.raises(FormatError, match=message) as caught:
        open_panel(write(tmp_path / "f.h5", tickers)).rows()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


BAD_PRICES = {
    "no prices": ({"A": {"dates": DATES}}, "'A'.*no dataset 'prices' .nor 'close'"),
    "zero": ({"A": prices([1, 0, 2])}, "the close of 'A' on 2024-01-03 is 0"),
    "negative": ({"A": prices(), "B": prices([1, 2, -3])}, "the close of 'B' on 2024-01-05 is -3"),
    "infinite": ({"A": prices([np.inf, 1, 2])}, "the close of 'A' on 2024-01-02 is inf"),
    "zero open": ({"A": {**prices(), "open": np.array([1, 0, 1], "f4")}}, "the open of 'A' on 2024-01-03 is 0"),
    "open of one": ({"A": {**prices(), "open": np.ones(3, "f4")}, "B": prices()}, "'B'.*no dataset 'open'"),
    "fewer dates": ({"A": prices(dates=DATES[:2])}, "'A' has 2 dates for 3 rows"),
    "unsorted": ({"A": prices(dates=DATES[::-1])}, "'A' has unsorted dates"),
    "a column": ({"A": prices([[1], [2], [3]])}, r"prices of 'A' has dtype float32 and shape \(3, 1\)"),
    "no group": ({}, "is empty"),
}


@pytest.mark.parametrize("case", BAD_PRICES)
def test_bad_prices_get_one_clear_line(tmp_path, case):
    """Each names the ticker and the day."""
    tickers, message = BAD_PRICES[case]
    with pytest.raises(FormatError, match=message) as caught:
        open_prices(write(tmp_path / "p.h5", tickers))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opener", [open_panel, open_prices])
def test_files_that_are_none_are_refused(tmp_path, opener):
    """A path that is not there, a folder, text, an empty file and a file cut short: one line each."""
    with pytest.raises(MissingFileError, match=r"nowhere\.h5 does not exist"):
        opener(tmp_path / "nowhere.h5")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        opener(tmp_path)
    (tmp_path / "text.h5").write_text("date,ticker,close\n")
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("text.h5", "empty.h5"):
        with pytest.raises(FormatError, match="not an HDF5 file"):
            opener(tmp_path / name)
    whole = write(tmp_path / "whole.h5", {f"T{i}": features() | prices() for i in range(9)}).read_bytes()
    for cut in (len(whole) // 2, len(whole) - 1, 600):
        (tmp_path / "cut.h5").write_bytes(whole[:cut])
        with pytest.raises(FormatError, match=r"damaged|cut short|not an HDF5"):
            opener(tmp_path / "cut.h5")


def test_a_dataset_at_the_root_is_no_ticker(tmp_path):
    """Foreign things at the root are named, not skipped."""
    path = write(tmp_path / "f.h5", {"A": features()})
    with h5py.File(path, "a") as file:
        file["B"] = np.zeros(3)
    with pytest.raises(FormatError, match="'B'"):
        open_panel(path)


def test_names_that_do_not_number_the_features_are_refused(tmp_path):
    """A file that names two of three features is not trusted."""
    path = write(tmp_path / "f.h5", {"A": features(3)}, feature_names=["one", "two"])
    with pytest.raises(FormatError, match="names 2 features and has 3"):
        open_panel(path)


def test_arrays_are_refused_for_the_same_reasons():
    """What a file may not be, arrays may not be either; an unknown ticker is named."""
    good = np.ones((3, 2), np.float32)
    with pytest.raises(FormatError, match="'A' has unsorted dates"):
        ArraySource({"A": (DAYS[::-1], good)})
    with pytest.raises(FormatError, match="'A' has 2 dates for 3 rows"):
        ArraySource({"A": (DAYS[:2], good)})
    with pytest.raises(FormatError, match="'B' has 1 features"):
        ArraySource({"A": (DAYS, good), "B": (DAYS, good[:, :1])})
    with pytest.raises(FormatError, match="row 1 has no date"):
        ArraySource({"A": (np.array(["2024-01-02", "NaT", "2024-01-05"], "datetime64[D]"), good)})
    with pytest.raises(InputError, match="no ticker"):
        ArraySource({})
    with pytest.raises(InputError, match="1 feature names for 2"):
        ArraySource({"A": (DAYS, good)}, ("one",))
    with pytest.raises(UnknownKeyError, match="'C'"):
        Panel(ArraySource({"A": (DAYS, good)})).rows(("C",))


def test_an_unknown_ticker_of_a_file_is_named(tmp_path):
    """Asking for a ticker that the file does not have says so."""
    panel = open_panel(write(tmp_path / "f.h5", {"A": features()}))
    with pytest.raises(UnknownKeyError, match="no features for 'C'"):
        panel.rows(("C",))
