"""Every registered cost model keeps the contract, and so can a user's own."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from encash.backtest import BacktestConfig, CostModel, Costs, make_points
from encash.backtest.simulation.costs.base import BUY, SELL
from encash.backtest.simulation.costs.registry import COSTS, make_costs
from encash.backtest.simulation.simulate import simulate
from encash.backtest.simulation.simulation_types import Rules
from encash.cli.backtest import configuration
from encash.errors import InputError
from encash.serialization import describe, from_description
from encash.testing import CostModelContract
from tests.backtest.test_settings import parsed
from tests.backtest.test_simulate import random_market, random_targets


@dataclass(frozen=True, kw_only=True)
class Broker(CostModel):
    """A fee per share with a minimum: a cost model as a user would write it."""

    sell_fee: float = 0.0
    per_share: float = 0.01
    minimum: float = 1.0

    def fee(self, side, shares, price):
        fee = np.maximum(shares * self.per_share, self.minimum) + shares * price * (self.sell_fee * (side == SELL))
        return np.where(shares * price > 0, fee, 0.0)


OWN = f"{__name__}:Broker"


@pytest.mark.parametrize("name", [*COSTS, "square-root?impact=0.1&buy_fee=0", OWN, f"{OWN}?minimum=20"])
class TestContract(CostModelContract):
    @pytest.fixture(autouse=True)
    def named(self, name):
        self.cost_model = name


@pytest.mark.parametrize("net", [False, True])
@pytest.mark.parametrize("name", [*COSTS, OWN])
def test_money_is_conserved_with_every_model(name, net):
    """Capital plus all sales less all buys and fees is the final equity, and cash is never below zero."""
    costs = make_costs(name, {"buy_fee": 0.002, "sell_fee": 0.001})
    for seed in range(20):
        market = random_market(seed, holes=0.05, dying=0.3)
        result = simulate(market, random_targets(seed, market), Rules(capital=1e5, costs=costs, net=net))
        trades = result.trades
        assert abs(1e5 - float((trades.side * trades.value() + trades.fee).sum()) - result.equity[-1]) < 1e-6
        assert result.cash.min() > -1e-6
        for side in (BUY, SELL):
            rows = trades.side == side
            np.testing.assert_allclose(trades.fee[rows], costs.fee(side, trades.shares[rows], trades.price[rows]))


def test_impact_makes_larger_accounts_lose_more():
    """The square-root law: the fraction lost doubles with four times the capital."""
    costs = make_costs("square-root", {})
    market = random_market(3)
    targets = random_targets(3, market)
    lost = [
        float(result.trades.fee[0] / result.trades.value()[0])
        for result in (simulate(market, targets, Rules(capital=capital, costs=costs)) for capital in (1e4, 4e4))
    ]
    assert lost[1] == pytest.approx(2 * lost[0], rel=1e-2)


def test_a_configuration_names_its_model():
    """Settings give the values of its fields; the description keeps the name, of format 2 only if it is given."""
    assert BacktestConfig(fixed_fee=2.0).costs() == Costs(buy_fee=0.0005, sell_fee=0.0005, fixed_fee=2.0)
    config = BacktestConfig(cost_model=f"{OWN}?minimum=3", sell_fee=0.01)
    assert config.costs() == Broker(sell_fee=0.01, minimum=3.0)
    assert (describe(config)["format"], describe(BacktestConfig())["format"]) == (2, 1)
    assert from_description(BacktestConfig, describe(config), what="the run") == config
    assert configuration(parsed("--cost-model", f"{OWN}?minimum=3", "--sell-fee", "0.01")) == config
    points = make_points({}, {"cost_model": ["proportional", "square-root", "square-root?impact=0.01"]})
    assert len({point.key(None) for point in points}) == 3


def test_an_installed_package_offers_a_model(monkeypatch):
    """By an entry point `encash.costs`."""
    entry = EntryPoint(name="broker", value=OWN, group="encash.costs")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group, name: [entry] if name == "broker" else [])
    assert make_costs("broker?per_share=0.02", {}) == Broker(per_share=0.02)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cost_model": "free"}, "'free' is not a cost model; expected one of proportional, square-root, or"),
        ({"cost_model": " "}, "expected a name"),
        ({"cost_model": "no_such_module:Costs"}, "cannot be imported"),
        ({"cost_model": "encash.backtest:BacktestConfig"}, "not a cost model; expected one of"),
        ({"cost_model": "square-root?size=1"}, r"square-root\?field=value .* buy_fee, sell_fee, impact"),
        ({"cost_model": "square-root?impact=much"}, "numbers of 0 or more"),
        ({"cost_model": "square-root?impact=nan"}, "numbers of 0 or more"),
        ({"cost_model": "square-root?impact"}, "numbers of 0 or more"),
        ({"cost_model": "proportional?sell_fee=1.5"}, "sell_fee is 1.5; expected a fraction"),
        (
            {"cost_model": "square-root", "slippage": 0.1},
            "slippage is not a field of the cost model square-root; leave it out",
        ),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_when_the_configuration_is_made(changes, says):
    """The message names what came, what was expected, and how to fix it."""
    with pytest.raises(InputError, match=says):
        BacktestConfig(**changes)
