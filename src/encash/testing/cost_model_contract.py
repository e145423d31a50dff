"""The contract test of cost models: subclass it, name your model, and run pytest.

class TestMyCosts(CostModelContract):
    cost_model = "my_costs:MyCosts?minimum=1.5"
"""

from __future__ import annotations

import numpy as np
import pytest

from encash.backtest.simulation.costs.base import BUY, SELL, CostModel
from encash.backtest.simulation.costs.registry import make_costs

SETTINGS = {"buy_fee": 0.002, "sell_fee": 0.001, "slippage": 0.003, "fixed_fee": 1.5}
PRICE = np.geomspace(0.5, 5000.0, 40)
MONEY = np.random.default_rng(0).permutation(np.geomspace(1.0, 1e7, 40))


class CostModelContract:
    """Behavior of a cost model that a simulation relies on. A subclass names the model as `--cost-model` does."""

    cost_model: str

    @pytest.fixture
    def costs(self) -> CostModel:
        """The model under test, with settings that are not 0."""
        return make_costs(self.cost_model, SETTINGS)

    def test_fields_named_like_a_setting_take_its_value(self, costs: CostModel) -> None:
        """Unless the name gives them a value."""
        for name, value in SETTINGS.items():
            assert getattr(costs, name, value) == value or f"{name}=" in self.cost_model

    @pytest.mark.parametrize("side", [BUY, SELL])
    def test_a_fee_starts_at_zero_and_never_falls_with_the_shares(self, costs: CostModel, side: int) -> None:
        """No shares, or a price of 0, cost nothing."""
        assert not costs.fee(side, MONEY, np.zeros_like(PRICE)).any()
        fees = np.array([costs.fee(side, np.full_like(PRICE, shares), PRICE) for shares in (0.0, *np.sort(MONEY))])
        assert not fees[0].any()
        assert (np.diff(fees, axis=0) >= 0).all()

    def test_affordable_shares_cost_at_most_the_money(self, costs: CostModel) -> None:
        """And a millionth more costs more; cash and proceeds agree with the fees."""
        shares = costs.affordable(MONEY, PRICE)
        spent, more = (count * PRICE + costs.fee(BUY, count, PRICE) for count in (shares, shares * (1 + 1e-6) + 1e-9))
        assert ((shares >= 0) & (spent <= MONEY * (1 + 1e-9)) & (more > MONEY)).all()
        assert np.isclose(costs.cash_after(2 * MONEY.sum(), shares, PRICE), 2 * MONEY.sum() - spent.sum())
        assert np.allclose(costs.received(shares, PRICE), shares * PRICE - costs.fee(SELL, shares, PRICE))
