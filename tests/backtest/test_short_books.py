"""Short sides: by hand, settled without flattery, closed at the margin, and compared with books of the same rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash import metrics
from encash.backtest import BacktestConfig, BacktestInputs, make_points, picks_of_day, run_backtest, run_sweep
from encash.backtest.evaluation.comparisons import CompareConfig, run_comparisons
from encash.backtest.simulation.costs.proportional import Costs
from encash.backtest.simulation.market import Cause, Market
from encash.backtest.simulation.simulate import simulate
from encash.backtest.simulation.simulation_types import Rules, Targets
from encash.clusters import Hard, Random
from encash.clusters.periods import worst_clusters
from encash.errors import InputError
from encash.panel.panel import PriceTable

FREE: dict[str, Any] = {"buy_fee": 0.0, "sell_fee": 0.0}


def two_names(make_lookup, long, short, days):
    """Prices of A, which is forecast to rise, and of B, which is forecast to fall."""
    close = np.column_stack([long, short]).astype(float)
    prices = PriceTable(days=np.array(days, dtype="datetime64[D]"), tickers=("A", "B"), close=close)
    lookup = make_lookup(prices)
    lookup.forecast[:], lookup.confidence[:] = [0.1, -0.1], 1.0
    return BacktestInputs(prices=prices, lookup=lookup)


WEEK = ("2024-01-04", "2024-01-05", "2024-01-08")


def test_a_short_position_by_hand(make_lookup):
    """1,000 long and 1,000 short: each gains, and the short pays for one night, and for a weekend of three."""
    inputs = two_names(make_lookup, (10, 11, 12), (20, 18, 15), WEEK)
    config = BacktestConfig(
        horizon=1, forecast_horizon=1, top_k=1, initial_capital=1000.0, short="bottom", borrow_rate=0.365, **FREE
    )
    run = run_backtest(config, inputs)
    first = 1000 * 0.365 / 365
    second_capital = 1000 + 100 + 100 - first
    second = second_capital * 0.365 * 3 / 365
    assert run.net.tolist() == pytest.approx(
        [1000.0, second_capital, second_capital * (1 + 1 / 11 + 3 / 18) - second], rel=1e-12
    )
    ledger = [(str(run.ledger.date[at]), run.ledger.side[at], run.ledger.ticker[at]) for at in range(len(run.ledger))]
    assert ledger == [
        ("2024-01-04", "sell", "B"), ("2024-01-04", "buy", "A"),
        ("2024-01-05", "borrow", "B"), ("2024-01-05", "sell", "A"), ("2024-01-05", "sell", "B"),
        ("2024-01-05", "buy", "A"), ("2024-01-05", "buy", "B"),
        ("2024-01-08", "borrow", "B"), ("2024-01-08", "sell", "A"), ("2024-01-08", "buy", "B"),
    ]  # fmt: skip
    summary = run.summary
    assert summary["trades"] == 8
    assert summary["win_rate"] == 1.0
    assert summary["borrow_fees"] == pytest.approx(first + second)
    assert summary["fees"] == 0.0
    assert summary["long_exposure"] == summary["short_exposure"] == pytest.approx(2 / 3)
    assert run.gross[-1] == pytest.approx(1200 * (1 + 1 / 11 + 3 / 18)), "borrow fees are costs"
    assert run.picks.weight.tolist() == [1.0, -1.0] * 2
    traded = (
        2 * (1000 + 1000) + 100 - 100 + 2 * second_capital + second_capital * (1 + 1 / 11) + second_capital * 15 / 18
    )
    assert summary["turnover"] == pytest.approx(metrics.turnover(traded, run.outcome.path, 252))


def test_costs_of_a_short_position(make_lookup):
    """The sale pays the sell fee and slippage, the purchase that ends it the buy fee; a net loss is not a win."""
    inputs = two_names(make_lookup, (10, 10, 10), (20, 20, 20), WEEK)
    config = BacktestConfig(
        horizon=1, forecast_horizon=1, top_k=1, initial_capital=1000.0, short="bottom", buy_fee=0.01, sell_fee=0.02,
        slippage=0.001, end=WEEK[1],
    )  # fmt: skip
    run = run_backtest(config, inputs)
    shares = 1000 / (20 * 0.999)
    short = 1000 * 0.98 - shares * 20 * 1.001 * 1.01
    bought = 1000 / (10 * 1.001 * 1.01)
    long = bought * 10 * 0.999 * 0.98 - 1000
    assert run.net[-1] == pytest.approx(1000 + short + long)
    assert run.summary["win_rate"] == 0.0


@pytest.mark.parametrize(("delisting", "price"), [("last", 10.0), ("-30%", 10.0), ("zero", 10.0), ("flat", 20.0)])
def test_no_delisting_policy_flatters_a_short(delisting, price):
    """It is bought back at the price of the policy, but not below the last close."""
    close = np.array([[20.0], [10.0], [np.nan], [np.nan]])
    one = np.array([0])
    targets = Targets(fill=one, exit=one + 3, tranche=one, column=one[:, None], weight=np.array([[-1.0]]))
    market = Market(close=close, fill=close, years=np.zeros(4))
    found = simulate(market, targets, Rules(capital=1000.0, costs=Costs(), delisting=delisting))
    assert found.trades.price.tolist() == [20.0, price]
    assert found.trades.cause[-1] == Cause.DELISTED
    assert found.equity[-1] == pytest.approx(1000 + 50 * (20 - price))


def test_an_account_below_its_margin_is_closed_on_the_next_session(make_lookup):
    """At 35 a share the equity is 250 of 2,750: closed a session later at 36, then idle until the next rebalance."""
    days = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]")
    inputs = two_names(make_lookup, (10, 10, 10, 10), (20, 35, 36, 20), days)
    config = BacktestConfig(horizon=3, forecast_horizon=1, top_k=1, initial_capital=1000.0, short="bottom", **FREE)
    run = run_backtest(config, inputs)
    assert run.net.tolist() == pytest.approx([1000.0, 250.0, 200.0, 200.0])
    assert run.summary["margin_calls"] == 1
    assert (run.outcome.simulation.trades.cause[2:] == Cause.MARGIN).all()
    assert str(run.ledger.date[-1]) == "2024-01-03"
    kept = run_backtest(replace(config, margin=0.05), inputs)
    assert kept.net[-1] == pytest.approx(1000.0)
    assert kept.summary["margin_calls"] == 0


def test_a_debt_is_a_debt(make_lookup):
    """A jump beyond all equity leaves less than nothing, nothing is opened again, and no figure is a number of luck."""
    days = np.arange("2024-01-01", "2024-01-07", dtype="datetime64[D]")
    inputs = two_names(make_lookup, (10,) * 6, (20, 60, 60, 60, 30, 20), days)
    config = BacktestConfig(horizon=2, forecast_horizon=1, top_k=1, initial_capital=1000.0, short="bottom", **FREE)
    run = run_backtest(config, inputs)
    assert run.net.tolist() == pytest.approx([1000.0, -1000.0, -1000.0, -1000.0, -1000.0, -1000.0])
    assert run.summary["cagr"] == -1.0
    assert run.summary["total_return"] == pytest.approx(-2.0)
    assert run.summary["trades"] == 4
    assert np.isnan(run.summary["turnover"]), "the mean equity is a debt"


def test_a_run_in_debt_does_not_stop_a_sweep(make_prices, make_lookup, tmp_path):
    """Its returns end with its equity, and overfitting is judged all the same."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    prices = make_prices(seed=1, num_sessions=60, num_tickers=4)
    lookup = make_lookup(prices, 1)
    lookup.forecast[:, 2] = -1.0
    prices.close[20:, 2] *= 9.0
    points = make_points({"top_k": 1, "short": "bottom"}, {"horizon": [1, 5], "short_weight": [0.3, 1.0]})
    found = run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), tmp_path / "sweep", workers=1)
    assert found.overfitting is not None, found.note
    assert min(pq.read_table(found.table)["final_capital"].to_pylist()) < 0


def test_proceeds_of_short_sales_buy_nothing(make_prices, make_lookup):
    """No rebalance invests more than the equity on either side, and cash without shorts is what is left."""
    prices = make_prices(seed=3, num_sessions=80)
    run = run_backtest(
        BacktestConfig(top_k=3, short="bottom", tranches=True),
        BacktestInputs(prices=prices, lookup=make_lookup(prices)),
    )
    assert run.summary["long_exposure"] < 1.01
    assert run.summary["short_exposure"] < 1.05
    holdings = run.outcome.simulation.holdings
    assert (holdings.shares < 0).sum() == (holdings.shares > 0).sum()


def clustered(make_prices, make_lookup, two_clusters, seed=0, worst=True, **sizes):
    """Candidates with embeddings of random sign, and a filter whose best cluster is 1 and whose worst is 0."""
    prices = make_prices(seed=seed, **{"num_sessions": 80, "num_tickers": 24, **sizes})
    lookup = make_lookup(prices, seed=seed)
    lookup.embedding = np.random.default_rng(seed).normal(size=prices.close.shape).astype("f4")[:, :, None]
    period = two_clusters()
    period = replace(period, worst=np.array([0], dtype=np.int32)) if worst else period
    return BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(period,))), lookup.embedding[:, :, 0]


def test_the_worst_clusters_are_the_short_side(make_prices, make_lookup, two_clusters):
    """Every long is in the best cluster, every short in the worst, and both are the extremes of their side."""
    inputs, embedding = clustered(make_prices, make_lookup, two_clusters)
    config = BacktestConfig(top_k=3, short="worst-clusters")
    picks = run_backtest(config, inputs).picks
    place = {ticker: column for column, ticker in enumerate(inputs.prices.tickers)}
    for at in np.flatnonzero(picks.picked):
        row = np.searchsorted(inputs.prices.days, picks.date[at])
        assert (embedding[row, place[picks.ticker[at]]] > 0) == (picks.weight[at] > 0)
        assert picks.cluster[at] == (picks.weight[at] > 0)
    for day in np.unique(picks.date):
        rows = picks.date == day
        down = np.sort(picks.score[rows & (picks.cluster == 0)])[:3]
        assert np.sort(picks.score[rows & (picks.weight < 0)]).tolist() == down.tolist()


def test_worst_clusters_come_from_the_end_of_the_ranking():
    """As many as are best, without those, and without clusters that have no entries."""

    class Table:
        mean_return = np.array([0.3, np.nan, 0.1, 0.2, -0.1])

    class Ranking:
        metric, table, order = "mean_return", Table, np.array([0, 3, 2, 4, 1])

    ranking = cast(Any, Ranking)
    assert worst_clusters(ranking, np.array([0, 3], dtype=np.int32)).tolist() == [4, 2]
    assert worst_clusters(ranking, np.array([0, 3, 2], dtype=np.int32)).tolist() == [4]
    assert worst_clusters(ranking, np.array([0, 2, 3, 4], dtype=np.int32)).tolist() == []


def test_a_filter_without_worst_clusters_is_refused(make_prices, make_lookup, two_clusters):
    """In one line that says what to give instead."""
    config = BacktestConfig(top_k=3, short="worst-clusters")
    inputs, _ = clustered(make_prices, make_lookup, two_clusters, worst=False)
    with pytest.raises(InputError, match="not recorded which clusters are the worst"):
        run_backtest(config, inputs)
    with pytest.raises(InputError, match="give --clusters, or --short bottom"):
        run_backtest(config, replace(inputs, filter=None))
    with pytest.raises(InputError, match="random does not choose by cluster"):
        run_backtest(config, replace(inputs, filter=Random(keep_share=0.5)))


@pytest.mark.parametrize("short", ["bottom", "worst-clusters"])
def test_comparisons_of_a_book_are_books_of_the_same_rules(make_prices, make_lookup, two_clusters, short):
    """Without a filter, with random ones and with shuffled clusters, all are long and short as the run is."""
    inputs, _ = clustered(make_prices, make_lookup, two_clusters)
    config = BacktestConfig(top_k=3, short=short, borrow_rate=0.02)
    found = run_comparisons(config, inputs, settings=CompareConfig(draws=20))
    run = run_backtest(config, inputs)
    rows = {row.name: row for row in found.rows}
    assert rows["filter"].equity[0].tobytes() == run.net.tobytes()
    unfiltered = run_backtest(replace(config, short="bottom"), replace(inputs, filter=None))
    assert rows["no filter"].equity[0].tobytes() == unfiltered.net.tobytes()
    assert rows["gross"].equity[0, -1] > run.net[-1]
    assert {"random filter", "shuffled clusters", "phases", "lag + 1", "delisting", "benchmark"} <= set(rows)
    own = rows["shuffled clusters"].equity[:, -1]
    assert np.isclose(own, run.net[-1]).any(), "of two clusters, half of the shuffles are the run"
    assert len(set(rows["random filter"].equity[:, -1].tolist())) == 20
    assert 0 < found.verdict.p_better <= 1


def test_a_market_neutral_book_has_no_beta(make_prices, make_lookup):
    """In a common factor of 1% a day a long book moves with the market, and a long-short book does not."""
    rng = np.random.default_rng(0)
    prices = make_prices(seed=0, num_sessions=300, num_tickers=40)
    prices.close[:] = 50 * np.cumprod(1 + rng.normal(0, 0.01, (300, 1)) + rng.normal(0, 0.005, (300, 40)), axis=0)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    long = run_backtest(BacktestConfig(top_k=10, **FREE), inputs).summary
    neutral = run_backtest(BacktestConfig(top_k=10, short="bottom", **FREE), inputs).summary
    assert long["beta"] == pytest.approx(1.0, abs=0.1)
    assert neutral["beta"] == pytest.approx(0.0, abs=0.1)


def test_the_picks_of_a_day_are_those_of_the_backtest(make_prices, make_lookup, two_clusters):
    """Short sides included."""
    inputs, _ = clustered(make_prices, make_lookup, two_clusters)
    config = BacktestConfig(top_k=3, short="worst-clusters", max_weight=0.4)
    table = run_backtest(config, inputs).picks
    day = inputs.prices.days[10]
    single = picks_of_day(config, inputs, day)
    assert single.weight.tolist() == table.weight[table.date == day].tolist()
    assert (single.weight < 0).sum() == 3
    assert single.picked_first().weight.tolist() == pytest.approx([1 / 3] * 3 + [-1 / 3] * 3)
