"""Figures of a run are annualized by the calendar of its data, or by the setting."""

import json
from dataclasses import replace

import numpy as np
import pytest

from encash import metrics
from encash.backtest import BacktestConfig, BacktestInputs, CompareConfig, make_points, run_backtest, write_run
from encash.backtest.evaluation.comparisons import run_comparisons
from encash.backtest.evaluation.overfitting import judge
from encash.backtest.sweep.sweep import run_sweep
from encash.errors import InputError
from encash.report import read_run, render_report

ANNUAL = {"alpha", "cagr", "volatility", "sharpe", "sortino", "information_ratio", "turnover"}


def coins(prices):
    """The same prices on consecutive days."""
    return replace(prices, days=prices.days[0] + np.arange(len(prices.days)))


def run(prices, make_lookup, **settings):
    config = BacktestConfig(top_k=2, **settings)
    return run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices)))


def test_coins_have_365_sessions_a_year_and_stocks_252(make_prices, make_lookup):
    """The same money on two calendars: every annual figure differs, every other one is the same number."""
    stocks, coin = (run(prices, make_lookup) for prices in (make_prices(), coins(make_prices())))
    assert (stocks.to_json()["sessions_per_year"], coin.to_json()["sessions_per_year"]) == (252, 365)
    assert stocks.net.tolist() == coin.net.tolist()
    changed = {name for name, value in stocks.summary.items() if value != coin.summary[name]}
    assert changed == ANNUAL
    returns = metrics.simple_returns(coin.outcome.path)
    assert coin.summary["sharpe"] == metrics.sharpe(returns, sessions_per_year=365)
    assert coin.summary["cagr"] == metrics.cagr(coin.outcome.path, 365)
    assert coin.summary["sharpe"] / stocks.summary["sharpe"] == pytest.approx(np.sqrt(365 / 252))
    assert coin.summary["turnover"] / stocks.summary["turnover"] == pytest.approx(365 / 252)


def test_a_setting_replaces_the_calendar(make_prices, make_lookup):
    """365 on business days gives the figures of coins; the setting is a part of the run's identity only if given."""
    given, coin = run(make_prices(), make_lookup, sessions_per_year=365), run(coins(make_prices()), make_lookup)
    assert {name: given.summary[name] for name in ANNUAL} == {name: coin.summary[name] for name in ANNUAL}
    assert given.to_json()["configuration"]["sessions_per_year"] == 365
    assert "sessions_per_year" not in coin.to_json()["configuration"]
    with pytest.raises(InputError, match="sessions_per_year is 0; expected a whole number of 1 or more"):
        BacktestConfig(sessions_per_year=0)


def test_later_sessions_do_not_change_the_calendar_of_a_run(make_prices, make_lookup):
    """A market that turns from business days to every day does so for runs that see it."""
    prices = make_prices(num_sessions=120)
    days = prices.days.copy()
    days[60:] = days[59] + np.arange(1, 61)
    late = replace(prices, days=days)
    assert run(late, make_lookup, end=days[59]).outcome.sessions_per_year == 252
    assert run(late, make_lookup).outcome.sessions_per_year > 252


def test_comparisons_and_sweeps_use_the_calendar_too(make_prices, make_lookup, tmp_path):
    """The Sharpe ratio of a variant, of a row of a sweep, and the expected best of many are annualized alike."""
    prices = coins(make_prices())
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    alone = run_backtest(BacktestConfig(top_k=2), inputs)
    compared = run_comparisons(BacktestConfig(top_k=2), inputs, settings=CompareConfig(draws=3))
    gross = compared.row("gross")
    assert gross is not None
    free = alone.outcome.gross.copy()
    assert gross.figures["sharpe"][0] == metrics.sharpe(metrics.simple_returns(free), sessions_per_year=365)
    found = run_sweep(make_points({}, {"top_k": [2, 3, 4]}), inputs, tmp_path, workers=1)
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()[1:]]
    assert rows[0]["sharpe"] == alone.summary["sharpe"]
    assert {row["sessions_per_year"] for row in rows} == {365}
    assert found.overfitting is not None
    returns = np.fromfile(tmp_path / "returns.f8").reshape(3, -1)
    assert found.overfitting.expected_best / judge(returns, 3).expected_best == pytest.approx(np.sqrt(365 / 252))


def test_the_page_states_the_sessions_of_a_year(make_prices, make_lookup, tmp_path):
    """The conventions and the interval of the Sharpe ratio follow the run; runs of two calendars state both."""
    for name, prices in (("stocks", make_prices()), ("coins", coins(make_prices()))):
        write_run(run(prices, make_lookup), tmp_path / name)
    stocks, coin = (read_run(tmp_path / name) for name in ("stocks", "coins"))
    assert np.array(coin.sharpe_interval) == pytest.approx(np.array(stocks.sharpe_interval) * np.sqrt(365 / 252))
    assert "365 sessions a year." in render_report([coin.folder], tmp_path / "a.html").read_text()
    both = render_report([coin.folder, stocks.folder], tmp_path / "b.html").read_text()
    assert "252 or 365 sessions a year, by the run." in both
