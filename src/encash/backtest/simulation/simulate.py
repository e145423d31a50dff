"""Simulation of target weights on prices.

Conventions, each with a test:

- Every tranche is a separate account. The proceeds of a sale reach the account on the session of the sale and wait for
  its next rebalance, without interest.
- A pick without a price on its fill session, or one that the cash does not cover (one share, the fixed fee), is not
  bought: its share of the capital stays in cash until the next rebalance, and is counted as unfilled.
- A holding without a price on its exit session is sold at its next price, and marked at its last close until then.
- A holding whose ticker has no later price in the run is delisted: it is sold one session after its last close at the
  price of the policy, which pays fees but no slippage.
- The fee of a sale is at most its proceeds, so that an account is never below zero. A position written off pays none.
- The equity is cash plus holdings at the close of each session; a buy at the close is worth its market price, so that
  slippage and fees are lost on that session.

Short sales and volume limits have conventions of their own, in `lots`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from encash.arrays import Float64
from encash.backtest.simulation.liquidation import trade_by_liquidation
from encash.backtest.simulation.lots import trade_by_lots
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.netting import trade_net
from encash.backtest.simulation.simulation_types import BorrowFees, Execution, Holdings, Rules, Targets, Trades


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """Equity, trades and holdings of a simulation."""

    equity: Float64
    """Value at the close of each session, shape (S,)."""
    cash: Float64
    """shape (S,)."""
    trades: Trades
    """In order of session, sales first, then of ticker."""
    holdings: Holdings
    unfilled: int
    """Buys without a price, or without enough cash for one share or the fixed fee; their capital stayed idle."""
    borrowed: BorrowFees | None = None
    """Charges for shares sold short; None if nothing was ever sold short."""
    margin_calls: int = 0
    cut: int = 0
    """Orders that the volume of their session reduced or postponed."""

    def count(self, cause: Cause) -> int:
        """Return the number of positions sold for a cause."""
        return int((self.trades.cause == cause).sum())


def simulate(market: Market, targets: Targets, rules: Rules) -> SimulationResult:
    """Run the accounts through the sessions.

    Liquidation: of the cash B of the account, name i gets w_i · B, fees included, which buys the shares that the cost
    model calls affordable, rounded down if only whole shares are bought.
    Net: the invested value V solves cash after all trades = V · (1 − Σ w); see `netting`.

    >>> prices = np.array([[10.0], [11.0], [12.0]])
    >>> one = np.array([0])
    >>> targets = Targets(fill=one, exit=one + 2, tranche=one, column=one[:, None], weight=np.ones((1, 1)))
    >>> from encash.backtest.simulation.costs.proportional import NO_COSTS
    >>> simulate(Market(close=prices, fill=prices), targets, Rules(capital=100.0, costs=NO_COSTS)).equity.tolist()
    [100.0, 110.0, 120.0]
    """
    execution = _execute(market, targets, rules)
    trades = execution.trades.ordered()
    flow = -trades.side * trades.value() - trades.fee
    flows = np.bincount(trades.row, weights=flow, minlength=len(market.close)).astype(np.float64)
    if (borrowed := execution.borrowed) is not None:
        flows -= np.bincount(borrowed.row, weights=borrowed.fee, minlength=len(market.close))
    cash = rules.capital + np.cumsum(flows)
    value = value_of(execution.holdings, market) if execution.value is None else execution.value
    equity = cash + value
    return SimulationResult(
        equity=equity,
        cash=cash,
        trades=trades,
        holdings=execution.holdings,
        unfilled=execution.unfilled,
        borrowed=borrowed,
        margin_calls=execution.margin_calls,
        cut=execution.cut,
    )


def _execute(market: Market, targets: Targets, rules: Rules) -> Execution:
    """Trade by differences, or by liquidation: in one pass over the rebalances if nothing is limited or short."""
    if rules.net:
        return trade_net(market, targets, rules)
    by_session = market.capacity is not None or market.years is not None
    return (trade_by_lots if by_session else trade_by_liquidation)(market, targets, rules)


def value_of(holdings: Holdings, market: Market, *, sign: float | None = None) -> Float64:
    """Return the value of all positions at the close of each session, shape (S,); shorts count below 0.

    Args:
        holdings: the positions.
        market: their prices.
        sign: 1 for only the longs, −1 for only the shorts.
    """
    if sign is not None:
        chosen = holdings.shares * sign > 0
        holdings = Holdings(**{one.name: getattr(holdings, one.name)[chosen] for one in fields(Holdings)})
    sessions = holdings.stop - holdings.start
    position = np.repeat(np.arange(len(sessions)), sessions)
    first = np.cumsum(sessions) - sessions
    row = np.arange(len(position)) - first[position] + holdings.start[position]
    value = holdings.shares[position] * market.mark[row, holdings.column[position]]
    result: Float64 = np.bincount(row, weights=value, minlength=len(market.close)).astype(np.float64)
    return result
