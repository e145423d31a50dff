"""How a piece of work says how far it is. Knows two numbers; nothing of what is counted, nor of who shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), in the unit that the work names."""


def rate_text(per_second: float) -> str:
    """A speed as people read it.

    >>> rate_text(3021.4), rate_text(39.46)
    ('3,021', '39.5')
    """
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"
