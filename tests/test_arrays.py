"""Calendar days: every way to write one, and what is refused."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from encash.arrays import day_text, to_day, to_days
from encash.errors import InputError

NEW_YORK = ZoneInfo("America/New_York")
WEST = dt.timezone(dt.timedelta(hours=-5))
DAY = np.datetime64("2024-01-02", "D")

DAYS = [
    "2024-01-02",
    np.str_("2024-01-02"),
    dt.date(2024, 1, 2),
    dt.datetime(2024, 1, 2),
    dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 2, tzinfo=WEST),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=14))),
    pd.Timestamp("2024-01-02"),
    pd.Timestamp("2024-01-02", tz=NEW_YORK),
    *(np.datetime64("2024-01-02", unit) for unit in ("D", "h", "m", "s", "ms", "us", "ns")),
]
INSTANTS = [
    dt.datetime(2024, 1, 2, 20),
    dt.datetime(2024, 1, 2, 20, tzinfo=WEST),
    dt.datetime(2024, 1, 2, 0, 0, 0, 1),
    dt.datetime(2024, 1, 2, 5, tzinfo=dt.UTC),
    pd.Timestamp("2024-01-02 16:00"),
    pd.Timestamp("2024-01-02 16:00", tz=NEW_YORK),
    pd.Timestamp("2024-01-02 00:00:00.000000001"),
    pd.Timestamp("2024-01-02", tz=NEW_YORK).tz_convert("UTC"),
    np.datetime64("2024-01-02T23"),
    np.datetime64("2024-01-02T00:00:00.000000001"),
]
NO_DAYS = [
    "2024-01-02T00:00",
    "2024-01-02 00:00:00",
    "20240102",
    "2024-1-2",
    "2024-01",
    "2024-02-30",
    "",
    "today",
    np.datetime64("2024-01"),
    np.datetime64("2024"),
    np.datetime64("2024-01-04", "W"),
    np.datetime64("NaT", "D"),
    pd.NaT,
    None,
    20240102,
    1.5,
]


@pytest.mark.parametrize("day", DAYS, ids=repr)
def test_a_day_however_it_is_written(day):
    """Text, dates and midnights are the day as it is written; a time zone is never converted."""
    assert to_day(day) == DAY
    assert to_day(day).dtype == "datetime64[D]"
    assert day_text(day) == "2024-01-02"
    assert to_days([day]).tolist() == [dt.date(2024, 1, 2)]


@pytest.mark.parametrize("instant", INSTANTS, ids=repr)
def test_an_instant_that_is_not_midnight_is_refused(instant):
    """It is neither cut to a day nor moved to another time zone's day."""
    with pytest.raises(InputError, match=r"has a time of day; expected a day, or midnight"):
        to_day(instant)
    with pytest.raises(InputError, match="has a time of day"):
        to_days(["2024-01-02", instant])


@pytest.mark.parametrize("value", NO_DAYS, ids=repr)
def test_what_is_not_a_day_is_refused(value):
    """Other forms of text, months and years, numbers, and the absent day."""
    with pytest.raises(InputError, match=r"is not a day; expected YYYY-MM-DD"):
        to_day(value)


@pytest.mark.parametrize("unit", ["D", "h", "s", "ns"])
def test_an_array_of_days(unit):
    """An array of any unit follows the same rules as its items; one that holds days already is not copied."""
    days = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")
    assert to_days(days) is days
    read = to_days(days.astype(f"datetime64[{unit}]"))
    assert read.dtype == "datetime64[D]"
    np.testing.assert_array_equal(read, days)
    absent = days.astype(f"datetime64[{unit}]")
    absent[2] = np.datetime64("NaT", "D")
    with pytest.raises(InputError, match="is not a day"):
        to_days(absent)


def test_an_array_of_instants_or_months_is_refused():
    """The first item that is not a day is named."""
    with pytest.raises(InputError, match=r"2024-01-02T23.* has a time of day"):
        to_days(np.array(["2024-01-01T00", "2024-01-02T23"], dtype="datetime64[h]"))
    with pytest.raises(InputError, match=r"2024-01'.* is not a day"):
        to_days(np.array(["2024-01", "2024-02"], dtype="datetime64[M]"))
    assert len(to_days(np.array([], dtype="datetime64[M]"))) == 0
