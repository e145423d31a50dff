"""Numbers as people read them. Knows no run and no page.

What is not defined (None or NaN) becomes "–", never 0.
"""

from __future__ import annotations

import math

ABSENT = "–"
_SPACE = "\u00a0"
"""Between a number and its unit: a line never breaks there."""


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a percentage.

    >>> print(percent(-0.1234), percent(float("nan")))
    −12.3 % –
    """
    return ABSENT if undefined(fraction) else f"{number(fraction * 100.0, digits)}{_SPACE}%"  # type: ignore[operator]  # checked


def signed_percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a percentage that shows its sign.

    >>> print(signed_percent(0.05))
    +5.0 %
    """
    text = percent(fraction, digits)
    return text if text == ABSENT or text.startswith("−") else f"+{text}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands separated and a true minus sign.

    >>> number(-12345.678, 1), number(-0.001)
    ('−12,345.7', '0.00')
    """
    if undefined(value):
        return ABSENT
    text = f"{value:,.{digits}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return f"−{text[1:]}" if negative else text.removeprefix("-")


def money(value: float | None) -> str:
    """An amount in the currency of the prices, without the small change.

    >>> money(100_000.4)
    '100,000'
    """
    return number(value, 0)


def count(value: float | None) -> str:
    """A whole number, or "unknown".

    >>> count(12000), count(None)
    ('12,000', 'unknown')
    """
    return "unknown" if undefined(value) else number(value, 0)


def several(value: float | None, thing: str) -> str:
    """So many of a thing, one of it in the singular.

    >>> several(1, "session"), several(12000, "position")
    ('1 session', '12,000 positions')
    """
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"


def seconds(value: float | None) -> str:
    """A span of time in the unit that suits it.

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
    """A rank in words.

    >>> ordinal(1), ordinal(12), ordinal(93)
    ('1st', '12th', '93rd')
    """
    suffix = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{suffix}"


def ahead(ours: float, theirs: float) -> str:
    """How far one capital ended from another.

    >>> print(ahead(110.0, 100.0), ahead(90.0, 100.0), ahead(100.0, 100.0), sep=", ")
    10.0 % ahead of, 10.0 % behind, level with
    """
    lead = ours / theirs - 1.0
    if abs(lead) < 0.0005:
        return "level with"
    return f"{percent(abs(lead))} {'ahead of' if lead > 0 else 'behind'}"


def undefined(value: float | None) -> bool:
    """Whether there is no such number."""
    return value is None or not math.isfinite(value)
