"""The health of the prices file reaches the run, its result and the page."""

import json
from dataclasses import replace

import numpy as np

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.panel import Bars
from encash.panel.health import measure_health
from encash.panel.untraded import traded_bars
from encash.report import Extras, read_run, render_report
from encash.report.criteria import assess
from tests.backtest.conftest import random_lookup, random_prices


def summary_of(prices):
    bars = {ticker: Bars(days=prices.days, close=prices.close[:, n]) for n, ticker in enumerate(prices.tickers)}
    return measure_health(traded_bars(bars), today=np.datetime64("2030-01-01")).summary()


def coverage(folder):
    """State and explanation of the criterion, and the result."""
    (found,) = (one for one in assess(read_run(folder), Extras()) if one.name == "Data coverage")
    return found.state, found.explanation, json.loads((folder / "result.json").read_text())


def test_a_run_on_suspicious_prices_says_so(tmp_path):
    """Kind, count, ticker and day; clean prices and prices without a record change nothing on the page."""
    clean = random_prices()
    spiked = replace(clean, close=clean.close.copy())
    spiked.close[30, 2] *= 1000
    files = {
        "unknown": clean,
        "clean": replace(clean, health=summary_of(clean)),
        "spiked": replace(spiked, health=summary_of(spiked)),
        "survivors": replace(clean, health={**summary_of(clean), "all_alive_at_the_end": True}),
    }
    for name, prices in files.items():
        inputs = BacktestInputs(prices=prices, lookup=random_lookup(prices))
        write_run(run_backtest(BacktestConfig(top_k=2), inputs), tmp_path / name)
    state, text, result = coverage(tmp_path / "unknown")
    assert (state, result["health"]) == ("good", None)
    assert coverage(tmp_path / "clean")[:2] == (state, text)
    state, text, result = coverage(tmp_path / "spiked")
    assert (state, result["health"]["suspicious"]) == ("doubt", ["largest_moves"])
    assert f"Suspicious prices were kept: 1 large move (such as T02 on {clean.days[30]})." in text
    assert (
        text.split("Suspicious")[1].split(".")[0]
        in render_report([tmp_path / "spiked"], tmp_path / "a.html").read_text()
    )
    state, text, _ = coverage(tmp_path / "survivors")
    assert (state, "a list of survivors" in text) == ("doubt", True)
