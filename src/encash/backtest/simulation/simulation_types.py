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
    """Fraction of the account's capital, 0 for none; each row sums to at most 1. Shape (R, K)."""
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
    """`Cause` of each sale; buys are always planned."""

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
    entry: Float64
    """Execution price of a buy at the start."""
    exit: Float64
    """Execution price of a sale at the end."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Trades and holdings of all accounts."""

    trades: Trades
    holdings: Holdings
    unfilled: int
