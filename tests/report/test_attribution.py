"""Where the money went: steps that add up, intervals, break-even costs; and titles that state only findings."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash import metrics
from encash.report import ClusterReturn, Extras, Skill, read_run
from encash.report.charts import run_charts
from encash.report.charts.attribution import break_even, waterfall, waterfall_steps
from encash.report.charts.cluster_returns import mean_returns
from encash.report.charts.forecast_skill import quintile_returns, rank_ics


@pytest.fixture
def run(write_run):
    return read_run(write_run(sessions=500))


def test_the_steps_add_up_to_the_net_return(run):
    """From equal weights, each difference leads to the next level; the last one is the mean of the net returns."""
    other = run.path * np.linspace(1.0, 0.9, len(run.path))
    steps = waterfall_steps(run, Extras(paths={"no filter, gross": other, "lag + 1": other}))
    level = 0.0
    for step in steps:
        assert step.start == pytest.approx(0.0 if step.total else level)
        level = step.amount.value if step.total else level + step.amount.value
    totals = {step.name: step.amount.value for step in steps if step.total}
    assert totals["This run, net"] == pytest.approx(252 * metrics.simple_returns(run.path).mean())
    assert [step.name for step in steps][1:4] == ["Picks by forecast, without the filter", "The filter", "Costs"]


def test_a_variant_of_other_sessions_is_no_step(run):
    """The equity of a run with a different number of sessions is never mixed in."""
    names = [step.name for step in waterfall_steps(run, Extras(paths={"lag + 1": np.ones(3)}))]
    assert "Filled one session later" not in names


def test_the_reading_says_what_is_not_distinguishable_from_zero(run):
    """Costs are the same each day and stated; a step within its error is named as such."""
    rng = np.random.default_rng(0)
    noise = run.equity.gross * np.cumprod(1 + rng.normal(0, 0.01, len(run.path)))
    drawn = waterfall(run, Extras(paths={"no filter, gross": noise}))
    assert drawn is not None
    assert "The filter: " in drawn.reading
    assert "not distinguishable from zero" in drawn.reading.split("The filter: ")[1].split("Costs")[0]
    assert "Costs: −1.0% a year." in drawn.reading


def test_the_break_even_cost_is_where_the_curve_meets_the_benchmark(run):
    """Interpolated between two costs; a strategy below the benchmark without costs is called so."""
    level = run.benchmark_performance.cagr
    curve = {0.0: level + 0.02, 0.001: level, 0.002: level - 0.02}
    drawn = break_even(run, Extras(cost_curve={"cagr": curve}))
    assert drawn is not None
    assert "up to a cost of 10.0 basis points" in drawn.reading
    worse = break_even(run, Extras(cost_curve={"cagr": {cost: value - 0.1 for cost, value in curve.items()}}))
    assert worse is not None
    assert worse.reading.startswith("Even without costs")
    assert break_even(run, Extras()) is None


@pytest.mark.parametrize(("t", "claims"), [(0.7, False), (-0.7, False), (2.5, True), (-2.5, True)])
def test_a_title_claims_skill_only_beyond_two_errors(run, t, claims):
    """Rank IC and quintiles: a t below 2 is called not distinguishable from zero."""
    skill = Skill(horizon=5, rank_ic=0.01 * t, rank_ic_t=t, quantile_returns=(0.0, 0.001 * t), spread_t=t)
    for chart in (rank_ics, quintile_returns):
        drawn = chart(run, Extras(skill=[skill]))
        assert drawn is not None
        assert ("not distinguishable from zero" in drawn.reading) != claims


def test_the_best_of_equal_clusters_is_no_finding(run):
    """A best cluster within two errors of the mean of all is called so; a clear one is not."""
    clusters = [ClusterReturn(cluster=n, mean_return=0.001 * n, error=0.002, best=n == 2) for n in range(3)]
    drawn = mean_returns(run, Extras(ranking=clusters))
    assert drawn is not None
    assert "not distinguishable from the mean of all clusters" in drawn.reading
    clear = mean_returns(run, Extras(ranking=[replace(one, error=0.0001) for one in clusters]))
    assert clear is not None
    assert "not distinguishable" not in clear.reading


def test_each_chart_over_time_holds_the_numbers_of_the_run(run):
    """The data of the equity is the equity; the last rolling Sharpe ratio is that of the last year of returns."""
    charts = {chart.title: chart for chart in run_charts(run, Extras())}
    table = charts["Equity and drawdown"].table
    assert table is not None
    columns = {column.name: column.values for column in table.columns}
    assert np.array_equal(np.asarray(columns["net"]), run.path)
    assert np.array_equal(np.asarray(columns["net, drawdown"]), metrics.drawdowns(run.path))
    rolling = charts["Rolling Sharpe ratio and volatility"].table
    assert rolling is not None
    last = metrics.simple_returns(run.path)[-63:]  # a quarter, of a run below two years
    assert rolling.columns[1].values[-1] == pytest.approx(metrics.sharpe(last))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["flat", "wiped out"])
def test_a_run_whose_figures_are_undefined_has_all_its_charts(write_run, kind):
    """An account that never moves, or ends at 0, is drawn without a warning; undefined values are left out."""
    folder = write_run(sessions=300)
    table = pq.read_table(folder / "equity.parquet")
    values = np.full(300, 100_000.0)
    if kind == "wiped out":
        values[100:] = 0.0
    for name in ("net", "gross", "benchmark"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, [values if name != "benchmark" else np.full(300, 100_000.0)])
    pq.write_table(table, folder / "equity.parquet")
    titles = [chart.title for chart in run_charts(read_run(folder), Extras())]
    assert {"Equity and drawdown", "Rolling Sharpe ratio and volatility", "Turnover over time"} <= set(titles)
