"""Prices of a run as a simulation needs them: fills, marks, and the exits of positions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from encash import metrics
from encash.arrays import Float64, Int8, Int64
from encash.metrics import Delisting, settlement

DELISTING_POLICIES = metrics.DELISTING_POLICIES


class Cause(IntEnum):
    """Reason for the time of an exit."""

    PLANNED = 0
    """At the exit of its holding period, or at a rebalance."""
    DEFERRED = 1
    """No price at the exit: sold at the next price."""
    DELISTED = 2
    """No later price: sold one session after the last price, under the delisting policy."""
    MARGIN = 3
    """The equity of the account was below its margin at the previous close."""


@dataclass(frozen=True, kw_only=True)
class Exits:
    """Exits of n positions."""

    row: Int64
    """Session of the sale, shape (n,)."""
    price: Float64
    """Market price of the sale before slippage; for a delisting, the settled price. Shape (n,)."""
    cause: Int8
    """`Cause` of each, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class Market:
    """Prices of S sessions and C tickers.

    "Stops trading" means no price from then to the last session of the run; later prices are unknown.
    """

    close: Float64
    """NaN if a ticker did not trade. Shape (S, C)."""
    fill: Float64
    """Prices at which trades are filled: closes or opens. Shape (S, C)."""
    capacity: Float64 | None = None
    """Currency units of a ticker that may at most be bought, and also sold, in a session; shape (S, C); None for no
    limit."""
    years: Float64 | None = None
    """Years since the session before, for borrow fees; shape (S,); None if nothing is sold short."""

    @cached_property
    def mark(self) -> Float64:
        """Last close up to each session, NaN before the first: the value of a position. Shape (S, C)."""
        rows = np.arange(len(self.close))[:, None]
        latest = np.maximum.accumulate(np.where(np.isnan(self.close), -1, rows), axis=0)
        return np.where(latest < 0, np.nan, np.take_along_axis(self.close, np.maximum(latest, 0), axis=0))

    @cached_property
    def last_row(self) -> Int64:
        """Session of the last close of each ticker, −1 if it has none; shape (C,)."""
        rows = np.arange(len(self.close))[:, None]
        result: Int64 = np.where(np.isnan(self.close), -1, rows).max(axis=0).astype(np.int64)
        return result

    @cached_property
    def next_fill(self) -> Int64:
        """First session with a fill price from each session on, S if there is none; shape (S, C)."""
        count = len(self.fill)
        rows = np.where(np.isnan(self.fill), count, np.arange(count)[:, None])
        result: Int64 = np.minimum.accumulate(rows[::-1], axis=0)[::-1].astype(np.int64)
        return result

    def session_returns(self, delisting: Delisting) -> Float64:
        """Return the return of each ticker on each session from the second on, shape (S − 1, C).

        A ticker that stopped trading has one more return, on the session after its last close, to the price of the
        policy (``flat``: no loss). NaN before its first close and after that.
        """
        rows = np.arange(1, len(self.close))[:, None]
        before, now = self.mark[:-1], self.mark[1:]
        price = np.where(rows == self.last_row + 1, settlement(before, before, delisting), now)
        return np.where(rows <= self.last_row + 1, price / before - 1.0, np.nan)

    def exits(self, column: Int64, planned: Int64, entry: Float64, delisting: Delisting) -> Exits:
        """Return the exits of positions that are to be sold on planned sessions.

        A position is sold at the price of its planned session. Without one, but with a later close in the run, it is
        sold at the next price. Otherwise its ticker was delisted, and it is sold one session after the last close
        under the policy: ``last`` at that close, ``-30%`` at 0.7 of it, ``zero`` at nothing, ``flat`` at the entry.

        Args:
            column: ticker of each position, shape (n,).
            planned: session at which to sell it, shape (n,).
            entry: execution price of its purchase, shape (n,).
            delisting: the policy.
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
            price[absent] = np.where(dead, settlement(self.mark[last, column[absent]], entry[absent], delisting), later)
        return Exits(row=row, price=price, cause=cause)
