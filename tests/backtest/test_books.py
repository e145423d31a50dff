"""Books that people hold: groups, caps, limits of volume, weights by a function, and short sides."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest import BacktestConfig, BacktestInputs, Groups, run_backtest
from encash.backtest.simulation.book_picks import GroupRules, disjoint_sides
from encash.backtest.simulation.costs.proportional import Costs
from encash.backtest.simulation.liquidation import trade_by_liquidation
from encash.backtest.simulation.lots import trade_by_lots
from encash.backtest.simulation.market import DELISTING_POLICIES, Market
from encash.backtest.simulation.simulate import simulate
from encash.backtest.simulation.simulation_types import Rules, Targets
from encash.errors import InputError
from encash.panel.panel import PriceTable

TICKERS = 12
GROUPS = Groups(of_ticker={f"T{number:02d}": f"S{number % 3}" for number in range(TICKERS)})


def equal_thirds(picks, returns):
    """A weight function: equal weights that leave a tenth of the capital in cash."""
    return np.full(len(picks), 0.9 / len(picks))


def inverse_deviation(picks, returns):
    """A weight function that reads the past returns."""
    deviation = np.nanstd(returns, axis=0) + 1e-6
    return (1 / deviation) / (1 / deviation).sum()


BOOKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "groups": {"group_neutral": True, "top_k": 4},
    "max per group": {"max_per_group": 1, "top_k": 3},
    "max weight": {"weights": "forecast", "max_weight": 0.4, "top_k": 4},
    "neutral and capped": {"group_neutral": True, "weights": "forecast", "max_weight": 0.25, "top_k": 5},
    "volume": {"max_volume_share": 0.02, "min_dollar_volume": 50_000.0, "volume_sessions": 5},
    "weights": {"weights": f"{__name__}:inverse_deviation", "volatility_sessions": 10},
    "cash": {"weights": f"{__name__}:equal_thirds"},
    "short": {"short": "bottom", "borrow_rate": 0.03},
    "short tranches": {"short": "bottom", "tranches": True, "short_weight": 0.5, "slippage": 0.002, "fixed_fee": 1.0},
    "short, neutral, limited": {
        "short": "bottom", "group_neutral": True, "top_k": 3, "max_volume_share": 0.05, "borrow_rate": 0.1,
        "tranches": True, "whole_shares": True,
    },
    "short, filled at the open": {
        "short": "bottom", "fill": "open", "lag": 1, "max_volume_share": 0.03, "max_per_group": 1, "borrow_rate": 0.05,
        "weights": f"{__name__}:equal_thirds", "short_weight": 0.7,
    },
    "short, still open at a rebalance": {
        "short": "bottom", "fill": "open", "lag": 2, "tranches": True, "margin": 0.45, "slippage": 0.01,
    },
    "short near the margin": {"short": "bottom", "margin": 0.48, "top_k": 2, "delisting": "-30%"},
}  # fmt: skip


def world(make_prices, make_lookup, seed=0, num_sessions=60):
    """Prices with dollar volumes, gaps and a delisting, and forecasts."""
    prices = make_prices(seed=seed, num_sessions=num_sessions, num_tickers=TICKERS, opens=True)
    rng = np.random.default_rng(seed)
    prices.close[num_sessions // 2 :, 3] = np.nan
    prices.close[20:24, 5] = np.nan
    dollars = np.where(np.isnan(prices.close), np.nan, rng.lognormal(12, 1, prices.close.shape))
    return replace(prices, dollars=dollars), make_lookup(prices, seed)


def run(prices, lookup, **changes):
    settings = {"top_k": 3, "horizon": 5, "max_missing": 1.0, "start": prices.days[10], **changes}
    config = BacktestConfig(**settings)
    return run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, groups=GROUPS))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000), whole=st.booleans(), lag=st.integers(0, 1), fixed=st.sampled_from([0.0, 2.0]),
    delisting=st.sampled_from(DELISTING_POLICIES),
)  # fmt: skip
def test_session_by_session_trades_are_those_of_a_liquidation(seed, whole, lag, fixed, delisting):
    """Without shorts and limits the engine of books is the default one, delistings and gaps included."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.03, (40, 6)), axis=0))
    close[rng.random(close.shape) < 0.05] = np.nan
    close[25:, 0] = np.nan
    close[0] = 50.0
    fill = np.arange(0, 30, 2) + lag
    column = np.stack([rng.permutation(6)[:3] for _ in fill])
    column[rng.random(column.shape) < 0.1] = -1
    weight = np.where(column >= 0, rng.dirichlet(np.ones(3), len(fill)), 0.0)
    targets = Targets(
        fill=fill, exit=fill + 4, tranche=np.arange(len(fill)) % 2, column=column, weight=weight, num_tranches=2
    )
    costs = Costs(buy_fee=0.001, sell_fee=0.002, slippage=0.001, fixed_fee=fixed)
    rules = Rules(capital=1e5, costs=costs, whole_shares=whole, delisting=delisting)
    market = Market(close=close, fill=close)
    one, other = trade_by_liquidation(market, targets, rules), trade_by_lots(market, targets, rules)
    first, second = one.trades.ordered(), other.trades.ordered()
    for name in ("row", "column", "side", "cause"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    for name in ("shares", "price", "fee"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-9)
    assert one.unfilled == other.unfilled
    ours, theirs = (simulate(replace(market, years=years), targets, rules).equity for years in (None, np.zeros(40)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), book=st.sampled_from(sorted(BOOKS)))
def test_no_cash_is_created(seed, book, make_prices, make_lookup):
    """Ten lines replay the ledger to cash and equity of every session; without shorts, cash is never below 0."""
    prices, lookup = world(make_prices, make_lookup, seed)
    result = run(prices, lookup, **BOOKS[book])
    simulation, ledger = result.outcome.simulation, result.ledger
    place = {ticker: column for column, ticker in enumerate(prices.tickers)}
    cash, held, marks = 100_000.0, np.zeros(TICKERS), np.full(TICKERS, np.nan)
    closes = prices.close[prices.days >= result.days[0]]
    for row, day in enumerate(result.days):
        marks = np.where(np.isnan(closes[row]), marks, closes[row])
        for at in np.flatnonzero(ledger.date == day):
            sign = {"buy": 1, "sell": -1, "borrow": 0}[ledger.side[at]]
            cash -= sign * ledger.shares[at] * ledger.price[at] + ledger.fee[at]
            held[place[ledger.ticker[at]]] += sign * ledger.shares[at]
        held[np.abs(held) < 1e-9] = 0.0
        assert simulation.cash[row] == pytest.approx(cash, abs=1e-6)
        assert result.net[row] == pytest.approx(cash + np.nansum(held * marks), abs=1e-6)
    if result.outcome.config.short == "none":
        assert (held >= 0).all()
        assert (simulation.cash >= -1e-6).all()


def signed_weights(result):
    """The weight of each pick and its group, by rebalance."""
    picks = result.picks
    for day in np.unique(picks.date):
        rows = (picks.date == day) & picks.picked
        yield picks.weight[rows], np.array([GROUPS.of_ticker[str(name)] for name in picks.ticker[rows]])


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), book=st.sampled_from([name for name, own in BOOKS.items() if "group_neutral" in own]))
def test_neutral_books_are_neutral(seed, book, make_prices, make_lookup):
    """Each group that is held has the same weight, on each side, and both sides hold the same groups."""
    prices, lookup = world(make_prices, make_lookup, seed)
    for weight, group in signed_weights(run(prices, lookup, **BOOKS[book])):
        sides = [(weight > 0), (weight < 0)] if (weight < 0).any() else [weight > 0]
        for side in sides:
            sums = [abs(weight[side & (group == name)].sum()) for name in np.unique(group[side])]
            assert np.ptp(sums) < 1e-12
        assert len({tuple(np.unique(group[side])) for side in sides}) == 1


def check_weights_at_fills(result, most):
    """No buy is worth more than its share of the equity before the trades of its session."""
    ledger = result.ledger
    for day in np.unique(ledger.date):
        now = ledger.date == day
        equity = result.net[result.days == day][0] + ledger.fee[now].sum()
        assert (ledger.shares * ledger.price)[now & (ledger.side == "buy")].max(initial=0.0) <= most * equity + 1e-6


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), book=st.sampled_from(sorted(BOOKS)))
def test_limits_hold_at_every_fill(seed, book, make_prices, make_lookup):
    """Weights, picks per group, and the volume of each session and side."""
    prices, lookup = world(make_prices, make_lookup, seed)
    result = run(prices, lookup, **BOOKS[book])
    config = result.outcome.config
    for weight, group in signed_weights(result):
        if config.max_weight is not None:
            assert np.abs(weight).max() <= config.max_weight + 1e-12
        if config.max_per_group is not None:
            for side in (weight > 0, weight < 0):
                assert all((group[side] == name).sum() <= config.max_per_group for name in np.unique(group))
        assert weight[weight > 0].sum() <= 1 + 1e-9
    if config.max_weight is not None:
        check_weights_at_fills(result, config.max_weight)
    if config.max_volume_share is not None:
        check_volumes(result, prices)


def check_volumes(result, prices):
    """All fills of a ticker and side on a session are within the mean before it, and at a close within its own."""
    config = result.outcome.config
    ledger, settled = result.ledger, result.outcome.simulation.trades.cause == 2
    fills = np.flatnonzero(ledger.side != "borrow")[~settled]
    traded: dict[tuple[str, str, str], float] = {}
    for at in fills:
        key = (str(ledger.date[at]), str(ledger.ticker[at]), str(ledger.side[at]))
        traded[key] = traded.get(key, 0.0) + ledger.shares[at] * ledger.price[at]
    known = np.nan_to_num(prices.dollars)
    for (day, ticker, _), value in traded.items():
        row = int(np.searchsorted(prices.days, np.datetime64(day)))
        past = known[max(0, row - config.volume_sessions) : row, prices.tickers.index(ticker)]
        own = known[row, prices.tickers.index(ticker)] if config.fill == "close" else np.inf
        most = config.max_volume_share * min(past.mean() if len(past) else 0.0, own)
        assert value <= most * (1 + config.slippage) + 1e-6


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), book=st.sampled_from(sorted(BOOKS)), cut=st.integers(24, 50))
def test_nothing_changes_before_a_day_whose_future_is_edited(seed, book, cut, make_prices, make_lookup):
    """Prices and volumes after a day are multiplied by noise, or cut off: what is before keeps its bits."""
    prices, lookup = world(make_prices, make_lookup, seed)
    rng = np.random.default_rng(seed)
    late = np.arange(len(prices.days))[:, None] > cut
    grids = {
        name: np.where(late, grid * np.exp(rng.normal(0, 2, grid.shape)), grid) for name, grid in prices.grids().items()
    }
    whole, poisoned = run(prices, lookup, **BOOKS[book]), run(replace(prices, **grids), lookup, **BOOKS[book])
    known = whole.days <= prices.days[cut]
    assert whole.net[known].tobytes() == poisoned.net[known].tobytes()
    early, other = whole.ledger.date <= prices.days[cut], poisoned.ledger.date <= prices.days[cut]
    for name in ("date", "ticker", "side", "shares", "price", "fee"):
        assert getattr(whole.ledger, name)[early].tobytes() == getattr(poisoned.ledger, name)[other].tobytes()
    seen, truncated = whole.picks, run(prices.as_of(prices.days[cut]), lookup, **BOOKS[book]).picks
    common = seen.date <= truncated.date.max()
    assert seen.weight[common].tobytes() == truncated.weight.tobytes()
    assert seen.ticker[common].tolist() == truncated.ticker.tolist()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000), cut=st.integers(24, 50),
    book=st.sampled_from(sorted(name for name, changes in BOOKS.items() if changes.get("fill") == "open")),
)  # fmt: skip
def test_a_fill_at_the_open_does_not_know_the_close_of_its_session(seed, book, cut, make_prices, make_lookup):
    """Closes and volumes of a session are multiplied by noise: the trades at its open, gaps in opens included, stay."""
    prices, lookup = world(make_prices, make_lookup, seed)
    rng = np.random.default_rng(seed)
    prices.open[rng.random(prices.open.shape) < 0.1] = np.nan
    late = np.arange(len(prices.days))[:, None] >= cut
    grids = {
        name: np.where(late, grid * np.exp(rng.normal(0, 0.5, grid.shape)), grid)
        for name, grid in prices.grids().items()
        if name != "open"
    }
    whole, edited = run(prices, lookup, **BOOKS[book]), run(replace(prices, **grids), lookup, **BOOKS[book])
    early, other = whole.ledger.date <= prices.days[cut], edited.ledger.date <= prices.days[cut]
    for name in ("date", "ticker", "side", "shares", "price", "fee"):
        assert getattr(whole.ledger, name)[early].tobytes() == getattr(edited.ledger, name)[other].tobytes()


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.001, 0.01, 0.05]), tranches=st.booleans())
def test_what_rounding_leaves_of_a_limit_is_no_order(seed, share, tranches, make_prices, make_lookup):
    """Several orders share the volume of a session: the last one that fits takes all of it, and no fixed fee is paid
    for the 1e-15 shares that a subtraction would leave to the next."""
    prices, lookup = world(make_prices, make_lookup, seed)
    ledger = run(prices, lookup, short="bottom", max_volume_share=share, fixed_fee=1.0, tranches=tranches).ledger
    assert (ledger.shares * ledger.price).min() > 1e-6


def flat_prices(sessions=14, dollars=1000.0):
    """One stock at 10 with a traded value of 1,000 a day."""
    days = np.busday_offset("2024-01-01", np.arange(sessions), roll="forward").astype("datetime64[D]")
    close = np.full((sessions, 1), 10.0)
    return PriceTable(days=days, tickers=("A",), close=close, dollars=np.full((sessions, 1), dollars))


def test_a_limit_of_volume_by_hand(make_lookup):
    """A tenth of the mean of two sessions before, and of the session: what cannot be sold is sold on the next ones."""
    prices = flat_prices()
    prices.dollars[5:, 0] = [500.0, 2000.0, 500.0, 500.0, 500.0, 300.0, 500.0, 500.0, 500.0]
    config = BacktestConfig(
        top_k=1, horizon=4, forecast_horizon=1, max_volume_share=0.1, volume_sessions=2, start=prices.days[2]
    )
    found = run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices)))
    rows = np.searchsorted(prices.days, found.ledger.date).tolist()
    assert list(zip(rows, found.ledger.side.tolist(), found.ledger.shares.round(9).tolist(), strict=True)) == [
        (2, "buy", 10.0),
        (6, "sell", 7.5),  # sessions 4 and 5 traded 750 on average
        (6, "buy", 7.5),
        (7, "sell", 2.5),
        (10, "sell", 3.0),  # the session itself traded 300
        (11, "sell", 4.0),
        (12, "sell", 0.5),
    ]
    assert found.summary["limited_by_volume"] == 5
    assert found.summary["deferred_sales"] == 3


def test_candidates_need_the_least_dollar_volume_up_to_the_signal(make_prices, make_lookup):
    """The mean of N sessions up to the day of the signal, with 0 for sessions without a trade, decides."""
    prices, lookup = world(make_prices, make_lookup)
    result = run(prices, lookup, min_dollar_volume=150_000.0, volume_sessions=3)
    setup, known = result.outcome.setup, np.nan_to_num(prices.dollars)
    for row, day in enumerate(setup.signal_days):
        at = int(np.searchsorted(prices.days, day))
        liquid = known[at - 2 : at + 1].mean(axis=0) >= 150_000.0
        there = ~np.isnan(prices.close[at])
        assert setup.candidates[row].tolist() == (liquid & there).tolist()


def test_prices_without_dollar_volumes_are_refused(make_prices, make_lookup):
    """In one line that says how to prepare them; so is a single ticker without."""
    prices, lookup = world(make_prices, make_lookup)
    for changes in ({"max_volume_share": 0.1}, {"min_dollar_volume": 1.0}):
        with pytest.raises(InputError, match=r"no dollar volume.*--columns close=close,volume=volume,raw_close=close"):
            run(replace(prices, dollars=None), lookup, **changes)
        dollars = prices.dollars.copy()
        dollars[:, 2] = np.nan
        with pytest.raises(InputError, match=r"no dollar volume for 'T02' \(1 of 12 tickers have none\)"):
            run(replace(prices, dollars=dollars), lookup, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_weight": 0.3, "top_k": 3}, "invest 90% at most; give a max_weight of 0.3333 or more"),
        ({"max_weight": 0.0}, "expected a fraction above 0 and at most 1"),
        ({"max_weight": 1.5}, "expected a fraction above 0 and at most 1"),
        ({"max_volume_share": 0.0}, "expected a fraction above 0"),
        ({"max_volume_share": float("nan")}, "expected a fraction above 0"),
        ({"min_dollar_volume": 0.0}, "expected more than 0"),
        ({"group_neutral": True, "top_k": 2}, "top_k 2 over 3 groups; give a top_k of 3 or more"),
        ({"max_per_group": 1, "top_k": 4}, "allows 3 picks; give a max_per_group of 2 or more"),
        ({"short": "top"}, "expected one of none, bottom, worst-clusters"),
        ({"margin": 0.3}, "margin is for a book with shorts"),
        ({"borrow_rate": 0.3}, "borrow_rate is for a book with shorts"),
        ({"short_weight": 0.3}, "short_weight is for a book with shorts"),
        ({"short": "bottom", "margin": 0.6}, "begins with equity of 0.50 of its positions"),
        ({"short": "bottom", "short_weight": 1.2}, "expected a fraction above 0 and at most 1"),
        ({"short": "bottom", "rebalance": "net"}, "rebalance net does not know short"),
        ({"max_volume_share": 0.1, "rebalance": "net"}, "rebalance net does not know max_volume_share"),
    ],
)
def test_books_that_cannot_be_are_refused(make_prices, make_lookup, changes, says):
    """In one line that says what to give instead."""
    prices, lookup = world(make_prices, make_lookup)
    with pytest.raises(InputError, match=re.escape(says)) as refused:
        run(prices, lookup, **changes)
    assert "\n" not in str(refused.value)


def test_tickers_without_a_group_are_refused(make_prices, make_lookup):
    """And so is a limit by group without any groups."""
    prices, lookup = world(make_prices, make_lookup)
    config, few = BacktestConfig(max_per_group=2, top_k=3), Groups(of_ticker={"T00": "a"})
    with pytest.raises(InputError, match=r"no group for 'T01' \(11 of 12 tickers have none\)"):
        run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, groups=few))
    with pytest.raises(InputError, match="give --groups FILE"):
        run_backtest(config, BacktestInputs(prices=prices, lookup=lookup))


def test_groups_are_part_of_the_identity_of_a_run_that_uses_them(make_prices, make_lookup):
    """Other groups make another run, unless nothing depends on them."""
    prices, lookup = world(make_prices, make_lookup)
    other = Groups(of_ticker={**GROUPS.of_ticker, "T00": "S1"})
    inputs = [BacktestInputs(prices=prices, lookup=lookup, groups=groups) for groups in (GROUPS, other, None)]
    plain = [run_backtest(BacktestConfig(top_k=3), one).fingerprint for one in inputs]
    assert len(set(plain)) == 1
    limited = [run_backtest(BacktestConfig(top_k=3, max_per_group=2), one).fingerprint for one in inputs[:2]]
    assert len(set(limited)) == 2


@settings(max_examples=100)
@given(seed=st.integers(0, 10_000), neutral=st.booleans(), same=st.booleans())
def test_sides_are_disjoint_halves(seed, neutral, same):
    """No name is on both sides; of those that both want, each group's upper half is long and as many are short."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, (5, 14)).astype(float)
    score[rng.random(score.shape) < 0.2] = np.nan
    code = rng.integers(0, 3, 14)
    wanted = rng.random((2, 5, 14)) < 0.8
    long, short = (wanted[0], wanted[0] if same else wanted[1])
    up, down = disjoint_sides(score, long, short, GroupRules(code=code, neutral=neutral))
    assert not (up & down).any()
    assert not (up & ~long).any()
    assert not (down & ~short).any()
    ranked = ~np.isnan(score)
    for row in range(5):
        for group in range(3) if neutral else [None]:
            inside = np.ones(14, bool) if group is None else code == group
            shared = np.flatnonzero(long[row] & short[row] & ranked[row] & inside)
            order = shared[np.argsort(-score[row, shared], kind="stable")]
            half = len(order) // 2
            held = not neutral or ((up[row] & inside).any() and (down[row] & inside).any())
            if held:
                assert up[row, order].tolist() == [True] * half + [False] * (len(order) - half)
                assert down[row, order].tolist() == [False] * (len(order) - half) + [True] * half
