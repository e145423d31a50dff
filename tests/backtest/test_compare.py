"""Chance is called chance, skill is found: comparisons and evidence on forecasts whose worth is known."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash import metrics
from encash.backtest import BacktestConfig, BacktestInputs, run_backtest
from encash.backtest.evaluation.comparisons import (
    CompareConfig,
    Comparison,
    Comparisons,
    run_comparisons,
    write_comparisons,
)
from encash.backtest.evaluation.forecast_skill import measure_forecast_skill
from encash.backtest.evaluation.persistent_draws import persistent_filters
from encash.backtest.evaluation.trials import run_trials
from encash.backtest.inputs.run_setup import open_sessions, set_up_run
from encash.backtest.inputs.signals import read_signals
from encash.backtest.outcome import run_strategy
from encash.clusters import Hard, Random
from encash.significance import mean_of

NO_COSTS = BacktestConfig(buy_fee=0.0, sell_fee=0.0)


def lookup_with_clusters(make_lookup, prices, embedding, seed=0):
    lookup = make_lookup(prices, seed=seed)
    lookup.embedding = embedding.astype("f4")[:, :, None]
    return lookup


def row_of(found: Comparisons, name: str) -> Comparison:
    """Return a comparison that was made."""
    row = found.row(name)
    assert row is not None, name
    return row


def test_on_random_forecasts_the_filter_earns_nothing_over_random_filters(make_prices, make_lookup, two_clusters):
    """Over 200 seeds the mean excess over a random filter lies within two standard errors of 0."""
    excess = []
    for seed in range(200):
        prices = make_prices(seed=seed, num_sessions=31, num_tickers=20)
        config = replace(NO_COSTS, top_k=3)
        embedding = np.random.default_rng(seed + 9).normal(size=prices.close.shape)
        lookup = lookup_with_clusters(make_lookup, prices, embedding, seed)
        filter = Hard(periods=(two_clusters(),))
        base = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, filter=filter)).outcome
        (kept,) = persistent_filters(base.kept, base.setup.candidates, np.zeros(20, int), draws=1, seed=seed)
        other = run_strategy(config, base.setup, base.signals, kept=kept)
        assert (other.kept.sum(axis=1) == base.kept.sum(axis=1)).all()
        excess.append(np.log(base.net[-1] / other.net[-1]))
    mean, error = np.mean(excess), np.std(excess, ddof=1) / np.sqrt(len(excess))
    assert abs(mean) < 2 * error
    assert error < 0.02


def test_a_planted_signal_is_found_with_the_expected_coefficient(make_prices, make_lookup):
    """Forecasts with a correlation of 0.3 to the coming return show an IC of 0.3, on the right day, and money."""
    prices = make_prices(seed=1, num_sessions=300, num_tickers=60)
    coming = metrics.forward_returns(prices.close, 1)
    shape = coming.shape
    noise = np.random.default_rng(2).normal(size=shape)
    standard = np.nan_to_num((coming - np.nanmean(coming)) / np.nanstd(coming))
    lookup = make_lookup(prices, horizons=(1,))
    lookup.forecast[:] = 0.01 * (0.3 * standard + np.sqrt(1 - 0.09) * noise)
    config = replace(NO_COSTS, horizon=1, top_k=5)
    sessions = open_sessions(config, prices, None)
    (signals,) = read_signals([set_up_run(config, sessions)], lookup, horizons=(1,))
    found = measure_forecast_skill(sessions, signals, 1)
    assert found.days == 299
    assert found.ic == pytest.approx(0.3, abs=0.02)
    assert found.rank_ic == pytest.approx(0.29, abs=0.03)
    assert found.ic_t > 20
    assert found.spread_t > 20
    assert list(found.quantile_returns) == sorted(found.quantile_returns)
    decay = dict(found.decay)
    assert decay[0] == found.rank_ic
    assert all(abs(decay[later]) < 0.03 for later in (1, 2, 5))
    result = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup))
    assert result.summary["total_return"] > 1.0
    assert result.summary["information_ratio"] > 3


def test_confidence_is_compared_with_right_signs(make_prices, make_lookup):
    """Groups by confidence hold the share of forecasts on the right side of the mean of the day."""
    prices = make_prices(seed=1, num_sessions=300, num_tickers=60)
    coming = np.nan_to_num(metrics.forward_returns(prices.close, 1))
    random = np.random.default_rng(2)
    lookup = make_lookup(prices, horizons=(1,))
    confidence = random.uniform(0.5, 0.9, size=coming.shape)
    right = np.where(random.uniform(size=coming.shape) < confidence, 1, -1)
    lookup.forecast[:] = np.sign(coming - coming.mean(axis=1, keepdims=True)) * right
    lookup.confidence[:] = confidence
    config = replace(NO_COSTS, horizon=1)
    sessions = open_sessions(config, prices, None)
    (signals,) = read_signals([set_up_run(config, sessions)], lookup, horizons=(1,))
    groups = np.array(measure_forecast_skill(sessions, signals, 1).reliability)
    assert groups[:, 2].sum() == 299 * 60
    assert np.abs(groups[:, 0] - groups[:, 1]).max() < 0.03
    assert (np.diff(groups[:, 0]) > 0.05).all()


def test_a_ticker_that_stops_trading_counts_in_the_skill(make_prices, make_lookup):
    """Forecasts of tickers that stop trading within the horizon are settled under the policy, and counted."""
    prices = make_prices(num_sessions=60, num_tickers=20)
    close = prices.close.copy()
    close[30:, 3] = np.nan
    prices, config = replace(prices, close=close), BacktestConfig(horizon=5)
    lookup = make_lookup(prices, horizons=(5,))
    sessions = open_sessions(config, prices, None)
    (signals,) = read_signals([set_up_run(config, sessions)], lookup, horizons=(5,))
    last, zero = (measure_forecast_skill(sessions, signals, 5, delisting=policy) for policy in ("last", "zero"))
    assert last.settled == zero.settled > 0
    assert last.ic != zero.ic


@pytest.mark.parametrize(("tranches", "overlap"), [(True, 10), (False, 1)])
def test_evidence_allows_for_returns_that_overlap(make_prices, make_lookup, tranches, overlap):
    """Daily coefficients of a return over 10 sessions have the t of series that share 10 sessions; those of days that
    lie 10 sessions apart share nothing."""
    prices, config = make_prices(num_sessions=200, num_tickers=20), BacktestConfig(horizon=10, tranches=tranches)
    lookup = make_lookup(prices, horizons=(10,))
    sessions = open_sessions(config, prices, None)
    (signals,) = read_signals([set_up_run(config, sessions)], lookup, horizons=(10,))
    realised = metrics.forward_returns(sessions.close, 10)[np.isin(sessions.days, signals.days)]
    daily = metrics.rank_ic(signals.forecast[0].astype("f8"), realised)
    assert measure_forecast_skill(sessions, signals, 10).rank_ic_t == mean_of(daily, overlap).t


def test_a_filter_that_knows_is_better_than_chance_and_says_so(make_prices, make_lookup, two_clusters):
    """Clusters that tell the coming direction beat every random filter; clusters of noise do not."""
    prices = make_prices(seed=4, num_sessions=121, num_tickers=30)
    coming = np.nan_to_num(metrics.forward_returns(prices.close, 5))
    config = BacktestConfig(top_k=3)
    noise = np.random.default_rng(0).normal(size=coming.shape)
    verdicts = {}
    for name, embedding in (("knows", coming), ("noise", noise)):
        lookup = lookup_with_clusters(make_lookup, prices, embedding, seed=8)
        filter = Hard(periods=(two_clusters(),))
        verdict = run_comparisons(
            config, BacktestInputs(prices=prices, lookup=lookup, filter=filter), settings=CompareConfig(draws=60)
        ).verdict
        assert verdict is not None
        verdicts[name] = verdict
    assert verdicts["knows"].helps
    assert verdicts["knows"].p_better == pytest.approx(1 / 61)
    assert "The filter is better than chance" in verdicts["knows"].sentence
    assert not verdicts["noise"].helps
    assert "no better than chance" in verdicts["noise"].sentence


def test_every_comparison_stands_beside_the_run(make_prices, make_lookup, two_clusters, tmp_path):
    """All rows are there, the base is among its phases, and the files hold them."""
    prices = make_prices(num_sessions=41)
    prices.close[22:, 0] = np.nan
    embedding = np.random.default_rng(1).normal(size=prices.close.shape)
    lookup = lookup_with_clusters(make_lookup, prices, embedding)
    config = BacktestConfig(top_k=3)
    found = run_comparisons(
        config,
        BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(two_clusters(),))),
        settings=CompareConfig(draws=9),
    )
    assert [(row.name, len(row.labels)) for row in found.rows] == [
        ("filter", 1), ("no filter", 1), ("random filter", 9), ("shuffled clusters", 9), ("phases", 5), ("lag + 1", 1),
        ("delisting", 4), ("gross", 1), ("benchmark", 1),
    ]  # fmt: skip
    base = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(two_clusters(),))))
    assert found.base.net.tolist() == base.net.tolist()
    assert row_of(found, "phases").equity[0].tolist() == base.net.tolist()
    assert row_of(found, "delisting").equity[0].tolist() == base.net.tolist()
    assert row_of(found, "gross").mean("final_capital") > row_of(found, "filter").mean("final_capital")
    assert [row.horizon for row in found.forecast_skill] == [1, 5]
    write_comparisons(found, tmp_path)
    document = json.loads((tmp_path / "comparisons.json").read_text())
    assert document["verdict"]["draws"] == 9
    assert len(document["rows"][2]["sharpe"]["values"]) == 9
    bands = pq.read_table(tmp_path / "comparisons.parquet")
    assert bands.num_rows == 9 * 41
    again = run_comparisons(
        config,
        BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(two_clusters(),))),
        settings=CompareConfig(draws=9),
    )
    assert again.to_json() == found.to_json()


def test_an_idle_draw_is_left_out_of_what_it_does_not_define(make_prices, make_lookup):
    """A random draw whose money never moves has no Sharpe ratio; those of the others still have a mean, a deviation and
    an interval, in draws and in seeds alike."""
    prices = make_prices(num_sessions=12, num_tickers=4)
    prices.close[:, 2:] = 10.0
    config = replace(NO_COSTS, top_k=1, horizon=5)
    filter = Random(keep_share=0.25, seed=0)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices), filter=filter)
    drawn = row_of(run_comparisons(config, inputs, settings=CompareConfig(draws=30)), "random filter")
    for runs in (drawn, run_trials(config, inputs, 30)):
        ratios = runs.figures["sharpe"]
        defined = ratios[~np.isnan(ratios)]
        assert 2 <= len(defined) < len(ratios)
        assert runs.mean("sharpe") == defined.mean()
        assert runs.deviation("sharpe") == defined.std(ddof=1)
        assert runs.interval("sharpe") == tuple(np.percentile(defined, [2.5, 97.5]))
        assert runs.mean("final_capital") == runs.figures["final_capital"].mean()
    assert None not in (drawn.to_json()["sharpe"]["mean"], drawn.to_json()["sharpe"]["sd"])


def test_shuffled_clusters_contain_the_filter_itself(make_prices, make_lookup, two_clusters):
    """With two clusters every shuffling is either the filter or its opposite."""
    prices = make_prices(num_sessions=41)
    embedding = np.random.default_rng(1).normal(size=prices.close.shape)
    lookup = lookup_with_clusters(make_lookup, prices, embedding)
    finals = []
    for best in (0, 1):
        filter = Hard(periods=(two_clusters(best),))
        found = run_comparisons(
            BacktestConfig(top_k=3),
            BacktestInputs(prices=prices, lookup=lookup, filter=filter),
            settings=CompareConfig(draws=12),
        )
        finals.append(row_of(found, "filter").mean("final_capital"))
    assert set(row_of(found, "shuffled clusters").figures["final_capital"]) == set(finals)


def test_a_run_without_a_filter_has_a_verdict_on_its_forecasts(make_prices, make_lookup):
    """Its forecasts are compared with the same forecasts given to other tickers."""
    prices = make_prices(num_sessions=41)
    found = run_comparisons(
        replace(BacktestConfig(top_k=3), tranches=True),
        BacktestInputs(prices=prices, lookup=make_lookup(prices)),
        settings=CompareConfig(draws=3),
    )
    assert found.verdict.subject == "forecasts"
    assert found.verdict.draws == 3
    assert {row.name for row in found.rows} == {
        "no filter", "random forecasts", "lag + 1", "delisting", "gross", "benchmark"
    }  # fmt: skip


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_accounts_that_end_at_zero_are_compared(make_prices, make_lookup, two_clusters):
    """Fees take all of it, in the run and in every draw: figures without a warning of the arithmetic."""
    prices = make_prices(seed=3, num_sessions=80, num_tickers=12)
    lookup = lookup_with_clusters(make_lookup, prices, np.random.default_rng(4).normal(size=prices.close.shape))
    config = BacktestConfig(top_k=3, initial_capital=10.0, fixed_fee=2.0)
    inputs = BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(two_clusters(),)))
    found = run_comparisons(config, inputs, settings=CompareConfig(draws=20))
    assert row_of(found, "filter").mean("final_capital") == 0.0
    assert 0 < found.verdict.p_better <= 1
