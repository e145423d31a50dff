"""Inputs and outputs of a simulation: targets, rules, trades and holdings."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from encash.arrays import Bool, Float64, Int8, Int64
from encash.backtest.simulation.costs.base import CostModel
from encash.metrics import Delisting


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Target weights of R rebalances in order of time, at most K names each."""

    fill: Int64
    """Session of the trades, shape (R,)."""
    exit: Int64
    """Session at which the names are to be sold, shape (R,)."""
    tranche: Int64
    """Account, shape (R,)."""
    column: Int64
    """Column of each name in the market, −1 for none; shape (R, K)."""
    weight: Float64
    """Fraction of the account's capital, 0 for none, negative for a short sale; the positive ones of a row sum to at
    most 1. Shape (R, K)."""
    num_tranches: int = 1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Simulation rules."""

    capital: float
    costs: CostModel
    delisting: Delisting = "last"
    whole_shares: bool = False
    net: bool = False
    """Trade only the differences instead of selling everything first."""
    borrow_rate: float = 0.0
    """A year, of the value of shares sold short."""
    margin: float = 0.0
    """Minimum ratio of the equity of an account with shorts to the value of all its positions."""


@dataclass(frozen=True, kw_only=True)
class Trades:
    """n executed orders; all arrays have shape (n,)."""

    row: Int64
    """Session."""
    column: Int64
    side: Int8
    """`costs.base.BUY` or SELL."""
    shares: Float64
    """Above 0."""
    price: Float64
    """Execution price, slippage included."""
    fee: Float64
    """Currency units."""
    cause: Int8
    """`Cause` of each trade that ends a position; others are planned."""

    def ordered(self) -> Trades:
        """Return the trades by session, sales first, then by ticker; ties keep their order."""
        return self.where(np.lexsort((self.column, self.side, self.row)))

    def where(self, rows: Int64 | Bool) -> Trades:
        """Return a selection of the trades, or all in a different order."""
        return Trades(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def value(self) -> Float64:
        """Return the currency units exchanged, without fees; shape (n,)."""
        return self.shares * self.price


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """n positions, each held without change from `start` to `stop`; all arrays have shape (n,)."""

    column: Int64
    start: Int64
    """First session at whose close it is held."""
    stop: Int64
    """First session at whose close it is no longer held."""
    shares: Float64
    """Below 0 if sold short."""
    entry: Float64
    """Execution price of the trade at the start."""
    exit: Float64
    """Execution price of the trade at the end; the last close if it is still held."""


@dataclass(frozen=True, kw_only=True)
class BorrowFees:
    """n charges for shares sold short, one per session and position; all arrays have shape (n,)."""

    row: Int64
    """Session of the charge, for the days since the session before."""
    column: Int64
    shares: Float64
    """Sold short, above 0."""
    price: Float64
    """Last close before the session."""
    fee: Float64
    """Currency units."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Trades and holdings of all accounts."""

    trades: Trades
    holdings: Holdings
    unfilled: int
    value: Float64 | None = None
    """Of all positions at each close, shape (S,); None to sum it up from the holdings. A position that is sold in parts
    must not be summed by part: later parts would change the last bits of earlier values."""
    borrowed: BorrowFees | None = None
    """None if nothing was ever sold short."""
    margin_calls: int = 0
    """Accounts whose positions were closed because their equity fell below the margin, each time it happened."""
    cut: int = 0
    """Orders that the volume of their session reduced or postponed."""
