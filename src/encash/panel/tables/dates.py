"""Trading days from dates, instants and epochs; a column that reads as different days is refused.

Rules, each for a whole column:

- Text with the year first, or with the month as a word, has one meaning. Of other orders, the only one in which each
  text is a date is taken; points (02.01.2024) put the day first. If several orders remain, that of the vendor's
  documentation is taken, and without one the column is refused.
- Integers of 8 digits are YYYYMMDD. Longer ones are epochs: the unit is the one (s, ms, µs or ns) in which the latest
  lies from 1990 to 2100; these ranges do not overlap.
- If every time of day is midnight, as it is written, the day is the one that is written. Other instants are converted
  to the stated time zone; without one, the day is the one that is written, unless some of these days are weekends.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encash.arrays import Bool, Days, Float64, Int64
from encash.errors import FormatError
from encash.panel.tables.numbers import whole_numbers

_MICROSECONDS = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800
"""Seconds of 1990-01-01 and 2100-01-01."""
_DAY = 86_400_000_000
_OPEN_ON_SUNDAYS = (
    "Asia/Riyadh", "Asia/Jerusalem", "Asia/Tel_Aviv", "Africa/Cairo", "Asia/Kuwait", "Asia/Qatar", "Asia/Bahrain",
    "Asia/Muscat", "Asia/Amman", "Asia/Dubai", "Asia/Dhaka", "Asia/Kathmandu", "Africa/Tripoli", "Asia/Baghdad",
)  # fmt: skip
_WEEKEND_SHARE = 0.02
_FIRST_YEAR, _LAST_YEAR = 1800, 2100
"""Years of other calendars (1402, 2567) and of two digits (0024) are outside."""
_EASTERN_MIDNIGHT, _NEW_YORK_CLOSE = 10, (20, 21)
"""Hours in UTC."""
_MANY = 8
"""Days in a row of which a Monday and a Friday are expected."""
_MONTHS = {
    name[:length]: number + 1
    for number, name in enumerate(
        (
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        )
    )
    for length in (3, len(name))
} | {"sept": 9}
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>AM|PM))?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d))?",
    re.IGNORECASE,
)
_AFTER = r"(?:(?:[T ]|, ?)+(?P<clock>\d.*))?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<a>\d{{1,2}})(?P=mark)(?P<b>\d{{1,2}}){_AFTER}")
_COMPACT = re.compile(rf"(?P<year>(?:18|19|20|21)\d\d)(?P<a>\d\d)(?P<b>\d\d)(?:\.0)?{_AFTER}")
_EPOCH = re.compile(r"-?\d{9,19}(?:\.0+)?")
_PARTS = re.compile(rf"(?P<a>\d{{1,2}})(?P<mark>[-/. ])(?P<b>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d\d){_AFTER}")
_WORD = "[A-Za-z]{3,9}"
_WORDED = re.compile(
    rf"(?:{_WORD},? +)?(?:(?P<day>\d{{1,2}})[-/ .]*(?P<month>{_WORD})|(?P<month2>{_WORD})[-/ .]+"
    rf"(?P<day2>\d{{1,2}})),?[-/ .]*(?P<year>\d{{4}}|\d\d){_AFTER}"
)


@dataclass(frozen=True, kw_only=True)
class DateRules:
    """Knowledge of the dates of a table besides their values."""

    shown: str
    column: str
    date_format: str | None = None
    """Stated by the user."""
    timezone: str | None = None
    """Stated by the user or documented by the vendor."""
    vendor_format: str | None = None
    """Documented by the vendor, for dates that read in several orders."""
    mixed_epochs: bool = False

    def refuse(self, what: str, fix: str) -> FormatError:
        """Return the error for a column of dates."""
        return FormatError(f"{self.shown}: {what} in {self.column!r} {fix}")


@dataclass(frozen=True, kw_only=True)
class _Instants:
    """Distinct values of a column of dates."""

    written: Int64
    """Microseconds since 1970 of the date and time that are written."""
    offset: Float64
    """Microseconds to subtract for UTC; NaN if not written."""
    notes: tuple[str, ...] = ()


def read_days(columns: Sequence[pa.Array], rules: DateRules) -> tuple[list[Days], list[Bool], tuple[str, ...]]:
    """Return the trading days of the distinct dates of each file, a mask of those at midnight, and notes.

    Each file is read by what its own dates show.

    Raises:
        FormatError: a value that is not a date, or dates that read in several ways.
    """
    if rules.timezone is not None:
        _check_zone(rules.timezone)
    found = [_computed(column, rules) for column in columns]
    written = np.concatenate([part.written for part in found]) if found else np.empty(0, np.int64)
    offset = np.concatenate([part.offset for part in found]) if found else np.empty(0)
    days, notes = _trading_days(written, offset, rules)
    notes = (*dict.fromkeys(note for part in found for note in part.notes), *notes)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    midnight = written % _DAY == 0
    return np.split(days, ends), np.split(midnight, ends), notes


def _computed(column: pa.Array, rules: DateRules) -> _Instants:
    """Return what one column says; refuse dates that are too far away to compute with, and unknown time zones."""
    try:
        return _instants(_as_text(column), rules)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise rules.refuse("a value", f"cannot be read as a date ({reason}); write dates YYYY-MM-DD") from None


def _as_text(column: pa.Array) -> pa.Array:
    """Return dates and times unchanged, and everything else as text."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column
    if pa.types.is_floating(kind):
        return whole_numbers(column).cast(pa.string())
    return column.cast(pa.string())


def _instants(column: pa.Array, rules: DateRules) -> _Instants:
    """Return what one column of distinct values says."""
    kind = column.type
    if pa.types.is_date(kind):
        return _dated(column.cast(pa.date32()).cast(pa.timestamp("us")))
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz=kind.tz), safe=kind.unit != "ns")  # only ns are rounded
        if kind.tz is None:
            return _dated(column)
        local = _microseconds(pc.local_timestamp(column))
        return _Instants(written=local, offset=(local - _microseconds(column)).astype(np.float64))
    texts = [text.strip() for text in column.to_pylist()]
    if rules.date_format is not None:
        return _formatted(texts, rules)
    if texts and all(_EPOCH.fullmatch(text) and not _COMPACT.fullmatch(text) for text in texts):
        return _epochs(np.array([int(text.split(".")[0]) for text in texts]), rules)
    return _texts(texts, rules)


def _dated(column: pa.Array) -> _Instants:
    written = _microseconds(column)
    return _Instants(written=written, offset=np.full(len(written), np.nan))


def _microseconds(column: pa.Array) -> Int64:
    found: Int64 = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _formatted(texts: list[str], rules: DateRules) -> _Instants:
    """Return dates in the format that the user states."""
    assert rules.date_format is not None
    found = []
    for text in texts:
        try:
            found.append(dt.datetime.strptime(text, rules.date_format))
        except (ValueError, re.error):
            raise rules.refuse(
                repr(text), f"is not a date in the format {rules.date_format!r}; correct --date-format"
            ) from None
    return _joined([(_of_datetime(moment), _offset_of(moment)) for moment in found])


def _of_datetime(moment: dt.datetime) -> int:
    return int(np.datetime64(moment.replace(tzinfo=None), "us").astype(np.int64))


def _offset_of(moment: dt.datetime) -> float:
    offset = moment.utcoffset()
    return np.nan if offset is None else offset.total_seconds() * 1e6


def _joined(pairs: list[tuple[int, float]], *notes: str) -> _Instants:
    written = np.array([pair[0] for pair in pairs], dtype=np.int64)
    return _Instants(written=written, offset=np.array([pair[1] for pair in pairs], dtype=np.float64), notes=notes)


def _epochs(values: Int64, rules: DateRules) -> _Instants:
    """Return epochs in the unit that their size shows."""
    fits = {
        unit: (values >= _EARLIEST * 1_000_000 / scale) & (values <= _LATEST * 1_000_000 / scale)
        for unit, scale in _MICROSECONDS.items()
    }
    latest = int(np.argmax(values))
    units = [unit for unit, own in fits.items() if own[latest]]
    others = [unit for unit, own in fits.items() if own.any() and unit not in units]
    if not units:
        raise rules.refuse(
            repr(str(values[latest])),
            "is not an epoch from 1990 to 2100 in s, ms, µs or ns; write dates YYYY-MM-DD, or name another column with "
            "--columns date=COLUMN",
        )
    scale = np.full(len(values), _MICROSECONDS[units[0]])
    if others and not (rules.mixed_epochs and np.logical_or.reduce(list(fits.values())).all()):
        raise rules.refuse("epochs", f"are in {others[0]} and in {units[0]}; give a file of each")
    for unit in others:
        scale[fits[unit]] = _MICROSECONDS[unit]
    exact = np.where(scale >= 1, values * scale.astype(np.int64), values // 1000)
    return _Instants(
        written=exact.astype(np.int64),
        offset=np.zeros(len(values)),
        notes=(f"{rules.column!r} holds epochs in {' and '.join([*others, *units])}",),
    )


def _texts(texts: list[str], rules: DateRules) -> _Instants:
    """Return dates in text, of which the order of day and month is found in the whole column."""
    forms = []
    for text in texts:
        found = next(
            (form for pattern in (_YEAR_FIRST, _COMPACT, _WORDED, _PARTS) if (form := pattern.fullmatch(text))), None
        )
        if found is None:
            raise rules.refuse(repr(text), "is not a date; expected YYYY-MM-DD in every row, or state --date-format")
        forms.append(found)
    parts = [form for form in forms if form.re is _PARTS]
    if parts and len(parts) < len(forms):
        other = next(form for form in forms if form.re is not _PARTS)
        raise rules.refuse(
            f"dates like {parts[0].string!r} and {other.string!r}",
            "are mixed; expected one format, as a spreadsheet that converts some of them does not keep it: write "
            "YYYY-MM-DD",
        )
    order, notes = (_MONTH_FIRST, ()) if not parts else _order(parts, rules)
    pairs = []
    for form in forms:
        day = _date(form, order)
        if day is None:
            raise rules.refuse(
                repr(form.string), "is not a date; expected YYYY-MM-DD in every row, or state --date-format"
            )
        pairs.append(_with_clock(day, form, rules))
    return _joined(pairs, *notes)


_Order = tuple[str, str, str]
_DAY_FIRST: _Order = ("b", "a", "year")
_MONTH_FIRST: _Order = ("a", "b", "year")
_SHORT_YEAR_FIRST: _Order = ("b", "year", "a")
"""Groups of `_PARTS` that hold month, day and year."""
_ORDER_NAMES = {_DAY_FIRST: "day first", _MONTH_FIRST: "month first", _SHORT_YEAR_FIRST: "year first"}


def _order(forms: list[re.Match[str]], rules: DateRules) -> tuple[_Order, tuple[str, ...]]:
    """Return the only order in which every date exists, or the one that the vendor documents."""
    short = any(len(form["year"]) == 2 for form in forms)
    orders = [_DAY_FIRST, _MONTH_FIRST, *([_SHORT_YEAR_FIRST] if short else [])]
    possible = [order for order in orders if all(_date(form, order) is not None for form in forms)]
    if not possible:
        raise rules.refuse(
            repr(forms[0].string), "is not a date in the order of the others; state --date-format, like %d/%m/%Y"
        )
    points = all(form["mark"] == "." for form in forms) and not short
    if points and _DAY_FIRST in possible:
        return _DAY_FIRST, (f"{rules.column!r} has the day first, as dates with points do",)
    if len(possible) == 1:
        return possible[0], (f"{rules.column!r} has the {_ORDER_NAMES[possible[0]]}, which no other order allows",)
    documented = {"%m/%d/%Y": _MONTH_FIRST, "%d/%m/%Y": _DAY_FIRST}.get(rules.vendor_format or "")
    if documented in possible and not short:
        return documented, (f"{rules.column!r} has the {_ORDER_NAMES[documented]}, as its vendor documents",)
    if all(len({_date(form, order) for order in possible}) == 1 for form in forms):
        return possible[0], ()
    unclear = next(form for form in forms if len({_date(form, order) for order in possible}) > 1)
    mark = unclear["mark"]
    raise rules.refuse(
        repr(unclear.string),
        "is ambiguous: day or month may be first; state --date-format "
        f"%d{mark}%m{mark}%Y or --date-format %m{mark}%d{mark}%Y".replace("%Y", "%y" if short else "%Y"),
    )


def _date(form: re.Match[str], order: _Order) -> dt.date | None:
    """Return the date of a matched text, or None if there is no such day."""
    if form.re is _WORDED:
        month = _MONTHS.get((form["month"] or form["month2"]).lower(), 0)
        day, year = int(form["day"] or form["day2"]), form["year"]
    elif form.re is _PARTS:
        month, day, year = int(form[order[0]]), int(form[order[1]]), form[order[2]]
    else:
        month, day, year = int(form["a"]), int(form["b"]), form["year"]
    century = 0 if len(year) == 4 else 2000 if int(year) < 70 else 1900
    try:
        found = dt.date(century + int(year), month, day)
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None


def _with_clock(day: dt.date, form: re.Match[str], rules: DateRules) -> tuple[int, float]:
    """Return the microseconds of a day with its time, and of its offset."""
    written = int(np.datetime64(day, "us").astype(np.int64))
    if not (text := (form["clock"] or "").strip()):
        return written, np.nan
    clock = _CLOCK.fullmatch(text)
    if clock is None or int(clock["hour"]) > 24 or int(clock["minute"]) > 59:
        raise rules.refuse(repr(form.string), "is not a date with a time; state --date-format")
    hour = int(clock["hour"])
    if clock["half"]:
        hour = hour % 12 + (12 if clock["half"].upper() == "PM" else 0)
    seconds = hour * 3600 + int(clock["minute"]) * 60 + int(clock["second"] or 0)
    fraction = int((clock["fraction"] or "0").ljust(9, "0")[:6])
    return written + seconds * 1_000_000 + fraction, _offset(clock["zone"])


def _offset(zone: str | None) -> float:
    if zone is None:
        return np.nan
    if zone.upper() in ("Z", "UTC", "GMT"):
        return 0.0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-minutes if zone[0] == "-" else minutes) * 60e6


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FormatError(f"unknown time zone {name!r}: expected an IANA name like --timezone Asia/Tokyo") from None


def _trading_days(written: Int64, offset: Float64, rules: DateRules) -> tuple[Days, tuple[str, ...]]:
    """Return the trading day of each instant."""
    days = written.astype("datetime64[us]").astype("datetime64[D]")
    odd = (days < np.datetime64(str(_FIRST_YEAR))) | (days > np.datetime64(str(_LAST_YEAR)))
    if odd.any():
        raise rules.refuse(repr(str(days[int(np.argmax(odd))])), f"is not a date from {_FIRST_YEAR} to {_LAST_YEAR}")
    if not len(written) or (written % _DAY == 0).all():
        _check_sundays(days, rules)
        return days, ()
    if rules.timezone is not None:
        utc = pa.array(written - np.nan_to_num(offset).astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))
        local = pc.local_timestamp(utc.cast(pa.timestamp("us", tz=rules.timezone)))
        found: Days = local.to_numpy(zero_copy_only=False).astype("datetime64[D]")
        return found, (f"{rules.column!r} has timestamps, read as days in {rules.timezone}",)
    if (reason := _shifted(days, written, offset)) is not None:
        raise rules.refuse(
            f"instants {reason}",
            "may belong to a different day at the exchange; state its time zone, like --timezone Asia/Tokyo",
        )
    return days, (f"{rules.column!r} holds times of day, which were left out: the day is the one that is written",)


def _check_sundays(days: Days, rules: DateRules) -> None:
    """Refuse dates on Sundays and none on Fridays, unless the stated zone is that of a market open on Sundays."""
    weekday = (days.view(np.int64) + 3) % 7
    if len(days) < _MANY or rules.timezone in _OPEN_ON_SUNDAYS or (weekday == 6).mean() < 0.1 or (weekday == 4).any():
        return
    raise rules.refuse(
        f"{int((weekday == 6).sum())} of {len(days)} days",
        f"are Sundays and none is a Friday (first {days[int(np.argmax(weekday == 6))]}), as if a time zone had moved "
        "days by one: give instants with their time, or state the zone of an exchange open on Sundays, like --timezone "
        "Asia/Riyadh",
    )


def _shifted(days: Days, written: Int64, offset: Float64) -> str | None:
    """Return why the days that are written may not be those of the exchange, or None.

    Bars of Tokyo in UTC are a day early, so that some are on Sundays and none on Fridays. Too few days show no such
    sign: then a time of day is clear only if it is before every midnight of the east, or the close of New York.
    """
    if _ends_the_day(written) or (np.nan_to_num(offset) != 0).all():
        return None
    weekday = (days.view(np.int64) + 3) % 7
    weekend = weekday >= 5
    if weekend.mean() > _WEEKEND_SHARE:
        return f"of which {int(weekend.sum())} of {len(days)} fall on weekends (first {days[int(np.argmax(weekend))]})"
    absent = [name for number, name in ((0, "Monday"), (4, "Friday")) if number not in weekday]
    if absent and len(days) >= _MANY:
        return f"of which none of {len(days)} falls on a {absent[0]}"
    hours = written % _DAY // 3_600_000_000
    unclear = (offset == 0) & (hours >= _EASTERN_MIDNIGHT) & ~np.isin(hours, _NEW_YORK_CLOSE)
    if absent and unclear.any():
        return f"like {written.astype('datetime64[us]')[int(np.argmax(unclear))].astype('datetime64[s]')}Z"
    return None


def _ends_the_day(written: Int64) -> bool:
    """Return whether all instants are in the last minute of a day, as the ends of daily bars are."""
    return bool((written % _DAY >= _DAY - 60_000_000).all())
