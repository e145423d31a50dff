"""Numbers formatted as text for the page, the charts and the tables.

An undefined value (None, NaN or infinite) becomes "–", never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

ABSENT = "–"
_MOST_DIGITS = 12
_SPACE = "\u00a0"
"""A no-break space between a number and its unit."""


def percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction as a percentage.

    >>> percent(-0.1234), percent(float("nan"))
    ('−12.3%', '–')
    """
    return ABSENT if undefined(fraction) else f"{number((fraction or 0.0) * 100.0, digits)}%"


def signed_percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction as a percentage with an explicit sign; a small one with up to two more digits, so that its sign
    is never lost.

    >>> signed_percent(0.05), signed_percent(-0.0003), signed_percent(0.0)
    ('+5.0%', '−0.03%', '0.0%')
    """
    if undefined(fraction) or not fraction:
        return percent(fraction, digits)
    texts = (percent(fraction, more) for more in range(digits, digits + 3))
    text = next((text for text in texts if any(digit in text for digit in "123456789")), percent(fraction, digits))
    return text if text.startswith("−") or not any(digit in text for digit in "123456789") else f"+{text}"


def number(value: float | None, digits: int = 2) -> str:
    """Format a number with thousands separators and a true minus sign.

    >>> number(-12345.678, 1), number(-0.001)
    ('−12,345.7', '0.00')
    """
    if undefined(value):
        return ABSENT
    text = f"{value:,.{digits}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return f"−{text[1:]}" if negative else text.removeprefix("-")


def money(value: float | None) -> str:
    """Format an amount in the currency of the prices, rounded to a whole number.

    >>> money(100_000.4)
    '100,000'
    """
    return number(value, 0)


def multiple(value: float | None) -> str:
    """Format a multiple, such as a turnover.

    >>> multiple(48.23)
    '48.2×'
    """
    return f"{number(value, 1)}×"


def count(value: float | None) -> str:
    """Format a whole number, or "unknown".

    >>> count(12000), count(None)
    ('12,000', 'unknown')
    """
    return "unknown" if undefined(value) else number(value, 0)


def pluralize(value: float | None, noun: str) -> str:
    """Format a count with its noun.

    >>> pluralize(1, "session"), pluralize(12000, "position")
    ('1 session', '12,000 positions')
    """
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def seconds(value: float | None) -> str:
    """Format a duration in a suitable unit.

    >>> print(seconds(0.0123), seconds(2.5), seconds(754.0))
    12 ms 2.5 s 12 min 34 s
    """
    if value is None or math.isnan(value):
        return ABSENT
    if value < 0.9995:
        return f"{value * 1000.0:.{0 if value >= 0.00995 else 1}f}{_SPACE}ms"
    if value < 119.95:
        return f"{value:.1f}{_SPACE}s"
    return f"{int(value) // 60}{_SPACE}min {int(value) % 60}{_SPACE}s"


def ordinal(rank: int) -> str:
    """Format a rank as an ordinal number.

    >>> ordinal(1), ordinal(12), ordinal(93)
    ('1st', '12th', '93rd')
    """
    suffix = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{suffix}"


def relative_performance(ours: float, theirs: float) -> str:
    """Describe how one final capital compares with a different one.

    >>> print(*(relative_performance(ours, 100.0) for ours in (110.0, 90.0, 100.0)), sep=", ")
    10.0% ahead of, 10.0% behind, level with
    """
    lead = ours / theirs - 1.0
    if abs(lead) < 0.0005:
        return "level with"
    return f"{percent(abs(lead))} {'ahead of' if lead > 0 else 'behind'}"


def shorten(name: str, most: int) -> str:
    """Cut a name to a number of characters, with an ellipsis if something is cut.

    >>> shorten("momentum", 5)
    'mome…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def undefined(value: float | None) -> bool:
    """Report whether a number is None, NaN or infinite."""
    return value is None or not math.isfinite(value)


@dataclass(frozen=True)
class Unit:
    """Unit of the values of a chart: how one is written on an axis, in a table and by the script of the page."""

    name: str
    """Name by which the script knows it."""
    form: Callable[[float | None, int], str]
    digits: int
    """Digits of a single value."""
    scale: float = 1.0
    """Factor of a value before it is written."""

    def __call__(self, value: float | None) -> str:
        """Format a single value."""
        return self.form(value, self.digits)

    def labels(self, ticks: Sequence[float]) -> list[str]:
        """Format the ticks of an axis with the fewest digits that write each of them exactly.

        >>> PERCENT.labels([0.475, 0.5, 0.525]), MONEY.labels([0.0, 5e5])
        (['47.5%', '50.0%', '52.5%'], ['0', '500,000'])
        """
        scaled = [value * self.scale for value in ticks]
        steps = [abs(after - before) for before, after in pairwise(scaled) if after != before]
        slack = 1e-4 * min(steps, default=max((abs(value) for value in scaled), default=1.0))
        exact = (n for n in range(_MOST_DIGITS) if all(abs(round(value, n) - value) <= slack for value in scaled))
        digits = next(exact, _MOST_DIGITS)
        return [self.form(value, digits) for value in ticks]


MONEY = Unit("money", number, 0)
NUMBER = Unit("number", number, 2)
COEFFICIENT = Unit("coefficient", number, 3)
COUNT = Unit("count", number, 0)
PERCENT = Unit("percent", percent, 1, 100.0)
SIGNED_PERCENT = Unit("signed", signed_percent, 1, 100.0)
RETURN = Unit("return", signed_percent, 2, 100.0)
BASIS_POINTS = Unit("number", lambda value, digits: number(None if value is None else value * 1e4, digits), 0, 1e4)
MULTIPLE = Unit("multiple", lambda value, digits: f"{number(value, digits)}×", 1)
