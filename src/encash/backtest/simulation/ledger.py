"""Trades of a run as a table that can be replayed."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields

import numpy as np

from encash.arrays import Days, Float64, Text
from encash.backtest.simulation.costs.base import BUY
from encash.backtest.simulation.simulation_types import BorrowFees, Trades

_HEADER = ("date", "ticker", "side", "shares", "price", "fee")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""Beginnings of a cell that a spreadsheet takes for a formula, after OWASP's "CSV Injection"."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """n orders in order of execution: by day, sales first, then by ticker. All arrays have shape (n,)."""

    date: Days
    ticker: Text
    side: Text
    """buy or sell; borrow for a charge on shares sold short, which trades nothing and costs only its fee."""
    shares: Float64
    price: Float64
    """Execution price, slippage included; for a delisting, the settled price; for a charge, the close before."""
    fee: Float64
    """Currency units."""

    def __len__(self) -> int:
        """Number of orders."""
        return len(self.date)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in _HEADER}

    def to_csv(self, *, spreadsheet: bool = False) -> str:
        """Return the ledger as CSV; every number is the shortest text that reads back to the same float64.

        Args:
            spreadsheet: put an apostrophe before each ticker that a spreadsheet would run as a formula (one that
                begins with ``=``, ``+``, ``-`` or ``@``), so that it is shown as text. Such a file is for humans: a
                replay reads the ledger without.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        columns = [column.tolist() for column in (self.date.astype(str), self.ticker, self.side)]
        if spreadsheet:
            columns[1] = [f"'{ticker}" if ticker.startswith(_FORMULA) else ticker for ticker in columns[1]]
        columns += [column.tolist() for column in (self.shares, self.price, self.fee)]
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


def make_ledger(trades: Trades, days: Days, tickers: Text, borrowed: BorrowFees | None = None) -> Ledger:
    """Return the ledger of a simulation.

    Args:
        trades: in order of execution.
        days: sessions, shape (S,).
        tickers: columns of the trades, shape (C,).
        borrowed: charges for shares sold short; they come before the trades of their session.
    """
    orders = _ledger_of(trades, days, tickers)
    if borrowed is None or not len(borrowed.row):
        return orders
    charges = Ledger(
        date=days[borrowed.row],
        ticker=np.asarray(tickers, dtype=np.str_)[borrowed.column],
        side=np.full(len(borrowed.row), "borrow"),
        shares=borrowed.shares,
        price=borrowed.price,
        fee=borrowed.fee,
    )
    order = np.argsort(np.concatenate([borrowed.row, trades.row]), kind="stable")
    columns = {one.name: (getattr(charges, one.name), getattr(orders, one.name)) for one in fields(Ledger)}
    return Ledger(**{name: np.concatenate(parts)[order] for name, parts in columns.items()})


def _ledger_of(trades: Trades, days: Days, tickers: Text) -> Ledger:
    return Ledger(
        date=days[trades.row],
        ticker=np.asarray(tickers, dtype=np.str_)[trades.column],
        side=np.where(trades.side == BUY, "buy", "sell"),
        shares=trades.shares,
        price=trades.price,
        fee=trades.fee,
    )
