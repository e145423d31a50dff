"""The command `backtest`: where entries come from, what is refused, and what stands beside a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from encash.cli import main
from encash.panel import toy_panel
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, models, refusal, runs


def test_backtest_live_and_cached_agree_and_the_cached_one_needs_no_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same ledger and equity to the byte; a folder with everything that the contract names."""
    live = answer(capsys, *runs(folder, "--model", str(folder / "m.pt")))
    files = [folder / "run" / name for name in ("ledger.csv", "equity.parquet", "picks.parquet")]
    first = [path.read_bytes() for path in files]
    cached = answer(capsys, *runs(folder, "--cache", str(folder / "c.lance")))
    assert [path.read_bytes() for path in files[:2]] == first[:2]
    assert cached["hits"] == live["computed"]
    assert (cached["misses"], cached["stale"], cached["model_loaded"]) == (0, 0, False)
    assert (folder / "run" / "report.html").stat().st_size > 10_000
    assert json.loads((folder / "run" / "result.json").read_text())["final_capital"] == cached["final_capital"]


def test_without_a_model_a_miss_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--no-model` on a cache that lacks days: exit 2, whatever the share that may be missing."""
    days = (folder / "days.txt").read_text().split()
    part = str(tmp_path / "part.lance")
    answer(capsys, "build", *models(folder), "--cache", part, "--start", days[110])
    command = [*runs(folder, "--cache", part, "--model", str(folder / "m.pt")), "--max-missing", "1"]
    assert "no model may be loaded" in refusal(capsys, *command, "--no-model")
    assert answer(capsys, *command)["computed"] > 0


def test_restated_features_are_found_by_a_backtest(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A cache built before a restatement: stale entries are counted and encoded anew, never served."""
    restated = tmp_path / "f.h5"
    restated.write_bytes((folder / "f.h5").read_bytes())
    with h5py.File(restated, "r+") as file:
        ticker = next(iter(file))
        file[ticker]["features"][:] = file[ticker]["features"][:] * 1.01
    command = runs(folder, "--cache", str(folder / "c.lance"), "--model", str(folder / "m.pt"))
    command[command.index("--data") + 1] = str(restated)
    found = answer(capsys, *command)
    assert found["stale"] == found["computed"] > 0
    assert found["hits"] > 0


def test_a_run_that_would_know_its_future_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Starting before the ranking may be used: exit 2; allowed with a reason, which the result keeps."""
    days = (folder / "days.txt").read_text().split()
    command = runs(folder, "--cache", str(folder / "c.lance"))
    command[command.index("--start") + 1] = days[60]
    assert "allow-lookahead" in refusal(capsys, *command)
    allowed = answer(capsys, *command, "--allow-lookahead", "for the test")
    assert "for the test" in allowed["lookahead"]


def test_a_backtest_with_kept_assignments_reads_no_embedding(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`rank` and `walk` keep the cluster of every entry; backtests, sweeps and lists then read none of the vectors."""
    from encash.store.lance.snapshot import LanceSnapshot

    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    clusters = ["--clusters", str(folder / "k")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    (tmp_path / "grid.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\nfilter = ["hard", "nearest"]\n')

    def refuse(*_):
        raise AssertionError("an embedding was read")

    monkeypatch.setattr(LanceSnapshot, "vectors", refuse)
    run = runs(folder, "--cache", str(folder / "c.lance"))
    for kind in ("hard", "nearest", "static", "random"):
        assert answer(capsys, *run, "--filter", kind)["filter"] == kind
    assert answer(capsys, "picks", "--date", days[150], *data, *clusters)["picks"]
    sweep = ["sweep", str(tmp_path / "grid.toml"), *data, *clusters, "--keep", "0.4", "--workers", "1"]
    assert answer(capsys, *sweep, "--out", str(tmp_path / "sweep"))["runs"] == 2
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert answer(capsys, *run)["hits"] > 0
    assert answer(capsys, "clusters", "assign", "--cache", data[1], *clusters)["entries"] > 0


def test_comparisons_and_trials_stand_beside_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--compare` gives a verdict and files, `--num-trials` a table and mean ± sd."""
    command = runs(folder, "--cache", str(folder / "c.lance"), "--subset-size", "6")
    found = answer(capsys, *command, "--compare", "20", "--num-trials", "3")
    assert {"p_value", "sentence"} < set(found["verdict"])
    assert len(found["trials"]["sharpe"]) == 2
    assert {"comparisons.json", "comparisons.parquet", "trials.csv"} <= {
        path.name for path in (folder / "run").iterdir()
    }


@pytest.mark.parametrize(("draws", "early"), [(18, False), (40, False), (40, True)])
def test_the_command_line_and_the_page_give_one_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str], draws: int, early: bool
) -> None:
    """With draws enough, with too few, and with look-ahead: what the command says is what the page finds."""
    from encash.report import judge, read_comparisons, read_run

    command = runs(folder, "--cache", str(folder / "c.lance"), "--subset-size", "6", "--compare", str(draws))
    if early:
        command[command.index("--start") + 1] = (folder / "days.txt").read_text().split()[60]
        command += ["--allow-lookahead", "for the test"]
    said = answer(capsys, *command)["verdict"]
    page = judge(read_run(folder / "run"), read_comparisons(folder / "run"))
    assert page.finding.lower() in said["sentence"].lower()
    assert ("too few draws" in page.finding) == (draws < 19)
    assert said["helps"] <= (page.tone == "good")


@pytest.mark.parametrize(("more", "said"), [([], "all end at"), (["--subset-size", "4"], " ± ")])
def test_seeds_that_draw_nothing_are_said_to_draw_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    """Without a subset or a random filter every seed is the same run, and no deviation is made up."""
    command = runs(folder, "--cache", str(folder / "c.lance"), "--no-report", "--num-trials", "3", *more)
    spreads = answer(capsys, *command)["trials"]
    assert all((deviation == 0.0) != bool(more) for _, deviation in spreads.values())
    assert main(command) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("3 seeds"))
    assert said in line
    assert f"{spreads['final_capital'][0]:,.0f}" in line
    assert "e+" not in line


def test_the_universe_can_be_a_file_and_a_series_stands_beside(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--membership`: members by day; `--reference`: a series of date,value."""
    days = (folder / "days.txt").read_text().split()
    names = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[:3]
    (tmp_path / "members.csv").write_text("ticker,from,until\n" + "".join(f"{name},{days[0]},\n" for name in names))
    (tmp_path / "index.csv").write_text("date,index\n" + "".join(f"{day},{100 + i}\n" for i, day in enumerate(days)))
    files = ["--membership", str(tmp_path / "members.csv"), "--reference", str(tmp_path / "index.csv")]
    command = runs(folder, "--cache", str(folder / "c.lance"), "--filter", "none", *files)
    found = answer(capsys, *command)
    assert found["hits"] == found["rebalances"] * len(names)
    listed = runs(folder, "--cache", str(folder / "c.lance"), "--filter", "none", "--tickers", ",".join(names))
    assert answer(capsys, *listed)["final_capital"] == found["final_capital"]
    (tmp_path / "index.csv").write_text("date,index\n2020-01-01,-1\n")
    assert "above 0" in refusal(capsys, *command)


@pytest.mark.parametrize(
    "filter_flags",
    [
        ["--filter", "nearest", "--keep", "0.5"],
        ["--filter", "static"],
        ["--filter", "random", "--keep", "0.5"],
        ["--filter", "none"],
    ],
)
def test_every_filter_runs(filter_flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """hard, nearest, static, random and none."""
    found = answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), *filter_flags))
    assert found["trades"] > 0


def test_a_share_without_a_filter_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing would keep it."""
    flags = ["--cache", str(folder / "c.lance"), "--filter", "none", "--keep", "0.5"]
    assert "--keep is the share of a filter" in refusal(capsys, *runs(folder, *flags))


def test_the_core_reads_and_backtests_without_torch(folder: Path) -> None:
    """`encash backtest` on a cache imports none of torch, ray, onnxruntime; neither does help."""
    script = (
        "import sys; from encash.cli import main\n"
        f"code = main({runs(folder, '--cache', str(folder / 'c.lance'), '--json')!r})\n"
        "heavy = {'torch', 'ray', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy) * 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_with_holes_encodes_them_with_the_window_of_the_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The model is loaded late, when a miss needs it; it is the one that filled the rest of the cache."""
    cache = str(tmp_path / "nine.lance")
    answer(capsys, "build", *models(folder), "--cache", cache, "--lookback", "9", "--num-stocks", "4")
    result = answer(capsys, *runs(folder, *models(folder), "--cache", cache, "--filter", "none"))
    assert result["hits"] > 0 < result["computed"]
    assert (result["stale"], result["model_loaded"]) == (0, True)


def test_a_cached_run_refuses_flags_of_another_encoder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model file that the cache recognises is not taken as proof where a flag asks for another window of it."""
    line = refusal(capsys, *runs(folder, *models(folder), "--cache", str(folder / "c.lance"), "--lookback", "9"))
    assert "windows of 9 sessions" in line


def test_runs_that_differ_in_anything_have_folders_of_their_own(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --run-dir a run is named after all that decided it: another cache, model, clusters or universe, restated
    prices or a reference make another folder; the same run finds its own again."""
    monkeypatch.chdir(tmp_path)
    other = write_checkpoint(tmp_path / "o.pt", num_features=19, lookback=LOOKBACK, seed=5)
    coarse, cached = str(tmp_path / "int8.lance"), ["--cache", str(folder / "c.lance")]
    assert main(["build", *models(folder), "--cache", coarse, "--dtype", "int8", "--quiet"]) == 0
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=160)
    (tmp_path / "series.csv").write_text("date,value\n" + "".join(f"{day},1\n" for day in panel.sessions))
    with h5py.File(folder / "p.h5") as old, h5py.File(tmp_path / "p.h5", "w") as new:
        for name in old:
            old.copy(name, new)
        new[panel.tickers[-1]]["prices"][...] *= 2
    plain = [part for part in runs(folder) if part not in ("--run-dir", str(folder / "run"))]
    unfiltered = [part for part in plain if part not in ("--clusters", str(folder / "k"))]
    commands = [
        [*plain, *cached],
        [*plain, "--cache", coarse],
        [*unfiltered, *cached],
        [*unfiltered, "--model", str(other)],
        [*plain, *cached, "--tickers", ",".join(panel.tickers[:5])],
        [*plain, *cached, "--prices", str(tmp_path / "p.h5")],
        [*plain, *cached, "--reference", str(tmp_path / "series.csv")],
    ]
    folders = [answer(capsys, *command, "--no-report")["run_dir"] for command in commands]
    assert len(set(folders)) == len(commands)
    assert answer(capsys, *commands[0], "--no-report")["run_dir"] == folders[0]


def test_a_cached_backtest_refuses_data_of_other_features(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As `coverage` does: the features are named, and no run is made that has no entry for anybody."""
    with h5py.File(folder / "f.h5") as old, h5py.File(tmp_path / "f.h5", "w") as new:
        for ticker, group in old.items():
            new[f"{ticker}/dates"], new[f"{ticker}/features"] = group["dates"][:], group["features"][:, 1:]
    command = [*runs(folder, "--cache", str(folder / "c.lance"), "--no-model"), "--data", str(tmp_path / "f.h5")]
    assert "18 features" in refusal(capsys, *command)


def test_a_backtest_says_why_stale_entries_were_not_looked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without data; but live, where there is no cache, nothing can be stale."""
    cached = [
        part
        for part in runs(folder, "--cache", str(folder / "c.lance"))
        if part not in ("--data", str(folder / "f.h5"))
    ]
    capsys.readouterr()
    assert main(cached) == 0
    assert "not checked (no --data)" in capsys.readouterr().out
    assert main([*runs(folder, *models(folder)), "--clusters", str(folder / "k")]) == 0
    assert "stale 0" in capsys.readouterr().out


def test_hits_without_a_forecast_are_said_apart(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A classifier cached without bin edges: embeddings are hits, and each forecast was computed."""
    import torch

    classes = write_checkpoint(
        tmp_path / "c.pt", num_features=19, lookback=LOOKBACK, pred_mode="classification", num_bins=10
    )
    torch.save(torch.linspace(0.8, 1.2, 11), tmp_path / "edges.pt")
    where = ["--model", str(classes), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert main(["build", *where, "--quiet"]) == 0
    command = [*runs(folder, *where, "--filter", "none"), "--bin-edges", str(tmp_path / "edges.pt")]
    command = [part for part in command if part not in ("--clusters", str(folder / "k"))]
    found = answer(capsys, *command)
    assert found["forecasts_computed"] == found["hits"] == found["computed"] > 0
    assert main(command) == 0
    assert f"{found['hits']:,} of them hits without a cached forecast" in capsys.readouterr().out


def test_alpha_and_beta_stand_beside_the_figures(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Against all candidates, and against a series of one's own."""
    days = (folder / "days.txt").read_text().split()
    series = tmp_path / "index.csv"
    series.write_text("date,index\n" + "".join(f"{day},{100 + place % 7}\n" for place, day in enumerate(days)))
    command = runs(folder, "--cache", str(folder / "c.lance"))
    found = answer(capsys, *command, "--reference", str(series))
    assert {"alpha", "beta", "alpha_t"} <= set(found)
    assert "equal weights" in found["benchmark"]
    assert found["reference"]["name"] == "index"
    assert {"alpha", "beta", "alpha_t", "information_ratio"} <= set(found["reference"])
    assert answer(capsys, *command)["reference"] is None


def test_groups_say_what_bets_on_them_explain(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --compare only, and from a file that names a group for each candidate."""
    with h5py.File(folder / "f.h5") as file:
        tickers = sorted(file)
    groups = tmp_path / "groups.csv"
    groups.write_text("ticker,sector\n" + "".join(f"{name},{number % 2}\n" for number, name in enumerate(tickers)))
    command = [*runs(folder, "--cache", str(folder / "c.lance")), "--groups", str(groups)]
    assert "give both" in refusal(capsys, *command)
    verdict = answer(capsys, *command, "--compare", "20")["verdict"]
    assert verdict["groups"]["count"] == 2
    assert "bets on 2 groups explain" in verdict["sentence"]
    groups.write_text("ticker,sector\n" + f"{tickers[0]},1\n")
    assert "no group for" in refusal(capsys, *command, "--compare", "20")
    groups.write_text("sector\n1\n")
    assert "expected the columns ticker,group" in refusal(capsys, *command, "--compare", "20")
