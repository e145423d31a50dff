"""Trades, exposure and profits: what follows from the ledger agrees with the equity of the run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash import metrics
from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.errors import FormatError
from encash.report import read_run
from encash.report.trades import Ledger, exposure, read_ledger
from tests.backtest.conftest import random_lookup, random_prices


@pytest.fixture(scope="module", params=[False, True], ids=["phases", "tranches"])
def run(request, tmp_path_factory):
    """A simulated run, with fees and slippage."""
    prices = random_prices(num_sessions=70)
    config = BacktestConfig(top_k=3, horizon=5, buy_fee=0.001, slippage=0.0005, tranches=request.param)
    inputs = BacktestInputs(prices=prices, lookup=random_lookup(prices))
    return read_run(write_run(run_backtest(config, inputs), tmp_path_factory.mktemp("runs") / "run"))


def test_profits_of_all_tickers_are_the_gain_of_the_run(run):
    """What each ticker brought in sums to the final less the initial capital, to the cent; so do the round trips."""
    ledger = read_ledger(run)
    gain = run.final_capital - run.capital
    assert sum(ledger.profit_by_ticker().values()) == pytest.approx(gain, abs=0.005)
    assert sum(trip.profit for trip in ledger.trips) == pytest.approx(gain, abs=0.005)
    assert all(trip.opened < trip.closed for trip in ledger.trips)


def test_the_figures_that_the_page_measures_are_those_of_the_result(run):
    """Return, Sharpe ratio and drawdown of the headline come from the equity as the result's do, bit for bit."""
    own = run.performance
    assert (own.cagr, own.sharpe, own.max_drawdown) == tuple(map(run.figure, ("cagr", "sharpe", "max_drawdown")))
    assert run.final_capital == run.figure("final_capital")
    returns = metrics.simple_returns(run.path)
    assert metrics.value_at_risk(returns) == run.figure("value_at_risk")
    traded = float((np.abs(read_ledger(run).shares) * read_ledger(run).price).sum())
    assert metrics.turnover(traded, run.path, run.sessions_per_year) == pytest.approx(run.figure("turnover"))


def test_exposure_is_what_is_not_cash(run):
    """Nothing is invested at the end, at most everything in between, and something if a ticker is held."""
    ledger = read_ledger(run)
    invested, held = exposure(run, ledger), ledger.holdings()
    assert invested[-1] == pytest.approx(0.0, abs=1e-9)
    assert (invested < 1.0 + 1e-9).all()
    assert ((invested > 1e-9) == (held > 0)).all()
    assert held.max() <= 3 * (5 if run.config["tranches"] else 1)


@given(st.lists(st.sampled_from([-2.0, -1.0, 1.0, 2.0]), min_size=1, max_size=20))
def test_round_trips_conserve_shares_long_and_short(orders):
    """Each order closes what is open the other way before it opens more; what is left is the sum of all orders."""
    count = len(orders)
    ledger = Ledger(
        days=np.arange(count).astype("datetime64[D]"),
        row=np.arange(count),
        ticker=np.full(count, "A"),
        shares=np.array(orders),
        price=np.full(count, 10.0),
        fee=np.zeros(count),
    )
    closed = sum(abs(trip.shares) for trip in ledger.trips)
    assert np.abs(orders).sum() == pytest.approx(2 * closed + abs(sum(orders)))
    assert all(trip.profit == 0.0 for trip in ledger.trips)


@pytest.mark.parametrize("line", ["2016-02-01,AAA,hold,1,1,0", "2016-02-06,AAA,buy,1,1,0", "2016-02-01,AAA,buy,x,1,0"])
def test_a_ledger_that_is_not_of_the_run_is_refused(write_run, line):
    """A different side, a day without a session (a Saturday) and a price that is no number are named."""
    folder = write_run()
    (folder / "ledger.csv").write_text(f"date,ticker,side,shares,price,fee\n{line}\n")
    with pytest.raises(FormatError, match=r"ledger\.csv"):
        read_ledger(read_run(folder))
