"""Trading calendars: the sessions per year that the days show, and panels that mix calendars."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from encash.arrays import Days, Int64
from encash.errors import FormatError
from encash.metrics import SESSIONS_PER_YEAR

DAYS_PER_YEAR = 365.25
STOCK_YEAR = (247.5, 262.5)
"""Measured sessions per year that count as 252: exchanges from Monday to Friday, with few or no holidays."""
LEAST_DAILY = 347.0
"""Minimum measured sessions per year, 95% of 365, of a market with a session every day."""
LONGEST_HOLIDAY = 14
"""Maximum number of calendar days from one session to the next; a longer step is a gap in the data."""
LEAST_BARS = 28
"""Minimum number of bars of a ticker to determine its calendar: four weeks."""
FRIDAY, SATURDAY, SUNDAY = 4, 5, 6
"""Days of the week as `weekdays` counts them."""
_STEPS = {"one session a week": (6, 8), "one session a month": (26, 35)}
"""Calendars of few sessions: shortest and longest step in calendar days."""
_WEEKS = {
    (False, False): "Monday to Friday",
    (True, True): "every day",
    (False, True): "Sundays and no Saturdays",
    (True, False): "Saturdays and no Sundays",
}
"""Regular sessions on Saturday and on Sunday → calendar."""


def sessions_per_year(days: Days) -> int:
    """Return the sessions per year of a market, by which returns are annualized.

    The rate is the number of steps over their calendar days, times 365.25, without steps of more than two weeks (or
    three times the median step), which are gaps in the data. From 247.5 to 262.5 counts as 252, and from 347 as 365;
    any other rate is rounded (243 in Shanghai, 52 for weekly data). Less than a year of data is too short to measure
    holidays: sessions at most three days apart, without regular weekends, count as 252.

    Args:
        days: sessions, ascending and distinct; shape (T,).

    >>> sessions_per_year(np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]"))
    365
    >>> sessions_per_year(np.busday_offset("2024-01-02", np.arange(60), roll="forward"))
    252
    >>> sessions_per_year(np.arange("2020-01-03", "2022-01-01", 7, dtype="datetime64[D]"))
    52
    """
    steps = np.diff(days).astype(np.int64)
    if not len(steps):
        return SESSIONS_PER_YEAR
    usual = float(np.median(steps))
    short = int(steps.sum()) < int(DAYS_PER_YEAR)
    if short and usual <= 3 and not any(_regular_weekend(days)):
        return SESSIONS_PER_YEAR
    steps = steps[steps <= max(float(LONGEST_HOLIDAY), 3 * usual)]
    measured = DAYS_PER_YEAR * len(steps) / float(steps.sum())
    if STOCK_YEAR[0] <= measured < STOCK_YEAR[1]:
        return SESSIONS_PER_YEAR
    return 365 if measured >= LEAST_DAILY else max(1, round(measured))


def calendar_of(days: Days) -> str | None:
    """Return the calendar of one ticker in words; None if it has less than four weeks of bars.

    A weekend day is regular if it has at least half of the bars that one day in seven would have, so that a few stray
    rows do not change the calendar. Holidays do not matter.

    >>> calendar_of(np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"))
    'every day'
    """
    if len(days) < LEAST_BARS:
        return None
    steps = np.diff(days).astype(np.int64)
    for name, (shortest, longest) in _STEPS.items():
        if np.mean((steps >= shortest) & (steps <= longest)) >= 0.9:
            return name
    return _WEEKS[_regular_weekend(days)]


def check_one_calendar(calendars: Iterable[tuple[str, Days]], *, of: object) -> None:
    """Refuse tickers that do not share a calendar: holidays may differ, regular weekends may not.

    Sessions are the days on which any ticker traded, and a horizon counts sessions: five sessions of a panel of
    cryptocurrencies and stocks would be three or four of a stock.

    Args:
        calendars: tickers, each with the days of its bars.
        of: the file, for the message.

    Raises:
        FormatError: two calendars; the message names a ticker of each.
    """
    found: dict[str, list[str]] = {}
    for ticker, days in calendars:
        if (calendar := calendar_of(days)) is not None:
            found.setdefault(calendar, []).append(ticker)
    if len(found) > 1:
        parts = [f"{names[0]!r} has {calendar} ({len(names):,} tickers)" for calendar, names in sorted(found.items())]
        raise FormatError(
            f"{of} mixes calendars: {', '.join(parts)}; a horizon counts sessions of all tickers, so put the tickers "
            "of each calendar into a table of their own and prepare each"
        )


def weekdays(days: Days) -> Int64:
    """Return the day of the week of each day, from 0 for Monday to 6 for Sunday.

    >>> weekdays(np.array(["2024-01-01", "2024-01-07"], dtype="datetime64[D]"))
    array([0, 6])
    """
    return (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday


def _regular_weekend(days: Days) -> tuple[bool, bool]:
    """Return whether Saturday and Sunday have at least half of the bars of one day in seven."""
    weekday, least = weekdays(days), len(days) / 14
    return bool((weekday == SATURDAY).sum() >= least), bool((weekday == SUNDAY).sum() >= least)
