"""What a simulation takes and what it writes down: targets, rules, trades and holdings. Knows arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from encash.arrays import Bool, Float64, Int8, Int64
from encash.backtest.simulation.costs import Costs
from encash.backtest.simulation.market import Delisting

BUY, SELL = 1, -1


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What to hold: R rebalances in order of time, at most K names each."""

    fill: Int64
    """Session of the trades, shape (R,)."""
    exit: Int64
    """Session at which the names are to be left, shape (R,)."""
    tranche: Int64
    """The account, shape (R,)."""
    column: Int64
    """Tickers by their place in the market, −1 where there is none; shape (R, K)."""
    weight: Float64
    """Share of the account's capital, 0 where there is none; each row sums to at most 1. Shape (R, K)."""
    num_tranches: int = 1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How capital is turned into trades."""

    capital: float
    costs: Costs
    delisting: Delisting = "last"
    whole_shares: bool = False
    net: bool = False
    """Trade the differences alone instead of selling everything first."""


@dataclass(frozen=True, kw_only=True)
class Trades:
    """n executed orders."""

    row: Int64
    """Session."""
    column: Int64
    side: Int8
    """BUY or SELL."""
    shares: Float64
    """Above 0."""
    price: Float64
    """Execution price, slippage included."""
    fee: Float64
    """Currency units."""
    cause: Int8
    """`Cause`: why then; buys are always planned."""

    def ordered(self) -> Trades:
        """By session, sales first, then by ticker; equal ones as they came."""
        return self.where(np.lexsort((self.column, self.side, self.row)))

    def where(self, rows: Int64 | Bool) -> Trades:
        """Some of them, or all in another order."""
        return Trades(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def value(self) -> Float64:
        """Currency units exchanged, without fees; shape (n,)."""
        return self.shares * self.price


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """n positions, each held without change over some sessions."""

    column: Int64
    start: Int64
    """Session at whose close it is first held."""
    stop: Int64
    """Session at whose close it is held no more."""
    shares: Float64
    entry: Float64
    """Execution price of a buy at the start."""
    exit: Float64
    """Execution price of a sale at the end."""


@dataclass(frozen=True, kw_only=True)
class Book:
    """Everything that an account did."""

    trades: Trades
    holdings: Holdings
    unfilled: int


@dataclass
class BookWriter:
    """Collects trades and holdings in pieces; `book` joins them."""

    trades: list[Trades] = field(default_factory=list)
    holdings: list[Holdings] = field(default_factory=list)
    unfilled: int = 0

    def book(self) -> Book:
        """All that was written."""
        return Book(
            trades=Trades(**_joined(self.trades, Trades)),
            holdings=Holdings(**_joined(self.holdings, Holdings)),
            unfilled=self.unfilled,
        )


def _joined(
    pieces: Sequence[Trades] | Sequence[Holdings], kind: type[Trades] | type[Holdings]
) -> dict[str, np.ndarray]:
    """The arrays of all pieces, one behind the other."""
    names = [part.name for part in fields(kind)]
    return {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names}
