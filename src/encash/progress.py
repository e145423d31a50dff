"""The interface through which work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), in the unit of the work."""


def rate_text(per_second: float) -> str:
    """Return a speed as readable text.

    >>> rate_text(3021.4), rate_text(39.46)
    ('3,021', '39.5')
    """
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"
