"""The interface of a cost model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64

BUY, SELL = 1, -1
"""Sides of an order."""


@dataclass(frozen=True, kw_only=True)
class CostModel(ABC):
    """Costs of orders; a subclass is a frozen, keyword-only dataclass that implements `fee`.

    To add one, write a class like those beside this file and add a line to `registry.COSTS`; or keep it in your own
    package and name it as ``module:attribute`` or by an entry point. `encash.testing.CostModelContract` checks yours.

    Its fields are numbers with defaults. A field named like a setting of costs (buy_fee, sell_fee, slippage,
    fixed_fee) takes the value of that setting; users give the others as ``NAME?field=value``.

    The arrays of a call have one shape. Shares and prices are 0 or more; fees are in currency units.
    """

    def bought_at(self, price: Float64) -> Float64:
        """Return the execution prices of buys at market prices: the same, unless a model overrides it."""
        return price

    def sold_at(self, price: Float64) -> Float64:
        """Return the execution prices of sales at market prices: the same, unless a model overrides it."""
        return price

    @abstractmethod
    def fee(self, side: int, shares: Float64, price: Float64) -> Float64:
        """Return the fee of each order, in currency units.

        Args:
            side: BUY or SELL.
            shares: shares of each order; the fee never falls if they rise.
            price: execution prices; the fee is 0 if the shares or the price are 0.
        """

    def affordable(self, money: Float64, price: Float64) -> Float64:
        """Return the most shares that an amount pays for at an execution price, fee included; found by bisection."""
        low, high = np.zeros_like(price), np.maximum(money, 0.0) / price
        for _ in range(60):  # halvings: the precision of a float64
            middle = (low + high) / 2
            fits = middle * price + self.fee(BUY, middle, price) <= money
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return low

    def cash_after(self, cash: float, shares: Float64, price: Float64) -> float:
        """Return the cash that is left after buys at execution prices."""
        return cash - float(shares @ price) - float(self.fee(BUY, shares, price).sum())

    def sale_fee(self, shares: Float64, price: Float64) -> Float64:
        """Return the fee that a simulation charges for each sale: at most its value, so that no account is in debt."""
        return np.minimum(self.fee(SELL, shares, price), shares * price)

    def received(self, shares: Float64, price: Float64) -> Float64:
        """Return the proceeds of each sale at an execution price, after its fee."""
        return shares * price - self.fee(SELL, shares, price)

    def gain(self, shares: Float64, entry: Float64, exit: Float64) -> Float64:
        """Return the return of each position, fees included: above 0, it counts as a win."""
        return self.received(shares, exit) / (shares * entry + self.fee(BUY, shares, entry)) - 1.0

    def short_gain(self, shares: Float64, entry: Float64, exit: Float64) -> Float64:
        """Return the gain of each position sold short over the value of the sale, fees included, without borrow fees.

        Args:
            shares: sold short, above 0.
            entry: execution prices of the sales.
            exit: execution prices of the purchases that end them.
        """
        return (self.received(shares, entry) - shares * exit - self.fee(BUY, shares, exit)) / (shares * entry)
