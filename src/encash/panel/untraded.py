"""Bars with a volume of zero: days on which a ticker could be neither bought nor sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from encash.arrays import Bool, Days, Float64
from encash.errors import InputError
from encash.panel.bars import Bars

ZeroVolume = Literal["untraded", "traded"]
"""Meaning of a volume of zero: the ticker did not trade (the default), or it did."""
LEAST_WITH_VOLUME = 0.05
"""Fraction of a ticker's bars up to a day with a volume above zero from which on its volume is known on that day."""
FILLED_BARS = 5
"""Bars in a row with the same close and a volume of zero that are a vendor's filling, whatever is known of volume."""


@dataclass(frozen=True, kw_only=True)
class TradedBars:
    """Bars on which tickers traded, and those with a volume of zero."""

    bars: Mapping[str, Bars]
    """By ticker."""
    zero_volume: Mapping[str, Days]
    """Days without a trade, by the rule of `is_untraded`, by ticker."""
    left_out: int
    """Number of these that are not among `bars`."""
    without_volume: tuple[str, ...]
    """Tickers with a volume on less than 5% of their bars, such as an index: most of their bars count as traded."""


def traded_bars(bars: Mapping[str, Bars], zero_volume: ZeroVolume = "untraded") -> TradedBars:
    """Leave out the bars with a volume of zero, on which a ticker did not trade.

    Args:
        bars: by ticker.
        zero_volume: ``untraded`` leaves the bars out; ``traded`` keeps them.

    Raises:
        InputError: a different rule.

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
        if float((volume > 0).mean()) < LEAST_WITH_VOLUME:
            without.append(ticker)
        if (idle := is_untraded(own.close, volume)).any():
            zero[ticker] = own.days[idle]
            if zero_volume == "untraded":
                kept[ticker] = own.only(~idle)
    left_out = sum(map(len, zero.values())) if zero_volume == "untraded" else 0
    return TradedBars(bars=kept, zero_volume=zero, left_out=left_out, without_volume=tuple(without))


def is_untraded(close: Float64, volume: Float64) -> Bool:
    """Return the bars with a volume of zero on which the ticker did not trade, by what was known on their day.

    Volume is known on a day if at least 5% of the bars up to that day have one: an index or a currency, which has none,
    trades. But a close that has not changed for five bars without volume is a vendor's filling. Bars after a day do not
    change its answer.

    Args:
        close: shape (n,).
        volume: shape (n,); NaN is unknown.

    >>> is_untraded(np.array([3.0, 3.0, 3.1]), np.array([9.0, 0.0, 4.0])).tolist()
    [False, True, False]
    """
    place = np.arange(len(close))
    known = np.cumsum(volume > 0) >= LEAST_WITH_VOLUME * (place + 1)
    last_change = np.maximum.accumulate(np.where(np.diff(close, prepend=np.nan) != 0, place, 0))
    result: Bool = (volume == 0) & (known | (place - last_change >= FILLED_BARS))
    return result
