"""The guide works as it stands, on an outsider's files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from encash import legacy_workflow
from encash.guide import analyze_clusters, backtest_simulation, cache_embeddings, create_clusters
from encash.store.lance import LanceStore
from encash.store.local.lock import file_writer

from .conftest import HIDDEN, LOOKBACK, Files, write_data, write_model


def result(files: Files, *, cached: bool) -> dict:
    return json.loads((files.folder / f"run-{cached}" / "result.json").read_text())


def backtest(files: Files, cache: Path | None, *more: str) -> int:
    return backtest_simulation.main([*files.backtest_command(cache), "--quiet", *more])


@pytest.mark.parametrize(
    "asked",
    [legacy_workflow.CreateClustersOptions, legacy_workflow.AnalyzeClustersOptions, legacy_workflow.SimulationOptions],
)
def test_the_flag_tables_alone_say_what_is_meant_where_nobody_says(asked):
    """What a command is asked for has no default beside that of its flag: two could differ."""
    assert [field.name for field in fields(asked) if field.default is not MISSING] == []
    assert [field.name for field in fields(asked) if field.default_factory is not MISSING] == []


def test_the_snippets_of_the_guide_run_on_the_cache(cache):
    """Number of tickers, list of dates and the compression of a vector are found as the guide looks for them."""
    with h5py.File(cache, "r") as f:
        assert len(f.keys()) == 12
        dates = list(f["S00"].keys())
        assert dates == sorted(dates)
        dataset = f["S00"][dates[0]]
        assert dataset.compression == "gzip"
        assert dataset.shape == (HIDDEN,)
        assert dataset.dtype == np.float32
        assert "2001-01-01" not in f["S00"]
        assert "AAPL" not in f


def test_each_ticker_is_cached_by_its_own_dates(cache, files):
    """Late listing, early end, gap and NaN: a vector for exactly the days with a whole finite window of that ticker."""
    with h5py.File(files.data, "r") as data, h5py.File(cache, "r") as f:
        last = max(ticker["dates"][-1] for ticker in data.values()).decode()
        first = np.datetime64(last) - 8 * 30
        for ticker, group in data.items():
            days, finite = group["dates"][:].astype("M8[D]"), np.isfinite(group["features"][:]).all(axis=1)
            ends = np.arange(LOOKBACK - 1, len(days))
            whole = [end for end in ends if finite[end - LOOKBACK + 1 : end + 1].all() and days[end] >= first]
            assert list(f[ticker].keys()) == [str(days[end]) for end in whole], ticker


def test_a_vector_of_the_cache_is_the_mean_state_of_the_window(cache, files):
    """The cached vector equals the outsider's own model run on the last 60 rows of that ticker."""
    import torch

    from .conftest import SeedModel

    model = SeedModel().eval()
    model.load_state_dict(torch.load(files.model, weights_only=True)["model_state_dict"])
    with h5py.File(files.data, "r") as data, h5py.File(cache, "r") as f, torch.inference_mode():
        for ticker in ("S00", "S01", "S03"):
            day = list(f[ticker].keys())[-1]
            end = data[ticker]["dates"][:].tolist().index(day.encode())
            window = torch.from_numpy(data[ticker]["features"][end - LOOKBACK + 1 : end + 1])[None]
            states = model.transformer(model.input_proj(window) + model.pos_encoding[:, :LOOKBACK])
            np.testing.assert_allclose(f[ticker][day][:], states.mean(dim=1)[0].numpy(), atol=2e-6)


def test_cached_and_live_backtests_pick_and_earn_the_same(cache, files):
    """Same ledger to the byte, every candidate a hit in the covered period, no model loaded with the cache."""
    assert backtest(files, None) == 0
    assert backtest(files, cache) == 0
    live, cached = result(files, cached=False), result(files, cached=True)
    ledgers = [(files.folder / f"run-{which}" / "ledger.csv").read_bytes() for which in (False, True)]
    assert ledgers[0] == ledgers[1]
    assert cached["final_capital"] == live["final_capital"]
    assert (cached["misses"], cached["stale"], cached["computed"]) == (0, 0, 0)
    assert cached["hits"] == live["computed"] > 0
    assert live["model_loaded"]
    assert not cached["model_loaded"]


def test_a_day_without_any_cached_row_is_encoded_and_counted(files, tmp_path):
    """A cache of the last month serves its part; all earlier candidates are misses that the model encodes."""
    short = tmp_path / "short.h5"
    assert cache_embeddings.main([*files.cache_command(short), "--num-months", "1", "--quiet"]) == 0
    assert backtest(files, None) == 0
    live = result(files, cached=False)
    assert backtest(files, short) == 0
    mixed = result(files, cached=True)
    assert mixed["misses"] == mixed["computed"] > 0
    assert mixed["hits"] > 0
    assert mixed["trades"] == live["trades"]
    assert mixed["final_capital"] == pytest.approx(live["final_capital"], rel=1e-9)


def test_the_commands_run_as_modules_without_torch_in_a_cached_backtest(cache, files):
    """`python -m inference.backtest_simulation` on a full cache imports no torch."""
    script = (
        "import sys; from inference.backtest_simulation import main\n"
        f"code = main({[*files.backtest_command(cache), '--json', '--quiet']!r})\n"
        "sys.exit(code or ('torch' in sys.modules) * 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"] > 0


def test_clusters_and_rankings_end_before_the_test_period(files):
    """What create_clusters and analyze_clusters saw ends an embargo before the last six months."""
    with h5py.File(files.prices, "r") as prices:
        days = np.unique(np.concatenate([group["dates"][:] for group in prices.values()])).astype("M8[D]")
    start = days[-6 * 21]
    for horizon in (1, 5, 10, 20):
        ranking = json.loads((files.clusters / f"ranking_{horizon}d.json").read_text())
        end = int(np.flatnonzero(days == np.datetime64(ranking["rank_end"]))[0])
        assert days[end + horizon] <= start
        assert np.datetime64(ranking["fit_end"]) < start


def test_editing_test_period_prices_moves_no_cluster_and_no_ranking(files, tmp_path):
    """Prices of the held-out months changed at random: the same best clusters, the same table."""
    with h5py.File(files.prices, "r") as old, h5py.File(tmp_path / "prices.h5", "w") as new:
        cut = max(group["dates"][-1] for group in old.values()).astype("M8[D]") - np.timedelta64(150, "D")
        for ticker, group in old.items():
            days, prices = group["dates"][:], group["prices"][:]
            late = days.astype("M8[D]") > cut
            prices[late] *= np.random.default_rng(1).uniform(0.5, 2, late.sum()).astype(np.float32)
            made = new.create_group(ticker)
            made["prices"], made["dates"] = prices, days
    where = ["--cluster-dir", str(files.clusters), "--output-dir", str(tmp_path / "ranked"), "--top-k", "2"]
    assert analyze_clusters.main([*where, "--prices-path", str(tmp_path / "prices.h5")]) == 0
    for name in ("best_clusters_5d.txt", "cluster_ranking_5d.csv"):
        assert (tmp_path / "ranked" / name).read_bytes() == (files.clusters / name).read_bytes()


def test_a_longer_test_than_was_held_out_is_refused_and_can_be_allowed(cache, files, capsys):
    """Nine test months on clusters that held six out: exit 2, and with --allow-lookahead a marked result."""
    longer = [*files.backtest_command(None), "--test-months", "9", "--quiet"]
    assert backtest_simulation.main(longer) == 2
    assert "embargo" in capsys.readouterr().err
    assert backtest_simulation.main([*longer, "--allow-lookahead", "to see what it costs"]) == 0
    assert "to see what it costs" in result(files, cached=False)["lookahead"]


def test_a_cache_of_another_model_of_the_same_size_is_refused(cache, files, tmp_path, capsys):
    """The fingerprint counts, not the dimension."""
    other = write_model(tmp_path / "other.pt", seed=9)
    command = files.backtest_command(cache)
    command[command.index("--model") + 1] = str(other)
    assert backtest_simulation.main([*command, "--quiet"]) == 2
    assert "weights" in capsys.readouterr().err


@pytest.mark.parametrize("cached_days", ["all", "some"])
def test_a_cache_of_another_window_than_the_guides_is_refused(cached_days, files, tmp_path, capsys):
    """A checkpoint that names no window has the guide's 60 sessions, whatever the cache was built with; --seq-len says
    otherwise, for every command."""
    short = tmp_path / "short.lance"
    months = ["--num-months", "8" if cached_days == "all" else "1"]
    assert cache_embeddings.main([*files.cache_command(short), "--seq-len", "20", *months, "--quiet"]) == 0
    assert cache_embeddings.main([*files.cache_command(short), "--quiet"]) == 2
    assert backtest(files, short) == 2
    message = capsys.readouterr().err
    assert message.count("windows of 60 sessions") == message.count("windows of 20;") == 2
    assert cache_embeddings.main([*files.cache_command(short), "--seq-len", "20", *months, "--quiet"]) == 0


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_a_damaged_cache_is_an_error_not_another_result(damage, cache, files, tmp_path, capsys):
    """Missing, empty or cut short: one line and exit 2."""
    path = tmp_path / "cache.h5"
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else cache.read_bytes()[:-4096])
    assert backtest(files, path) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert "cache.h5" in message
    assert damage != "missing" or "python -m cluster.cache_embeddings" in message


def test_compiled_checkpoints_give_the_same_vectors(cache, files, tmp_path):
    """The prefix _orig_mod. of a compiled model changes nothing."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    model = write_model(folder / "model.pt", prefix="_orig_mod.")
    out = folder / "cache.h5"
    command = files.cache_command(out)
    command[1] = str(model)
    assert cache_embeddings.main([*command, "--num-months", "1", "--quiet"]) == 0
    with h5py.File(out, "r") as ours, h5py.File(cache, "r") as theirs:
        for ticker, group in ours.items():
            for day, vector in group.items():
                np.testing.assert_array_equal(vector[:], theirs[ticker][day][:])


def test_a_classifier_without_bin_edges_ranks_by_equal_bins_and_says_so(files, tmp_path):
    """The guide names no file of edges; the rule is part of the forecast's identity."""
    model = write_model(tmp_path / "model.pt", mode="classification")
    command = files.backtest_command(None)
    command[command.index("--model") + 1] = str(model)
    choose = slice(command.index("--cluster-dir"), command.index("--test-months"))
    assert backtest_simulation.main([*command[: choose.start], *command[choose.stop :], "--quiet"]) == 0
    out = tmp_path / "cache.h5"
    build = files.cache_command(out)
    build[1] = str(model)
    assert cache_embeddings.main([*build, "--num-months", "1", "--quiet"]) == 0
    from encash.cache import open_cache

    spec = open_cache(out).encoder_spec
    assert spec is not None
    assert "100 bins of returns" in spec.forecast_rule


def test_a_second_build_reuses_the_file_and_a_failed_one_leaves_it(cache, files, tmp_path, capsys):
    """Building again computes nothing, whatever the case of the name's end; a build with a wrong model leaves the whole
    older file as it was."""
    path = tmp_path / "cache.H5"
    path.write_bytes(cache.read_bytes())
    command = [*files.cache_command(path), "--num-months", "8", "--json", "--quiet"]
    assert cache_embeddings.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["computed"], report["failed"]) == (0, 0)
    assert report["reused"] > 0
    before = path.read_bytes()
    command[1] = str(write_model(tmp_path / "other.pt", seed=9))
    assert cache_embeddings.main(command) == 2
    assert path.read_bytes() == before


def test_a_refused_build_leaves_nothing_beside_the_file(cache, files, tmp_path, capsys):
    """A wrong model, an unknown ticker: the folder holds what it held, so that no later build goes on from it."""
    path = tmp_path / "cache.h5"
    path.write_bytes(cache.read_bytes())
    wrong = files.cache_command(path)
    wrong[1] = str(write_model(tmp_path / "other.pt", seed=9))
    before = sorted(tmp_path.iterdir())
    for command in (wrong, [*files.cache_command(path), "--tickers", "S00,NOBODY"]):
        assert cache_embeddings.main([*command, "--quiet"]) == 2
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("method", ["create", "write"])
def test_a_build_that_stops_while_it_reads_the_file_loses_no_entry(method, cache, files, tmp_path, monkeypatch):
    """Stopped before the cache beside the file has its entries, then repeated for fewer months: the older ones stay,
    and the file has the same bytes."""
    path = tmp_path / "cache.h5"
    command = [*files.cache_command(path), "--quiet", "--num-months"]
    path.write_bytes(cache.read_bytes())
    assert cache_embeddings.main([*command, "1"]) == 0
    before = path.read_bytes()
    real = getattr(LanceStore, method)

    def stop(*values: object, **more: object) -> None:
        if method == "create":
            real(*values, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LanceStore, method, stop)
        assert cache_embeddings.main([*command, "1"]) == 1
    assert path.read_bytes() == before
    assert cache_embeddings.main([*command, "1"]) == 0
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["cache.h5"]


def test_a_build_that_stops_while_it_removes_its_cache_is_repeated(cache, files, tmp_path, monkeypatch):
    """Stopped when a part of the cache beside the file is gone: the next build starts from the file."""
    path = tmp_path / "cache.h5"
    path.write_bytes(cache.read_bytes())
    command = [*files.cache_command(path), "--quiet", "--num-months", "1"]

    def stop(folder: Path, **_: object) -> None:
        if (folder / "data").exists():
            (folder / "data").rename(folder / "gone")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("encash.legacy_workflow.caches.shutil.rmtree", stop)
        assert cache_embeddings.main(command) == 1
    before = path.read_bytes()
    assert cache_embeddings.main(command) == 0
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["cache.h5"]


def test_a_second_build_of_the_same_file_is_refused_while_the_first_runs(cache, files, tmp_path, capsys):
    """Two builds of one file would share the cache beside it, and the first to end would delete it: the second is
    refused, in one line that names the process, and a build after that works and leaves no lock file."""
    path = tmp_path / "cache.h5"
    with file_writer(path, "build"):
        assert cache_embeddings.main([*files.cache_command(path), "--quiet"]) == 1
    assert "is being written by" in capsys.readouterr().err
    assert not path.exists()
    assert cache_embeddings.main([*files.cache_command(path), "--quiet"]) == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache.h5"]


def test_the_parts_of_a_cache_are_used_together(cache, files, tmp_path, capsys):
    """Two stages, named one after the other or flag by flag, serve what the whole file serves."""
    assert backtest(files, cache) == 0
    whole = result(files, cached=True)
    parts = [tmp_path / "part1.h5", tmp_path / "part2.h5"]
    first = ",".join(f"S{number:02d}" for number in range(9))  # of 12: two stocks are in both
    for part, stocks in zip(parts, (["--num-stocks", "5"], ["--tickers", first]), strict=True):
        assert cache_embeddings.main([*files.cache_command(part), *stocks, "--num-months", "8", "--quiet"]) == 0
    for flags in ([str(parts[1])], ["--embeddings-cache", str(parts[1])]):
        command = files.backtest_command(parts[0])
        place = command.index(str(parts[0])) + 1
        assert backtest_simulation.main([*command[:place], *flags, *command[place:], "--quiet"]) == 0
        together = result(files, cached=True)
        assert (together["hits"], together["misses"]) == (whole["hits"], 0)
        assert together["final_capital"] == whole["final_capital"]


def test_parts_of_different_models_are_refused(cache, files, tmp_path, capsys):
    """Vectors of two models are never mixed."""
    other = tmp_path / "other.h5"
    command = files.cache_command(other)
    command[1] = str(write_model(tmp_path / "other.pt", seed=9))
    assert cache_embeddings.main([*command, "--num-months", "1", "--quiet"]) == 0
    assert backtest(files, cache, "--embeddings-cache", str(other)) == 2
    assert "encoder" in capsys.readouterr().err


def test_seeds_and_random_filters_are_told_beside_the_run(cache, files, capsys):
    """--num-trials says the spread over the seeds, --compare what chance does; the page knows it too."""
    more = ["--num-trials", "3", "--subset-size", "6", "--compare", "25"]
    capsys.readouterr()
    assert backtest(files, cache, *more) == 0
    told = capsys.readouterr().out
    assert "3 seeds " in told
    assert "25 random filters" in told
    assert backtest(files, cache, *more, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert set(values["trials"]) == {"final_capital", "sharpe", "max_drawdown"}
    assert values["verdict"]["draws"] == 25
    assert "of 25 random filters" in (files.folder / "run-True" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("there", [False, True])
def test_without_clusters_the_command_that_makes_them_is_named(there, cache, files, tmp_path, capsys):
    """No folder, or a list of best clusters alone: whoever follows the guide reads its own command."""
    folder = tmp_path / "cluster_results"
    if there:
        folder.mkdir()
        (folder / "best_clusters_5d.txt").write_text("0\n")
    command = files.backtest_command(cache)
    command[command.index("--cluster-dir") + 1] = str(folder)
    assert backtest_simulation.main([*command, "--quiet"]) == 2
    assert "python -m cluster.create_clusters" in capsys.readouterr().err


def test_old_pickles_are_never_loaded(files, tmp_path, capsys):
    """A cluster folder of the old code is refused, and the command that refits is named."""
    old = tmp_path / "old"
    old.mkdir()
    (old / "kmeans_model.pkl").write_bytes(b"\x80\x04.")
    (old / "best_clusters_5d.txt").write_text("0\n")
    command = files.backtest_command(None)
    command[command.index("--cluster-dir") + 1] = str(old)
    command[command.index("--best-clusters-file") + 1] = str(old / "best_clusters_5d.txt")
    assert backtest_simulation.main([*command, "--quiet"]) == 2
    assert "create_clusters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "names no cluster"),
        ("# nothing\n", "names no cluster"),
        ("7\n99\n", "does not exist"),
        ("x\n", "cluster id"),
    ],
)
def test_bad_best_clusters_are_one_clear_line(content, expected, files, tmp_path, capsys):
    """Empty file, ids that do not exist, ids that are none: exit 2."""
    path = tmp_path / "best_clusters_5d.txt"
    path.write_text(content)
    command = files.backtest_command(None)
    command[command.index("--best-clusters-file") + 1] = str(path)
    assert backtest_simulation.main([*command, "--quiet"]) == 2
    assert expected in capsys.readouterr().err


def test_the_money_is_that_of_the_old_simulator(files):
    """Nothing on buying, 0.1 % of the proceeds on selling, equal parts of all capital, sold five sessions later."""
    import csv

    assert backtest(files, None) == 0
    with open(files.folder / "run-False" / "ledger.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    capital, held = 100_000.0, []
    for row in rows:
        value = float(row["shares"]) * float(row["price"])
        if row["side"] == "buy":
            held.append(value)
            assert float(row["fee"]) == 0.0
        else:
            assert float(row["fee"]) == pytest.approx(0.001 * value)
    first = [row for row in rows if row["side"] == "buy" and row["date"] == rows[0]["date"]]
    spent = [float(row["shares"]) * float(row["price"]) for row in first]
    np.testing.assert_allclose(spent, capital / len(first))


def test_clusters_of_too_short_a_history_are_refused(tmp_path, capsys):
    """Fewer sessions than are held out: exit 2, and how to mend it."""
    write_data(tmp_path, num_days=140)
    model = write_model(tmp_path / "model.pt")
    where = [
        "--model-path",
        str(model),
        "--dataset-path",
        str(tmp_path / "data.h5"),
        "--output-dir",
        str(tmp_path / "c"),
    ]
    assert create_clusters.main([*where, "--quiet"]) == 2
    assert "--holdout-months" in capsys.readouterr().err


def test_the_short_lines_of_the_guide_run_where_its_files_lie(files, tmp_path, monkeypatch):
    """Stages, another model, another cache: lines that name neither data nor model find them at the guide's places."""
    import shutil

    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("checkpoints").mkdir()
    shutil.copy(files.data, "data/all_complete_dataset.h5")
    shutil.copy(files.prices, "data/actual_prices.h5")
    shutil.copy(files.model, "checkpoints/best_model_100m_1.18.pt")
    model = str(write_model(Path("checkpoints/model_v1.pt"), seed=4))
    stages = (
        ["--num-stocks", "5", "--output-path", "data/cache_part1.h5"],
        ["--num-stocks", "12", "--output-path", "data/cache_part2.h5"],
        ["--model-path", model, "--output-path", "data/embeddings_cache_v1.h5"],
        ["--batch-size", "16", "--num-months", "1"],
    )
    for flags in stages:
        assert cache_embeddings.main([*flags, "--quiet"]) == 0
    assert Path("data/embeddings_cache.h5").is_file()
    from encash.cache import merge_caches

    parts = ["data/cache_part1.h5", "data/cache_part2.h5"]
    assert merge_caches(parts, "data/whole.lance").conflicts == 0
    run = ["--model", model, "--embeddings-cache", "data/embeddings_cache_v1.h5", "--output", "run"]
    assert backtest_simulation.main([*run, "--test-months", "4", "--quiet"]) == 0
    assert json.loads(Path("run/result.json").read_text())["misses"] == 0
