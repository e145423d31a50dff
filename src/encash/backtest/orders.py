"""Orders that lead from current positions to the picks of a day, in whole shares."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encash.arrays import Float64
from encash.backtest.simulation.costs.base import BUY, CostModel
from encash.backtest.simulation.ledger import no_formula
from encash.errors import FormatError, InputError
from encash.text_files import read_csv

_COLUMNS = ["ticker", "shares"]
_WHOLE = re.compile("[0-9]{1,15}")
"""Whole shares that a float64 holds exactly."""
_ROUNDING = 1e-9
"""Fraction of a share that may be missing from a whole one because of rounding."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order in whole shares."""

    ticker: str
    side: str
    """buy or sell."""
    shares: int
    price: float
    """Market price of the day, before slippage."""

    @property
    def value(self) -> float:
        """Shares times price."""
        return self.shares * self.price


@dataclass(frozen=True, kw_only=True)
class OrderList:
    """Orders of a day, sales first."""

    orders: tuple[Order, ...]
    value: float
    """Cash and positions at the prices of the day."""
    cash_after: float
    """Cash after all orders are filled at the prices of the day, costs included; 0 or more."""
    kept: tuple[str, ...]
    """Positions without a price on the day: they are not traded, and are valued at 0."""

    def to_csv(self, *, spreadsheet: bool = False) -> str:
        """Return the orders as CSV; `spreadsheet` is that of `Ledger.to_csv`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("ticker", "side", "shares", "price"))
        for one in self.orders:
            writer.writerow((no_formula(one.ticker) if spreadsheet else one.ticker, one.side, one.shares, one.price))
        return text.getvalue()


def read_positions(path: str | Path) -> dict[str, int]:
    """Read positions from a CSV file with the columns ``ticker,shares``; whole shares, each ticker once.

    Raises:
        MissingFileError: no such file.
        FormatError: other columns, a number of shares that is not whole and 0 or more, or a ticker twice.
    """
    held: dict[str, int] = {}
    for number, (ticker, shares) in read_csv(path, _COLUMNS, kind="file of positions")[1]:
        if not ticker or not _WHOLE.fullmatch(shares):
            raise FormatError(
                f"{path}, line {number}: {ticker},{shares}; expected a ticker and whole shares, such as AAPL,120"
            )
        if ticker in held:
            raise FormatError(f"{path}, line {number}: {ticker} is given twice; expected one line per ticker")
        held[ticker] = int(shares)
    return held


def make_orders(
    weights: Mapping[str, float],
    positions: Mapping[str, int],
    prices: Mapping[str, float],
    *,
    cash: float,
    costs: CostModel,
) -> OrderList:
    """Trade the differences between positions and target weights.

    The target of a ticker is the number of whole shares that its weight of the account's value can buy. The value to
    invest is reduced until the cash after all costs is 0 or more.

    Args:
        weights: of the picks, at most 1 in sum.
        positions: whole shares held.
        prices: market prices of the day; a ticker without one is not traded.
        cash: currency units, in addition to the positions.
        costs: of the trades.

    Raises:
        InputError: a pick without a price, nothing to invest, or costs that exceed the account.

    >>> from encash.backtest.simulation.costs.proportional import Costs
    >>> found = make_orders({"A": 0.5, "B": 0.5}, {"B": 10, "C": 4}, {"A": 10.0, "B": 20.0, "C": 25.0}, cash=100.0,
    ...                     costs=Costs())
    >>> [(one.side, one.shares, one.ticker) for one in found.orders], found.cash_after
    ([('sell', 4, 'C'), ('buy', 20, 'A')], 0.0)
    """
    if absent := sorted(set(weights) - set(prices)):
        raise InputError(f"{absent[0]} was picked and has no price on the day; give prices of that day")
    held = {ticker: shares for ticker, shares in positions.items() if shares and ticker in prices}
    names = sorted(set(weights) | set(held))
    price = np.array([prices[name] for name in names])
    now = np.array([held.get(name, 0) for name in names], dtype=np.float64)
    weight = np.array([weights.get(name, 0.0) for name in names])
    value = cash + float(now @ price)
    if not value > 0:
        raise InputError(f"the account is worth {value:,.2f}; give the cash to invest (--cash) or positions")
    invested = value
    while True:
        target = np.floor(weight * invested / price + _ROUNDING)
        change = target - now
        left = _cash_after(change, price, cash, costs)
        if left >= 0.0:
            break
        bought = target > 0
        if not bought.any():
            raise InputError(
                f"the costs of selling all positions exceed the account, which is worth {value:,.2f}: {-left:,.2f} are "
                "missing; give more cash (--cash) or lower costs"
            )
        one_less = (target * price)[bought] / weight[bought] * (1 - 2 * _ROUNDING)
        invested = max(0.0, min(invested + left, float(one_less.max())))
    orders = [
        Order(ticker=name, side="buy" if shares > 0 else "sell", shares=int(abs(shares)), price=float(at))
        for name, shares, at in zip(names, change.tolist(), price.tolist(), strict=True)
        if shares
    ]
    return OrderList(
        orders=tuple(sorted(orders, key=lambda one: (one.side == "buy", one.ticker))),
        value=value,
        cash_after=left,
        kept=tuple(sorted(ticker for ticker, shares in positions.items() if shares and ticker not in prices)),
    )


def _cash_after(change: Float64, price: Float64, cash: float, costs: CostModel) -> float:
    """Return the cash after trades of some shares at market prices."""
    bought, sold = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    buy_price, sell_price = costs.bought_at(price), costs.sold_at(price)
    paid = bought @ buy_price + costs.fee(BUY, bought, buy_price).sum()
    received = sold @ sell_price - costs.sale_fee(sold, sell_price).sum()
    return float(cash + received - paid)
