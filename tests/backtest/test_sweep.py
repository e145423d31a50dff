"""Sweeps and trials: every run is the run it would be alone, counted once, and there after a crash."""

import csv
import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest
from encash.backtest.evaluation.overfitting import judge
from encash.backtest.evaluation.trials import run_trials
from encash.backtest.sweep.grid import make_points, read_grid
from encash.backtest.sweep.sweep import run_sweep, write_best
from encash.backtest.sweep.sweep_table import heat_map
from encash.clusters import Hard, Random
from encash.errors import (
    ConflictError,
    FormatError,
    InputError,
    LookaheadError,
    MismatchError,
    MissingFileError,
    UnknownKeyError,
)

GRID = """
[base]
top_k = 2
subset_size = 6

[grid]
horizon = [1, 5]
seed = [1, 2, 3]
delisting = ["last", "zero"]
"""


def filters():
    return {"half": Random(keep_share=0.5)}


def test_each_run_of_a_sweep_is_the_run_it_would_be_alone(make_prices, make_lookup, tmp_path):
    """Shared signals and shared sessions change nothing."""
    prices = make_prices(num_sessions=41)
    prices.close[20:, 3] = np.nan
    points = make_points(
        {"top_k": 2},
        {"filter": ["none", "half"], "horizon": [1, 5], "phase": [0], "num_test_stocks": [6, 9], "subset_size": [3, 5],
         "tranches": [False, True], "start": ["2024-01-03", "2024-01-15"]},
    )  # fmt: skip
    result = run_sweep(
        points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, filters=filters(), workers=1
    )
    table = pq.read_table(result.table).to_pydict()
    assert result.runs == result.computed == result.trials == len(points) == 64
    for place in range(0, 64, 7):
        alone = run_backtest(
            points[place].config,
            BacktestInputs(prices=prices, lookup=make_lookup(prices), filter=points[place].chosen(filters())),
        )
        assert table["final_capital"][place] == alone.summary["final_capital"]
        assert table["sharpe"][place] == alone.summary["sharpe"]
        assert table["trades"][place] == alone.summary["trades"]
    assert result.best is not None
    assert result.best["sharpe"] == max(table["sharpe"])
    assert result.overfitting is None
    assert "not of the same sessions" in result.note


def test_the_best_run_is_written_with_what_it_was_chosen_from(make_prices, make_lookup, tmp_path):
    """Its folder is the run of the best row, and counts the trials of earlier grids in the folder too."""
    prices = make_prices(num_sessions=41)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    earlier = make_points({"top_k": 2}, {"horizon": [1, 5]})
    run_sweep(earlier, inputs, tmp_path, filters=filters(), workers=1)
    points = make_points({"top_k": 3}, {"filter": ["none", "half"], "seed": [1, 2]})
    result = run_sweep(points, inputs, tmp_path, filters=filters(), workers=1)
    folder = write_best(result, points, inputs, filters=filters())
    assert folder is not None
    assert folder == tmp_path / "best"
    assert result.best is not None
    document = json.loads((folder / "result.json").read_text())
    assert (document["final_capital"], document["sharpe"]) == (result.best["final_capital"], result.best["sharpe"])
    chosen = json.loads((folder / "chosen.json").read_text())
    assert chosen["trials"] == result.trials == len(earlier) + len(points)
    assert chosen["deflated_sharpe"] == result.to_json()["deflated_sharpe"]


@pytest.mark.parametrize("later", [{"top_k": [3]}, {"test_sessions": [2]}])
def test_the_best_run_of_an_earlier_table_goes_with_it(make_prices, make_lookup, tmp_path, later):
    """Whether the later sweep has another best run or none, `best` never shows a run that is not the best of the table;
    what others put into the folder stays."""
    prices = make_prices(num_sessions=41)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    earlier, points = make_points({}, {"top_k": [1, 2]}), make_points({"top_k": 1, "horizon": 1}, later)
    first = run_sweep(earlier, inputs, tmp_path, workers=1)
    folder = write_best(first, earlier, inputs)
    assert folder is not None
    second = run_sweep(points, inputs, tmp_path, workers=1)
    assert not folder.exists()
    assert (second.best is None) == ("test_sessions" in later)
    assert write_best(second, points, inputs) == (None if second.best is None else folder)
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("mine")
    run_sweep(points, inputs, tmp_path, workers=1)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_best_run_is_not_written_beside_another_table(make_prices, make_lookup, tmp_path):
    """A sweep that another one has overtaken says so."""
    prices = make_prices(num_sessions=41)
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    points = make_points({}, {"top_k": [1, 2]})
    overtaken = run_sweep(points, inputs, tmp_path, workers=1)
    run_sweep(make_points({}, {"top_k": [3]}), inputs, tmp_path, workers=1)
    with pytest.raises(ConflictError, match="another sweep has written into"):
        write_best(overtaken, points, inputs)
    assert not (tmp_path / "best").exists()


def test_processes_give_what_one_process_gives(make_prices, make_lookup, tmp_path):
    """Two workers, same rows in the same order."""
    prices = make_prices(num_sessions=31)
    points = make_points({"top_k": 2, "subset_size": 6}, {"seed": list(range(60))})
    tables = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        run_sweep(
            points,
            BacktestInputs(prices=prices, lookup=make_lookup(prices)),
            folder,
            filters=filters(),
            workers=workers,
        )
        tables.append((folder / "sweep.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_a_sweep_resumes_where_it_was_killed(make_prices, make_lookup, tmp_path):
    """Half a line and returns without a line are forgotten; everything else is not run again."""
    prices = make_prices(num_sessions=31)
    (tmp_path / "grid.toml").write_text(GRID)
    points = read_grid(tmp_path / "grid.toml")
    whole = run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path / "whole", workers=1)
    torn = tmp_path / "torn"
    run_sweep(points[:7], BacktestInputs(prices=prices, lookup=make_lookup(prices)), torn, workers=1)
    with (torn / "runs.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    with (torn / "returns.f8").open("ab") as file:
        file.write(b"123456789")
    done = []
    resumed = run_sweep(
        points,
        BacktestInputs(prices=prices, lookup=make_lookup(prices)),
        torn,
        workers=1,
        progress=lambda *now: done.append(now),
    )
    assert (resumed.runs, resumed.computed) == (12, 5)
    assert done == [(number, 12) for number in range(8, 13)]
    assert whole.table.read_bytes() == resumed.table.read_bytes()
    assert resumed.overfitting == whole.overfitting
    lookup = make_lookup(prices)
    assert run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), torn, workers=1).computed == 0
    assert lookup.reads == []


@pytest.mark.parametrize(("left", "computed"), [(3 * 8 * 30 - 1, 10), (0, 12), (None, 12)])
def test_runs_whose_returns_are_lost_are_run_again(make_prices, make_lookup, tmp_path, left, computed):
    """A machine that fails may keep lines and lose returns: such a run is no run, and its returns are never zeros."""
    prices = make_prices(num_sessions=31)
    points = make_points({"top_k": 2, "subset_size": 6}, {"seed": list(range(12))})
    whole = run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, workers=1)
    returns = tmp_path / "returns.f8"
    before = returns.read_bytes()
    assert len(before) == 12 * 8 * 30
    if left is None:
        returns.unlink()
    else:
        returns.write_bytes(before[:left])
    again = run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, workers=1)
    assert (again.computed, again.trials) == (computed, 12)
    assert returns.read_bytes() == before
    assert again.overfitting == whole.overfitting


HELD = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import random_lookup, random_prices
from encash.backtest import BacktestInputs, make_points, run_sweep

def wait(done, total):
    print(done, flush=True)
    sys.stdin.readline()

prices = random_prices(num_sessions=31)
points = make_points({"top_k": 2, "subset_size": 6}, {"seed": [1, 2, 3]})
run_sweep(points, BacktestInputs(prices=prices, lookup=random_lookup(prices)), sys.argv[2], workers=1, progress=wait)
"""


def test_two_processes_never_write_into_one_folder(make_prices, make_lookup, tmp_path):
    """The second sweep is refused before it reads a signal, and told which process is there; what the first writes is
    what it writes alone, and a killed one keeps nobody out."""
    prices, folder = make_prices(num_sessions=31), tmp_path / "both"
    points = make_points({"top_k": 2, "subset_size": 6}, {"seed": [1, 2, 3]})

    def begin():
        command = [sys.executable, "-c", HELD, str(Path(__file__).parent), str(folder)]
        first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert first.stdout is not None
        assert first.stdout.readline() in ("1\n", "2\n")
        return first

    first = begin()
    lookup = make_lookup(prices)
    with pytest.raises(ConflictError, match=f"both is being written by another sweep, process {first.pid};"):
        run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), folder, workers=1)
    assert lookup.reads == []
    first.kill()
    first.wait()
    first = begin()
    first.communicate("\n" * len(points))
    assert first.returncode == 0
    again = run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), folder, workers=1)
    assert (again.computed, again.trials) == (0, 3)
    alone = run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path / "alone", workers=1)
    assert again.table.read_bytes() == alone.table.read_bytes()
    for name in ("runs.jsonl", "returns.f8"):
        assert (folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize("workers", [0, -1])
def test_a_sweep_of_no_workers_is_refused_before_anything_is_done(make_prices, make_lookup, tmp_path, workers):
    """Before the folder is made and the signals are read, and where every run is there already."""
    prices, lookup = make_prices(num_sessions=31), make_lookup(make_prices(num_sessions=31))
    points = make_points({"top_k": 2}, {"seed": [1, 2]})
    for folder in (tmp_path / "new", tmp_path / "done"):
        if folder.name == "done":
            run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), folder, workers=1)
        with pytest.raises(InputError, match=f"workers is {workers}; expected 1 or more"):
            run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), folder, workers=workers)
    assert not (tmp_path / "new").exists()
    assert lookup.reads == []


def test_other_settings_and_other_filters_are_other_runs(make_prices, make_lookup, tmp_path):
    """What is edited is run again, and the trials of before still count."""
    prices = make_prices(num_sessions=31)
    points = make_points({"top_k": 2, "filter": "half"}, {"seed": [1, 2]})
    run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, filters=filters(), workers=1)
    edited = {"half": Random(keep_share=0.5, seed=9)}
    again = run_sweep(
        points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, filters=edited, workers=1
    )
    assert (again.runs, again.computed, again.trials) == (2, 2, 4)


def test_a_folder_of_other_data_is_refused(make_prices, make_lookup, tmp_path):
    """Trials of different prices are never counted together."""
    points = make_points({"top_k": 2}, {"seed": [1, 2]})
    for seed in (0, 1):
        prices = make_prices(seed=seed, num_sessions=31)
        if seed:
            with pytest.raises(MismatchError, match="other prices"):
                run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, workers=1)
        else:
            run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, workers=1)


def test_a_sweep_refuses_what_a_backtest_refuses(make_prices, make_lookup, tmp_path):
    """Look-ahead, holes and settings that do not fit stop it before or when they are met."""
    prices = make_prices(num_sessions=31)
    with pytest.raises(InputError, match="goes beyond the data"):
        run_sweep(
            make_points({"top_k": 2}, {"horizon": [40]}),
            BacktestInputs(prices=prices, lookup=make_lookup(prices)),
            tmp_path,
        )
    holes = np.zeros(prices.close.shape, bool)
    holes[:, :3] = True
    with pytest.raises(InputError, match=r"no entry, more than 5\.0%"):
        run_sweep(
            make_points({"top_k": 2}, {"seed": [1]}),
            BacktestInputs(prices=prices, lookup=make_lookup(prices, absent=holes)),
            tmp_path / "b",
            workers=1,
        )
    with pytest.raises(UnknownKeyError, match="unknown filter 'best'"):
        run_sweep(
            make_points({"filter": "best"}, {}),
            BacktestInputs(prices=prices, lookup=make_lookup(prices)),
            tmp_path / "c",
        )


def test_a_sweep_refuses_a_filter_that_knows_the_future(make_prices, make_lookup, two_clusters, tmp_path):
    """One point that starts too early is enough."""
    prices = make_prices(num_sessions=31)
    late = {"late": Hard(periods=(two_clusters(first_day="2024-01-20"),))}
    points = make_points({"top_k": 1, "filter": "late"}, {"start": ["2024-01-25", "2024-01-03"]})
    with pytest.raises(LookaheadError, match="may be used from 2024-01-20"):
        run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, filters=late)


def test_noise_is_judged_as_noise_and_skill_as_skill():
    """The deflated Sharpe ratio of the best of many worthless runs is low; a good run among them is recognised."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    noise = np.random.default_rng(0).normal(0, 0.01, (60, 504))
    found = judge(noise, trials=60)
    assert found.deflated_sharpe < 0.8
    assert 0.2 < found.overfitting < 0.9
    skilled = noise.copy()
    skilled[7] += 0.003
    better = judge(skilled, trials=60)
    assert better.deflated_sharpe > 0.95
    assert better.overfitting < 0.1
    assert judge(skilled, trials=100_000).deflated_sharpe < better.deflated_sharpe
    with pytest.raises(InputError, match="at least 2 runs"):
        judge(noise[:1], trials=1)


def test_runs_of_equal_returns_are_one_trial():
    """Repeating runs, up to rounding, changes nothing; identical runs alone are not judged, instead of overfit by 0."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    noise = np.random.default_rng(0).normal(0.0003, 0.01, (12, 504))
    repeated = np.concatenate([noise, noise[:5], noise[:5] * (1 + 1e-15)])
    assert judge(repeated, trials=22) == judge(noise, trials=12)
    with pytest.raises(InputError, match="1 different runs that trade"):
        judge(np.repeat(noise[:1], 6, axis=0), trials=6)


def test_an_idle_run_is_never_the_best():
    """Among runs that lose, one that never trades has no Sharpe ratio; the best of the others is judged."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    losing = np.random.default_rng(1).normal(-0.003, 0.01, (10, 504))
    idle = np.concatenate([np.zeros((2, 504)), losing])
    found = judge(idle, trials=12)
    assert found.trials == 11
    assert found.overfitting == judge(losing, trials=11).overfitting
    assert 0.0 <= found.deflated_sharpe < 0.5
    with pytest.raises(InputError, match="0 different runs that trade"):
        judge(np.zeros((5, 504)), trials=5)


def test_the_deflated_sharpe_ratio_is_that_of_purgedcv():
    """Of the best run, with the number of trials and the variance of their Sharpe ratios per session."""
    purgedcv = pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    runs = np.random.default_rng(2).normal(0.0005, 0.01, (20, 300))
    ratios = runs.mean(axis=1) / runs.std(axis=1, ddof=1)
    theirs = purgedcv.deflated_sharpe_ratio_full(
        runs[ratios.argmax()], n_trials=40, var_sharpe=float(ratios.var(ddof=1))
    )
    ours = judge(runs, trials=40)
    assert ours.deflated_sharpe == pytest.approx(theirs.dsr, rel=1e-9)
    assert ours.expected_best == pytest.approx(theirs.sr_star * np.sqrt(252), rel=1e-9)


def test_a_sweep_of_idle_and_of_equal_runs_ends(make_prices, make_lookup, tmp_path):
    """A seed that changes nothing repeats a run; prices that never move leave no best run. Both say why."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    prices = make_prices(num_sessions=41)
    points = make_points({"top_k": 2, "horizon": 1}, {"seed": [1, 2, 3]})
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    equal = run_sweep(points, inputs, tmp_path / "equal", workers=1)
    assert equal.overfitting is None
    assert "1 different runs that trade" in equal.note
    assert equal.to_json()["distinct_trials"] is None
    prices.close[:] = 10.0
    free = make_points({"top_k": 2, "horizon": 1, "buy_fee": 0.0, "sell_fee": 0.0}, {"seed": [1, 2]})
    idle = run_sweep(free, inputs, tmp_path / "idle", workers=1)
    assert idle.best is None
    assert write_best(idle, free, inputs) is None
    assert "0 different runs that trade" in idle.note


def test_a_grid_is_every_combination_and_a_draw_is_reproducible(tmp_path):
    """Lists are crossed; random settings lie in their ranges and depend on the seed alone."""
    random = {
        "runs": 20, "seed": 4, "top_k": {"low": 2, "high": 4}, "weights": ["equal", "forecast"],
        "sell_fee": {"low": 1e-4, "high": 1e-2, "log": True},
    }  # fmt: skip
    points = make_points({}, {"horizon": [1, 5]}, random)
    assert len(points) == 40
    assert {point.config.top_k for point in points} == {2, 3, 4}
    assert all(1e-4 <= point.config.sell_fee <= 1e-2 for point in points)
    assert points == make_points({}, {"horizon": [1, 5]}, random)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("[grid\n", FormatError, "is not TOML"),
        ("[gird]\nhorizon = [1]\n", FormatError, r"section \[gird\]"),
        ("[grid]\nhorizons = [1]\n", InputError, "unknown setting 'horizons'"),
        ("[grid]\nconfidence_percentile = [60]\n", InputError, "60 percent is 0.6"),
        ("[grid]\nhorizon = 5\n", InputError, "expected a list of values"),
        ("[grid]\nhorizon = [3]\nphase = [4]\n", InputError, "phase is 4"),
        ("[random]\ntop_k = [1]\n", InputError, "random.runs is None"),
        ("[random]\nruns = 2\ntop_k = 3\n", InputError, "random.top_k is 3"),
        ("[gird]\nhorizon = [1]\n", FormatError, r"did you mean 'grid'\?"),
        ("[grid]\ntopk = [1]\n", InputError, r"unknown setting 'topk'.*did you mean 'top_k'\?"),
        ("grid = 3\n", FormatError, "grid is not a table"),
        ("[[grid]]\ntop_k = [1]\n", FormatError, "grid is not a table"),
        ("[grid]\ntop_k = [1]\ntop_k = [2]\n", FormatError, "is not TOML"),
        ("[grid]\ntop_k = []\n", InputError, "expected a list of values"),
        ("[grid]\ntop_k = {a = 1}\n", InputError, "expected a list of values"),
        ("[grid]\ntop_k = [[1]]\n", InputError, r"top_k is \[1\]; expected a whole number"),
        ("[grid]\ntop_k = [true]\n", InputError, "top_k is True"),
        ("[grid]\ntop_k = [3000000000]\n", InputError, "at most 2,147,483,647"),
        ("[grid]\nvolatility_sessions = [2000000000]\n", InputError, "at most 10,000"),
        ("[grid]\nsessions_per_year = [1000]\n", InputError, "at most 366"),
        ("[grid]\ninitial_capital = [1e300]\n", InputError, "at most 1e15"),
        ("", FormatError, "is empty"),
        ("[grid]\ntop_k = [99999999999999999999]\n", FormatError, "more than 64 bits"),
        ("[grid]\ninitial_capital = [inf, nan]\n", InputError, "initial_capital is inf"),
        ('[grid]\ntranches = ["false"]\n', InputError, "tranches is 'false'; expected true or false"),
        ("[base]\ntranches = [true]\n[grid]\nseed = [1]\n", InputError, r"tranches is \[True\]"),
        ("[base]\nallow_lookahead = [1]\n[grid]\nseed = [1]\n", InputError, "allow_lookahead is"),
        ("[base]\nstart = 12:00:00\n[grid]\nseed = [1]\n", InputError, "is not a day"),
        ("[base]\nstart = 2020-01-01T12:00:00\n[grid]\nseed = [1]\n", InputError, "has a time of day"),
        ("[grid]\nfilter = [3]\n", InputError, "filter is 3"),
        ("[grid]\nkeep = [true]\n", InputError, "keep is True"),
        ("[random]\nruns = true\n", InputError, "random.runs is True"),
        ("[random]\nruns = 2\nseed = true\n", InputError, "random.seed is True"),
        ("[random]\nruns = 1000000000\n", InputError, "1,000,000,000 runs"),
        ("[random]\nruns = 2\ntop_k = {low = 3, high = 1}\n", InputError, "low ≤ high"),
        ('[random]\nruns = 2\ntop_k = {low = "1", high = 3}\n', InputError, "expected two numbers"),
        ("[random]\nruns = 2\nbuy_fee = {low = nan, high = 0.1}\n", InputError, "expected two numbers"),
        ("[random]\nruns = 2\nbuy_fee = {low = 0.0, high = 0.1, log = true}\n", InputError, "true only above 0"),
        ("[grid]\ntop_k = [1]\n[random]\nruns = 2\ntop_k = [2]\n", InputError, "give it in one of them"),
        ("[base]\nkeep = 0.5\n[grid]\nseed = [1]\n", InputError, "keep is 0.5, but the filter is none"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(tmp_path, make_prices, make_lookup, text, kind, message):
    """The file, the section or the setting is named."""
    path = tmp_path / "grid.toml"
    path.write_text(text)
    prices = make_prices()
    with pytest.raises(kind, match=message):
        run_sweep(read_grid(path), BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path / "out")
    with pytest.raises(MissingFileError):
        read_grid(tmp_path / "nothing.toml")


def test_a_grid_of_absurd_size_is_refused_before_it_is_expanded():
    """Nine lists of ten values would be a billion runs."""
    names = ("top_k", "horizon", "lag", "phase", "seed", "volatility_sessions", "subset_size", "num_test_stocks")
    grid = {name: list(range(1, 11)) for name in names} | {"fixed_fee": list(range(10))}
    with pytest.raises(InputError, match=r"1,000,000,000 runs \(10 × 10 .* at most 100,000"):
        make_points({}, grid)


def test_days_of_toml_are_days(make_prices, make_lookup, tmp_path):
    """Dates with and without quotation marks, flags in lists, and a byte order mark: the same runs, in the journal."""
    text = "[base]\ntop_k = 2\n[grid]\nstart = [{0}]\ntranches = [true, false]\n"
    prices, points = make_prices(), []
    for number, day in enumerate(("2024-01-03", '"2024-01-03"')):
        path = tmp_path / f"{number}.toml"
        path.write_bytes(b"\xef\xbb\xbf"[: 3 * number] + text.format(day).encode())
        points.append(read_grid(path))
    assert points[0] == points[1]
    assert points[0][0].varied == (("start", "2024-01-03"), ("tranches", True))
    inputs = BacktestInputs(prices=prices, lookup=make_lookup(prices))
    run_sweep(points[0], inputs, tmp_path / "out", workers=1)
    assert run_sweep(points[1], inputs, tmp_path / "out", workers=1).computed == 0


def test_a_logarithmic_scale_of_whole_numbers_favors_small_ones():
    """Each factor of ten gets the same share of the draws, and both ends are drawn."""
    points = make_points({}, {}, {"runs": 400, "seed": 1, "top_k": {"low": 1, "high": 100, "log": True}})
    drawn = [dict(point.varied)["top_k"] for point in points]
    assert min(drawn) == 1
    assert max(drawn) <= 100
    again = make_points({}, {}, {"runs": 400, "seed": 1, "top_k": {"low": 1, "high": 2, "log": True}})
    assert {point.config.top_k for point in again} == {1, 2}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of six runs and what repeats it: (folder, repeat in a folder)."""
    from tests.backtest.conftest import random_lookup, random_prices

    prices = random_prices(num_sessions=41)
    points = make_points({"top_k": 2, "subset_size": 6}, {"seed": [1, 2, 3], "horizon": [1, 5]})

    def repeat(folder):
        return run_sweep(points, BacktestInputs(prices=prices, lookup=random_lookup(prices)), folder, workers=1)

    folder = tmp_path_factory.mktemp("swept") / "sweep"
    repeat(folder)
    return folder, repeat


@settings(max_examples=40)
@given(
    name=st.sampled_from(["runs.jsonl", "returns.f8"]), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
)
def test_no_flipped_bit_of_a_journal_changes_a_figure(swept, tmp_path_factory, name, place, bit):
    """It is refused, or the run is computed again: the table has the same bytes."""
    folder = shutil.copytree(swept[0], tmp_path_factory.mktemp("flip") / "sweep")
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    with suppress(FormatError):
        result = swept[1](folder)
        assert (result.trials, result.unchecked) == (6, 0)
        assert result.table.read_bytes() == (swept[0] / "sweep.parquet").read_bytes()


@pytest.mark.parametrize("change", ["swap", "repeat", "drop", "merge"])
def test_lines_of_a_journal_keep_their_places(swept, tmp_path, change):
    """Lines in a different order, twice, or without one in between are not what was written."""
    folder = shutil.copytree(swept[0], tmp_path / "sweep")
    lines = (folder / "runs.jsonl").read_text().splitlines(keepends=True)
    lines = {
        "swap": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "repeat": [*lines[:3], *lines[2:]],
        "drop": [*lines[:2], *lines[3:]],
        "merge": [*lines[:2], lines[2].rstrip("\n"), *lines[3:]],
    }[change]
    (folder / "runs.jsonl").write_text("".join(lines))
    with pytest.raises(FormatError, match=r"runs\.jsonl, line [34]"):
        swept[1](folder)


def test_a_journal_without_checksums_is_read_and_counted(swept, tmp_path):
    """Earlier versions wrote none: its runs count, their figures must be those of their returns, and new lines have a
    checksum that cannot be left out later."""
    folder = shutil.copytree(swept[0], tmp_path / "sweep")
    path = folder / "runs.jsonl"
    lines = path.read_text().splitlines()
    plain = [re.sub(r', "checksum": "\w+"', "", line) for line in lines]
    path.write_text("\n".join(plain) + "\n")
    result = swept[1](folder)
    assert (result.computed, result.unchecked) == (0, 6)
    row = json.loads(plain[2])
    for change in ({"sharpe": 9.0}, {"total_return": 0.5}, {"sessions": row["sessions"] - 1}, {"key": 3}):
        path.write_text("\n".join([*plain[:2], json.dumps({**row, **change}), *plain[3:]]) + "\n")
        with pytest.raises(FormatError, match=r"runs\.jsonl, line [34]"):
            swept[1](folder)
    path.write_text("\n".join([*plain[:3], lines[3], *plain[4:]]) + "\n")
    with pytest.raises(FormatError, match="line 5, or its returns were changed"):
        swept[1](folder)


def test_a_heat_map_is_the_mean_over_the_other_settings():
    """Cells without a run are NaN, undefined figures are left out."""
    table = {
        "a": np.array([1, 1, 2, 2]), "b": np.array(["x", "x", "x", "y"]), "sharpe": np.array([1.0, 3.0, np.nan, 5.0])
    }  # fmt: skip
    found = heat_map(table, "a", "b")
    np.testing.assert_array_equal(found["values"], [[2.0, np.nan], [np.nan, 5.0]])
    assert (found["rows"].tolist(), found["columns"].tolist()) == ([1, 2], ["x", "y"])


def test_trials_are_on_disk_as_they_come(make_prices, make_lookup, tmp_path):
    """Each seed is the run it would be alone, and its row is there before the next begins."""
    prices = make_prices(num_sessions=41)
    config = BacktestConfig(top_k=2, subset_size=5)
    path = tmp_path / "trials.csv"
    seen = []
    trials = run_trials(
        config,
        BacktestInputs(prices=prices, lookup=make_lookup(prices)),
        6,
        path=path,
        progress=lambda done, total: seen.append((done, sum(1 for _ in path.open()) - 1)),
    )
    assert seen == [(number, number) for number in range(1, 7)]
    rows = list(csv.DictReader(path.open()))
    alone = run_backtest(
        BacktestConfig(top_k=2, subset_size=5, seed=45), BacktestInputs(prices=prices, lookup=make_lookup(prices))
    )
    assert float(rows[3]["final_capital"]) == alone.summary["final_capital"] == trials.figures["final_capital"][3]
    assert trials.equity[3].tolist() == alone.net.tolist()
    values = trials.figures["sharpe"]
    assert trials.mean("sharpe") == pytest.approx(values.mean())
    assert trials.deviation("sharpe") == pytest.approx(values.std(ddof=1))
    assert len(set(values.tolist())) > 1
    with pytest.raises(InputError, match="num_trials is 0"):
        run_trials(config, BacktestInputs(prices=prices, lookup=make_lookup(prices)), 0)


def test_the_sweep_tells_what_it_found_in_json(make_prices, make_lookup, tmp_path):
    """Keys of the interface, with the verdict on overfitting."""
    pytest.importorskip("purgedcv", reason="purgedcv comes with the stats extra")
    prices = make_prices(num_sessions=61)
    points = make_points({"top_k": 2, "subset_size": 6}, {"seed": list(range(8)), "horizon": [1, 5]})
    run_sweep(points, BacktestInputs(prices=prices, lookup=make_lookup(prices)), tmp_path, workers=1)
    document = json.loads((tmp_path / "sweep.json").read_text())
    assert {"runs", "seconds", "best", "table", "deflated_sharpe", "probability_of_overfitting"} <= set(document)
    assert 0 <= document["deflated_sharpe"] <= 1
    assert document["best"]["horizon"] in (1, 5)


def test_unchecked_runs_do_not_pass_for_checked_ones(make_prices, make_lookup, tmp_path):
    """Runs that were computed without looking for stale entries are refused by a sweep of that folder that looks."""
    prices, lookup = make_prices(), make_lookup(make_prices())
    points = make_points({"top_k": 2}, {"seed": [1]})
    lookup.stats.stale = None
    run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), tmp_path, workers=1)
    lookup.stats.stale = 0
    with pytest.raises(MismatchError, match="computed without --data"):
        run_sweep(points, BacktestInputs(prices=prices, lookup=lookup), tmp_path, workers=1)
