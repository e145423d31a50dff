"""The health of the prices file reaches the run, its result and the page."""

import json
from dataclasses import replace

import numpy as np

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.encoders import EncoderSpec
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
    assert "Suspicious prices were looked for in the" in text
    state, text, _ = coverage(tmp_path / "survivors")
    assert (state, "a list of survivors" in text) == ("doubt", True)


def test_only_suspicious_prices_that_a_run_can_touch_count(tmp_path):
    """A spike before the first window, after the last session, or of a ticker outside of the universe is named and
    does not count; one in the first window, before the run trades, does."""
    clean = random_prices(num_sessions=120)
    spec = EncoderSpec(architecture="small", weights="0" * 64, lookback=10, num_features=3, dim=4, horizons=(1, 5))
    first, last = 40, 90

    def run_with(name, row, column):
        spiked = replace(clean, close=clean.close.copy())
        spiked.close[row, column] *= 1000
        prices = replace(spiked, health=summary_of(spiked))
        config = BacktestConfig(top_k=2, start=clean.days[first], end=clean.days[last])
        inputs = BacktestInputs(
            prices=prices, lookup=random_lookup(prices, encoder_spec=spec), candidates=clean.tickers[:-1]
        )
        write_run(run_backtest(config, inputs), tmp_path / name)
        state, text, result = coverage(tmp_path / name)
        return state, text, result["health"]["run"]["findings"]["largest_moves"]["count"]

    inside = {
        "window": (first - spec.lookback + 1, 1),
        "spike": (first - spec.lookback, 1),
        "traded": (first + 3, 1),
        "end": (last, 1),
    }
    outside = {"before": (first - spec.lookback - 5, 1), "after": (last + 2, 1), "other": (first + 3, -1)}
    for name, place in inside.items():
        state, text, number = run_with(name, *place)
        assert (state, number) == ("doubt", 1), name
        assert "Suspicious prices were kept: 1 large move" in text
    for name, place in outside.items():
        state, text, number = run_with(name, *place)
        assert (state, number) == ("good", 0), name
        assert "Elsewhere in the prices file: 1 large move." in text


def test_a_result_without_days_of_all_cases_claims_nothing_about_them(write_run):
    """Results of earlier versions list the worst cases of the file: all of them decide, some of them decide nothing."""
    case = {"ticker": "AAA", "day": "1990-01-02", "size": 1.5}
    moves = {"count": 1, "tickers": 1, "share": 0.1, "worst": [case]}
    health = {"suspicious": ["largest_moves"], "largest_moves": moves, "tickers": 4}
    assert coverage(write_run("whole", health=health))[:1] == ("good",)
    inside = {**moves, "worst": [{**case, "day": "2016-03-01"}]}
    assert coverage(write_run("inside", health={**health, "largest_moves": inside}))[:1] == ("doubt",)
    state, text, _ = coverage(write_run("some", health={**health, "largest_moves": {**moves, "count": 9}}))
    assert (state, "9 large moves (such as AAA on 1990-01-02) of the prices file" in text) == ("unknown", True)
