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

from encash.backtest import BacktestConfig, BacktestInputs, Groups, run_backtest, write_run
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


def least_variance(picks, returns):
    """The portfolio of least variance without its negative weights, scaled to 1."""
    covariance = np.cov(np.nan_to_num(returns), rowvar=False).reshape(len(picks), -1) + 1e-6 * np.eye(len(picks))
    weights = np.maximum(np.linalg.solve(covariance, np.ones(len(picks))), 0.0)
    return weights / weights.sum()


BOOKS = {
    "groups": BacktestConfig(group_neutral=True, weights="forecast", slippage=0.001),
    "most per group, by differences": BacktestConfig(max_per_group=2, rebalance="net", fixed_fee=1.0),
    "cap of a name": BacktestConfig(weights="forecast", max_weight=0.25, lag=1, fixed_fee=1.0),
    "limits of volume": BacktestConfig(
        max_volume_share=0.02, min_dollar_volume=1e5, volume_sessions=10, tranches=True, slippage=0.001
    ),
    "optimizer": BacktestConfig(weights=f"{__name__}:least_variance", whole_shares=True),
    "long-short": BacktestConfig(short="bottom", slippage=0.001, fixed_fee=0.5, borrow_rate=0.05),
    "long-short in tranches, dying": BacktestConfig(
        short="bottom", tranches=True, short_weight=0.5, borrow_rate=0.02, delisting="-30%"
    ),
    "long-short under margin calls": BacktestConfig(short="bottom", margin=0.47, borrow_rate=0.02, whole_shares=True),
    "long-short, neutral, capped, limited": BacktestConfig(
        short="bottom", group_neutral=True, max_weight=0.3, max_volume_share=0.03, borrow_rate=0.02, lag=1
    ),
}
"""A start leaves past returns for the optimizer, and volumes."""
START = "2024-01-29"


@dataclass(frozen=True)
class Replay:
    """A run folder's ledger on the grid of sessions × tickers, and the market around it."""

    config: BacktestConfig
    tickers: list
    orders: list
    """(session, side, column, shares), in the order of the ledger."""
    borrowed: np.ndarray
    """Charges for shares sold short on each session."""
    market: np.ndarray
    """Price to sell (0) and to buy (1) at: the close, or what the delisting policy settled; shape (2, S, N)."""
    settled: np.ndarray
    """Where the policy named the price: no slippage there; shape (2, S, N)."""
    mark: np.ndarray
    equity: np.ndarray


def replay_of(config, prices, lookup, folder):
    """Run, write, and read the ledger back as a stranger would."""
    groups = Groups(of_ticker={ticker: str(number % 3) for number, ticker in enumerate(prices.tickers)})
    result = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, groups=groups))
    write_run(result, folder)
    sessions = open_sessions(config, prices, None)
    place = {ticker: column for column, ticker in enumerate(sessions.tickers)}
    row_of = {str(day): row for row, day in enumerate(sessions.days)}
    mark = sessions.close.copy()
    for row in range(1, len(mark)):
        mark[row] = np.where(np.isnan(mark[row]), mark[row - 1], mark[row])
    mark = np.nan_to_num(mark, nan=1.0)
    market, orders, borrowed = np.stack([mark, mark]), [], np.zeros(len(mark))
    settled = np.zeros(market.shape, bool)
    for trade in csv.DictReader((folder / "ledger.csv").open()):
        row, column = row_of[trade["date"]], place[trade["ticker"]]
        if trade["side"] == "borrow":
            borrowed[row] += float(trade["fee"])
            continue
        if np.isnan(sessions.close[row, column]):
            cell = int(trade["side"] == "buy"), row, column
            market[cell], settled[cell] = float(trade["price"]), True
        orders.append((row, trade["side"], column, float(trade["shares"])))
    return Replay(
        config=config, tickers=list(sessions.tickers), orders=orders, market=market, settled=settled, mark=mark,
        equity=result.net, borrowed=borrowed,
    )  # fmt: skip


def in_vectorbt(replay):
    """Two rows a session, sales first; signed amounts, shared cash; charges as the fee of a trade in a last column."""
    vectorbt = pytest.importorskip("vectorbt", reason="vectorbt comes with the test extra")
    pandas = pytest.importorskip("pandas", reason="pandas comes with the dev install")
    mark = np.hstack([replay.mark, np.ones((len(replay.mark), 1))])
    market, settled = (
        np.dstack([table, np.ones((*table.shape[:2], 1))]).swapaxes(0, 1).reshape(-1, mark.shape[1])
        for table in (replay.market, replay.settled)
    )
    shape = (2 * len(mark), len(replay.tickers) + 1)
    size, count = np.zeros(shape), np.zeros(shape)
    for session, side, column, shares in replay.orders:
        buy = side == "buy"
        size[2 * session + buy, column] += shares if buy else -shares
        count[2 * session + buy, column] += 1
    config, fixed = replay.config, np.zeros(shape)
    size[::2, -1] = np.where(replay.borrowed > 0, 1e-6, 0.0)  # vectorbt ignores less
    fixed[::2, -1] = replay.borrowed
    sale_row = (np.arange(shape[0]) % 2 == 0)[:, None]
    own = np.arange(shape[1]) < shape[1] - 1
    portfolio = vectorbt.Portfolio.from_orders(
        close=pandas.DataFrame(np.repeat(mark, 2, axis=0)),
        size=np.where(size == 0, np.nan, size),
        size_type="amount",
        price=market,
        fees=np.where(sale_row, config.sell_fee, config.buy_fee) * own * np.ones(shape),
        fixed_fees=config.fixed_fee * count + fixed,
        slippage=np.where(settled > 0, 0.0, config.slippage),
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
        target.adjust(-replay.borrowed[row], flow=False)
        for side, column, shares in by_session.get(row, []):
            name, sign = replay.tickers[column], 1 if side == "buy" else -1
            cell = int(side == "buy"), row, column
            slippage = 0.0 if replay.settled[cell] else config.slippage
            target._create_child_if_needed(name)
            target.children[name].transact(sign * shares, price=replay.market[cell] * (1 + sign * slippage))
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


def book_world(make_prices, seed, *, dying=False):
    """Prices with dollar volumes, of which some limit the orders."""
    prices = prices_of(make_prices, seed, dying=dying)
    dollars = np.random.default_rng(seed).lognormal(13, 1, prices.close.shape)
    return replace(prices, dollars=np.where(np.isnan(prices.close), np.nan, dollars))


@pytest.mark.parametrize("engine", [in_vectorbt, in_bt])
@pytest.mark.parametrize("case", BOOKS)
def test_the_ledger_of_a_book_replays_to_the_cent(case, engine, make_prices, make_lookup, tmp_path):
    """Groups, caps, limits of volume, weights of an optimizer, and short sides with borrow fees and margin calls."""
    prices = book_world(make_prices, 4, dying="dying" in case)
    config = replace(BOOKS[case], top_k=4, start=START)
    replay = replay_of(config, prices, make_lookup(prices, seed=4), tmp_path)
    assert len(replay.orders) > 30
    assert (replay.borrowed > 0).any() == (config.borrow_rate > 0)
    assert largest_difference(replay, engine) < HALF_A_CENT


@settings(max_examples=15)
@given(seed=st.integers(0, 100_000), case=st.sampled_from(sorted(BOOKS)))
def test_any_ledger_of_a_book_replays_to_the_cent(seed, case, make_prices, make_lookup, tmp_path_factory):
    """Over seeds and books, with deaths and a gap, in both engines."""
    prices = book_world(make_prices, seed, dying=True)
    config = replace(BOOKS[case], top_k=4, start=START)
    replay = replay_of(config, prices, make_lookup(prices, seed=seed), tmp_path_factory.mktemp("run"))
    for engine in (in_vectorbt, in_bt):
        assert largest_difference(replay, engine) < HALF_A_CENT


@pytest.mark.parametrize("engine", [in_vectorbt, in_bt])
def test_a_forgotten_borrow_fee_is_noticed(engine, make_prices, make_lookup, tmp_path):
    """The replay would catch a simulator that lends shares for nothing."""
    prices = book_world(make_prices, 5)
    config = replace(BOOKS["long-short"], top_k=4, start=START)
    replay = replay_of(config, prices, make_lookup(prices, seed=5), tmp_path)
    assert largest_difference(replay, engine) < HALF_A_CENT
    assert largest_difference(replace(replay, borrowed=0 * replay.borrowed), engine) > HALF_A_CENT


@settings(max_examples=15)
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
    shifted = replace(replay, market=np.concatenate([replay.market[:, :1], replay.market[:, :-1]], axis=1))
    forgotten = replace(replay, config=replace(replay.config, sell_fee=0.0))
    assert largest_difference(replay, engine) < HALF_A_CENT
    assert largest_difference(shifted, engine) > HALF_A_CENT
    assert largest_difference(forgotten, engine) > HALF_A_CENT
