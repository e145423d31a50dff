"""Rebalancing by selling everything and buying again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Float64, Int8, Int64
from encash.backtest.simulation.costs.base import BUY, SELL
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulation_types import Execution, Holdings, Rules, Targets, Trades


@dataclass(frozen=True, kw_only=True)
class _Lots:
    """Positions that may be bought, independent of the capital; all arrays have shape (R, K)."""

    open: Bool
    """Wanted, with a price to buy at."""
    entry: Float64
    """Execution price of the buy; 1 if not open."""
    weight: Float64
    sale_row: Int64
    sale: Float64
    """Execution price of the sale."""
    cause: Int8


def trade_by_liquidation(market: Market, targets: Targets, rules: Rules) -> Execution:
    """Trade accounts that sell everything at an exit and buy the next picks with the proceeds."""
    lots = _plan(market, targets, rules)
    shares = _invest(lots, targets, rules, len(market.close))
    held = shares > 0
    return Execution(
        trades=_trades(lots, targets, shares, held, rules),
        holdings=Holdings(
            column=targets.column[held],
            start=np.broadcast_to(targets.fill[:, None], held.shape)[held],
            stop=lots.sale_row[held],
            shares=shares[held],
            entry=lots.entry[held],
            exit=lots.sale[held],
        ),
        unfilled=int(((targets.weight > 0) & ~held).sum()),
    )


def _plan(market: Market, targets: Targets, rules: Rules) -> _Lots:
    """Return the cost, proceeds and exit of a share of each position."""
    wanted = (targets.column >= 0) & (targets.weight > 0)
    price = market.fill[targets.fill[:, None], np.maximum(targets.column, 0)]
    open_ = wanted & ~np.isnan(price)
    entry = np.where(open_, rules.costs.bought_at(price), 1.0)
    planned = np.broadcast_to(targets.exit[:, None], open_.shape)
    sale_row, sale, cause = planned.copy(), np.zeros(open_.shape), np.zeros(open_.shape, dtype=np.int8)
    exits = market.exits(targets.column[open_], planned[open_], entry[open_], rules.delisting)
    sale_row[open_], cause[open_] = exits.row, exits.cause
    settled = exits.cause == Cause.DELISTED  # at the price of the policy, without slippage
    sale[open_] = np.where(settled, exits.price, rules.costs.sold_at(exits.price))
    return _Lots(
        open=open_, entry=entry, weight=np.where(open_, targets.weight, 0.0), sale_row=sale_row, sale=sale, cause=cause
    )


def _invest(lots: _Lots, targets: Targets, rules: Rules, sessions: int) -> Float64:
    """Return the shares bought of each lot with the cash of its account, one rebalance after the other."""
    cash = [rules.capital / targets.num_tranches] * targets.num_tranches
    seen = [0] * targets.num_tranches
    arriving = np.zeros((targets.num_tranches, sessions))
    shares = np.zeros(lots.entry.shape)
    for number, (row, account) in enumerate(zip(targets.fill.tolist(), targets.tranche.tolist(), strict=True)):
        money = cash[account] + float(arriving[account, seen[account] : row + 1].sum())
        bought = rules.costs.affordable(lots.weight[number] * money, lots.entry[number])
        if rules.whole_shares:
            bought = np.floor(bought)
        cash[account] = rules.costs.cash_after(money, bought, lots.entry[number])
        proceeds = np.maximum(rules.costs.received(bought, lots.sale[number]), 0.0)  # as `sale_fee`
        np.add.at(arriving[account], lots.sale_row[number], proceeds)
        shares[number], seen[account] = bought, row + 1
    return shares


def _trades(lots: _Lots, targets: Targets, shares: Float64, held: Bool, rules: Rules) -> Trades:
    """Return a buy and a sale of every position held."""
    count, entry, sale = shares[held], lots.entry[held], lots.sale[held]
    fill = np.broadcast_to(targets.fill[:, None], held.shape)[held]
    column = targets.column[held]
    return Trades(
        row=np.concatenate([fill, lots.sale_row[held]]),
        column=np.concatenate([column, column]),
        side=np.repeat(np.array([BUY, SELL], dtype=np.int8), len(column)),
        shares=np.concatenate([count, count]),
        price=np.concatenate([entry, sale]),
        fee=np.concatenate([rules.costs.fee(BUY, count, entry), rules.costs.sale_fee(count, sale)]),
        cause=np.concatenate([np.zeros(len(column), dtype=np.int8), lots.cause[held]]),
    )
