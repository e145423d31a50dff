"""Calendars: sessions per year come from the data, and a panel of two calendars is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import FormatError
from encash.panel import ArraySource, Panel, PriceTable, open_prices, toy_panel, write_panel
from encash.panel.calendars import calendar_of, check_one_calendar, sessions_per_year, weekdays


def daily(start: str, end: str, week: str = "1111100", without: int = 0) -> np.ndarray:
    """Days of a calendar, less some holidays a year."""
    days = np.arange(start, end, dtype="datetime64[D]")
    days = days[np.isin(weekdays(days), [day for day in range(7) if week[day] == "1"])]
    year = 260 if week.count("1") == 5 else 365
    holidays = np.linspace(0, year, without, endpoint=False).astype(int)
    return days[~np.isin(np.arange(len(days)) % year, holidays)]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (daily("2000-01-01", "2020-01-01", without=9), 252),  # New York
        (daily("2000-01-01", "2020-01-01"), 252),  # no holidays at all, such as FX
        (daily("2000-01-01", "2020-01-01", without=18), 243),  # Shanghai
        (daily("2000-01-01", "2020-01-01", "1111001", without=11), 252),  # Riyadh, Sunday to Thursday
        (daily("2018-01-01", "2020-01-01", "1111111"), 365),  # coins
        (daily("2018-01-01", "2018-03-01", "1111111"), 365),
        (daily("2018-01-01", "2020-01-01", "1111101"), 313),  # FX with Sunday evenings
        (daily("2018-01-05", "2018-03-01"), 252),  # too short to measure holidays
        (daily("2018-01-01", "2018-01-04"), 252),
        (daily("2018-01-01", "2018-01-02"), 252),
        (daily("2018-01-01", "2020-01-01", "0000100"), 52),
        (daily("2018-01-01", "2018-08-01", "0000100"), 52),
        (np.arange("2010-01", "2020-01", dtype="datetime64[M]").astype("datetime64[D]"), 12),
    ],
)
def test_sessions_per_year_are_those_of_the_market(days, expected):
    """Stocks 252 whatever their holidays, coins 365, and measured where a market has fewer."""
    assert sessions_per_year(days) == expected


def test_a_hole_in_the_data_is_no_calendar():
    """Two years that are missing do not make a market trade less often; a few stray weekend rows not more often."""
    days = daily("2000-01-01", "2010-01-01", without=18)
    hole = days[(days < np.datetime64("2004-03-01")) | (days > np.datetime64("2006-03-01"))]
    assert sessions_per_year(hole) == sessions_per_year(days) == 243
    stray = np.unique(np.concatenate([daily("2018-01-05", "2018-09-01"), np.array(["2018-02-03"], "datetime64[D]")]))
    assert sessions_per_year(stray) == 252


@given(first=st.integers(0, 4000), count=st.integers(1, 3000))
def test_any_stretch_of_business_days_has_252_sessions_a_year(first, count):
    """Whatever the first day and the length, figures of stocks do not move."""
    days = np.busday_offset("2000-01-03", first + np.arange(count), roll="forward")
    assert sessions_per_year(days) == 252


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (daily("2018-01-01", "2019-01-01"), "Monday to Friday"),
        (daily("2018-01-01", "2019-01-01", "1111001"), "Sundays and no Saturdays"),
        (daily("2018-01-01", "2019-01-01", "1111111"), "every day"),
        (daily("2018-01-01", "2019-01-01", "1110011"), "every day"),
        (daily("2018-01-01", "2019-01-01", "0000100"), "one session a week"),
        (daily("2018-01-01", "2018-02-01"), None),
        (daily("2018-01-01", "2024-01-01")[::9], "Monday to Friday"),  # rarely traded
        (np.unique(np.concatenate([daily("2018-01-01", "2019-01-01"), daily("2018-01-06", "2018-02-06", "0000010")])),
         "Monday to Friday"),  # five stray Saturdays
    ],
)  # fmt: skip
def test_the_calendar_of_a_ticker_is_the_one_of_most_of_its_bars(days, expected):
    """Holidays and stray rows do not change it; a short history has none."""
    assert calendar_of(days) == expected


def test_holidays_of_several_countries_are_one_calendar():
    """Exchanges from Monday to Friday go together, and so do new and rarely traded tickers."""
    calendars = {
        "US": daily("2018-01-01", "2020-01-01", without=9),
        "CN": daily("2018-01-01", "2020-01-01", without=18),
        "NEW": daily("2019-12-20", "2020-01-01", "1111111"),
        "RARE": daily("2018-01-01", "2020-01-01")[::6],
    }
    check_one_calendar(calendars.items(), of="t.csv")


@pytest.mark.parametrize("other", ["1111111", "1111001", "0000100", "1111101"])
def test_two_calendars_in_a_prices_file_are_refused(tmp_path, other):
    """Stocks with coins, with another weekend or with weekly funds: the message names one of each and the fix."""
    weekday, odd = daily("2018-01-01", "2019-01-01"), daily("2018-01-01", "2019-01-01", other)
    with pytest.raises(
        FormatError, match=r"t\.csv mixes calendars: 'AAA' has .* \(2 tickers\).*prepare each"
    ) as caught:
        check_one_calendar([("AAA", weekday), ("BBB", weekday), ("ODD", odd)], of="t.csv")
    assert "\n" not in str(caught.value)
    assert "'ODD' has" in str(caught.value)
    if other == "0000100":
        return  # found when a table is prepared; a prices file without weekends is not searched
    days = np.unique(np.concatenate([weekday, odd]))
    close = np.where(np.column_stack([np.isin(days, weekday)] * 2 + [np.isin(days, odd)]), 10.0, np.nan)
    table = PriceTable(days=days, tickers=("AAA", "BBB", "ODD"), close=close)
    features = {ticker: (days, np.ones((len(days), 1), np.float32)) for ticker in table.tickers}
    write_panel(Panel(ArraySource(features), table), tmp_path / "f.h5", tmp_path / "p.h5")
    with pytest.raises(FormatError, match=r"p\.h5 mixes calendars"):
        open_prices(tmp_path / "p.h5")


def test_a_prices_file_with_stray_weekends_opens(tmp_path):
    """Three bars on Saturdays among hundreds are reported elsewhere; they are no calendar."""
    panel = toy_panel(num_tickers=3, num_sessions=130)
    assert panel.prices is not None
    days = panel.prices.days.copy()
    days[[14, 54, 94]] = days[[14, 54, 94]] - (weekdays(days[[14, 54, 94]]) - 5)
    days = np.unique(days)
    table = PriceTable(days=days, tickers=panel.prices.tickers, close=panel.prices.close[: len(days)])
    assert (weekdays(days) > 4).sum() == 3
    write_panel(
        Panel(ArraySource({"A": (days, np.ones((len(days), 1), np.float32))}), table),
        tmp_path / "f.h5",
        tmp_path / "p.h5",
    )
    assert len(open_prices(tmp_path / "p.h5").days) == len(days)
