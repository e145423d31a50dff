import numpy as np
import pytest

from encash.cache import Selection
from encash.errors import InputError, UnknownKeyError

SESSIONS = np.arange("2024-01-01", "2024-07-01", dtype="datetime64[D]")
NAMES = ("E", "A", "C", "B", "D")


def test_months_are_thirty_days_each_counted_back_from_the_last_session():
    """Six months are the last 180 calendar days, both ends included."""
    chosen = Selection(months=6).choose_days(SESSIONS)
    assert (str(chosen[0]), str(chosen[-1]), len(chosen)) == ("2024-01-02", "2024-06-30", 181)


def test_months_count_back_from_a_given_end():
    chosen = Selection(months=1, end="2024-03-31").choose_days(SESSIONS)
    assert (str(chosen[0]), str(chosen[-1])) == ("2024-03-01", "2024-03-31")


def test_start_and_end_are_included():
    chosen = Selection(start="2024-02-01", end="2024-02-03").choose_days(SESSIONS)
    assert chosen.tolist() == SESSIONS[31:34].tolist()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "ABCDE"),
        ({"num_stocks": 2}, "DE"),
        ({"num_stocks": 2, "skip": 0}, "AB"),
        ({"num_stocks": 2, "skip": 2}, "CD"),
        ({"skip": 4}, "E"),
        ({"tickers": ("D", "B", "D")}, "BD"),
        ({"tickers": ("D", "B", "A"), "num_stocks": 1}, "D"),
        ({"num_stocks": 99}, "ABCDE"),
    ],
)
def test_tickers_are_taken_by_name(choice, expected):
    """Tickers are the last N by name or, with `skip`, the N after the skipped ones, so that stages do not overlap."""
    assert "".join(Selection(**choice).choose_tickers(NAMES)) == expected


@pytest.mark.parametrize(
    ("choice", "part"),
    [
        ({"months": 1, "start": "2024-01-01"}, "give one"),
        ({"months": 0}, "months is 0"),
        ({"num_stocks": 0}, "num_stocks is 0"),
        ({"skip": -1}, "skip is -1"),
    ],
)
def test_an_invalid_selection_is_refused_when_it_is_made(choice, part):
    with pytest.raises(InputError, match=part):
        Selection(**choice)


def test_the_error_for_an_empty_range_names_the_range_of_the_data():
    with pytest.raises(InputError, match="2024-01-01 to 2024-06-30"):
        Selection(start="2030-01-01").choose_days(SESSIONS)


@pytest.mark.parametrize("text", ["20240301", "2024-03", "2024", "2024-03-01T00", " 2024-03-01"])
def test_a_day_in_a_different_format_is_refused(text):
    """Days must be YYYY-MM-DD: numpy would take 20240301 for a year, and 2024-03 for the first day of the month."""
    with pytest.raises(InputError, match=r"expected a day \(YYYY-MM-DD\)"):
        Selection(end=text).choose_days(SESSIONS)


def test_an_unknown_ticker_is_named():
    with pytest.raises(UnknownKeyError, match="'ZZZ'"):
        Selection(tickers=("A", "ZZZ")).choose_tickers(NAMES)


def test_skipping_everything_is_refused():
    with pytest.raises(InputError, match="no ticker is left"):
        Selection(skip=5).choose_tickers(NAMES)
