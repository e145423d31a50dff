"""Random draws and "the last N" know only the tickers that exist on the day."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest import (
    BacktestConfig,
    BacktestInputs,
    Membership,
    make_points,
    picks_of_day,
    run_backtest,
    run_sweep,
)
from encash.backtest.files import table_bytes
from encash.panel import PriceTable
from tests.backtest.conftest import ArrayLookup, random_prices


def lookup_of(prices: PriceTable) -> Any:
    """Forecasts that depend on day and ticker only, so that more tickers do not change them."""
    shape = prices.close.shape
    forecast, confidence = np.empty(shape), np.empty(shape)
    for column, ticker in enumerate(prices.tickers):
        random = np.random.default_rng([ord(letter) for letter in ticker])
        forecast[:, column], confidence[:, column] = random.normal(0, 0.01, shape[0]), random.uniform(0.2, 1, shape[0])
    return ArrayLookup(prices.days, prices.tickers, forecast, confidence)


def with_others(prices: PriceTable, alive: slice, number: int, prefix: str) -> PriceTable:
    """Add tickers that trade in some rows only."""
    close = np.full((len(prices.days), number), np.nan)
    close[alive] = random_prices(77, len(prices.days), number).close[alive]
    tickers = (*prices.tickers, *(f"{prefix}{index:02d}" for index in range(number)))
    order = np.argsort(tickers)
    return PriceTable(
        days=prices.days,
        tickers=tuple(tickers[column] for column in order),
        close=np.hstack([prices.close, close])[:, order],
    )


def made(prices: PriceTable, config: BacktestConfig) -> tuple[bytes, bytes, bytes, str]:
    """Everything that a run writes but its clock."""
    result = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup_of(prices)))
    equity = {"net": result.net, "gross": result.gross, "benchmark": result.benchmark}
    return (
        table_bytes(equity),
        table_bytes(result.picks.columns()),
        result.ledger.to_csv().encode(),
        result.fingerprint,
    )


@settings(max_examples=25)
@given(
    seed=st.integers(0, 50),
    number=st.integers(1, 15),
    prefix=st.sampled_from(["A", "T05x", "Z"]),
    limits=st.sampled_from([{"subset_size": 4}, {"num_test_stocks": 5}, {"num_test_stocks": 8, "subset_size": 4}, {}]),
)
def test_names_that_list_after_the_run_change_no_byte_of_it(seed, number, prefix, limits):
    """Wherever their names sort, a run that ends before they list is the same, to its fingerprint."""
    prices = random_prices(seed, 60, 12)
    config = BacktestConfig(top_k=2, seed=seed, end=prices.days[39], **limits)
    assert made(prices, config) == made(with_others(prices, slice(40, None), number, prefix), config)


@pytest.mark.parametrize("limits", [{"subset_size": 4}, {"num_test_stocks": 5}])
def test_delisted_names_take_up_no_place(limits):
    """Names that stopped trading before the run change nothing, and each day has as many candidates as requested."""
    prices = random_prices(5, 60, 12)
    config = BacktestConfig(top_k=2, start=prices.days[20], **limits)
    more = with_others(prices, slice(0, 15), 30, "Z")
    assert made(prices, config) == made(more, config)
    table = picks_of_day(config, BacktestInputs(prices=more, lookup=lookup_of(more)), prices.days[30])
    assert len(table) == next(iter(limits.values()))


def test_a_listing_during_the_run_changes_nothing_before_it():
    """Up to the day before, the candidates and picks are those without the new names."""
    prices = random_prices(6, 60, 12)
    config = BacktestConfig(top_k=2, horizon=1, subset_size=4)
    tables = [
        run_backtest(config, BacktestInputs(prices=one, lookup=lookup_of(one))).picks
        for one in (prices, with_others(prices, slice(40, None), 10, "M"))
    ]
    before = [
        {name: values[table.date < prices.days[40]] for name, values in table.columns().items()} for table in tables
    ]
    assert table_bytes(before[0]) == table_bytes(before[1])
    assert set(tables[1].ticker.tolist()) > set(tables[0].ticker.tolist())


def test_the_last_n_are_those_of_the_day_among_the_members():
    """Membership counts: the last three by name of the members with a price."""
    prices = random_prices(7, 30, 8)
    close = prices.close.copy()
    close[20:, 7] = np.nan
    prices = replace(prices, close=close)
    member = Membership(
        tickers=np.array(["T02", "T03", "T04", "T07"]),
        first=np.repeat(prices.days[:1], 4),
        last=np.repeat(prices.days[-1:], 4),
    )
    config = BacktestConfig(top_k=1, horizon=1, num_test_stocks=3)
    inputs = BacktestInputs(prices=prices, lookup=lookup_of(prices), candidates=member)
    found = [picks_of_day(config, inputs, prices.days[row]).ticker.tolist() for row in (10, 25)]
    assert found == [["T03", "T04", "T07"], ["T02", "T03", "T04"]]


def test_the_runs_of_a_sweep_may_have_different_universes(tmp_path):
    """Runs of different years share one reading of the signals, and each is the run of its own backtest."""
    prices = with_others(with_others(random_prices(8, 60, 6), slice(0, 25), 4, "A"), slice(35, None), 4, "Z")
    days = prices.days
    points = make_points({"top_k": 2, "subset_size": 4}, {"seed": [1, 2]})
    periods = [{"start": days[0], "end": days[20]}, {"start": days[36], "end": days[59]}]
    runs = [replace(point, config=replace(point.config, **period)) for period in periods for point in points]
    inputs = BacktestInputs(prices=prices, lookup=lookup_of(prices))
    swept = run_sweep(runs, inputs, tmp_path / "sweep", workers=1)
    import pyarrow.parquet as pq

    finals = pq.read_table(swept.table)["final_capital"].to_pylist()
    assert finals == [float(run_backtest(point.config, inputs).net[-1]) for point in runs]


def test_members_to_come_change_no_byte():
    """A membership file that names later members gives the run of the one that does not."""
    prices = random_prices(9, 60, 12)
    found = []
    for names in (prices.tickers[:6], prices.tickers):
        first = np.where(np.arange(len(names)) < 6, prices.days[0], prices.days[45])
        member = Membership(tickers=np.array(names), first=first, last=np.repeat(prices.days[-1:], len(names)))
        config = BacktestConfig(top_k=2, end=prices.days[39], subset_size=4)
        run = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup_of(prices), candidates=member))
        found.append((run.fingerprint, table_bytes(run.picks.columns())))
    assert found[0] == found[1]
