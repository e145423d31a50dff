"""Costs of a trade: proportional fees, slippage and a fixed fee."""

from __future__ import annotations

from dataclasses import dataclass

from encash.arrays import Float64


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of trading.

    A buy at a market price p is executed at p × (1 + slippage) and pays `buy_fee` of that amount and `fixed_fee`;
    a sale at p × (1 − slippage) pays `sell_fee` of its proceeds and `fixed_fee`.
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

        >>> import numpy as np
        >>> Costs(slippage=0.01).bought_at(np.array([100.0])).tolist()
        [101.0]
        """
        return price * (1.0 + self.slippage)

    def sold_at(self, price: Float64) -> Float64:
        """Return the execution price of a sale."""
        return price * (1.0 - self.slippage)


NO_COSTS = Costs()
"""Costs of the gross equity."""
