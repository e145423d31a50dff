"""Bars by ticker from the rows of a table: adjusted, checked, sorted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Float64, Int64, Text
from encash.errors import FormatError
from encash.panel.adjustment import Basis, VendorColumns, adjust
from encash.panel.bars import Bars

_NEGATIVE_SHARE = 0.01
_SPARSE_DAYS = 5
_LEAST_BARS, _OUTSIDE_SHARE, _ROUNDING = 8, 0.25, 1e-4
_LEAST_PRICE, _MOST_PRICE = 1e-30, 1e30
"""Once they are stored in float32, smaller prices are not above zero, and larger ones infinite."""


@dataclass(frozen=True, kw_only=True)
class PriceBars:
    """Content of a price table."""

    layout: str
    """``long`` (one row per ticker and day) or ``wide`` (one row per day, one column of closes per ticker)."""
    columns: dict[str, str]
    """The column of the file for each of close, open, high, low and volume."""
    adjusted: bool
    """True if the table says that the closes are adjusted for dividends."""
    bars: dict[str, Bars]
    """By ticker, in order of their names, without the days on which it did not trade."""
    never_traded: tuple[str, ...]
    """Tickers of the table without a price on any day."""
    not_traded: int
    """Rows or cells without a close."""
    dropped: dict[str, int]
    """Number of dropped bars by reason; empty unless dropping is allowed."""
    out_of_bounds: int
    """Bars whose open or close was outside of low and high, which were widened."""
    vendor: str | None = None
    """Name of the recognized layout of a vendor."""
    notes: tuple[str, ...] = ()
    """Decisions made by a documented rule, one sentence each."""
    outside: Mapping[str, tuple[Days, Float64]] | None = None
    """Days of the bars that were widened, and how far open or close was outside, as a fraction; by ticker."""


@dataclass(frozen=True, kw_only=True)
class LongTable:
    """One row per (ticker, day), in the order of the files."""

    shown: str
    """The file or files, for messages."""
    days: Days
    ticker: Int64
    """Position in `names`."""
    names: Text
    """Distinct and ascending."""
    values: dict[str, Float64]
    """By role."""
    prices: Basis
    volumes: Basis
    has_times: bool = False
    """Some dates had a time of day."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Description of a table, beside its bars."""

    layout: str
    columns: dict[str, str]
    vendor: str | None
    notes: tuple[str, ...]


def to_bars(long: LongTable, description: Description, *, drop_bad: bool) -> PriceBars:
    """Return sorted bars by ticker; refuse duplicate days, refuse or drop invalid bars, widen narrow ones.

    Raises:
        FormatError: a duplicate (ticker, day), several bars a day, negative closes (returns?), or, unless
            `drop_bad`, a missing, zero or negative price or a negative volume.
    """
    long = _sorted(long)
    _check_once(long)
    _check_positive(long)
    values = _adjusted(long)
    traded = ~np.isnan(values["close"])
    if not traded.any():
        raise FormatError(
            f"{long.shown} has no close in any row; name the column of closes with --columns close=COLUMN"
        )
    good, dropped = _good(long, values, traded, drop_bad=drop_bad)
    whole = bool(good.all())
    kept = {role: column if whole else column[good] for role, column in values.items()}
    _check_bounds(long.shown, kept)
    excess = _widen(kept)
    outside = np.flatnonzero(excess > 0)
    ticker, days = long.ticker[good], long.days[good]
    bars = _by_ticker(long.names, ticker, days, kept)
    return PriceBars(
        layout=description.layout,
        adjusted="adj_close" in long.values or "factor" in long.values or long.prices is Basis.FULL,
        columns=description.columns,
        bars=bars,
        never_traded=tuple(str(name) for name in long.names if str(name) not in bars),
        not_traded=int((~traded).sum()),
        dropped=dropped,
        out_of_bounds=len(outside),
        outside=_by_name(long.names, ticker[outside], days[outside], excess[outside]),
        vendor=description.vendor,
        notes=(*description.notes, *_sparse(long)),
    )


def _adjusted(long: LongTable) -> dict[str, Float64]:
    """Return the columns of `Bars`; a message names the file."""
    columns = VendorColumns(
        values=long.values,
        ticker=long.ticker,
        prices=long.prices,
        volumes=long.volumes,
        names=long.names.tolist(),
        days=long.days,
    )
    try:
        return adjust(columns)
    except FormatError as error:
        raise FormatError(f"{long.shown}: {error}") from None


def _sorted(long: LongTable) -> LongTable:
    """Return the rows by ticker and day."""
    step = np.diff(long.ticker)
    if ((step > 0) | ((step == 0) & (np.diff(long.days) >= np.timedelta64(0, "D")))).all():
        return long
    order = np.lexsort((long.days, long.ticker))
    for role, column in long.values.items():
        long.values[role] = column[order]
    return replace(long, days=long.days[order], ticker=long.ticker[order])


def _sparse(long: LongTable) -> tuple[str, ...]:
    """Return a note if the bars are further apart than sessions are."""
    steps = np.diff(long.days).astype(np.int64)[long.ticker[1:] == long.ticker[:-1]]
    if not len(steps) or (median := float(np.median(steps))) < _SPARSE_DAYS:
        return ()
    return (f"bars are {median:g} days apart, as weekly or monthly bars are; each counts as one session",)


def _check_once(long: LongTable) -> None:
    same = (long.days[1:] == long.days[:-1]) & (long.ticker[1:] == long.ticker[:-1])
    if not same.any():
        return
    at = int(np.argmax(same))
    several = (
        f"{long.shown} has {str(long.names[long.ticker[at]])!r} on {long.days[at]} twice ({int(same.sum())} such rows)"
    )
    if long.has_times:
        raise FormatError(f"{several}, at several times of day; expected one bar per day: give daily bars")
    raise FormatError(f"{several}; keep one of them")


def _check_positive(long: LongTable) -> None:
    """Refuse closes of which many are below zero, like returns."""
    role = "close" if "close" in long.values else "adj_close"
    negative = long.values[role] < 0
    if negative.sum() > 1 and negative.mean() > _NEGATIVE_SHARE:
        at = int(np.argmax(negative))
        raise FormatError(
            f"{long.shown}: {str(long.names[long.ticker[at]])!r} on {long.days[at]}: close not above zero "
            f"({int(negative.sum())} of {len(negative)} are below, as returns are); give prices, or name the close "
            "with --columns close=COLUMN, instead of --drop-bad"
        )


def _good(
    long: LongTable, values: Mapping[str, Float64], traded: Bool, *, drop_bad: bool
) -> tuple[Bool, dict[str, int]]:
    """Return a mask of the valid bars, and the number of dropped ones by the first reason that applies."""
    good, dropped = traded, {}
    for reason, bad in _faults(values).items():
        found = good & bad
        if not found.any():
            continue
        if not drop_bad:
            at = int(np.argmax(found))
            where = f"{str(long.names[long.ticker[at]])!r} on {long.days[at]}"
            raise FormatError(
                f"{long.shown}: {where}: {reason} ({int(found.sum())} such bars); correct them, or prepare with "
                "--drop-bad to leave them out"
            )
        dropped[reason] = int(found.sum())
        good = good & ~bad
    return good, dropped


def _by_ticker(names: Text, ticker: Int64, days: Days, values: Mapping[str, Float64]) -> dict[str, Bars]:
    """Split rows that are sorted by ticker into bars; leave out tickers without rows."""
    ends = np.searchsorted(ticker, np.arange(len(names) + 1))
    return {
        str(name): Bars(days=days[first:stop], **{role: column[first:stop] for role, column in values.items()})
        for name, first, stop in zip(names, ends[:-1], ends[1:], strict=True)
        if stop > first
    }


def _faults(values: Mapping[str, Float64]) -> dict[str, Bool]:
    """Return a mask of the invalid bars for each reason."""
    faults = {"close not above zero": ~_is_price(values["close"])}
    if others := [values[role] for role in ("open", "high", "low") if role in values]:
        faults["open, high or low absent or not above zero"] = ~np.logical_and.reduce(
            [_is_price(other) for other in others]
        )
    if "volume" in values:
        faults["volume absent or below zero"] = ~((values["volume"] >= 0) & (values["volume"] <= _MOST_PRICE))
    return faults


def _is_price(values: Float64) -> Bool:
    return np.asarray((values >= _LEAST_PRICE) & (values <= _MOST_PRICE))


def _by_name(names: Text, ticker: Int64, days: Days, sizes: Float64) -> dict[str, tuple[Days, Float64]]:
    """Split days and sizes that are sorted by ticker; leave out tickers without any."""
    present, firsts = np.unique(ticker, return_index=True)
    parts = zip(np.split(days, firsts[1:]), np.split(sizes, firsts[1:]), strict=True)
    return {str(names[one]): part for one, part in zip(present, parts, strict=True)} if len(ticker) else {}


def _check_bounds(shown: str, values: Mapping[str, Float64]) -> None:
    """Refuse bars of which many have an open or close outside of low and high: their columns are exchanged."""
    if not {"high", "low"} <= values.keys() or len(values["close"]) < _LEAST_BARS:
        return
    inside = [values[role] for role in ("open", "close") if role in values]
    high, low = values["high"] * (1 + _ROUNDING), values["low"] * (1 - _ROUNDING)
    outside = (np.maximum.reduce(inside) > high) | (np.minimum.reduce(inside) < low)
    if outside.mean() > _OUTSIDE_SHARE:
        raise FormatError(
            f"{shown}: open or close is outside of low and high in {int(outside.sum())} of {len(outside)} bars; the "
            "columns may be exchanged, or in different units: state them with --columns high=COLUMN,low=COLUMN,…"
        )


def _widen(values: dict[str, Float64]) -> Float64:
    """Widen high and low to include open and close; return how far they were outside, as a fraction; 0 for most."""
    if not {"open", "high", "low"} <= values.keys():
        return np.zeros(len(values["close"]))
    high = np.maximum.reduce([values["high"], values["open"], values["close"]])
    low = np.minimum.reduce([values["low"], values["open"], values["close"]])
    excess: Float64 = np.maximum(high / values["high"], values["low"] / low) - 1.0
    values["high"], values["low"] = high, low
    return excess
