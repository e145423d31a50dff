"""The sessions of one ticker in a price table, after adjustment."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from encash.arrays import Bool, Days, Float64


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The sessions of one ticker: closes, and optionally open, high and low, and volume.

    Open, high, low, close and volume are comparable across days as far as the table allows: adjusted for splits and,
    if the vendor does so, for dividends. A later split or dividend multiplies their past by a constant. The raw columns
    hold what was traded on the day; nothing later changes them.
    """

    days: Days
    """The ticker's own sessions, ascending and distinct; shape (n,)."""
    close: Float64
    """In currency units, above zero; shape (n,)."""
    open: Float64 | None = None
    """shape (n,)."""
    high: Float64 | None = None
    """At or above open, low and close; shape (n,)."""
    low: Float64 | None = None
    """At or below open, high and close; shape (n,)."""
    volume: Float64 | None = None
    """Shares traded, zero or more, in shares that are comparable across days; shape (n,)."""
    raw_close: Float64 | None = None
    """In currency units of the day, per share of the day; None if the table does not have it; shape (n,)."""
    raw_volume: Float64 | None = None
    """Shares of the day; None if the table does not have it; shape (n,)."""
    dollars: Float64 | None = None
    """Dollar volume in currency units of the day: raw close × raw volume, or the same product of columns that are both
    adjusted for splits; None if the table has neither; shape (n,)."""

    def only(self, rows: Bool | slice) -> Bars:
        """Return some of the bars; a mask has shape (n,).

        >>> import numpy as np
        >>> days = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
        >>> Bars(days=days, close=np.array([1.0, 2.0, 3.0])).only(slice(1, 3)).close.tolist()
        [2.0, 3.0]
        """
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})
