"""The money: from target weights and prices to trades and equity. Knows arrays; nothing of tickers' names, dates,
forecasts or files.

Every tranche is an account of its own. A position that is left brings its proceeds into the account on the session of
its sale; they wait there for the account's next rebalance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64
from encash.backtest.simulation.liquidation import trade_by_liquidation
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.netting import trade_net
from encash.backtest.simulation.simulation_types import Holdings, Rules, Targets, Trades


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What became of the capital."""

    equity: Float64
    """At the close of each session, shape (S,)."""
    cash: Float64
    """shape (S,)."""
    trades: Trades
    """By session, sales first, then by ticker."""
    holdings: Holdings
    unfilled: int
    """Buys that found no price, or too little money for one share or the fixed fee; their capital lay idle."""

    def count(self, cause: Cause) -> int:
        """How many positions were left for this cause."""
        return int((self.trades.cause == cause).sum())


def simulate(market: Market, targets: Targets, rules: Rules) -> Simulation:
    """Run the accounts through the sessions.

    Liquidation: with the cash B of the account, name i gets the amount w_i · B, fees included; it buys
    (w_i · B − fixed fee) / (price · (1 + buy fee)) shares, rounded down where shares are whole.
    Net: the invested value V solves cash after all trades = V · (1 − Σ w); see `netting`.

    >>> prices = np.array([[10.0], [11.0], [12.0]])
    >>> one = np.array([0])
    >>> targets = Targets(fill=one, exit=one + 2, tranche=one, column=one[:, None], weight=np.ones((1, 1)))
    >>> from encash.backtest.simulation.costs import FREE
    >>> simulate(Market(close=prices, fill=prices), targets, Rules(capital=100.0, costs=FREE)).equity.tolist()
    [100.0, 110.0, 120.0]
    """
    book = (trade_net if rules.net else trade_by_liquidation)(market, targets, rules)
    trades = book.trades.ordered()
    flow = -trades.side * trades.value() - trades.fee
    flows = np.bincount(trades.row, weights=flow, minlength=len(market.close)).astype(np.float64)
    cash = rules.capital + np.cumsum(flows)
    equity = cash + _value_of(book.holdings, market)
    return Simulation(equity=equity, cash=cash, trades=trades, holdings=book.holdings, unfilled=book.unfilled)


def _value_of(holdings: Holdings, market: Market) -> Float64:
    """What all positions are worth at the close of each session, at the last price of each; shape (S,)."""
    sessions = holdings.stop - holdings.start
    position = np.repeat(np.arange(len(sessions)), sessions)
    first = np.cumsum(sessions) - sessions
    row = np.arange(len(position)) - first[position] + holdings.start[position]
    value = holdings.shares[position] * market.mark[row, holdings.column[position]]
    result: Float64 = np.bincount(row, weights=value, minlength=len(market.close)).astype(np.float64)
    return result
