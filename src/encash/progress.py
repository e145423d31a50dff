"""How a piece of work says how far it is. Knows two numbers; nothing of what is counted, nor of who shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), in the unit that the work names."""
