"""Rebalancing by trading only the differences."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from encash.arrays import Float64, Int64
from encash.backtest.simulation.costs.base import BUY, SELL, CostModel
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulation_types import Execution, Holdings, Rules, Targets, Trades

_ROUNDS = 500
_NEGLIGIBLE = 1e-12
"""Fraction of the capital below which a difference is rounding, not an order."""


@dataclass
class _Account:
    """One tranche between two rebalances."""

    cash: float
    column: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shares: Float64 = field(default_factory=lambda: np.zeros(0))
    pending: list[tuple[int, float]] = field(default_factory=list)
    """Later sales of delisted names: session and proceeds."""

    def receive(self, row: int) -> None:
        """Add the proceeds of the sales up to a session to the cash."""
        self.cash += sum(money for when, money in self.pending if when <= row)
        self.pending = [(when, money) for when, money in self.pending if when > row]


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """Tickers that an account may trade at one rebalance; all arrays have shape (n,)."""

    column: Int64
    held: Float64
    """Shares before the rebalance."""
    weight: Float64
    price: Float64
    """Market price."""


@dataclass
class _Log:
    """Trades and holdings of all accounts, in the order in which they happen."""

    trades: list[Trades] = field(default_factory=list)
    holdings: list[Holdings] = field(default_factory=list)
    unfilled: int = 0

    def execution(self) -> Execution:
        """Return everything in one."""
        trades = {one.name: np.concatenate([getattr(part, one.name) for part in self.trades]) for one in fields(Trades)}
        holdings = {
            one.name: np.concatenate([getattr(part, one.name) for part in self.holdings]) for one in fields(Holdings)
        }
        return Execution(trades=Trades(**trades), holdings=Holdings(**holdings), unfilled=self.unfilled)


def trade_net(market: Market, targets: Targets, rules: Rules) -> Execution:
    """Trade accounts from their holdings to their targets; the last exit sells everything."""
    accounts = [_Account(rules.capital / targets.num_tranches) for _ in range(targets.num_tranches)]
    last = {int(account): number for number, account in enumerate(targets.tranche)}
    log = _Log()
    for number, tranche in enumerate(targets.tranche.tolist()):
        account = accounts[tranche]
        account.receive(int(targets.fill[number]))
        _rebalance(account, market, targets, number, rules, log)
        _hold(account, market, targets, number, rules, log, final=last[tranche] == number)
    return log.execution()


def _rebalance(account: _Account, market: Market, targets: Targets, number: int, rules: Rules, log: _Log) -> None:
    """Trade to the targets; a name without a price is neither bought nor sold."""
    row = int(targets.fill[number])
    wanted = targets.weight[number] > 0
    column, weight = targets.column[number][wanted], targets.weight[number][wanted]
    frozen = np.isnan(market.fill[row, account.column])
    tradable = ~np.isnan(market.fill[row, column])
    every = np.union1d(account.column[~frozen], column[tradable]).astype(np.int64)
    exchange = _Exchange(
        column=every,
        held=_aligned(every, account.column[~frozen], account.shares[~frozen]),
        weight=_aligned(every, column[tradable], weight[tradable]),
        price=market.fill[row, every],
    )
    after = _shares_after(exchange, account.cash, rules)
    trades = _orders(exchange, after, row, rules.costs)
    log.trades.append(trades)
    log.unfilled += int((~tradable).sum()) + int(((exchange.weight > 0) & (after <= 0)).sum())
    account.cash -= float((trades.side * trades.value()).sum() + trades.fee.sum())
    kept = after > 0
    account.column = np.concatenate([account.column[frozen], every[kept]])
    account.shares = np.concatenate([account.shares[frozen], after[kept]])


def _shares_after(exchange: _Exchange, cash: float, rules: Rules) -> Float64:
    """Return the shares to hold of each ticker, such that the cash is used up after all costs.

    The invested value V solves left(V) = (1 − Σ w) · V, where left is the cash after trading to w · V. Each round
    adds the surplus to V; the error shrinks by the fraction that costs take, so it converges, unless V is where a
    fixed fee begins: then it is the largest value found that the cash suffices for.
    """
    idle, affordable = 1.0 - float(exchange.weight.sum()), 0.0
    value = cash + float(exchange.held @ exchange.price)
    for _ in range(_ROUNDS):
        orders = _orders(exchange, exchange.weight * value / exchange.price, 0, rules.costs)
        left = cash - float((orders.side * orders.value()).sum() + orders.fee.sum())
        surplus = left - idle * value
        if abs(surplus) <= _NEGLIGIBLE * abs(value):
            break
        affordable = max(affordable, value) if surplus > 0 else affordable
        value = max(value + surplus, 0.0)
    else:
        value = affordable
    after = exchange.weight * value / exchange.price
    return np.floor(after) if rules.whole_shares else after


def _orders(exchange: _Exchange, after: Float64, row: int, costs: CostModel) -> Trades:
    """Return the trades from the shares held to those to hold, at their execution prices and fees."""
    scale = float(np.abs(exchange.held) @ exchange.price + after @ exchange.price)
    moved = np.abs(after - exchange.held) * exchange.price > _NEGLIGIBLE * scale
    change, market_price = (after - exchange.held)[moved], exchange.price[moved]
    buy, shares = change > 0, np.abs(change)
    price = np.where(buy, costs.bought_at(market_price), costs.sold_at(market_price))
    return Trades(
        row=np.full(len(change), row, dtype=np.int64),
        column=exchange.column[moved],
        side=np.where(buy, BUY, SELL).astype(np.int8),
        shares=shares,
        price=price,
        fee=np.where(buy, costs.fee(BUY, shares, price), costs.sale_fee(shares, price)),
        cause=np.zeros(len(change), dtype=np.int8),
    )


def _hold(
    account: _Account, market: Market, targets: Targets, number: int, rules: Rules, log: _Log, *, final: bool
) -> None:
    """Hold the positions until the next rebalance; sell those of delisted tickers, and all of them at the end."""
    start, planned, costs = int(targets.fill[number]), int(targets.exit[number]), rules.costs
    column, shares = account.column, account.shares
    entry = costs.bought_at(market.mark[start, column] if len(column) else np.zeros(0))
    exits = market.exits(column, np.full(len(column), planned, dtype=np.int64), entry, rules.delisting)
    delisted = exits.cause == Cause.DELISTED
    leaving = delisted | final
    price = np.where(delisted, exits.price, costs.sold_at(exits.price))
    log.holdings.append(
        Holdings(
            column=column,
            start=np.full(len(column), start, dtype=np.int64),
            stop=np.where(leaving, exits.row, planned),
            shares=shares,
            entry=entry,
            exit=price,
        )
    )
    gross, fee = shares[leaving] * price[leaving], costs.sale_fee(shares[leaving], price[leaving])
    log.trades.append(
        Trades(
            row=exits.row[leaving],
            column=column[leaving],
            side=np.full(len(gross), SELL, dtype=np.int8),
            shares=shares[leaving],
            price=price[leaving],
            fee=fee,
            cause=exits.cause[leaving],
        )
    )
    account.pending += list(zip(exits.row[leaving].tolist(), (gross - fee).tolist(), strict=True))
    account.column, account.shares = column[~leaving], shares[~leaving]


def _aligned(every: Int64, column: Int64, values: Float64) -> Float64:
    """Return the values of some columns at their places among all columns, 0 elsewhere."""
    result = np.zeros(len(every))
    result[np.searchsorted(every, column)] = values
    return result
