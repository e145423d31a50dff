"""The panel: rows by a ticker's own days, prices by name, nothing of what came later."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from encash.errors import FormatError, InputError, MissingFileError, UnknownKeyError
from encash.panel import ArraySource, Panel, PriceTable, open_panel, toy_panel, write_panel

DAYS = np.array(["2024-01-02", "2024-01-03", "2024-01-05", "2024-01-06"], dtype="datetime64[D]")


def small() -> Panel:
    one = np.arange(8, dtype=np.float32).reshape(4, 2)
    return Panel(ArraySource({"B": (DAYS, one), "A": (DAYS[2:], 10 + one[:2])}))


def test_rows_are_found_by_the_tickers_own_days():
    """A ticker that is listed later has its own first row on its own first day."""
    rows = small().rows(("A", "B"), start="2024-01-05", end="2024-01-05")
    assert rows.offsets.tolist() == [0, 1, 2]
    assert rows.values.tolist() == [[10, 11], [4, 5]]


@pytest.mark.parametrize(
    ("start", "end", "lookback", "days"),
    [
        ("2024-01-05", "2024-01-06", 2, DAYS[1:]),
        ("2024-01-04", None, 1, DAYS[2:]),
        ("2024-01-05", None, 9, DAYS),
        (None, "2024-01-03", 1, DAYS[:2]),
        ("2024-02-01", None, 2, DAYS[3:]),
        ("2023-01-01", "2023-12-31", 3, DAYS[:0]),
    ],
)
def test_a_range_takes_the_rows_before_it_that_a_window_needs(start, end, lookback, days):
    """lookback − 1 rows of the ticker before the first day, as many as there are."""
    np.testing.assert_array_equal(small().rows(("B",), start=start, end=end, lookback=lookback).days, days)


def test_without_prices_sessions_are_the_days_of_any_ticker():
    """No prices: the union of the features' days; no ticker asked: no rows."""
    np.testing.assert_array_equal(small().sessions, DAYS)
    assert small().rows(()).values.shape == (0, 2)
    np.testing.assert_array_equal(small().as_of("2024-01-04").sessions, DAYS[:2])


def test_what_is_not_there_is_named():
    """An unknown ticker, and a window of no session."""
    with pytest.raises(UnknownKeyError, match="'Z'"):
        small().rows(("Z",))
    with pytest.raises(InputError, match="at least 1"):
        small().rows(lookback=0)


def test_prices_are_taken_by_name_and_by_day():
    """`select` orders columns as asked; `as_of` cuts opens as well as closes."""
    close = np.arange(8.0).reshape(4, 2) + 1
    table = PriceTable(days=DAYS, tickers=("B", "A"), close=close, open=close + 0.5)
    chosen = table.select(("A",)).as_of("2024-01-04")
    assert chosen.close.tolist() == [[2], [4]]
    assert chosen.open is not None
    assert chosen.open.tolist() == [[2.5], [4.5]]
    with pytest.raises(UnknownKeyError, match=r"no prices for 'C' \(1 of 2"):
        table.select(("A", "C"))


def test_threads_may_read_one_file_at_once(tmp_path):
    """Eight threads reading tickers of one open file get what one reader gets."""
    panel = toy_panel(0, 16, 60)
    write_panel(panel, tmp_path / "f.h5")
    file = open_panel(tmp_path / "f.h5")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda ticker: file.rows((ticker,)).values, panel.tickers * 4))
    for ticker, values in zip(panel.tickers * 4, found, strict=True):
        np.testing.assert_array_equal(values, panel.rows((ticker,)).values)


def test_bytes_that_cannot_be_unpacked_are_a_clear_error(tmp_path):
    """A flipped byte in a compressed chunk names the ticker and the file, and no number is made up."""
    path = tmp_path / "f.h5"
    values = np.random.default_rng(0).normal(size=(200, 4)).astype("f4")
    with h5py.File(path, "w") as file:
        file["A/dates"] = (np.datetime64("2024-01-01") + np.arange(200)).astype("S10")
        file.create_dataset("A/features", data=values, compression="gzip", chunks=(200, 4))
        place = file["A/features"].id.get_chunk_info(0)
    damaged = bytearray(path.read_bytes())
    middle = place.byte_offset + place.size // 2
    damaged[middle : middle + 8] = bytes(8)
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"/A/features in .*f\.h5 cannot be read"):
        open_panel(path).rows()


def test_a_panel_of_a_file_can_be_pickled(tmp_path, monkeypatch):
    """It opens its file again where it is unpickled, from another folder too, and still knows nothing later."""
    panel = toy_panel(2, 5, 80)
    write_panel(panel, tmp_path / "f.h5", tmp_path / "p.h5")
    monkeypatch.chdir(tmp_path)
    ours = open_panel("f.h5", "p.h5").as_of(panel.sessions[50])
    content = pickle.dumps(ours)
    monkeypatch.chdir("/")
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.rows().values, ours.rows().values)
    assert again.prices is not None
    assert ours.prices is not None
    np.testing.assert_array_equal(again.prices.close, ours.prices.close)
    assert again.rows().days.max() == panel.sessions[50]
    assert (again.tickers, again.feature_names) == (ours.tickers, ours.feature_names)


def test_a_pickled_panel_whose_file_is_gone_says_so(tmp_path):
    """Unpickling names the file that is missing."""
    write_panel(toy_panel(2, 5, 80), tmp_path / "f.h5")
    content = pickle.dumps(open_panel(tmp_path / "f.h5"))
    (tmp_path / "f.h5").unlink()
    with pytest.raises(MissingFileError, match=r"f\.h5 does not exist"):
        pickle.loads(content)


def test_a_panel_in_memory_can_be_pickled_and_closed():
    """Its arrays travel with it; closing it has no effect."""
    again = pickle.loads(pickle.dumps(small()))
    again.close()
    np.testing.assert_array_equal(again.rows().values, small().rows().values)


def test_a_panel_closes_its_file(tmp_path):
    """At the end of a block, with every panel made from it; reading afterwards says so, and closing twice is fine."""
    write_panel(toy_panel(2, 5, 80), tmp_path / "f.h5")
    with open_panel(tmp_path / "f.h5") as panel:
        past = panel.as_of("2020-03-02")
        rows = panel.rows(("T0001",))
    panel.close()
    assert len(rows.values) > 0
    h5py.File(tmp_path / "f.h5", "r+").close()  # no one holds it any more
    for closed in (panel, past):
        with pytest.raises(InputError, match=r"f\.h5 was closed; open the panel again"):
            closed.rows(("T0001",))
