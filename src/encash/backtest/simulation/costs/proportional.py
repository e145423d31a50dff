"""Proportional fees, slippage and a fixed fee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64
from encash.backtest.simulation.costs.base import BUY, CostModel


@dataclass(frozen=True, kw_only=True)
class Costs(CostModel):
    """Proportional costs.

    A buy at a market price p is executed at p × (1 + slippage) and pays `buy_fee` of that amount and `fixed_fee`;
    a sale at p × (1 − slippage) pays `sell_fee` of its proceeds and `fixed_fee`.

    The closed forms below are those of the first release, operation by operation: earlier runs keep their bytes.
    """

    buy_fee: float = 0.0
    """Fraction of the amount bought."""
    sell_fee: float = 0.0
    """Fraction of the proceeds."""
    slippage: float = 0.0
    """Fraction of the price lost on both sides."""
    fixed_fee: float = 0.0
    """Currency units per trade."""

    def bought_at(self, price: Float64) -> Float64:
        """Return the execution price of a buy.

        >>> Costs(slippage=0.01).bought_at(np.array([100.0])).tolist()
        [101.0]
        """
        return price * (1.0 + self.slippage)

    def sold_at(self, price: Float64) -> Float64:
        """Return the execution price of a sale."""
        return price * (1.0 - self.slippage)

    def fee(self, side: int, shares: Float64, price: Float64) -> Float64:
        """Return the proportional and the fixed fee of each order.

        >>> Costs(buy_fee=0.01, fixed_fee=2.0).fee(BUY, np.array([5.0, 0.0]), np.array([100.0, 100.0])).tolist()
        [7.0, 0.0]
        """
        return shares * price * (self.buy_fee if side == BUY else self.sell_fee) + self._fixed(shares, price)

    def affordable(self, money: Float64, price: Float64) -> Float64:
        """Return (money − fixed fee) / (price · (1 + buy fee)), at least 0."""
        return np.maximum((money - self.fixed_fee) / (price * (1.0 + self.buy_fee)), 0.0)

    def cash_after(self, cash: float, shares: Float64, price: Float64) -> float:
        """Return the cash that is left after buys."""
        return cash - float(shares @ (price * (1.0 + self.buy_fee))) - self.fixed_fee * int(np.count_nonzero(shares))

    def received(self, shares: Float64, price: Float64) -> Float64:
        """Return the proceeds of each sale."""
        return shares * (price * (1.0 - self.sell_fee)) - self._fixed(shares, price)

    def gain(self, shares: Float64, entry: Float64, exit: Float64) -> Float64:
        """Return the return of each position without the fixed fee."""
        return exit * (1.0 - self.sell_fee) / (entry * (1.0 + self.buy_fee)) - 1.0

    def _fixed(self, shares: Float64, price: Float64) -> Float64:
        """Return the fixed fee of each order; a position written off is not sold."""
        return self.fixed_fee * np.sign(shares * price)


NO_COSTS = Costs()
"""Costs of the gross equity."""
