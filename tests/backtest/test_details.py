"""Details of comparisons: costs by level, the unfiltered gross return, skill by day."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash.backtest import BacktestConfig, BacktestInputs
from encash.backtest.evaluation.comparisons import COST_LEVELS, CompareConfig, run_comparisons, write_comparisons
from encash.clusters import Random
from tests.backtest.conftest import random_lookup, random_prices

CONFIG = BacktestConfig(top_k=3, horizon=5, buy_fee=0.002, sell_fee=0.002)


@pytest.fixture(scope="module")
def found():
    """Comparisons of a run with a random filter."""
    prices = random_prices(num_sessions=90)
    inputs = BacktestInputs(prices=prices, lookup=random_lookup(prices), filter=Random(keep_share=0.5, seed=1))
    return run_comparisons(CONFIG, inputs, settings=CompareConfig(draws=3))


def test_costs_by_level_include_the_run_and_the_gross_return(found):
    """The picks without costs end at the gross equity, at the costs of the run at its net equity, and lower after."""
    (costs,) = (row for row in found.details if row.name == "costs")
    capital = dict(zip(COST_LEVELS, costs.figures["final_capital"], strict=True))
    assert capital[0.0] == pytest.approx(found.base.gross[-1])
    assert capital[0.002] == pytest.approx(found.base.net[-1])
    assert (np.diff(costs.figures["final_capital"]) < 0).all()


def test_the_unfiltered_run_without_costs_is_above_that_with_costs(found):
    """It is the row "no filter" without its costs: a free run of the same picks."""
    (free,) = (row for row in found.details if row.name == "no filter, gross")
    paid = found.row("no filter")
    assert paid is not None
    assert free.figures["final_capital"][0] > paid.figures["final_capital"][0]
    prices = random_prices(num_sessions=90)
    inputs = BacktestInputs(prices=prices, lookup=random_lookup(prices), filter=Random(keep_share=0.5, seed=1))
    without = run_comparisons(replace(CONFIG, buy_fee=0.0, sell_fee=0.0), inputs, settings=CompareConfig(draws=3)).row(
        "no filter"
    )
    assert without is not None
    assert np.allclose(free.equity, without.equity)


def test_skill_by_day_averages_to_the_evidence(found, tmp_path):
    """The files hold each day, and their means are those of the JSON; a run has the errors of its quintiles."""
    write_comparisons(found, tmp_path)
    daily = pq.read_table(tmp_path / "skill.parquet").to_pydict()
    for one in json.loads((tmp_path / "comparisons.json").read_text())["evidence"]:
        mine = np.array(daily["horizon"]) == one["horizon"]
        assert np.nanmean(np.array(daily["rank_ic"])[mine]) == pytest.approx(one["rank_ic"])
        top = np.array(daily["quintile_5"])[mine]
        assert np.nanmean(top) == pytest.approx(one["quantile_returns"][-1])
        assert len(one["quantile_errors"]) == 5
        assert "daily" not in one
    names = set(pq.read_table(tmp_path / "details.parquet")["name"].to_pylist())
    assert names == {"costs", "no filter, gross"}
