"""The ledger of a run replays to the cent in two engines that other people wrote.

What goes in is the ledger's dates, tickers, sides and shares, the market's prices and the configured costs; prices of
execution, fees and equity are the engine's own.
"""

import csv
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.backtest.inputs.run_setup import open_sessions

pytestmark = pytest.mark.slow  # vectorbt compiles for a quarter of a minute
HALF_A_CENT = 0.005

CASES = {
    "no costs": BacktestConfig(buy_fee=0.0, sell_fee=0.0),
    "fees": BacktestConfig(buy_fee=0.0005, sell_fee=0.001),
    "slippage and fixed fee": BacktestConfig(slippage=0.002, fixed_fee=2.5),
    "whole shares": BacktestConfig(whole_shares=True),
    "delisting at last": BacktestConfig(delisting="last"),
    "delisting at -30%": BacktestConfig(delisting="-30%", slippage=0.001),
    "tranches": BacktestConfig(tranches=True, fixed_fee=0.5),
    "net rebalance": BacktestConfig(rebalance="net", slippage=0.001, fixed_fee=1.0),
    "lag and forecast weights": BacktestConfig(lag=1, weights="forecast"),
}


@dataclass(frozen=True)
class Replay:
    """A run folder's ledger on the grid of sessions × tickers, and the market around it."""

    config: BacktestConfig
    tickers: list
    orders: list
    """(session, side, column, shares), in the order of the ledger."""
    market: np.ndarray
    """Price to trade at: the close, or what the delisting policy settled."""
    settled: np.ndarray
    """Where the policy named the price: no slippage there."""
    mark: np.ndarray
    equity: np.ndarray


def replay_of(config, prices, lookup, folder):
    """Run, write, and read the ledger back as a stranger would."""
    result = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup))
    write_run(result, folder)
    sessions = open_sessions(config, prices, None)
    place = {ticker: column for column, ticker in enumerate(sessions.tickers)}
    row_of = {str(day): row for row, day in enumerate(sessions.days)}
    mark = sessions.close.copy()
    for row in range(1, len(mark)):
        mark[row] = np.where(np.isnan(mark[row]), mark[row - 1], mark[row])
    mark = np.nan_to_num(mark, nan=1.0)
    market, settled, orders = mark.copy(), np.zeros(mark.shape, bool), []
    for trade in csv.DictReader((folder / "ledger.csv").open()):
        row, column = row_of[trade["date"]], place[trade["ticker"]]
        if np.isnan(sessions.close[row, column]):
            market[row, column], settled[row, column] = float(trade["price"]), True
        orders.append((row, trade["side"], column, float(trade["shares"])))
    return Replay(
        config=config, tickers=list(sessions.tickers), orders=orders, market=market, settled=settled, mark=mark,
        equity=result.net,
    )  # fmt: skip


def in_vectorbt(replay):
    """Two rows a session, sales first; signed amounts, shared cash."""
    vectorbt = pytest.importorskip("vectorbt", reason="vectorbt comes with the test extra")
    pandas = pytest.importorskip("pandas", reason="pandas comes with the dev install")
    shape = (2 * len(replay.mark), len(replay.tickers))
    size, count = np.zeros(shape), np.zeros(shape)
    for session, side, column, shares in replay.orders:
        buy = side == "buy"
        size[2 * session + buy, column] += shares if buy else -shares
        count[2 * session + buy, column] += 1
    sale_row = (np.arange(shape[0]) % 2 == 0)[:, None]
    config = replay.config
    portfolio = vectorbt.Portfolio.from_orders(
        close=pandas.DataFrame(np.repeat(replay.mark, 2, axis=0)),
        size=np.where(size == 0, np.nan, size),
        size_type="amount",
        price=np.repeat(replay.market, 2, axis=0),
        fees=np.where(sale_row, config.sell_fee, config.buy_fee) * np.ones(shape),
        fixed_fees=config.fixed_fee * count,
        slippage=np.where(np.repeat(replay.settled, 2, axis=0), 0.0, config.slippage),
        init_cash=config.initial_capital,
        cash_sharing=True,
        group_by=True,
    )
    return portfolio.value().to_numpy()[1::2]


def in_bt(replay):
    """Each order of the ledger transacted at its session, in its order."""
    bt = pytest.importorskip("bt", reason="bt comes with the test extra")
    pandas = pytest.importorskip("pandas", reason="pandas comes with the dev install")
    days = pandas.bdate_range("2000-01-03", periods=len(replay.mark))
    row_of = {day: row for row, day in enumerate(days)}
    config = replay.config
    by_session: dict[int, list[tuple[str, int, float]]] = {}
    for session, side, column, shares in replay.orders:
        by_session.setdefault(session, []).append((side, column, shares))

    def transact_ledger(target):
        row = row_of[target.now]
        for side, column, shares in by_session.get(row, []):
            name, sign = replay.tickers[column], 1 if side == "buy" else -1
            slippage = 0.0 if replay.settled[row, column] else config.slippage
            target._create_child_if_needed(name)
            target.children[name].transact(sign * shares, price=replay.market[row, column] * (1 + sign * slippage))
        return True

    def commission(shares, price):
        return abs(shares) * price * (config.buy_fee if shares > 0 else config.sell_fee) + config.fixed_fee

    marks = pandas.DataFrame(replay.mark, index=days, columns=replay.tickers)
    test = bt.Backtest(
        bt.Strategy("ledger", [transact_ledger], children=replay.tickers), marks,
        initial_capital=config.initial_capital, commissions=commission, integer_positions=False,
        progress_bar=False, additional_data={"bidoffer": marks * 0.0},
    )  # fmt: skip
    test.run()
    return test.strategy.values.to_numpy()[-len(days) :]


def largest_difference(replay, engine):
    return float(np.abs(engine(replay) - replay.equity).max())


def prices_of(make_prices, seed, dying=False):
    prices = make_prices(seed=seed, num_sessions=120, num_tickers=14)
    if dying:
        rng = np.random.default_rng(seed)
        for column in rng.choice(14, 5, replace=False):
            prices.close[rng.integers(10, 110) :, column] = np.nan
        prices.close[40:47, 2] = np.nan
    return prices


@pytest.mark.parametrize("engine", [in_vectorbt, in_bt])
@pytest.mark.parametrize("case", CASES)
def test_a_ledger_replays_to_the_cent(case, engine, make_prices, make_lookup, tmp_path):
    """Daily equity differs by less than half a cent."""
    prices = prices_of(make_prices, 4, dying="delisting" in case)
    replay = replay_of(replace(CASES[case], top_k=6), prices, make_lookup(prices, seed=4), tmp_path)
    assert len(replay.orders) > 100
    assert replay.settled.any() == ("delisting" in case)
    assert largest_difference(replay, engine) < HALF_A_CENT


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100_000), case=st.sampled_from(sorted(CASES)))
def test_any_ledger_replays_to_the_cent(seed, case, make_prices, make_lookup, tmp_path_factory):
    """Over seeds and cases, with deaths and a gap, in both engines."""
    prices = prices_of(make_prices, seed, dying=True)
    config = replace(CASES[case], top_k=4)
    replay = replay_of(config, prices, make_lookup(prices, seed=seed), tmp_path_factory.mktemp("run"))
    for engine in (in_vectorbt, in_bt):
        assert largest_difference(replay, engine) < HALF_A_CENT


@pytest.mark.parametrize("engine", [in_vectorbt, in_bt])
def test_a_shifted_price_and_a_forgotten_fee_are_noticed(engine, make_prices, make_lookup, tmp_path):
    """The replay would catch a simulator that fills at the neighbouring price or forgets the sell fee."""
    prices = prices_of(make_prices, 5)
    replay = replay_of(BacktestConfig(top_k=4), prices, make_lookup(prices, seed=5), tmp_path)
    shifted = replace(replay, market=np.concatenate([replay.market[:1], replay.market[:-1]]))
    forgotten = replace(replay, config=replace(replay.config, sell_fee=0.0))
    assert largest_difference(replay, engine) < HALF_A_CENT
    assert largest_difference(shifted, engine) > HALF_A_CENT
    assert largest_difference(forgotten, engine) > HALF_A_CENT
