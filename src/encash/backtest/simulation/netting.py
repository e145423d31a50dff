"""Rebalancing by trading the differences alone. Knows prices and targets; nothing of marks or equity."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from encash.arrays import Bool, Float64, Int8, Int64
from encash.backtest.simulation.costs import Costs
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulation_types import BUY, SELL, Book, BookWriter, Holdings, Rules, Targets, Trades

_ROUNDS = 500
_NEGLIGIBLE = 1e-12
"""Share of the capital below which a difference is rounding and no order."""


@dataclass
class _Account:
    """One tranche between two rebalances."""

    cash: float
    column: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shares: Float64 = field(default_factory=lambda: np.zeros(0))
    pending: list[tuple[int, float]] = field(default_factory=list)
    """Sales that lie ahead, of delisted names: session and proceeds."""

    def receive(self, row: int) -> None:
        """Take the proceeds of the sales up to a session."""
        self.cash += sum(money for when, money in self.pending if when <= row)
        self.pending = [(when, money) for when, money in self.pending if when > row]


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """The tickers that an account may trade at one rebalance."""

    column: Int64
    held: Float64
    """Shares before."""
    weight: Float64
    price: Float64
    """Market price."""


def trade_net(market: Market, targets: Targets, rules: Rules) -> Book:
    """All that the accounts do when each trades from what it holds to what it wants; the last exit sells everything."""
    accounts = [_Account(rules.capital / targets.num_tranches) for _ in range(targets.num_tranches)]
    last = {int(account): number for number, account in enumerate(targets.tranche)}
    writer = BookWriter()
    for number, tranche in enumerate(targets.tranche.tolist()):
        account = accounts[tranche]
        account.receive(int(targets.fill[number]))
        _rebalance(account, market, targets, number, rules, writer)
        _hold(account, market, targets, number, rules, writer, final=last[tranche] == number)
    return writer.book()


def _rebalance(
    account: _Account, market: Market, targets: Targets, number: int, rules: Rules, writer: BookWriter
) -> None:
    """Trade to the targets; what has no price is neither bought nor sold."""
    row = int(targets.fill[number])
    wanted = targets.weight[number] > 0
    column, weight = targets.column[number][wanted], targets.weight[number][wanted]
    frozen = np.isnan(market.fill[row, account.column])
    tradable = ~np.isnan(market.fill[row, column])
    every = np.union1d(account.column[~frozen], column[tradable]).astype(np.int64)
    exchange = _Exchange(
        column=every,
        held=_spread(every, account.column[~frozen], account.shares[~frozen]),
        weight=_spread(every, column[tradable], weight[tradable]),
        price=market.fill[row, every],
    )
    after = _shares_after(exchange, account.cash, rules)
    trades = _orders(exchange, after, row, rules.costs)
    writer.trades.append(trades)
    writer.unfilled += int((~tradable).sum()) + int(((exchange.weight > 0) & (after <= 0)).sum())
    account.cash -= float((trades.side * trades.value()).sum() + trades.fee.sum())
    kept = after > 0
    account.column = np.concatenate([account.column[frozen], every[kept]])
    account.shares = np.concatenate([account.shares[frozen], after[kept]])


def _shares_after(exchange: _Exchange, cash: float, rules: Rules) -> Float64:
    """The shares to hold of each ticker: those for which the cash is used up after all costs.

    The invested value V solves left(V) = (1 − Σ w) · V, where left is the cash after trading to w · V. Each round
    adds what is left over to V; what a round gets wrong is at most the share that costs take, so it converges, unless
    V stands where a fixed fee begins: then it is the largest value found that the cash suffices for.
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


def _orders(exchange: _Exchange, after: Float64, row: int, costs: Costs) -> Trades:
    """The trades from what is held to what will be held."""
    change = after - exchange.held
    scale = float(np.abs(exchange.held) @ exchange.price + after @ exchange.price)
    moved = np.abs(change) * exchange.price > _NEGLIGIBLE * scale
    return _priced(exchange.column[moved], change[moved], exchange.price[moved], row, costs)


def _priced(column: Int64, change: Float64, market_price: Float64, row: int, costs: Costs) -> Trades:
    """Orders at their execution prices and fees; `change` is above 0 for a buy."""
    buy = change > 0
    price = np.where(buy, costs.bought_at(market_price), costs.sold_at(market_price))
    shares = np.abs(change)
    return Trades(
        row=np.full(len(column), row, dtype=np.int64),
        column=column,
        side=np.where(buy, BUY, SELL).astype(np.int8),
        shares=shares,
        price=price,
        fee=shares * price * np.where(buy, costs.buy_fee, costs.sell_fee) + costs.fixed_fee,
        cause=np.zeros(len(column), dtype=np.int8),
    )


def _hold(
    account: _Account,
    market: Market,
    targets: Targets,
    number: int,
    rules: Rules,
    writer: BookWriter,
    *,
    final: bool,
) -> None:
    """Carry the positions to the next rebalance; sell those whose ticker stops trading before, and at the end all."""
    start, planned = int(targets.fill[number]), int(targets.exit[number])
    column, shares = account.column, account.shares
    entry = rules.costs.bought_at(market.mark[start, column] if len(column) else np.zeros(0))
    exits = market.exits(column, np.full(len(column), planned, dtype=np.int64), entry, rules.delisting)
    dead = exits.cause == Cause.DELISTED
    leaving = dead | final
    price = np.where(dead, exits.price, rules.costs.sold_at(exits.price))
    writer.holdings.append(
        Holdings(
            column=column,
            start=np.full(len(column), start, dtype=np.int64),
            stop=np.where(leaving, exits.row, planned),
            shares=shares,
            entry=entry,
            exit=price,
        )
    )
    _sell(account, writer, rules.costs, leaving, exits.row, price, exits.cause)


def _sell(
    account: _Account,
    writer: BookWriter,
    costs: Costs,
    leaving: Bool,
    row: Int64,
    price: Float64,
    cause: Int8,
) -> None:
    """Write down sales that lie ahead; their proceeds come into the account on their sessions."""
    shares = account.shares[leaving]
    gross = shares * price[leaving]
    fee = gross * costs.sell_fee + np.where(price[leaving] > 0, costs.fixed_fee, 0.0)
    writer.trades.append(
        Trades(
            row=row[leaving],
            column=account.column[leaving],
            side=np.full(len(shares), SELL, dtype=np.int8),
            shares=shares,
            price=price[leaving],
            fee=fee,
            cause=cause[leaving],
        )
    )
    account.pending += list(zip(row[leaving].tolist(), (gross - fee).tolist(), strict=True))
    account.column, account.shares = account.column[~leaving], account.shares[~leaving]


def _spread(every: Int64, column: Int64, values: Float64) -> Float64:
    """Values of some columns among all of them, 0 elsewhere."""
    result = np.zeros(len(every))
    result[np.searchsorted(every, column)] = values
    return result
