"""Adjustment of the columns of a vendor's table for splits and dividends, with the basis of each column stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from encash.arrays import Float64, Int64


class Basis(StrEnum):
    """Shares in which a column of a vendor's table is stated."""

    RAW = "raw"
    """Shares and currency of the day."""
    SPLIT = "split"
    """Adjusted for later splits, not for dividends."""
    FULL = "full"
    """Adjusted for later splits and dividends."""
    UNKNOWN = "unknown"
    """Not documented by the vendor, and nothing in the table says so."""


@dataclass(frozen=True, kw_only=True)
class VendorColumns:
    """Columns of a vendor's table by role, sorted by ticker and day.

    Roles: ``open``, ``high``, ``low``, ``close``, ``volume`` (on the basis that is stated below); ``adj_open``,
    ``adj_high``, ``adj_low``, ``adj_close``, ``adj_volume`` (fully adjusted); ``dividend`` (cash per share of the day,
    on its ex-date), ``split`` (new shares per old share on its ex-date; 0, 1 or NaN without a split) and ``factor``
    (adjusted price / raw price of the day).
    """

    values: Mapping[str, Float64]
    """Each of shape (rows,)."""
    ticker: Int64
    """Number of the ticker of each row, ascending; shape (rows,)."""
    prices: Basis = Basis.UNKNOWN
    """Basis of open, high, low and close."""
    volumes: Basis = Basis.UNKNOWN
    """Basis of the volume."""


def adjust(columns: VendorColumns) -> dict[str, Float64]:
    """Return the columns of `Bars`, each of shape (rows,), as far as the table has them.

    An adjusted close is the close, and open, high and low are adjusted by the same factor.
    """
    values = columns.values
    kept = {role: values[role] for role in ("open", "high", "low", "close", "volume") if role in values}
    if "adj_close" not in values:
        return kept
    if "close" in values:
        factor = values["adj_close"] / values["close"]
        kept |= {role: kept[role] * factor for role in ("open", "high", "low") if role in kept}
    return {**kept, "close": values["adj_close"]}
