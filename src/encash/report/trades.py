"""Cash, holdings and turnover by session, round trips and profit by ticker, from the ledger of a run."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from encash.arrays import Days, Float64, Int64, Text
from encash.errors import FormatError
from encash.report.summary import Run
from encash.text_files import read_csv

_COLUMNS = ("date", "ticker", "side", "shares", "price", "fee")
_SIGN = {"buy": 1.0, "sell": -1.0, "borrow": 0.0}
"""Direction of the shares of an order; a charge for shares sold short trades nothing and costs only its fee."""
_ROUNDING = 1e-9
"""Fraction of the shares of an order below which a position is closed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trip:
    """Shares of one ticker from the order that opened them to the one that closed them."""

    ticker: str
    opened: np.datetime64
    closed: np.datetime64
    shares: float
    """Below 0 for shares sold short."""
    profit: float
    """After fees, in the currency of the prices."""
    value: float
    """Amount that was exchanged when it was opened."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """The orders of a run on its sessions; all arrays have shape (n,)."""

    days: Days
    """Sessions of the run, shape (S,)."""
    row: Int64
    """Session of each order."""
    ticker: Text
    shares: Float64
    """Above 0 for a buy, below 0 for a sale, 0 for a charge."""
    price: Float64
    fee: Float64

    def __len__(self) -> int:
        """Number of orders."""
        return len(self.row)

    @property
    def flow(self) -> Float64:
        """Cash that each order brings in."""
        flow: Float64 = -self.shares * self.price - self.fee
        return flow

    def by_session(self, values: Float64) -> Float64:
        """Sum values of the orders by session, shape (S,)."""
        return np.bincount(self.row, weights=values, minlength=len(self.days)).astype(np.float64)

    def holdings(self) -> Int64:
        """Count the tickers that are held at the close of each session, shape (S,)."""
        _, place = np.unique(self.ticker, return_inverse=True)
        change, order = np.zeros(len(self.days), dtype=np.int64), np.argsort(place, kind="stable")
        for orders in np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(order) else ():
            held = np.cumsum(self.shares[orders])
            open_after = (np.abs(held) > _ROUNDING * np.abs(held).max()).astype(np.int64)
            last = np.append(self.row[orders][1:] != self.row[orders][:-1], True)
            np.add.at(change, self.row[orders][last], np.diff(open_after[last], prepend=0))
        return np.cumsum(change)

    def profit_by_ticker(self) -> dict[str, float]:
        """Return what each ticker brought in after fees, the highest first; that of an open position is partial."""
        names, place = np.unique(self.ticker, return_inverse=True)
        profit = np.bincount(place, weights=self.flow, minlength=len(names))
        order = np.lexsort((names, -profit))
        return {str(names[at]): float(profit[at]) for at in order}

    @cached_property
    def trips(self) -> tuple[Trip, ...]:
        """Closed positions, in the order of their closing; the shares that were opened first are closed first."""
        found, books = list[Trip](), defaultdict[str, deque[list[float]]](deque)
        columns = (self.row.tolist(), self.ticker.tolist(), self.shares.tolist())
        for row, ticker, shares, price, fee in zip(*columns, self.price.tolist(), self.fee.tolist(), strict=True):
            cost = fee / abs(shares) if shares else 0.0
            rest, book = shares, books[ticker]
            while book and abs(rest) > _ROUNDING * abs(shares) and book[0][1] * rest < 0:
                opened, held, paid, paid_fee = book[0]
                closed = float(np.sign(held)) * min(abs(held), abs(rest))
                found.append(
                    Trip(
                        ticker=ticker,
                        opened=self.days[int(opened)],
                        closed=self.days[row],
                        shares=closed,
                        profit=closed * (price - paid) - abs(closed) * (cost + paid_fee),
                        value=abs(closed) * paid,
                    )
                )
                rest += closed
                book[0][1] -= closed
                if abs(book[0][1]) <= _ROUNDING * abs(held):
                    book.popleft()
            if abs(rest) > _ROUNDING * abs(shares):
                book.append([row, rest, price, cost])
        return tuple(found)


@lru_cache(maxsize=2)
def read_ledger(run: Run) -> Ledger:
    """Read the ledger of a run, once for all charts.

    Raises:
        FormatError: it is malformed, or has an order on a day that is not a session of the run.
    """
    path = run.folder / "ledger.csv"
    _, rows = read_csv(path, _COLUMNS, kind="ledger")
    date, ticker, side, *numbers = zip(*(cells for _, cells in rows), strict=True) if rows else ((),) * len(_COLUMNS)
    try:
        days = np.array(date, dtype="datetime64[D]")
        shares, price, fee = (np.array(values, dtype=np.float64) for values in numbers)
    except ValueError as error:
        raise FormatError(f"{path} is not a ledger ({error}); run the backtest again") from None
    row = np.searchsorted(run.equity.days, days)
    inside = row < len(run.equity.days)
    if not inside.all() or (run.equity.days[row] != days).any() or not set(side) <= set(_SIGN):
        raise FormatError(f"{path} has an order that is not of a session of the run; run the backtest again")
    sign = np.array([_SIGN[one] for one in side])
    return Ledger(
        days=run.equity.days,
        row=row.astype(np.int64),
        ticker=np.array(ticker, dtype=np.str_),
        shares=sign * shares,
        price=price,
        fee=fee,
    )


def exposure(run: Run, ledger: Ledger) -> Float64:
    """Return the invested fraction of the equity at the close of each session, shape (S,): 1 − cash / equity.

    Cash is the initial capital and all flows of the ledger since.
    """
    cash = run.capital + np.cumsum(ledger.by_session(ledger.flow))
    with np.errstate(divide="ignore", invalid="ignore"):
        invested: Float64 = np.where(run.equity.net > 0, 1.0 - cash / run.equity.net, np.nan)
    return invested
