"""A run folder whose files were changed is refused by name; one of an earlier version is read, and says so."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, run_trials, write_run
from encash.backtest.run_record import RECORD, add_to_record
from encash.backtest.simulation.ledger import Ledger
from encash.errors import FormatError
from encash.report import read_run, render_report

FILES = ("result.json", "equity.parquet", "ledger.csv", "picks.parquet", RECORD)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run folder, not to be changed."""
    from tests.backtest.conftest import random_lookup, random_prices

    prices = random_prices()
    result = run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=random_lookup(prices)))
    return write_run(result, tmp_path_factory.mktemp("run") / "run")


@settings(max_examples=60)
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_run_folder_is_read(written, tmp_path_factory, name, place, bit):
    """Whatever the bit decides, the folder is refused, and the line names the file."""
    folder = shutil.copytree(written, tmp_path_factory.mktemp("flip") / "run")
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    with pytest.raises(FormatError, match=name):
        read_run(folder)


def test_a_folder_without_a_record_is_read_unchecked(written, tmp_path):
    """Earlier versions wrote none; the page says that the files were not checked."""
    folder = shutil.copytree(written, tmp_path / "run")
    assert read_run(folder).checked
    assert "as the backtest wrote them" in render_report([folder], tmp_path / "a.html").read_text()
    (folder / RECORD).unlink()
    assert not read_run(folder).checked
    assert "not checked" in render_report([folder], tmp_path / "b.html").read_text()


def test_what_is_added_to_a_run_is_recorded(make_prices, make_lookup, tmp_path):
    """Trials count as a part of their run once they are complete; files of a different run do not."""
    prices = make_prices()
    config, inputs = BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices))
    folder = write_run(run_backtest(config, inputs), tmp_path / "run")
    run_trials(config, inputs, 2, path=folder / "trials.csv")
    assert read_run(folder).checked
    (folder / "chosen.json").write_text("{}")
    with pytest.raises(FormatError, match=r"chosen\.json is not a part of this run, or was not finished; remove it"):
        read_run(folder)
    add_to_record(folder / "chosen.json")
    (folder / "trials.csv").unlink()
    with pytest.raises(FormatError, match=r"trials\.csv is missing"):
        read_run(folder)
    shutil.rmtree(folder)
    add_to_record(tmp_path / "trials.csv")
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("configuration", 3),
        ("stages", {"signals": "long"}),
        ("configuration", {"initial_capital": "100"}),
        ("configuration", {"initial_capital": 0}),
        ("sessions_per_year", 0),
        ("sharpe", "high"),
        ("cagr", [1]),
    ],
)
def test_values_of_an_unchecked_result_have_their_types(written, tmp_path, key, value):
    """A folder without a record can hold anything: what a page calculates with is checked."""
    folder = shutil.copytree(written, tmp_path / "run")
    (folder / RECORD).unlink()
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, key: value}))
    with pytest.raises(FormatError, match=r"result\.json"):
        read_run(folder)


def test_dates_of_an_unchecked_run_are_bounded(written, tmp_path):
    """A flipped bit in a date is a session in the year 30000, or one out of order."""
    from encash.backtest.files import table_bytes

    equity = read_run(written).equity
    folder = shutil.copytree(written, tmp_path / "run")
    (folder / RECORD).unlink()
    for place, day, message in ((-1, "30000-01-01", "outside 1700"), (3, str(equity.days[1]), "do not ascend")):
        days = equity.days.copy()
        days[place] = np.datetime64(day)
        columns = {"date": days, "gross": equity.gross, "net": equity.net, "benchmark": equity.benchmark}
        (folder / "equity.parquet").write_bytes(table_bytes(columns))
        with pytest.raises(FormatError, match=message):
            read_run(folder)


def test_a_ledger_for_spreadsheets_has_no_formulas():
    """Tickers that look like formulas get an apostrophe in that file only; numbers stay numbers."""
    tickers = np.array(["=A1", "+B", "-X", "@C", "BRK-B"])
    ones = np.ones(5)
    ledger = Ledger(
        date=np.full(5, np.datetime64("2024-01-02")), ticker=tickers, side=np.full(5, "buy"), shares=ones,
        price=ones, fee=-ones,
    )  # fmt: skip
    plain, safe = (
        [line.split(",") for line in ledger.to_csv(spreadsheet=spreadsheet).splitlines()[1:]]
        for spreadsheet in (False, True)
    )
    assert [cells[1] for cells in plain] == tickers.tolist()
    assert [cells[1] for cells in safe] == ["'=A1", "'+B", "'-X", "'@C", "BRK-B"]
    assert [cells[:1] + cells[2:] for cells in safe] == [cells[:1] + cells[2:] for cells in plain]


def test_a_ledger_for_spreadsheets_is_beside_the_ledger(make_prices, make_lookup, tmp_path):
    """The ledger that replays has the same bytes with and without; a later run without it removes it."""
    prices = make_prices()
    result = run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices)))
    ledger = (write_run(result, tmp_path / "run") / "ledger.csv").read_bytes()
    write_run(result, tmp_path / "run", spreadsheet=True)
    assert (tmp_path / "run" / "ledger.csv").read_bytes() == ledger
    assert (tmp_path / "run" / "ledger_spreadsheet.csv").is_file()
    assert read_run(tmp_path / "run").checked
    write_run(result, tmp_path / "run")
    assert not (tmp_path / "run" / "ledger_spreadsheet.csv").exists()
