"""The prices of a run as a simulator needs them: fills, marks, and when a position can be left. Knows prices alone;
nothing of signals, capital or fees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from encash.arrays import Float64, Int8, Int64

Delisting = Literal["last", "-30%", "zero", "flat"]
"""The price at which the position in a ticker that stops trading is sold: its last price, 0.7 of that, nothing, or the
entry price."""
DELISTING_POLICIES: tuple[Delisting, ...] = get_args(Delisting)


class Cause(IntEnum):
    """Why a position was left when it was."""

    PLANNED = 0
    """At the exit of its holding period, or at a rebalance."""
    DEFERRED = 1
    """No price at the exit, but later: sold at its next price."""
    DELISTED = 2
    """No price any more: sold one session after its last, under the delisting policy."""


@dataclass(frozen=True, kw_only=True)
class Exits:
    """How n positions are left."""

    row: Int64
    """Session of the sale, shape (n,)."""
    price: Float64
    """Market price of the sale, before slippage; of a delisting, the settled price. Shape (n,)."""
    cause: Int8
    """`Cause` of each, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class Market:
    """Prices of the sessions of a run for some tickers, S × C.

    "Stops trading" means: no price from then to the last session of the run. What comes after it is not known.
    """

    close: Float64
    """NaN where a ticker did not trade."""
    fill: Float64
    """Where trades are filled: the closes or the opens."""

    @cached_property
    def mark(self) -> Float64:
        """The last close up to each session, NaN before the first; what positions are valued at."""
        rows = np.arange(len(self.close))[:, None]
        latest = np.maximum.accumulate(np.where(np.isnan(self.close), -1, rows), axis=0)
        return np.where(latest < 0, np.nan, np.take_along_axis(self.close, np.maximum(latest, 0), axis=0))

    @cached_property
    def last_row(self) -> Int64:
        """The session of the last close of each ticker, −1 without any; shape (C,)."""
        rows = np.arange(len(self.close))[:, None]
        result: Int64 = np.where(np.isnan(self.close), -1, rows).max(axis=0).astype(np.int64)
        return result

    @cached_property
    def next_fill(self) -> Int64:
        """The first session from each on with a price to trade at; the number of sessions where there is none."""
        count = len(self.fill)
        rows = np.where(np.isnan(self.fill), count, np.arange(count)[:, None])
        result: Int64 = np.minimum.accumulate(rows[::-1], axis=0)[::-1].astype(np.int64)
        return result

    def exits(self, column: Int64, planned: Int64, entry: Float64, delisting: Delisting) -> Exits:
        """How positions are left that should be left on the planned sessions.

        With a price on that session they are sold at it. Without one, and with a later close in the run, they are
        sold at the next price there is. Otherwise they were delisted: sold one session after their last close under
        the policy: ``last`` at that close, ``-30%`` at 0.7 of it, ``zero`` at nothing, ``flat`` at the entry price.

        Args:
            column: the ticker of each position, shape (n,).
            planned: the session at which to sell, shape (n,).
            entry: its execution price, shape (n,).
            delisting: the policy.

        Returns:
            n exits.
        """
        final = len(self.close) - 1
        price = self.fill[planned, column]
        row = planned.copy()
        cause = np.zeros(len(column), dtype=np.int8)
        if (absent := np.flatnonzero(np.isnan(price))).size:
            last, upcoming = self.last_row[column[absent]], self.next_fill[planned[absent], column[absent]]
            dead = last < planned[absent]
            row[absent] = np.where(dead, last + 1, np.minimum(upcoming, final))
            cause[absent] = np.where(dead, Cause.DELISTED, Cause.DEFERRED)
            later = np.where(upcoming > final, self.mark[final, column[absent]], self.fill[row[absent], column[absent]])
            price[absent] = np.where(dead, settled(self.mark[last, column[absent]], entry[absent], delisting), later)
        return Exits(row=row, price=price, cause=cause)


def settled(last: Float64, entry: Float64, delisting: Delisting) -> Float64:
    """What positions are sold at whose tickers stopped trading, from their last and their entry prices."""
    by_policy = {"last": last, "-30%": 0.7 * last, "zero": np.zeros_like(last), "flat": entry}
    return by_policy[delisting]
