"""Adjustment of the columns of a vendor's table for splits and dividends, with the basis of each column stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from encash.arrays import Days, Float64, Int64
from encash.errors import FormatError

LARGE_SPLIT = 1.5
"""Minimum split ratio, up or down, at which a close shows whether it is adjusted: ordinary moves are smaller."""


class Basis(StrEnum):
    """Shares in which a column of a vendor's table is stated."""

    RAW = "raw"
    """Shares and currency of the day."""
    SPLIT = "split"
    """Adjusted for later splits, not for dividends."""
    FULL = "full"
    """Adjusted for later splits and dividends."""
    UNKNOWN = "unknown"
    """Not documented by the vendor, and not evident from the table."""


@dataclass(frozen=True, kw_only=True)
class VendorColumns:
    """Columns of a vendor's table by role, sorted by ticker and day.

    Roles: ``open``, ``high``, ``low``, ``close``, ``volume`` (on the basis that is stated below); ``adj_open``,
    ``adj_high``, ``adj_low``, ``adj_close``, ``adj_volume`` (fully adjusted); ``raw_close`` and ``raw_volume`` (if a
    table has them beside adjusted ones); ``dividend`` (cash per share on its ex-date, in the shares of the prices),
    ``split`` (new shares per old share on its ex-date; 0, 1 or NaN without a split) and ``factor`` (adjusted price /
    raw price of the day, up to a constant per ticker).
    """

    values: Mapping[str, Float64]
    """Each of shape (rows,)."""
    ticker: Int64
    """Number of the ticker of each row, ascending; shape (rows,)."""
    prices: Basis = Basis.UNKNOWN
    """Basis of open, high, low and close."""
    volumes: Basis = Basis.UNKNOWN
    """Basis of the volume."""
    names: Sequence[str] | None = None
    """Name of each ticker, for messages."""
    days: Days | None = None
    """Day of each row, for messages; shape (rows,)."""

    def where(self, row: int) -> str:
        """Return the ticker and day of a row as text."""
        ticker = f"ticker number {self.ticker[row]}" if self.names is None else repr(str(self.names[self.ticker[row]]))
        return f"{ticker} in row {row + 1}" if self.days is None else f"{ticker} on {self.days[row]}"


def adjust(columns: VendorColumns) -> dict[str, Float64]:
    """Return the columns of `Bars` that the table has, each of shape (rows,).

    ==========================  ============================================  =======================================
    the table has               close, open, high, low                        raw_close
    ==========================  ============================================  =======================================
    adj_close (any basis)       adj_close; open, high and low × the same       close if RAW
                                factor adj_close / close, unless adj_open …
    factor, RAW or UNKNOWN      × factor / the ticker's last factor            close
    split, dividend, RAW        × F_t, the product of f_s over later days s,   close
                                f_s = (1 − D_s S_s / P_{s−1}) / S_s
    dividend, SPLIT             the same with S = 1                            –
    split, UNKNOWN              × the product of later splits if the closes   –
                                jump at most of them, else unchanged
    nothing else                unchanged                                      close if RAW
    ==========================  ============================================  =======================================

    ==========================  =====================================================================================
    the table has               volume
    ==========================  =====================================================================================
    adj_volume                  adj_volume
    RAW volume, split           × the product of later splits
    RAW volume, RAW prices      / the factor of the prices, which contains the dividends (some percent a year)
    RAW volume, SPLIT or FULL   none: it is not comparable across the splits that the prices do not show
    any other                   unchanged
    ==========================  =====================================================================================

    ``raw_volume`` is a RAW volume. ``dollars`` are raw_close × raw_volume, or close × volume if both are SPLIT: a split
    changes neither product. P is the close before adjustment, D the dividend and S the split, 1 without one. Without a
    split, f is the factor of CRSP, 1 − D / P_{t−1}, which reinvests the dividend at the close before its ex-date. The
    last price of a ticker is unchanged, and a later event multiplies the whole past by a constant.

    Raises:
        FormatError: columns that contradict each other: a basis that the closes contradict at splits, a missing factor
            of prices to be adjusted, or a dividend of the whole price.
    """
    values, basis = columns.values, _checked_basis(columns)
    factor = _factor(columns, basis)
    found = {role: _adjusted(columns, role, factor) for role in ("open", "high", "low", "close") if _has(values, role)}
    if (volume := _volume(columns, basis, factor)) is not None:
        found["volume"] = volume
    raw_close = values.get("raw_close", values.get("close") if basis is Basis.RAW else None)
    raw_volume = values.get("raw_volume", values.get("volume") if columns.volumes is Basis.RAW else None)
    if raw_close is not None:
        found["raw_close"] = raw_close
    if raw_volume is not None:
        found["raw_volume"] = raw_volume
    if raw_close is not None and raw_volume is not None:
        found["dollars"] = raw_close * raw_volume
    elif basis is columns.volumes is Basis.SPLIT and {"close", "volume"} <= values.keys():
        found["dollars"] = values["close"] * values["volume"]
    return found


def remarks(columns: VendorColumns) -> tuple[str, ...]:
    """Return a line for each column that `adjust` does not use because its basis is unknown."""
    values, basis, said = columns.values, _checked_basis(columns), []
    paid = np.nan_to_num(values.get("dividend", np.zeros(0))) > 0
    if paid.any() and basis is Basis.UNKNOWN and "adj_close" not in values:
        said.append(
            f"{int(paid.sum()):,} dividends are not applied: nothing says whether the prices contain them; name an "
            "adjusted close, or state the basis of the prices"
        )
    if "volume" in values and _volume(columns, basis, _factor(columns, basis)) is None:
        said.append(
            "the volume is raw and the prices are adjusted: features of volumes are left out; add the splits, a factor "
            "or the adjusted volume"
        )
    return tuple(said)


def _has(values: Mapping[str, Float64], role: str) -> bool:
    return role in values or f"adj_{role}" in values


def _adjusted(columns: VendorColumns, role: str, factor: Float64 | None) -> Float64:
    """Return one price after adjustment."""
    values = columns.values
    if f"adj_{role}" in values:
        return values[f"adj_{role}"]
    if factor is not None:
        return values[role] * factor
    if "adj_close" in values:
        raise FormatError(
            f"the table has {role} and an adjusted close only; add the close, so that {role} can be adjusted by the "
            "same factor"
        )
    return values[role]


def _checked_basis(columns: VendorColumns) -> Basis:
    """Return the basis of the prices; refuse one that the closes contradict at splits."""
    values, stated = columns.values, columns.prices
    if "factor" in values:
        if stated in (Basis.SPLIT, Basis.FULL):
            raise FormatError("the table has a factor for prices that are adjusted already; leave out one of them")
        stated = Basis.RAW
    if "close" not in values or stated is Basis.UNKNOWN or not {"split", "factor"} & values.keys():
        return stated
    raw, adjusted = _jumps(columns)
    wrong, right = (adjusted, raw) if stated is Basis.RAW else (raw, adjusted)
    if len(wrong) > len(right):
        by = "factor" if "factor" in values else "split"
        expected = "jump at its splits" if stated is Basis.RAW else "not jump at its splits"
        raise FormatError(
            f"the closes are taken as {stated.value} and should {expected}, but at {len(wrong)} of "
            f"{len(wrong) + len(right)} steps of the {by} they do the opposite, first {columns.where(int(wrong[0]))}; "
            "state the basis of the prices, or leave out the column"
        )
    return stated


def _jumps(columns: VendorColumns) -> tuple[Int64, Int64]:
    """Return the rows of large splits at which the close moves against the split, and those at which it does not."""
    before = _close_before(columns)
    split = _splits(columns)
    if "factor" in columns.values:
        split = columns.values["factor"] / _before(columns, columns.values["factor"])
    with np.errstate(divide="ignore", invalid="ignore"):
        step, move = np.log(split), np.log(columns.values["close"] / before)
    large = np.isfinite(step) & np.isfinite(move) & (np.abs(step) > np.log(LARGE_SPLIT))
    against = np.abs(move + step) < np.abs(move)
    return np.flatnonzero(large & against), np.flatnonzero(large & ~against)


def _factor(columns: VendorColumns, basis: Basis) -> Float64 | None:
    """Return adjusted price / given price of each row; None if the table has no information about it."""
    values = columns.values
    if "close" not in values:
        return None
    if "adj_close" in values:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(values["adj_close"] / values["close"])
    if "factor" in values:
        given = values["factor"]
        if (bad := np.flatnonzero(~((given > 0) & (given < np.inf)) & ~np.isnan(values["close"]))).size:
            raise FormatError(f"no factor above zero for {columns.where(int(bad[0]))}; give one for each close")
        return given / _last(columns, given)
    return _later(columns, _event_factors(columns, basis)) if {"split", "dividend"} & values.keys() else None


def _volume(columns: VendorColumns, basis: Basis, factor: Float64 | None) -> Float64 | None:
    """Return a volume that is comparable across days; None if there is none."""
    values = columns.values
    if "adj_volume" in values or "volume" not in values:
        return values.get("adj_volume")
    volume = values["volume"]
    if columns.volumes is not Basis.RAW:
        return volume
    if "split" in values:
        return volume * _later(columns, _splits(columns))
    if basis is Basis.RAW and factor is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(volume / factor)
    return None if basis in (Basis.SPLIT, Basis.FULL) else volume


def _splits(columns: VendorColumns) -> Float64:
    """Return new shares per old share, 1 without a split."""
    given = columns.values.get("split")
    if given is None:
        return np.ones(len(columns.ticker))
    if (bad := np.flatnonzero((given < 0) | np.isinf(given))).size:
        raise FormatError(
            f"the split of {columns.where(int(bad[0]))} is {given[bad[0]]:g}; expected new shares per old share, like 2"
        )
    return np.where(np.isnan(given) | (given == 0), 1.0, given)


def _event_factors(columns: VendorColumns, basis: Basis) -> Float64:
    """Return the factor by which the events of each row multiply all earlier prices; 1 if the prices include them."""
    split = none = np.ones(len(columns.ticker))
    if basis is Basis.RAW:
        split = _splits(columns)
    elif basis is Basis.UNKNOWN and "split" in columns.values:
        raw, adjusted = _jumps(columns)
        split = _splits(columns) if len(raw) > len(adjusted) else none
    return _dividend_factors(columns, split) / split if basis in (Basis.RAW, Basis.SPLIT) else 1 / split


def _dividend_factors(columns: VendorColumns, split: Float64) -> Float64:
    """Return 1 minus each dividend as a fraction of the previous close."""
    dividend = np.nan_to_num(columns.values.get("dividend", np.zeros(len(split))))
    before = _close_before(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.isnan(before) | (dividend == 0), 0.0, dividend * split / before)
    if (bad := np.flatnonzero(~((share >= 0) & (share < 1)))).size:
        row = int(bad[0])
        raise FormatError(
            f"the dividend of {columns.where(row)} is {dividend[row]:g} after a close of {before[row]:g}; expected "
            "cash per share, from 0 to below the close before it"
        )
    return 1 - share


def _close_before(columns: VendorColumns) -> Float64:
    return _before(columns, columns.values["close"])


def _before(columns: VendorColumns, values: Float64) -> Float64:
    """Return the ticker's last known value before each row, NaN before the first."""
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    latest = np.concatenate([[-1], np.maximum.accumulate(known)[:-1]]) if len(values) else known
    first = np.searchsorted(columns.ticker, columns.ticker)
    return np.where(latest >= first, values[latest], np.nan)


def _last(columns: VendorColumns, values: Float64) -> Float64:
    """Return the ticker's last known value, for each row."""
    known = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    last: Float64 = values[known[np.searchsorted(columns.ticker, columns.ticker, side="right") - 1]]
    return last


def _later(columns: VendorColumns, factors: Float64) -> Float64:
    """Return the product of the ticker's factors on later rows, for each row."""
    later = np.ones(len(factors))
    starts = np.flatnonzero(np.diff(columns.ticker, prepend=-1))
    for first, stop in zip(starts, [*starts[1:], len(factors)], strict=True):
        later[first : stop - 1] = np.cumprod(factors[first + 1 : stop][::-1])[::-1]
    return later
