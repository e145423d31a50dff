"""Market impact by the square-root law, and proportional fees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64
from encash.backtest.simulation.costs.base import BUY, CostModel


@dataclass(frozen=True, kw_only=True)
class SquareRootImpact(CostModel):
    """Costs that grow with the size of an order: the square-root law of market impact, and proportional fees.

    An order of value v = shares · price pays v · (fee + impact · √(v / 1,000,000)).

    The law says that an order moves the price by the fraction σ · √(Q / V), with the daily volatility σ, the shares Q
    of the order and the shares V traded per day, up to a factor near 1 (Tóth et al. 2011, Anomalous price impact and
    the critical nature of liquidity in financial markets, Physical Review X 1, 021006). Almgren et al. (2005, Direct
    estimation of equity market impact, Risk 18) measured an exponent of 0.6 instead of 0.5.

    Prices come without volumes, so that σ and V are not those of the stock and the day: `impact` stands for both, and
    is the same for all. It prices a large liquid stock far too high or a small one far too low. The impact is booked
    as a fee; it changes no price, and does not decay or add up over several orders.
    """

    buy_fee: float = 0.0
    """Fraction of the amount bought."""
    sell_fee: float = 0.0
    """Fraction of the proceeds."""
    impact: float = 0.002
    """Fraction of its value that an order of 1,000,000 currency units loses: 0.002 is that of a stock with a daily
    volatility of 2% of which 100,000,000 are traded per day."""

    def fee(self, side: int, shares: Float64, price: Float64) -> Float64:
        """Return the proportional fee and the impact of each order.

        >>> SquareRootImpact(impact=0.01).fee(BUY, np.array([10_000.0, 40_000.0]), np.array([100.0, 100.0])).tolist()
        [10000.0, 80000.0]
        """
        value = shares * price
        return value * ((self.buy_fee if side == BUY else self.sell_fee) + self.impact * np.sqrt(value / 1e6))
