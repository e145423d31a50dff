"""The money alone: conservation, delisting, gaps, costs, tranches and netting, on arrays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encash.backtest.simulation.costs.base import BUY, SELL
from encash.backtest.simulation.costs.proportional import NO_COSTS, Costs
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulate import simulate
from encash.backtest.simulation.simulation_types import Rules, Targets

DEAR = Costs(buy_fee=0.002, sell_fee=0.001, slippage=0.0015, fixed_fee=1.5)


def random_market(seed, sessions=40, tickers=8, holes=0.0, dying=0.0):
    """Random walks, some with gaps, some that stop trading."""
    rng = np.random.default_rng(seed)
    close = rng.uniform(5, 300, tickers) * np.exp(np.cumsum(rng.normal(0, 0.03, (sessions, tickers)), axis=0))
    close[rng.random(close.shape) < holes] = np.nan
    for column in np.flatnonzero(rng.random(tickers) < dying):
        close[rng.integers(1, sessions) :, column] = np.nan
    return Market(close=close, fill=close)


def random_targets(seed, market, horizon=5, k=3, tranches=1):
    """Every `horizon` sessions (every session with tranches) k random names that have a price."""
    rng = np.random.default_rng(seed + 7)
    sessions = len(market.close)
    fill = np.arange(0, sessions - horizon, 1 if tranches > 1 else horizon)
    column = np.full((len(fill), k), -1)
    for row, session in enumerate(fill):
        priced = np.flatnonzero(~np.isnan(market.fill[session]))
        names = rng.permutation(priced)[: rng.integers(0, k + 1)]
        column[row, : len(names)] = names
    weight = (column >= 0) / np.maximum((column >= 0).sum(axis=1, keepdims=True), 1)
    return Targets(
        fill=fill, exit=fill + horizon, tranche=np.arange(len(fill)) % tranches, column=column, weight=weight,
        num_tranches=tranches,
    )  # fmt: skip


def one(close, *, exit, column=0, fill=0):
    """One position in one market of the given closes."""
    close = np.asarray(close, dtype=float)
    close = close[:, None] if close.ndim == 1 else close
    return Market(close=close, fill=close), Targets(
        fill=np.array([fill]), exit=np.array([exit]), tranche=np.array([0]), column=np.array([[column]]),
        weight=np.ones((1, 1)),
    )  # fmt: skip


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    net=st.booleans(),
    whole=st.booleans(),
    tranches=st.sampled_from([1, 5]),
    policy=st.sampled_from(["last", "-30%", "zero", "flat"]),
    costly=st.booleans(),
)
@example(seed=8714, net=True, whole=False, tranches=1, policy="last", costly=True)  # less money than one fee
def test_money_is_conserved(seed, net, whole, tranches, policy, costly):
    """Capital plus all sales less all buys and fees is the final equity; cash is never below zero; nothing is left."""
    market = random_market(seed, holes=0.05, dying=0.3)
    targets = random_targets(seed, market, tranches=tranches)
    costs = DEAR if costly else NO_COSTS
    result = simulate(market, targets, Rules(capital=1e5, costs=costs, delisting=policy, whole_shares=whole, net=net))
    trades = result.trades
    flows = float((-trades.side * trades.shares * trades.price - trades.fee).sum())
    assert abs(1e5 + flows - result.equity[-1]) < 1e-6
    assert result.cash.min() > -1e-6
    assert (trades.shares > 0).all()
    assert (np.diff(trades.row) >= 0).all()
    for column in np.unique(trades.column):
        own = trades.column == column
        assert abs((trades.side[own] * trades.shares[own]).sum()) < 1e-6
    if whole:
        assert (trades.shares == np.round(trades.shares)).all()


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), tranches=st.sampled_from([1, 4]))
def test_without_costs_netting_and_liquidation_are_the_same_money(seed, tranches):
    """Selling all and buying anew at one price is trading the difference."""
    market = random_market(seed)
    targets = random_targets(seed, market, horizon=4, tranches=tranches)
    sold, netted = (simulate(market, targets, Rules(capital=1e5, costs=NO_COSTS, net=net)) for net in (False, True))
    np.testing.assert_allclose(sold.equity, netted.equity, rtol=1e-9)
    assert netted.trades.value().sum() <= sold.trades.value().sum() + 1e-6


def test_netting_costs_less_than_liquidation():
    """Names that stay are not traded, so their fees are not paid."""
    market = random_market(3)
    targets = random_targets(3, market, k=6)
    sold, netted = (simulate(market, targets, Rules(capital=1e5, costs=DEAR, net=net)) for net in (False, True))
    assert netted.trades.fee.sum() < sold.trades.fee.sum()


def test_tranches_are_separate_accounts():
    """H tranches are H runs with capital / H, each begun one session later."""
    market = random_market(5)
    targets = random_targets(5, market, horizon=4, tranches=4)
    rules = Rules(capital=1e5, costs=DEAR)
    together = simulate(market, targets, rules).equity
    apart = np.zeros(len(together))
    for number in range(4):
        own = targets.tranche == number
        alone = Targets(
            fill=targets.fill[own], exit=targets.exit[own], tranche=np.zeros(own.sum(), dtype=int),
            column=targets.column[own], weight=targets.weight[own],
        )  # fmt: skip
        apart += simulate(market, alone, replace(rules, capital=25_000.0)).equity
    np.testing.assert_allclose(together, apart, rtol=1e-12)


@pytest.mark.parametrize(("policy", "expected"), [("last", 90.0), ("-30%", 63.0), ("zero", 0.0), ("flat", 100.0)])
def test_a_dead_ticker_is_sold_one_session_after_its_last_price(policy, expected):
    """Bought at 10, last seen at 9: the policy names the price, the position is marked at 9 until then."""
    market, targets = one([10.0, 11.0, 9.0, np.nan, np.nan, np.nan], exit=5)
    result = simulate(market, targets, Rules(capital=100.0, costs=NO_COSTS, delisting=policy))
    assert result.equity.tolist() == pytest.approx([100, 110, 90, expected, expected, expected])
    assert result.trades.row.tolist() == [0, 3]
    assert result.count(Cause.DELISTED) == 1


def test_what_is_written_off_pays_no_fee():
    """A delisting at zero costs neither a proportional nor a fixed fee."""
    market, targets = one([10.0, np.nan, np.nan], exit=2)
    result = simulate(market, targets, Rules(capital=100.0, costs=DEAR, delisting="zero"))
    assert result.trades.fee[1] == 0
    assert result.equity[-1] == pytest.approx(0.0, abs=1e-9)


@given(
    seed=st.integers(0, 500),
    net=st.booleans(),
    policy=st.sampled_from(["last", "-30%", "zero", "flat"]),
    fixed_fee=st.floats(0.0, 60.0),
    capital=st.floats(50.0, 500.0),
    tranches=st.sampled_from([1, 5]),
)
@settings(max_examples=60)
def test_an_account_is_never_below_zero(seed, net, policy, fixed_fee, capital, tranches):
    """Not even if prices collapse and a fixed fee is more than what a sale brings: it takes the proceeds, no more."""
    market = random_market(seed, holes=0.05, dying=0.4)
    market.close[10:] *= np.where(np.random.default_rng(seed).random(8) < 0.5, 1e-6, 1.0)
    targets = random_targets(seed, market, tranches=tranches)
    costs = Costs(buy_fee=0.001, sell_fee=0.002, slippage=0.001, fixed_fee=fixed_fee)
    result = simulate(market, targets, Rules(capital=capital, costs=costs, delisting=policy, net=net))
    assert result.cash.min() >= -1e-9 * capital
    assert result.equity.min() >= -1e-9 * capital


def test_a_sale_that_does_not_pay_its_fee_brings_nothing():
    """The fee in the ledger is the proceeds."""
    market, targets = one([10.0, 0.001], exit=1)
    result = simulate(market, targets, Rules(capital=100.0, costs=DEAR))
    assert result.trades.fee[1] == pytest.approx(float(result.trades.value()[1]))
    assert result.equity[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_gap_at_the_exit_is_sold_at_the_next_price_and_counted():
    """No price on the exit, one later: the sale waits for it, and its money for the next rebalance."""
    close = np.array([[10.0, 5.0], [11.0, 5.0], [np.nan, 5.0], [12.0, 5.0], [12.0, 6.0], [12.0, 7.0]])
    market = Market(close=close, fill=close)
    targets = Targets(
        fill=np.array([0, 2, 4]), exit=np.array([2, 4, 5]), tranche=np.zeros(3, dtype=int),
        column=np.array([[0], [1], [1]]), weight=np.ones((3, 1)),
    )  # fmt: skip
    result = simulate(market, targets, Rules(capital=100.0, costs=NO_COSTS))
    assert result.count(Cause.DEFERRED) == 1
    assert list(zip(result.trades.row, result.trades.column, result.trades.side, strict=True)) == [
        (0, 0, BUY), (3, 0, SELL), (4, 1, BUY), (5, 1, SELL),
    ]  # fmt: skip
    assert result.equity.tolist() == pytest.approx([100, 110, 110, 120, 120, 140])
    assert result.unfilled == 1


def test_a_gap_in_mid_hold_is_marked_at_the_last_price():
    """Nothing is sold in a gap; the position keeps its last value."""
    market, targets = one([10.0, 12.0, np.nan, np.nan, 13.0], exit=4)
    result = simulate(market, targets, Rules(capital=100.0, costs=NO_COSTS))
    assert result.equity.tolist() == pytest.approx([100, 120, 120, 120, 130])
    assert result.count(Cause.DELISTED) == 0


def test_fees_are_taken_out_of_the_amount():
    """A buy uses the cash to the end: shares × price × (1 + fee) + fixed fee is the whole capital."""
    market, targets = one([10.0, 10.0], exit=1)
    result = simulate(market, targets, Rules(capital=1000.0, costs=DEAR))
    buy, sale = result.trades.where(np.array([0])), result.trades.where(np.array([1]))
    assert float(buy.price[0]) == 10.0 * 1.0015
    assert float(sale.price[0]) == 10.0 * (1 - 0.0015)
    assert result.cash[0] == pytest.approx(0.0, abs=1e-9)
    assert float(buy.fee[0]) == pytest.approx(float(buy.value()[0]) * 0.002 + 1.5)
    assert float(sale.fee[0]) == pytest.approx(float(sale.value()[0]) * 0.001 + 1.5)


def test_money_that_does_not_buy_one_share_lies_idle():
    """Whole shares dearer than the capital, or a fixed fee above it: no trade, counted, the capital unchanged."""
    market, targets = one([1000.0, 2000.0], exit=1)
    for rules in (
        Rules(capital=999.0, costs=NO_COSTS, whole_shares=True),
        Rules(capital=999.0, costs=Costs(fixed_fee=1000.0)),
        Rules(capital=999.0, costs=NO_COSTS, whole_shares=True, net=True),
    ):
        result = simulate(market, targets, rules)
        assert (len(result.trades.row), result.unfilled, result.equity.tolist()) == (0, 1, [999.0, 999.0])


def test_twice_the_capital_is_twice_the_money():
    """Without whole shares and fixed fees nothing depends on the size."""
    market = random_market(11, holes=0.05, dying=0.2)
    targets = random_targets(11, market)
    costs = Costs(buy_fee=0.001, sell_fee=0.002, slippage=0.001)
    for net in (False, True):
        small, large = (
            simulate(market, targets, Rules(capital=capital, costs=costs, net=net)) for capital in (1e4, 2e4)
        )
        np.testing.assert_allclose(2 * small.equity, large.equity, rtol=1e-9)
