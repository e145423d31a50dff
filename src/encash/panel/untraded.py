"""Bars with a volume of zero: days on which a ticker could be neither bought nor sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from encash.arrays import Bool, Days
from encash.errors import InputError
from encash.panel.bars import Bars

ZeroVolume = Literal["untraded", "traded"]
"""Meaning of a volume of zero: the ticker did not trade (the default), or it did."""
LEAST_WITH_VOLUME = 0.05
"""Share of bars with a volume above zero below which a ticker has no information on volume, such as an index."""


@dataclass(frozen=True, kw_only=True)
class TradedBars:
    """Bars on which tickers traded, and those with a volume of zero."""

    bars: Mapping[str, Bars]
    """By ticker; tickers without any bar are left out."""
    zero_volume: Mapping[str, Days]
    """Days of the bars with a volume of zero, by ticker; without those of `without_volume`."""
    left_out: int
    """Bars with a volume of zero that are not among `bars`."""
    without_volume: tuple[str, ...]
    """Tickers with a volume of zero, or none, on more than 95% of their bars: their bars count as traded."""


def traded_bars(bars: Mapping[str, Bars], zero_volume: ZeroVolume = "untraded") -> TradedBars:
    """Leave out the bars with a volume of zero, on which a ticker did not trade.

    A ticker whose volume is above zero on less than 5% of its bars has no information on volume, like most indexes and
    currencies: all of its bars count as traded.

    Args:
        bars: by ticker.
        zero_volume: ``untraded`` leaves the bars out; ``traded`` keeps them.

    Raises:
        InputError: a different rule.

    >>> import numpy as np
    >>> days = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
    >>> own = Bars(days=days, close=np.array([1.0, 1.0, 2.0]), volume=np.array([5.0, 0.0, 7.0]))
    >>> traded_bars({"A": own}).bars["A"].close.tolist()
    [1.0, 2.0]
    """
    if zero_volume not in get_args(ZeroVolume):
        raise InputError(f"zero_volume is {zero_volume!r}; expected one of {', '.join(get_args(ZeroVolume))}")
    kept, zero, without = dict(bars), {}, []
    for ticker, own in bars.items():
        volume = own.raw_volume if own.volume is None else own.volume
        if volume is None:
            continue
        idle = volume == 0
        if float((volume > 0).mean()) < LEAST_WITH_VOLUME:
            without.append(ticker)
        elif idle.any():
            zero[ticker] = own.days[idle]
            if zero_volume == "untraded":
                kept[ticker] = only(own, ~idle)
    left_out = sum(map(len, zero.values())) if zero_volume == "untraded" else 0
    return TradedBars(bars=kept, zero_volume=zero, left_out=left_out, without_volume=tuple(without))


def only(bars: Bars, rows: Bool) -> Bars:
    """Return some of the bars of a ticker; `rows` has shape (n,)."""
    columns = {one.name: getattr(bars, one.name) for one in fields(bars)}
    return replace(bars, **{name: column[rows] for name, column in columns.items() if column is not None})
