"""Rebalancing by liquidation, session by session: for portfolios with short positions or volume limits.

The conventions are those of `simulate`, and these:

- **Limits.** A fill takes at most the capacity of its ticker on its session, all accounts together, buys and sales
  separately. The unfilled part of a buy (or a short sale) stays idle until the next rebalance of the account; that of a
  sale (or a cover) is traded in the following sessions, as far as each allows. Settlements of delisted tickers do not
  count as fills. What is still held on the last session stays marked at its last close.
- **Shorts.** An account is worth its cash less its shorts plus its longs. A rebalance invests the cash less the value
  of shorts that are still open, at the price of the fill or, without one, the last close before it: the proceeds of
  short sales are held as cash without interest and buy nothing; they pay the fees of those sales. A delisted short is
  bought back at the price of the policy, but not below the last close, so that no policy favors it.
- **Borrow fees.** A position that is short at a close pays its value at that close, times the rate, times the calendar
  days until the next session over 365, on that session.
- **Margin.** If the equity of an account with shorts is below `Rules.margin` of the value of its longs and shorts at a
  close, all its positions are closed from the next session on, and it waits for its next rebalance. An account whose
  equity is 0 or less opens no positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from encash.arrays import Bool, Float64, Int8, Int64
from encash.backtest.simulation.costs.base import BUY, SELL
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulation_types import BorrowFees, Execution, Holdings, Rules, Targets, Trades
from encash.metrics import settlement

Part = TypeVar("Part", Trades, Holdings, BorrowFees)


def trade_by_lots(market: Market, targets: Targets, rules: Rules) -> Execution:
    """Trade accounts that close their positions at an exit and reinvest their equity."""
    book = _Book(market, targets, rules)
    by_session: dict[int, list[int]] = {}
    for number, row in enumerate(targets.fill.tolist()):
        by_session.setdefault(row, []).append(number)
    for row in range(min(by_session), len(market.close)):
        if len(book.lots):
            book.charge(row)
            book.settle(row)
            book.close(row)
        for number in by_session.get(row, []):
            book.open(number)
        if len(book.lots):
            book.mark(row)
    return book.execution()


@dataclass
class _Lots:
    """n open positions; all arrays have shape (n,)."""

    account: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    column: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shares: Float64 = field(default_factory=lambda: np.zeros(0))
    """Below 0 if sold short."""
    entry: Float64 = field(default_factory=lambda: np.zeros(0))
    start: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    due: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Session from which on it is to be closed."""
    called: Bool = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """It is due because of the margin."""
    number: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """In the order in which they were opened."""

    def __len__(self) -> int:
        return len(self.column)

    def keep(self, rows: Bool) -> None:
        """Drop the other positions."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name)[rows])

    def add(self, **columns: np.ndarray) -> None:
        """Append positions."""
        for name, values in columns.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))


class _Book:
    """Accounts and open positions on one session after the other, and the record of what happened."""

    def __init__(self, market: Market, targets: Targets, rules: Rules):
        self._market, self._targets, self._rules = market, targets, rules
        self._cash = np.full(targets.num_tranches, rules.capital / targets.num_tranches)
        self._room = None if market.capacity is None else {side: market.capacity.copy() for side in (BUY, SELL)}
        self._value = np.zeros(len(market.close))
        self._ends, self._next_due = set((market.last_row + 1).tolist()), len(market.close)
        self._trades: list[Trades] = []
        self._holdings: list[Holdings] = []
        self._opened: list[Int64] = []
        """Number of the position of each of the holdings."""
        self._borrowed: list[BorrowFees] = []
        self._unfilled = self._calls = self._cut = self._count = 0
        self.lots = _Lots()

    def charge(self, row: int) -> None:
        """Charge the borrow fees of the days since the session before."""
        rate, years, lots = self._rules.borrow_rate, self._market.years, self.lots
        if years is None or rate == 0.0:
            return
        short = np.flatnonzero(lots.shares < 0)
        column, shares = lots.column[short], -lots.shares[short]
        price = self._market.mark[row - 1, column]
        fee = shares * price * (rate * years[row])
        np.subtract.at(self._cash, lots.account[short], fee)
        self._borrowed.append(
            BorrowFees(row=np.full(len(short), row), column=column, shares=shares, price=price, fee=fee)
        )

    def settle(self, row: int) -> None:
        """End the positions in tickers whose last close was that of the session before."""
        lots, market = self.lots, self._market
        if row not in self._ends or not len(gone := np.flatnonzero(market.last_row[lots.column] + 1 == row)):
            return
        last = market.mark[row - 1, lots.column[gone]]
        price = settlement(last, lots.entry[gone], self._rules.delisting)
        price = np.where(lots.shares[gone] < 0, np.maximum(price, last), price)
        self._end(row, gone, np.abs(lots.shares[gone]), price, np.full(len(gone), Cause.DELISTED, dtype=np.int8))

    def close(self, row: int) -> None:
        """Trade the positions that are due, as far as there are prices and volume."""
        lots, market = self.lots, self._market
        if row < self._next_due:
            return
        due = np.flatnonzero(lots.due <= row)
        price = market.fill[row, lots.column[due]]
        if row == len(market.close) - 1:
            price = np.where(np.isnan(price), market.mark[row, lots.column[due]], price)
        due, price = due[~np.isnan(price)], price[~np.isnan(price)]
        if not len(due):
            return
        buy = lots.shares[due] < 0
        side = np.where(buy, BUY, SELL)
        shares = self._within_room(row, lots.column[due], side, np.abs(lots.shares[due]), price)
        cause = np.where(lots.due[due] < row, Cause.DEFERRED, Cause.PLANNED)
        cause = np.where(lots.called[due], Cause.MARGIN, cause).astype(np.int8)
        paid = np.where(buy, self._rules.costs.bought_at(price), self._rules.costs.sold_at(price))
        some = shares > 0
        self._end(row, due[some], shares[some], paid[some], cause[some])

    def open(self, number: int) -> None:
        """Open the positions of a rebalance."""
        targets, market, costs = self._targets, self._market, self._rules.costs
        row, account = int(targets.fill[number]), int(targets.tranche[number])
        wanted = (targets.column[number] >= 0) & (targets.weight[number] != 0)
        column, weight = targets.column[number][wanted], targets.weight[number][wanted]
        market_price = market.fill[row, column]
        priced = ~np.isnan(market_price)
        self._unfilled += int((~priced).sum())
        column, weight, market_price = column[priced], weight[priced], market_price[priced]
        long, side = weight > 0, np.where(weight > 0, BUY, SELL)
        price = np.where(long, costs.bought_at(market_price), costs.sold_at(market_price))
        money = np.abs(weight) * max(self._free(account, row), 0.0)
        shares = np.where(long, costs.affordable(money, price), money / price)
        shares = self._within_room(row, column, side, shares, market_price)
        fee = np.where(long, costs.fee(BUY, shares, price), costs.fee(SELL, shares, price))
        shares = np.where(long | (fee < shares * price), shares, 0.0)  # a short sale that pays for its fee
        some = shares > 0
        self._unfilled += int((~some).sum())
        self._record(row, column[some], side[some], shares[some], price[some], fee[some])
        self._cash[account] -= float((side * shares * price + fee)[some].sum())
        count = int(some.sum())
        self._next_due = min(self._next_due, int(targets.exit[number]))
        self.lots.add(
            account=np.full(count, account),
            column=column[some],
            shares=(side * shares)[some],
            entry=price[some],
            start=np.full(count, row),
            due=np.full(count, targets.exit[number]),
            called=np.zeros(count, dtype=bool),
            number=self._count + np.arange(count),
        )
        self._count += count

    def mark(self, row: int) -> None:
        """Value the positions at the close; those of accounts below the margin are closed from the next session on."""
        lots, size = self.lots, len(self._cash)
        value = lots.shares * self._market.mark[row, lots.column]
        self._value[row] = value.sum()
        if self._market.years is None:
            return
        equity = self._cash + np.bincount(lots.account, weights=value, minlength=size)
        positions = np.bincount(lots.account, weights=np.abs(value), minlength=size)
        if not (below := equity < self._rules.margin * positions).any():
            return
        below &= np.bincount(lots.account, weights=lots.shares < 0, minlength=size) > 0
        hit = below[lots.account] & (lots.due > row + 1)
        self._calls += len(np.unique(lots.account[hit]))
        lots.due, lots.called = np.where(hit, row + 1, lots.due), lots.called | hit
        self._next_due = int(lots.due.min())

    def execution(self) -> Execution:
        """Return the record; positions that are still open are held to the end.

        Holdings are in the order in which they were opened, which no later price changes.
        """
        lots, final = self.lots, len(self._market.close)
        self._hold(np.arange(len(lots)), np.abs(lots.shares), self._market.mark[final - 1, lots.column], final)
        order = np.argsort(np.concatenate(self._opened), kind="stable")
        return Execution(
            trades=_joined(Trades, self._trades),
            holdings=_joined(Holdings, self._holdings, order),
            unfilled=self._unfilled,
            value=self._value,
            borrowed=_joined(BorrowFees, self._borrowed) if self._borrowed else None,
            margin_calls=self._calls,
            cut=self._cut,
        )

    def _free(self, account: int, row: int) -> float:
        """Return the cash of an account less the value of its shorts, at prices that are known at the fill."""
        lots, market = self.lots, self._market
        own = (lots.account == account) & (lots.shares < 0)
        price, before = market.fill[row, lots.column[own]], market.mark[row - 1, lots.column[own]]
        return float(self._cash[account] + lots.shares[own] @ np.where(np.isnan(price), before, price))

    def _within_room(self, row: int, column: Int64, side: Int64, shares: Float64, price: Float64) -> Float64:
        """Return the shares of orders that the remaining capacity of the session allows, and reduce it by them.

        Only whole shares if the rules say so.
        """
        whole = np.floor if self._rules.whole_shares else np.asarray
        if self._room is None:
            return whole(shares)
        allowed = shares.copy()
        for place, (at, which) in enumerate(zip(column.tolist(), side.tolist(), strict=True)):
            room = self._room[which]
            most = room[row, at] / price[place]
            allowed[place] = whole(min(shares[place], most))
            left = room[row, at] - allowed[place] * price[place]
            room[row, at] = left if allowed[place] < most else 0.0  # no rounding error is an order
        self._cut += int((allowed < whole(shares)).sum())
        return allowed

    def _end(self, row: int, which: Int64, shares: Float64, price: Float64, cause: Int8) -> None:
        """Trade shares of some positions, and drop those of which nothing is left."""
        lots, costs = self.lots, self._rules.costs
        buy = lots.shares[which] < 0
        side = np.where(buy, BUY, SELL)
        fee = np.where(buy, costs.fee(BUY, shares, price), costs.sale_fee(shares, price))
        self._record(row, lots.column[which], side, shares, price, fee, cause)
        np.subtract.at(self._cash, lots.account[which], side * shares * price + fee)
        self._hold(which, shares, price, row)
        held = np.abs(lots.shares[which])
        lots.shares[which] = np.where(buy, shares - held, held - shares)
        lots.keep(lots.shares != 0)
        self._next_due = int(lots.due.min(initial=len(self._value)))

    def _hold(self, which: Int64, shares: Float64, exit: Float64, stop: int) -> None:
        """Record shares of positions as held from their start to a session."""
        lots = self.lots
        self._opened.append(lots.number[which])
        self._holdings.append(
            Holdings(
                column=lots.column[which],
                start=lots.start[which],
                stop=np.full(len(which), stop, dtype=np.int64),
                shares=np.where(lots.shares[which] < 0, -shares, shares),
                entry=lots.entry[which],
                exit=exit,
            )
        )

    def _record(
        self,
        row: int,
        column: Int64,
        side: Int64,
        shares: Float64,
        price: Float64,
        fee: Float64,
        cause: Int8 | None = None,
    ) -> None:
        """Record trades of one session."""
        self._trades.append(
            Trades(
                row=np.full(len(column), row, dtype=np.int64),
                column=column,
                side=side.astype(np.int8),
                shares=shares,
                price=price,
                fee=fee,
                cause=np.zeros(len(column), dtype=np.int8) if cause is None else cause,
            )
        )


def _joined(kind: type[Part], parts: list[Part], order: Int64 | slice = slice(None)) -> Part:
    """Return all parts in one, in an order."""
    columns = {one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(kind)}
    return kind(**{name: column[order] for name, column in columns.items()})
