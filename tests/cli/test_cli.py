"""The command line: one JSON object, one line for an error, the exit codes of the contract."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from encash.cli import main
from encash.panel import toy_panel, write_panel
from encash.testing import write_checkpoint

LOOKBACK = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, prices, a model, a cache, clusters and a ranking."""
    where = tmp_path_factory.mktemp("cli")
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=160)
    write_panel(panel, where / "f.h5", where / "p.h5")
    write_checkpoint(where / "m.pt", num_features=panel.num_features, lookback=LOOKBACK)
    days = [str(day) for day in panel.sessions]
    assert main(["build", *models(where), "--cache", str(where / "c.lance"), "--quiet"]) == 0
    clusters = ["--cache", str(where / "c.lance"), "--end", days[80]]
    assert main(["clusters", "fit", *clusters, "-k", "3", "--out", str(where / "k")]) == 0
    ranked = [*clusters, "--clusters", str(where / "k"), "--prices", str(where / "p.h5"), "--horizon", "5"]
    assert main(["clusters", "rank", *ranked, "--top", "2"]) == 0
    (where / "days.txt").write_text("\n".join(days))
    return where


def models(where: Path) -> list[str]:
    return ["--model", str(where / "m.pt"), "--data", str(where / "f.h5")]


def runs(where: Path, *more: str) -> list[str]:
    days = (where / "days.txt").read_text().split()
    return [
        *("backtest", "--data", str(where / "f.h5"), "--prices", str(where / "p.h5"), "--clusters", str(where / "k")),
        *("--start", days[100], "--end", days[150], "--top-k", "2", "--run-dir", str(where / "run"), "--quiet", *more),
    ]


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> dict:
    """The one JSON object of a command that succeeds."""
    capsys.readouterr()
    assert main([*command, "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line of a command that is refused with exit code 2."""
    capsys.readouterr()
    assert main([*command, "--quiet"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    return line


def test_people_read_rounded_figures_and_no_python(folder, capsys):
    """Without --json no number has more figures than anybody reads, and no list, table or truth is spelt as code."""
    capsys.readouterr()
    plan = ["plan", *models(folder), "--cache", str(folder / "other.lance"), "--quiet"]
    for command in (plan, ["cache", "info", str(folder / "c.lance")]):
        assert main(command) == 0
        told = capsys.readouterr().out
        assert re.search(r"\d\.\d{7,}|[\[\]{}]|True|False|None", told) is None, told


def test_plan_and_build_agree_and_a_second_build_computes_nothing(folder, capsys, tmp_path):
    """`plan` tells what `build` then does."""
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "2"]
    plan = answer(capsys, "plan", *where)
    assert {"valid", "stale", "missing", "unavailable", "bytes_estimate", "seconds_estimate"} < set(plan)
    built = answer(capsys, "build", *where)
    assert built["computed"] == plan["missing"] > 0
    assert built["failed"] == 0
    again = answer(capsys, "update", *where)
    assert (again["computed"], again["reused"]) == (0, built["computed"])


def test_a_cache_keeps_its_engine(folder, capsys, tmp_path):
    """Built by ONNX Runtime, it is opened by it again; another engine is refused by its name, and so is another way."""
    pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
    pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")
    cache = str(tmp_path / "new.lance")
    where = [*models(folder), "--cache", cache, "--months", "1"]
    built = answer(capsys, "build", *where, "--engine", "onnxruntime")
    assert (built["engine"], built["precision"]) == ("onnxruntime", "float32")
    assert answer(capsys, "update", *where)["reused"] == built["computed"] > 0
    assert answer(capsys, "cache", "verify", cache, *models(folder))["max_abs_diff"] < 1e-6
    assert "engine" in refusal(capsys, "build", *where, "--engine", "torch")
    assert "engine" in refusal(capsys, "build", *where, "--precision", "bfloat16")
    assert "steam" in refusal(capsys, "build", *where, "--engine", "steam")


def test_stages_of_a_build_add_up(folder, capsys, tmp_path):
    """The first three stocks, the next three and all the rest are together the whole."""
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "1"]
    first = answer(capsys, "build", *where, "--skip", "0", "--num-stocks", "3")
    second = answer(capsys, "build", *where, "--skip", "3", "--num-stocks", "3")
    rest = answer(capsys, "build", *where)
    assert first["computed"] + second["computed"] == rest["reused"] > 0
    assert answer(capsys, "cache", "info", str(tmp_path / "new.lance"))["tickers"] == 8


def test_an_update_computes_nothing_that_was_never_built(folder, capsys, tmp_path):
    """A cache of two tickers and one month stays that: what the data have besides is left out, and it says so."""
    cache = ["--cache", str(tmp_path / "new.lance")]
    built = answer(capsys, "build", *models(folder), *cache, "--months", "1", "--skip", "0", "--num-stocks", "2")
    again = answer(capsys, "update", *models(folder), *cache)
    assert (again["computed"], again["reused"]) == (0, built["computed"])
    assert "6 tickers" in again["warnings"][0]
    assert "`encash build` adds them" in again["warnings"][0]


def test_tickers_come_from_a_file(folder, capsys, tmp_path):
    """`--tickers @FILE`: one ticker a line; the mark that some editors put before a text is no part of the first."""
    names = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[:2]
    (tmp_path / "tickers.txt").write_text("\n".join(names) + "\n", encoding="utf-8-sig")
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "1"]
    answer(capsys, "build", *where, "--tickers", f"@{tmp_path / 'tickers.txt'}")
    assert answer(capsys, "cache", "info", str(tmp_path / "new.lance"))["tickers"] == 2


def test_info_coverage_and_verify_have_their_keys(folder, capsys, tmp_path):
    """The JSON keys that others rely on."""
    cache = str(folder / "c.lance")
    info = answer(capsys, "cache", "info", cache)
    expected = "engine entries tickers sessions first last dim dtype horizons encoder bytes bytes_per_entry versions"
    assert set(expected.split()) <= set(info)
    picture = tmp_path / "coverage.png"
    coverage = answer(capsys, "cache", "coverage", cache, "--data", str(folder / "f.h5"), "--out", str(picture))
    assert coverage["valid"] == info["entries"]
    assert {"stale", "missing", "unavailable", "by_ticker"} < set(coverage)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    verified = answer(capsys, "cache", "verify", cache, *models(folder))
    assert verified["checked"] == info["entries"]
    assert (verified["corrupt"], verified["duplicates"], verified["stale"]) == (0, 0, 0)
    assert verified["max_abs_diff"] < 1e-6


def test_verify_finds_flipped_bits_with_exit_code_3(folder, capsys, tmp_path):
    """A changed byte in the data is a finding."""
    import shutil

    copy = tmp_path / "c.lance"
    shutil.copytree(folder / "c.lance", copy)
    largest = max((copy / "data").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[100] ^= 0x10
    largest.write_bytes(content)
    assert main(["cache", "verify", str(copy), "--json", "--quiet"]) == 3
    assert json.loads(capsys.readouterr().out)["corrupt"] >= 1
    assert main(["cache", "verify", str(copy), "--drop", "--quiet"]) == 3
    assert "--drop" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("found: "))
    assert answer(capsys, "cache", "verify", str(copy))["corrupt"] == 0
    assert answer(capsys, "build", *models(folder), "--cache", str(copy))["computed"] >= 1


def test_a_sample_is_a_number_or_all(folder, capsys):
    """One line for anything else."""
    cache = str(folder / "c.lance")
    for wrong in ("-1", "0", "x"):
        with pytest.raises(SystemExit):
            main(["cache", "verify", cache, *models(folder), "--sample", wrong])
        assert "a number from 1, or all" in capsys.readouterr().err
    assert answer(capsys, "cache", "verify", cache, *models(folder), "--sample", "all")["not_compared"] == 0


def test_export_and_import_are_inverse(folder, capsys, tmp_path):
    """Lance → HDF5 → Lance holds the same entries, and a foreign file needs --trust."""
    out, back = tmp_path / "x.h5", tmp_path / "back.lance"
    entries = answer(capsys, "cache", "export", str(folder / "c.lance"), str(out))["entries"]
    assert answer(capsys, "cache", "import", str(out), str(back))["entries"] == entries
    original, copy = (answer(capsys, "cache", "info", str(path)) for path in (folder / "c.lance", back))
    assert (original["entries"], original["encoder"]) == (copy["entries"], copy["encoder"])
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file.create_dataset("AAPL/2024-01-02", data=np.zeros(16, np.float32))
    assert "--trust" in refusal(capsys, "cache", "import", str(foreign), str(tmp_path / "t.lance"))


def test_a_narrow_cache_shows_what_its_type_keeps(folder, capsys, tmp_path):
    """`cache info` has the measured agreement; `--least-agreement` is a share."""
    cache, where = str(tmp_path / "n.lance"), [*models(folder), "--months", "1", "--dtype", "int8"]
    answer(capsys, "build", *where, "--cache", cache, "--least-agreement", "0.5")
    assert answer(capsys, "cache", "info", cache)["agreement"]["vectors"] == 256
    assert answer(capsys, "cache", "info", str(folder / "c.lance"))["agreement"] is None
    assert main(["cache", "info", cache]) == 0
    assert "clusters" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("agreement"))
    for command in (
        ["build", *where, "--cache", cache],
        ["plan", *where, "--cache", cache],
        ["cache", "import", "x", "y"],
    ):
        with pytest.raises(SystemExit):
            main([*command, "--least-agreement", "1.5"])
        assert "from 0 to 1" in capsys.readouterr().err


def test_parts_merge_into_the_whole(folder, capsys, tmp_path):
    """Two caches of half the stocks each, merged: all entries, once."""
    where = [*models(folder), "--months", "1"]
    parts = [str(tmp_path / "a.lance"), str(tmp_path / "b.lance")]
    first = answer(capsys, "build", *where, "--cache", parts[0], "--skip", "0", "--num-stocks", "4")
    second = answer(capsys, "build", *where, "--cache", parts[1], "--skip", "4")
    merged = answer(capsys, "cache", "merge", *parts, "--into", str(tmp_path / "whole.lance"))
    assert merged["added"] == first["computed"] + second["computed"]
    assert answer(capsys, "build", *where, "--cache", str(tmp_path / "whole.lance"))["computed"] == 0


def test_an_old_file_becomes_trusted_by_proof(folder, capsys, tmp_path):
    """Imported on trust, then verified with model and data: from then on the model's own; a wrong model is found."""
    exported, old, taken = tmp_path / "x.h5", tmp_path / "old.h5", str(tmp_path / "taken.lance")
    answer(capsys, "cache", "export", str(folder / "c.lance"), str(exported))
    with h5py.File(exported, "r") as ours, h5py.File(old, "w") as theirs:
        for ticker, group in ours.items():
            for day, vector in group.items():
                theirs.create_dataset(f"{ticker}/{day}", data=vector[:], compression="gzip")
    answer(capsys, "cache", "import", str(old), taken, "--trust")
    assert not answer(capsys, "cache", "info", taken)["verified"]
    other = write_checkpoint(tmp_path / "other.pt", num_features=23, lookback=LOOKBACK, seed=5)
    data = ["--data", str(folder / "f.h5")]
    assert main(["cache", "verify", taken, "--model", str(other), *data, "--json", "--quiet"]) == 3
    capsys.readouterr()
    assert answer(capsys, "cache", "verify", taken, *models(folder))["verified"]
    assert answer(capsys, "cache", "info", taken)["verified"]
    assert answer(capsys, "build", *models(folder), "--cache", taken)["computed"] == 0


def test_a_model_file_is_not_asked_for_the_precision_of_another_one_s_cache(folder, capsys, tmp_path):
    """An ONNX model beside a cache that a checkpoint made in bfloat16: not its own, and refused as another encoder."""
    pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
    pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")
    from encash.encoders import load_encoder
    from encash.encoders.torch.export import export_onnx

    caches, other = tmp_path / "caches", str(tmp_path / "m.onnx")
    where = ["--data", str(folder / "f.h5"), "--cache", str(caches / "a.lance"), "--months", "1"]
    answer(capsys, "build", "--model", str(folder / "m.pt"), *where, "--precision", "bfloat16")
    export_onnx(load_encoder(folder / "m.pt", precision="float32", lookback=LOOKBACK), other)
    (found,) = answer(capsys, "cache", "list", str(caches), "--model", other)["caches"]
    assert found["belongs"] is False
    assert "precision: bfloat16" in refusal(capsys, "build", "--model", other, *where)


def test_the_caches_of_a_folder_are_listed(folder, capsys, tmp_path):
    """A line a cache, the model's own marked, whatever file the model lies in; a broken one says so; `cache info` of a
    folder names the command."""
    import shutil

    other = write_checkpoint(tmp_path / "other.pt", num_features=23, lookback=LOOKBACK, seed=5)
    caches = tmp_path / "caches"
    shutil.copytree(folder / "c.lance", caches / "a.lance")
    where = ["--data", str(folder / "f.h5"), "--cache", str(caches / "b.lance"), "--months", "1"]
    answer(capsys, "build", "--model", str(other), *where)
    (caches / "x.lance").write_text("no cache")
    for model in (folder / "m.pt", write_checkpoint(tmp_path / "again.pt", num_features=23, lookback=LOOKBACK)):
        found = answer(capsys, "cache", "list", str(caches), "--model", str(model))["caches"]
        assert [one["belongs"] for one in found] == [True, False, None]
    info = answer(capsys, "cache", "info", str(caches / "a.lance"))
    assert {name: found[0][name] for name in ("encoder", "dim", "dtype", "entries", "first", "last")} == {
        name: info[name] for name in ("encoder", "dim", "dtype", "entries", "first", "last")
    }
    assert "no cache" in found[2]["problem"]
    assert main(["cache", "list", str(caches), "--model", str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == [" ", "*", " "]
    assert "known files 1" in lines[1]
    assert "encash cache list" in refusal(capsys, "cache", "info", str(caches))


def test_a_cache_is_read_as_of_a_version(folder, capsys, tmp_path):
    """By number or by tag: info, coverage, export and backtest see what was there then."""
    cache, data = str(tmp_path / "c.lance"), ["--data", str(folder / "f.h5")]
    answer(capsys, "build", *models(folder), "--cache", cache)
    answer(capsys, "cache", "versions", cache, "--tag", "whole")
    whole = answer(capsys, "cache", "info", cache)
    from encash.cache import open_cache

    index = open_cache(cache).index()
    open_cache(cache).store.remove(index.row[index.row >= 0][10:].astype(np.int64))
    assert answer(capsys, "cache", "info", cache)["entries"] == 10
    for version in ("whole", str(whole["version"])):
        assert answer(capsys, "cache", "info", cache, "--as-of", version)["entries"] == whole["entries"]
        assert answer(capsys, "cache", "coverage", cache, *data, "--as-of", version)["valid"] == whole["entries"]
        out = str(tmp_path / "x.h5")
        assert answer(capsys, "cache", "export", cache, out, "--as-of", version)["entries"] == whole["entries"]
    then = runs(folder, "--cache", cache, "--as-of", "whole", "--no-model", "--no-report")
    assert answer(capsys, *then)["misses"] == 0
    assert "no version" in refusal(capsys, "cache", "info", cache, "--as-of", "never")


def test_versions_are_listed_and_tagged(folder, capsys, tmp_path):
    """`cache versions --tag` names the newest version; it stays after compacting."""
    cache = str(tmp_path / "c.lance")
    for month in ("2", "3"):
        answer(capsys, "build", *models(folder), "--cache", cache, "--months", month)
    found = answer(capsys, "cache", "versions", cache, "--tag", "kept")["versions"]
    assert found[-1]["tags"] == ["kept"]
    assert found[-1]["entries"] > found[0]["entries"]
    answer(capsys, "cache", "compact", cache, "--keep-versions", "2")
    assert any(version["tags"] == ["kept"] for version in answer(capsys, "cache", "versions", cache)["versions"])


def test_backtest_live_and_cached_agree_and_the_cached_one_needs_no_model(folder, capsys):
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


def test_without_a_model_a_miss_is_refused(folder, capsys, tmp_path):
    """`--no-model` on a cache that lacks days: exit 2, whatever the share that may be missing."""
    days = (folder / "days.txt").read_text().split()
    part = str(tmp_path / "part.lance")
    answer(capsys, "build", *models(folder), "--cache", part, "--start", days[110])
    command = [*runs(folder, "--cache", part, "--model", str(folder / "m.pt")), "--max-missing", "1"]
    assert "no model may be loaded" in refusal(capsys, *command, "--no-model")
    assert answer(capsys, *command)["computed"] > 0


def test_restated_features_are_found_by_a_backtest(folder, capsys, tmp_path):
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


def test_a_run_that_would_know_its_future_is_refused(folder, capsys):
    """Starting before the ranking may be used: exit 2; allowed with a reason, which the result keeps."""
    days = (folder / "days.txt").read_text().split()
    command = runs(folder, "--cache", str(folder / "c.lance"))
    command[command.index("--start") + 1] = days[60]
    assert "allow-lookahead" in refusal(capsys, *command)
    allowed = answer(capsys, *command, "--allow-lookahead", "for the test")
    assert "for the test" in allowed["lookahead"]


def test_a_sweep_a_list_a_walk_and_neighbours(folder, capsys, tmp_path):
    """The commands beyond a single backtest give their keys, on the same cache."""
    days = (folder / "days.txt").read_text().split()
    cache = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    clusters = ["--clusters", str(folder / "k")]
    (tmp_path / "grid.toml").write_text(
        f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2, 3]\nfilter = ["hard", "none"]\n'
    )
    sweep = [
        "sweep",
        str(tmp_path / "grid.toml"),
        *cache,
        *clusters,
        "--workers",
        "1",
        "--out",
        str(tmp_path / "sweep"),
    ]
    swept = answer(capsys, *sweep)
    assert (swept["runs"], swept["computed"]) == (6, 6)
    assert Path(swept["table"]).is_file()
    assert (tmp_path / "sweep" / "heat_filter_top_k.svg").read_text().startswith("<?xml")
    page = tmp_path / "sweep" / "best" / "report.html"
    for shown in (
        swept["report"],
        answer(capsys, "report", swept["best_run"], "--out", str(tmp_path / "p.html"))["report"],
    ):
        assert "Corrected for multiple testing" in Path(shown).read_text()
        assert "Chosen among 6 configurations" in Path(shown).read_text()
    assert Path(swept["report"]) == page
    assert answer(capsys, *sweep)["computed"] == 0
    (tmp_path / "grid.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2, 3]\n')
    assert answer(capsys, *sweep)["runs"] == 3
    assert not list((tmp_path / "sweep").glob("heat_*")), "a picture of settings that this grid does not vary"
    picks = answer(capsys, "picks", "--date", days[150], *cache, *clusters, "--top-k", "2")
    assert 0 < len(picks["picks"]) <= 2
    walk = ["clusters", "walk", *cache, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    walked = answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    assert walked["refits"] >= 2
    run = runs(folder, "--cache", str(folder / "c.lance"))
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert answer(capsys, *run)["filter"] == "hard"
    ticker = picks["picks"][0]["ticker"]
    near = answer(capsys, "similar", ticker, days[150], *cache, "--count", "3", "--embargo", "10")
    assert len(near["neighbours"]) == 3
    assert all(row["date"] <= days[140] for row in near["neighbours"])


def test_a_backtest_with_kept_assignments_reads_no_embedding(folder, capsys, monkeypatch, tmp_path):
    """`rank` and `walk` keep the cluster of every entry; backtests, sweeps and lists then read none of the vectors."""
    from encash.store.lance import LanceStore

    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    clusters = ["--clusters", str(folder / "k")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    (tmp_path / "grid.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\nfilter = ["hard", "nearest"]\n')

    def refuse(*_):
        raise AssertionError("an embedding was read")

    monkeypatch.setattr(LanceStore, "vectors", refuse)
    run = runs(folder, "--cache", str(folder / "c.lance"))
    for kind in ("hard", "nearest", "static", "random"):
        assert answer(capsys, *run, "--filter", kind)["filter"] == kind
    assert answer(capsys, "picks", "--date", days[150], *data, *clusters)["picks"]
    sweep = ["sweep", str(tmp_path / "grid.toml"), *data, *clusters, "--keep", "0.4", "--workers", "1"]
    assert answer(capsys, *sweep, "--out", str(tmp_path / "sweep"))["runs"] == 2
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert answer(capsys, *run)["hits"] > 0
    assert answer(capsys, "clusters", "assign", "--cache", data[1], *clusters)["entries"] > 0


def test_what_a_folder_of_clusters_holds_is_shown(folder, capsys, tmp_path):
    """`show` tells the clusters and every ranking of a folder, and the refits of a walk."""
    shown = answer(capsys, "clusters", "show", str(folder / "k"))
    assert (shown["k"], [one["horizon"] for one in shown["rankings"]]) == (3, [5])
    assert len(shown["rankings"][0]["best"]) == 2
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    walked = answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    assert answer(capsys, "clusters", "show", str(tmp_path / "walk")) == walked
    assert walked["terms"][0]["agreement"] is None


def test_a_stopped_walk_says_what_is_kept_and_goes_on_from_there(folder, capsys, tmp_path):
    """Ctrl-C in the middle: exit 1 and one line; `show` finds no walk yet; the same command makes the rest alone, and
    leaves the folder of a walk that was never stopped."""
    from encash.clusters import walk as room

    out, made = tmp_path / "walk", []
    walk = ["clusters", "walk", "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "-k", "3"]
    walk += ["--every", "20", "--horizon", "5", "--embargo", "5", "--top", "1", "--history", "60"]
    refit, stop_at = room._refit, 2

    def counted(*given):
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append(given[2])
        return refit(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_refit", counted)
        assert main([*walk, "--out", str(out), "--quiet"]) == 1
        assert f"stopped; 2 refits are kept: the same walk into {out} goes on from there" in capsys.readouterr().err
        assert "no clusters.json" in refusal(capsys, "clusters", "show", str(out))
        stop_at = 99
        walked = answer(capsys, *walk, "--out", str(out))
    assert walked["refits"] == len(made) == len(set(made))
    answer(capsys, *walk, "--out", str(tmp_path / "whole"))
    ours, theirs = (
        {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}
        for where in (out, tmp_path / "whole")
    )
    assert ours == theirs


HELD = """
import sys
from encash import pipeline
from encash.clusters import FitConfig, Rule, WalkConfig
from encash.panel import open_prices
from pathlib import Path

def wait(done, total):
    print(done, flush=True)
    sys.stdin.readline()

cache, prices, out = pipeline.Sources(cache=sys.argv[1]).the_cache(), open_prices(sys.argv[2]), Path(sys.argv[3])
config = WalkConfig(every=20, horizon=5, embargo=5, history=60, fit=FitConfig(k=3), rule=Rule(top_k=1))
pipeline.write_walk(cache, prices, config, out, progress=wait)
"""


def test_two_processes_never_walk_into_one_folder(folder, capsys, tmp_path):
    """The second is refused in one line; the first ends with the walk that it makes alone, and a killed one keeps
    nobody out."""
    out = tmp_path / "walk"
    where = [str(folder / "c.lance"), str(folder / "p.h5"), str(out)]
    walk = ["clusters", "walk", "--cache", where[0], "--prices", where[1], "-k", "3", "--top", "1"]
    walk += ["--every", "20", "--horizon", "5", "--embargo", "5", "--history", "60"]

    def begin():
        first = subprocess.Popen(
            [sys.executable, "-c", HELD, *where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert first.stdout.readline() == "1\n"
        return first

    first = begin()
    first.kill()
    first.wait()
    first = begin()
    assert main([*walk, "--out", str(out), "--quiet"]) == 1
    refused = capsys.readouterr().err
    assert f"{out} is being written by another walk, process {first.pid};" in refused
    assert refused.count("\n") == 1
    told, _ = first.communicate("\n" * 9)
    assert first.returncode == 0
    walked = answer(capsys, "clusters", "show", str(out))
    assert walked["refits"] == len(told.splitlines()) + 1 > 2
    assert walked["terms"] == answer(capsys, *walk, "--out", str(tmp_path / "alone"))["terms"]


def test_the_metrics_of_the_flags_are_those_of_the_ranking():
    """The command line writes them down once more, so that help imports no clusters."""
    from encash import clusters
    from encash.cli import clusters as commands

    assert commands.METRICS == clusters.METRICS


def test_a_walk_takes_several_numbers_of_clusters_as_a_fit_does(folder, capsys, tmp_path):
    """A list or auto: the one chosen at the first refit, and all that were tried, stand in JSON and text of `walk` and
    `show`; a backtest takes the walk as any other, and the audit makes the choice again."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "--top", "1"]
    days = (folder / "days.txt").read_text().split()
    for given, tried in (("2,3,4", [2, 3, 4]), ("auto", [3, 5, 10, 20, 35, 50, 75, 100])):
        out = str(tmp_path / given)
        walked = answer(capsys, *walk, "--history", "60", "-k", given, "--out", out)
        assert [one["k"] for one in walked["choice"]] == tried
        assert walked["k"] == max(walked["choice"], key=lambda one: one["score"])["k"]
        assert answer(capsys, "clusters", "show", out) == walked
        assert main(["clusters", "show", out]) == 0
        text = capsys.readouterr().out
        assert text.count("Calinski–Harabasz index") == len(tried)
        assert f"refits of {walked['k']} clusters" in text
    run = runs(folder, *data[:2])
    run[run.index("--clusters") + 1] = out
    assert answer(capsys, *run)["misses"] == 0
    audit = ["audit", *models(folder), *data, "--clusters", out, "--start", days[100], "--days", "2", "--sample", "8"]
    capsys.readouterr()
    main([*audit, "--json", "--quiet"])
    checks = {one["name"]: one["passed"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["clusters: walk repeated on truncated data"]


def test_an_audit_that_names_no_start_begins_where_its_clusters_may_be_used(folder, capsys):
    """Days that the clusters were fitted on are none of a backtest; an audit of them has nothing to prove."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--clusters", str(folder / "k")]
    found = answer(capsys, "audit", *models(folder), *data, "--days", "4", "--sample", "8")
    assert {"name": "data to picks: poison", "passed": True} in [
        {key: check[key] for key in ("name", "passed")} for check in found["checks"]
    ]


def test_several_horizons_are_ranked_at_once(folder, capsys, tmp_path):
    """A ranking and its files for each horizon; alone, a horizon gives the same."""
    import shutil

    days = (folder / "days.txt").read_text().split()
    shutil.copytree(folder / "k", tmp_path / "k")
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--end", days[80]]
    rank = ["clusters", "rank", "--clusters", str(tmp_path / "k"), *data, "--top", "2", "--horizon"]
    found = answer(capsys, *rank, "1", "5", "10")
    assert [one["embargo"] for one in found["horizons"]] == [1, 5, 10]
    assert (tmp_path / "k" / "best_clusters_10d.txt").is_file()
    alone = answer(capsys, *rank, "5")
    assert alone == found["horizons"][1]
    assert "horizons" not in alone


def test_clusters_and_a_walk_do_not_share_a_folder(folder, capsys, tmp_path):
    """A fit into the folder of a walk, a walk into that of a fit, and a ranking of a walk are refused; a new fit takes
    the rankings of the old one away; a walk of another horizon is no filter of a run."""
    import shutil

    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = [
        "clusters",
        "walk",
        *data,
        "--every",
        "20",
        "--horizon",
        "5",
        "--embargo",
        "5",
        "-k",
        "3",
        "--history",
        "60",
    ]
    answer(capsys, *walk, "--out", str(tmp_path / "walk"))
    shutil.copytree(folder / "k", tmp_path / "k")
    fit = ["clusters", "fit", "--cache", str(folder / "c.lance"), "--end", days[70], "-k", "2", "--out"]
    assert "holds a walk" in refusal(capsys, *fit, str(tmp_path / "walk"))
    assert "clusters of one period" in refusal(capsys, *walk, "--out", str(tmp_path / "k"))
    rank = ["clusters", "rank", *data, "--end", days[80], "--horizon", "5", "--clusters"]
    assert "ranked already" in refusal(capsys, *rank, str(tmp_path / "walk"))
    answer(capsys, *walk[:-1], "110", "--out", str(tmp_path / "walk"))
    shown = answer(capsys, "clusters", "show", str(tmp_path / "walk"))
    assert len(list((tmp_path / "walk").glob("0*"))) == shown["refits"]
    assert answer(capsys, "clusters", "show", str(tmp_path / "k"))["rankings"]
    answer(capsys, *fit, str(tmp_path / "k"))
    assert not answer(capsys, "clusters", "show", str(tmp_path / "k"))["rankings"]
    run = runs(folder, "--cache", str(folder / "c.lance"), "--horizon", "10")
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert "ranked over 5 sessions" in refusal(capsys, *run)
    for wrong in (["--top", "-2"], ["--coverage", "2"], ["--min-sharpe", "nan"]):
        assert "expected" in refusal(capsys, *rank, str(folder / "k"), *wrong)


def test_neighbours_show_only_what_was_known_on_the_day(folder, capsys):
    """Returns that end after the day are not told, whatever the embargo."""
    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    ticker = answer(capsys, "picks", "--date", days[150], *data)["picks"][0]["ticker"]
    near = answer(capsys, "similar", ticker, days[150], *data, "--embargo", "1", "--count", "200")
    for row in near["neighbours"]:
        known = [days.index(row["date"]) + horizon <= 150 for horizon in near["horizons"]]
        assert [value is not None for value in row["returns"]] == known
    assert {value is None for row in near["neighbours"] for value in row["returns"]} == {True, False}, "both occur"


def test_the_number_of_clusters_is_chosen_by_a_criterion(folder, capsys, tmp_path):
    """Of several -k the one with the highest index is fitted, and the scores of all are told; nonsense is refused."""
    days = (folder / "days.txt").read_text().split()
    fit = ["clusters", "fit", "--cache", str(folder / "c.lance"), "--end", days[80], "--out", str(tmp_path / "k")]
    found = answer(capsys, *fit, "-k", "2,4,8")
    assert [row["k"] for row in found["choice"]] == [2, 4, 8]
    assert found["k"] == max(found["choice"], key=lambda row: row["score"])["k"]
    assert "dbscan" in refusal(capsys, *fit, "--method", "dbscan")
    with pytest.raises(SystemExit) as stopped:
        main([*fit, "-k", "few"])
    assert stopped.value.code == 2
    assert "10,20,50 or auto" in capsys.readouterr().err


def test_a_report_shows_the_clusters_it_is_given(folder, capsys, tmp_path):
    """Map, returns and wins by cluster stand on the page of a run; of a walk also what stays from refit to refit."""
    run = runs(folder, "--cache", str(folder / "c.lance"))
    answer(capsys, *run)
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    page = tmp_path / "page.html"
    report = ["report", str(folder / "run"), "--out", str(page), "--clusters"]
    assert "other clusters" in refusal(capsys, *report, str(tmp_path / "walk"))
    assert "no folder" in refusal(capsys, *report, str(tmp_path / "nowhere"))
    for clusters, refits in ((folder / "k", False), (tmp_path / "walk", True)):
        run[run.index("--clusters") + 1] = str(clusters)
        answer(capsys, *run)
        answer(capsys, *report, str(clusters))
        text = page.read_text()
        assert "2-D projection of the clusters" in text
        assert "had the highest win rate" in text
        assert "each kept cluster is chosen in" in text
        assert ("From one refit to the next" in text) == refits


def test_comparisons_and_trials_stand_beside_a_run(folder, capsys):
    """`--compare` gives a verdict and files, `--num-trials` a table and mean ± sd."""
    command = runs(folder, "--cache", str(folder / "c.lance"), "--subset-size", "6")
    found = answer(capsys, *command, "--compare", "20", "--num-trials", "3")
    assert {"p_value", "sentence"} < set(found["verdict"])
    assert len(found["trials"]["sharpe"]) == 2
    assert {"comparisons.json", "comparisons.parquet", "trials.csv"} <= {
        path.name for path in (folder / "run").iterdir()
    }


@pytest.mark.parametrize(("draws", "early"), [(18, False), (40, False), (40, True)])
def test_the_command_line_and_the_page_give_one_verdict(folder, capsys, draws, early):
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
def test_seeds_that_draw_nothing_are_said_to_draw_nothing(folder, capsys, more, said):
    """Without a subset or a random filter every seed is the same run, and no deviation is made up."""
    command = runs(folder, "--cache", str(folder / "c.lance"), "--no-report", "--num-trials", "3", *more)
    spreads = answer(capsys, *command)["trials"]
    assert all((deviation == 0.0) != bool(more) for _, deviation in spreads.values())
    assert main(command) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("3 seeds"))
    assert said in line
    assert f"{spreads['final_capital'][0]:,.0f}" in line
    assert "e+" not in line


def test_a_sweep_tells_people_its_best_run_and_what_that_is_worth(folder, capsys, tmp_path):
    """Settings and figures of the best run, a line each, with no key or place of the sweep's own files."""
    days = (folder / "days.txt").read_text().split()
    grid = tmp_path / "grid.toml"
    sweep = ["sweep", str(grid), "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--quiet"]
    for name, varied in (("several", "top_k = [1, 2]"), ("same", "seed = [1, 2]"), ("one", "top_k = [2]")):
        grid.write_text(f'[base]\nstart = "{days[100]}"\n[grid]\n{varied}\n')
        found = answer(capsys, *sweep, "--out", str(tmp_path / name))
        assert main([*sweep, "--out", str(tmp_path / name)]) == 0
        text = capsys.readouterr().out
        setting = varied.split()[0]
        assert f"best             {setting} {found['best'][setting]}, filter none" in text
        assert f"Sharpe {found['best']['sharpe']:.2f}" in text
        assert found["best"]["key"] not in text
        assert "{" not in text
        assert ("not judged: " + found["note"] in text) == (found["deflated_sharpe"] is None)


def test_the_universe_can_be_a_file_and_a_series_stands_beside(folder, capsys, tmp_path):
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
def test_every_filter_runs(filter_flags, folder, capsys):
    """hard, nearest, static, random and none."""
    found = answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), *filter_flags))
    assert found["trades"] > 0


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.unlink(), "no features file"),
        (lambda path: path.write_text("no HDF5"), "HDF5"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "HDF5"),
    ],
)
def test_bad_files_are_one_line(spoil, expected, folder, capsys, tmp_path):
    """Missing, not HDF5, truncated: exit code 2 and one line that names the file."""
    bad = tmp_path / "bad.h5"
    bad.write_bytes((folder / "f.h5").read_bytes())
    spoil(bad)
    line = refusal(
        capsys, "build", "--model", str(folder / "m.pt"), "--data", str(bad), "--cache", str(tmp_path / "c.lance")
    )
    assert "bad.h5" in line


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file[next(iter(file))])


@pytest.mark.parametrize(
    "change",
    [
        lambda group: group.__delitem__("dates"),
        lambda group: group["dates"].__setitem__(slice(0, 2), group["dates"][:2][::-1]),
        lambda group: group["dates"].__setitem__(1, group["dates"][0]),
    ],
    ids=["no dates", "unsorted", "doubled"],
)
def test_bad_dates_are_one_line(change, folder, capsys, tmp_path):
    """A ticker without dates, dates unsorted, dates doubled: exit code 2, naming the ticker."""
    bad = tmp_path / "bad.h5"
    bad.write_bytes((folder / "f.h5").read_bytes())
    edit(bad, change)
    with h5py.File(bad, "r") as file:
        ticker = next(iter(file))
    line = refusal(
        capsys, "build", "--model", str(folder / "m.pt"), "--data", str(bad), "--cache", str(tmp_path / "c.lance")
    )
    assert ticker in line


def test_a_checkpoint_that_does_not_fit_is_one_line(folder, capsys, tmp_path):
    """Another number of features, missing weights, extra weights."""
    import torch

    wide = write_checkpoint(tmp_path / "wide.pt", num_features=5, lookback=LOOKBACK)
    where = ["--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert "5" in refusal(capsys, "build", "--model", str(wide), *where)
    for change in ("missing", "extra"):
        content = torch.load(folder / "m.pt", weights_only=True)
        state = content["model_state_dict"]
        if change == "missing":
            del state["input_proj.0.bias"]
        else:
            state["surprise"] = torch.zeros(1)
        torch.save(content, tmp_path / f"{change}.pt")
        line = refusal(capsys, "build", "--model", str(tmp_path / f"{change}.pt"), *where)
        assert ("input_proj.0.bias" if change == "missing" else "surprise") in line


def test_no_session_in_range_is_one_line(folder, capsys, tmp_path):
    """A range outside the data, for a build and for a backtest."""
    line = refusal(capsys, "build", *models(folder), "--cache", str(tmp_path / "c.lance"), "--start", "2090-01-01")
    assert "session" in line
    command = runs(folder, "--cache", str(folder / "c.lance"))
    command[command.index("--start") + 1 : command.index("--start") + 4] = ["2090-01-01", "--end", "2090-02-01"]
    assert "session" in refusal(capsys, *command)


def test_wrong_usage_is_one_line_and_exit_code_2(capsys):
    """An unknown flag, a bad day, no command."""
    for command in (["build", "--nonsense"], ["backtest", "--prices", "p.h5", "--start", "yesterday"], []):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_every_command_explains_itself_with_an_example(capsys):
    """`--help` of each command shows an example."""
    names = (
        "demo",
        "prepare",
        "train",
        "plan",
        "build",
        "update",
        "backtest",
        "report",
        "sweep",
        "picks",
        "audit",
        "similar",
    )
    nested = [("cache", name) for name in ("info", "coverage", "verify", "merge", "export", "import", "compact")]
    nested += [("clusters", name) for name in ("fit", "rank", "walk", "assign", "show")]
    for command in [(name,) for name in names] + nested:
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        assert "example" in capsys.readouterr().out, command


def test_the_core_reads_and_backtests_without_torch(folder):
    """`encash backtest` on a cache imports none of torch, ray, onnxruntime; neither does help."""
    script = (
        "import sys; from encash.cli import main\n"
        f"code = main({runs(folder, '--cache', str(folder / 'c.lance'), '--json')!r})\n"
        "heavy = {'torch', 'ray', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy) * 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["plan", "build", "verify", "backtest"])
def test_a_checkpoint_of_another_window_than_the_cache_is_refused(command, folder, capsys, tmp_path):
    """The cache's window does not overrule the one that the checkpoint was trained on; the error names both."""
    longer = write_checkpoint(tmp_path / "longer.pt", num_features=23, lookback=LOOKBACK + 12)
    where = ["--model", str(longer), "--data", str(folder / "f.h5")]
    cached = ["--cache", str(folder / "c.lance")]
    commands = {
        "verify": ["cache", "verify", cached[1], *where],
        "backtest": runs(folder, *where, *cached),
    }
    line = refusal(capsys, *commands.get(command, [command, *where, *cached]))
    assert f"windows of {LOOKBACK + 12} sessions" in line
    assert f"windows of {LOOKBACK};" in line


def test_a_checkpoint_that_names_no_window_takes_the_caches(folder, capsys, tmp_path):
    """Only where the checkpoint says nothing does the cache that it fills decide; a flag still comes first."""
    silent = write_checkpoint(tmp_path / "silent.pt", num_features=23, extras={"config": {}})
    where = ["--model", str(silent), "--data", str(folder / "f.h5"), "--cache", str(folder / "c.lance")]
    assert answer(capsys, "plan", *where)["missing"] == 0
    assert "windows of 9 sessions" in refusal(capsys, "plan", *where, "--lookback", "9")


@pytest.mark.parametrize("members", [1, 2])
def test_a_cache_gives_back_the_window_that_it_was_built_with(folder, capsys, tmp_path, members):
    """Built once with --lookback, it needs no flag again from the same model or ensemble, whatever window that states;
    other weights, and another flag, are refused as always."""
    second, other = (
        str(write_checkpoint(tmp_path / f"{seed}.pt", num_features=23, lookback=LOOKBACK, seed=seed)) for seed in (5, 6)
    )
    more, cache = ["--ensemble-models", second] if members == 2 else [], str(tmp_path / "nine.lance")
    where = [*models(folder), *more]
    built = answer(capsys, "build", *where, "--cache", cache, "--lookback", "9")
    plan = answer(capsys, "plan", *where, "--cache", cache)
    assert (plan["valid"], plan["stale"], plan["missing"]) == (built["computed"], 0, 0)
    assert answer(capsys, "update", *where, "--cache", cache)["computed"] == 0
    assert answer(capsys, "cache", "verify", cache, *where)["max_abs_diff"] < 1e-5
    result = answer(capsys, *runs(folder, *where, "--cache", cache, "--filter", "none"))
    assert (result["misses"], result["stale"]) == (0, 0)
    unknown = ["--model", other, "--data", str(folder / "f.h5"), *more]
    for command in (["plan", *unknown], ["plan", *where, "--lookback", "8"]):
        assert f"windows of {LOOKBACK} sessions, the cache {cache} was built with windows of 9;" in refusal(
            capsys, *command, "--cache", cache
        )


def test_a_run_with_holes_encodes_them_with_the_window_of_the_cache(folder, capsys, tmp_path):
    """The model is loaded late, when a miss needs it; it is the one that filled the rest of the cache."""
    cache = str(tmp_path / "nine.lance")
    answer(capsys, "build", *models(folder), "--cache", cache, "--lookback", "9", "--num-stocks", "4")
    result = answer(capsys, *runs(folder, *models(folder), "--cache", cache, "--filter", "none"))
    assert result["hits"] > 0 < result["computed"]
    assert (result["stale"], result["model_loaded"]) == (0, True)


def test_a_cached_run_refuses_flags_of_another_encoder(folder, capsys):
    """A model file that the cache recognises is not taken as proof where a flag asks for another window of it."""
    line = refusal(capsys, *runs(folder, *models(folder), "--cache", str(folder / "c.lance"), "--lookback", "9"))
    assert "windows of 9 sessions" in line


def test_runs_that_differ_in_anything_have_folders_of_their_own(folder, capsys, tmp_path, monkeypatch):
    """Without --run-dir a run is named after all that decided it: another cache, model, clusters or universe, restated
    prices or a reference make another folder; the same run finds its own again."""
    monkeypatch.chdir(tmp_path)
    other = write_checkpoint(tmp_path / "o.pt", num_features=23, lookback=LOOKBACK, seed=5)
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


def test_bin_edges_that_are_none_are_one_line(folder, capsys, tmp_path):
    """A checkpoint given as bin edges, and a file of edges that is not there: exit 2, in the words of the flag."""
    classes = write_checkpoint(
        tmp_path / "classes.pt", num_features=23, lookback=LOOKBACK, pred_mode="classification", num_bins=10
    )
    where = ["--model", str(classes), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert "as bin edges" in refusal(capsys, "build", *where, "--bin-edges", str(classes))
    assert "--bin-edges" in refusal(capsys, "build", *where, "--bin-edges", str(tmp_path / "no.pt"))


def test_a_seed_below_zero_is_one_line(folder, capsys, tmp_path):
    """Wherever a seed is given: exit 2, and what was expected."""
    cache, prices = ["--cache", str(folder / "c.lance")], ["--prices", str(folder / "p.h5")]
    days = (folder / "days.txt").read_text().split()
    out = ["--out", str(tmp_path / "out")]
    walked = ["--every", "20", "--horizon", "5", "--embargo", "5", "--history", "60", "-k", "3"]
    (tmp_path / "grid.toml").write_text("[grid]\nseed = [-1]")
    (tmp_path / "random.toml").write_text("[random]\nruns = 2\nseed = -1\ntop_k = [1, 2]")
    for command in (
        ["clusters", "fit", *cache, "--end", days[80], "-k", "3", *out, "--seed", "-1"],
        ["clusters", "walk", *cache, *prices, *walked, *out, "--seed", "-1"],
        runs(folder, *cache, "--filter", "random", "--keep", "0.5", "--seed", "-1"),
        ["sweep", str(tmp_path / "grid.toml"), *cache, *prices, *out],
        ["sweep", str(tmp_path / "random.toml"), *cache, *prices, *out],
        ["train", "--data", str(folder / "f.h5"), *prices, *out, "--train-end", days[80], "--seed", "-1"],
    ):
        line = refusal(capsys, *command)
        assert "seed is -1" in line
        assert "0 or more" in line


@pytest.mark.parametrize(
    "command", ["prepare", "train", "fit", "walk", "backtest", "sweep", "report", "coverage", "demo"]
)
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(command, folder, capsys, tmp_path):
    """A plain file where a folder is needed: what could not be written, why, and how to mend it."""
    (tmp_path / "file").touch()
    (tmp_path / "grid.toml").write_text("[base]\ntop_k = 2")
    run, out = tmp_path / "run", str(tmp_path / "file" / "deeper" / "x.svg")
    days = (folder / "days.txt").read_text().split()
    cache, prices, data = (
        ["--cache", str(folder / "c.lance")],
        ["--prices", str(folder / "p.h5")],
        str(folder / "f.h5"),
    )
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=160)
    closes = [",".join(map(str, [day, *row])) for day, row in zip(panel.prices.days, panel.prices.close, strict=True)]
    (tmp_path / "prices.csv").write_text("\n".join([",".join(["date", *panel.tickers]), *closes]))
    if command == "report":
        assert main([*runs(folder, *cache), "--run-dir", str(run), "--no-report"]) == 0
    commands = {
        "prepare": [
            "prepare",
            str(tmp_path / "prices.csv"),
            "--features-out",
            out,
            "--prices-out",
            str(tmp_path / "p.h5"),
        ],
        "train": ["train", "--data", data, *prices, "--out", out, "--train-end", days[120]],
        "fit": ["clusters", "fit", *cache, "--end", days[80], "-k", "3", "--out", out],
        "walk": [
            "clusters",
            "walk",
            *cache,
            *prices,
            "--every",
            "20",
            "--horizon",
            "5",
            "--embargo",
            "5",
            "--out",
            out,
        ],
        "backtest": [*runs(folder, *cache), "--run-dir", out],
        "sweep": ["sweep", str(tmp_path / "grid.toml"), *cache, *prices, "--out", out],
        "report": ["report", str(run), "--out", out],
        "coverage": ["cache", "coverage", cache[1], "--data", data, "--out", out],
        "demo": ["demo", "--out", out],
    }
    capsys.readouterr()
    assert main([*commands[command], "--quiet"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(tmp_path / "file") in line
    assert "a file stands where a folder is needed" in line
    assert not (tmp_path / "p.h5").exists()


def test_a_cached_backtest_refuses_data_of_other_features(folder, capsys, tmp_path):
    """As `coverage` does: the features are named, and no run is made that has no entry for anybody."""
    with h5py.File(folder / "f.h5") as old, h5py.File(tmp_path / "f.h5", "w") as new:
        for ticker, group in old.items():
            new[f"{ticker}/dates"], new[f"{ticker}/features"] = group["dates"][:], group["features"][:, 1:]
    command = [*runs(folder, "--cache", str(folder / "c.lance"), "--no-model"), "--data", str(tmp_path / "f.h5")]
    assert "22 features" in refusal(capsys, *command)


def test_a_backtest_says_why_stale_entries_were_not_looked_for(folder, capsys):
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


def test_hits_without_a_forecast_are_said_apart(folder, capsys, tmp_path):
    """A classifier cached without bin edges: embeddings are hits, and each forecast was computed."""
    import torch

    classes = write_checkpoint(
        tmp_path / "c.pt", num_features=23, lookback=LOOKBACK, pred_mode="classification", num_bins=10
    )
    torch.save(torch.linspace(0.8, 1.2, 11), tmp_path / "edges.pt")
    where = ["--model", str(classes), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert main(["build", *where, "--quiet"]) == 0
    command = [*runs(folder, *where, "--filter", "none"), "--bin-edges", str(tmp_path / "edges.pt")]
    command = [part for part in command if part not in ("--clusters", str(folder / "k"))]
    found = answer(capsys, *command)
    assert found["forecasts_computed"] == found["hits"] == found["computed"] > 0
    assert main(command) == 0
    assert f"{found['hits']:,} of them hits without a forecast in the cache" in capsys.readouterr().out


def test_similar_finds_its_cache_and_needs_no_prices(folder, capsys, tmp_path, monkeypatch):
    """The only cache of the working folder, and the embargo in the cache's sessions; several or none are named."""
    days = (folder / "days.txt").read_text().split()
    ticker = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[0]
    monkeypatch.chdir(folder)
    near = answer(capsys, "similar", ticker, days[150], "--count", "3", "--embargo", "10")
    assert (len(near["neighbours"]), near["before"], near["horizons"]) == (3, days[140], [])
    assert near == {
        **answer(capsys, "similar", ticker, days[150], "--cache", "c.lance", "--count", "3", "--embargo", "10")
    }
    monkeypatch.chdir(tmp_path)
    assert "there is no *.lance here" in refusal(capsys, "similar", ticker, days[150])
    for name in ("a.lance", "b.lance"):
        (tmp_path / name).symlink_to(folder / "c.lance")
    assert "(a.lance, b.lance)" in refusal(capsys, "similar", ticker, days[150])


@pytest.mark.parametrize(
    "flags",
    [
        ["build", "--model", "m", "--data", "f", "--cache", "c", "--workers", "0"],
        ["sweep", "grid.toml", "--prices", "p", "--out", "o", "--workers", "-2"],
        ["backtest", "--prices", "p", "--num-trials", "0"],
        ["backtest", "--prices", "p", "--compare", "-1"],
        ["backtest", "--prices", "p", "--compare", "0"],
    ],
)
def test_counts_begin_at_one(flags, capsys):
    """No workers, no trials and no draws are no wish: exit 2, and what was expected."""
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 2
    assert "1 or more" in capsys.readouterr().err


def test_debug_shows_the_traceback_and_keeps_the_exit_code(capsys, tmp_path):
    """The traceback, then the same line and the same code as without."""
    assert main(["cache", "info", str(tmp_path / "no.lance"), "--debug"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.splitlines()[-1].startswith("encash cache info: ")


def test_an_error_names_the_whole_command(folder, capsys, tmp_path):
    """Of `cache` and `clusters` too."""
    assert refusal(capsys, "cache", "verify", str(tmp_path / "no.lance")).startswith("encash cache verify: ")
    assert refusal(capsys, "clusters", "show", str(tmp_path / "no")).startswith("encash clusters show: ")


def test_the_help_of_a_sweep_lists_every_setting(capsys):
    """Those of the configuration, and the filter: an unknown one is sent there."""
    from dataclasses import fields

    from encash.backtest import BacktestConfig
    from encash.cli.backtest import SETTINGS

    assert set(SETTINGS) == {field.name for field in fields(BacktestConfig)} | {"filter", "keep"}
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in SETTINGS)


def test_a_list_of_tickers_may_have_blank_lines_and_comments(capsys, tmp_path):
    """A line that begins with # and what follows a # behind a space are for people; no ticker at all is refused."""
    from encash.cli.flags import ticker_list

    (tmp_path / "t.txt").write_text("# mine\n\nAAPL  # Apple\n  \nBRK#A\n")
    assert ticker_list(f"@{tmp_path / 't.txt'}") == ("AAPL", "BRK#A")
    assert "'' names no ticker" in refusal(
        capsys, "build", "--model", "m", "--data", "f", "--cache", str(tmp_path / "c.lance"), "--tickers", ""
    )


def test_a_build_without_forecasts_says_so(folder, capsys, tmp_path):
    """A classifier without bin edges: on stderr and in the JSON, of a plan and of a build; not of any other model."""
    classes = write_checkpoint(
        tmp_path / "c.pt", num_features=23, lookback=LOOKBACK, pred_mode="classification", num_bins=10
    )
    where = ["--data", str(folder / "f.h5"), "--months", "1"]
    said = "no forecasts: the checkpoint has no bin edges (--bin-edges F)"
    for command in ("plan", "build"):
        new = [command, *where, "--model", str(classes), "--cache", str(tmp_path / "c.lance")]
        assert answer(capsys, *new)["warnings"] == [said]
        assert main(new) == 0
        assert said in capsys.readouterr().err
        other = [command, *where, "--model", str(folder / "m.pt"), "--cache", str(tmp_path / "m.lance")]
        assert answer(capsys, *other)["warnings"] == []


@pytest.mark.parametrize("named", [{"extras": {"config": {}}}, {"lookback": LOOKBACK}])
def test_workers_of_ray_encode_with_the_window_of_the_cache(folder, capsys, tmp_path, named):
    """They do not see the cache: whatever window the checkpoint names, they get the one that was settled on before."""
    pytest.importorskip("ray", reason="ray comes with the dev install")
    model = write_checkpoint(tmp_path / "m.pt", num_features=23, **named)
    where = ["--model", str(model), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    answer(capsys, "build", *where, "--months", "1", "--num-stocks", "2", "--lookback", "9")
    ours = answer(capsys, "build", *where, "--months", "1", "--executor", "ray", "--workers", "1")
    assert ours["failed"] == 0 < ours["computed"]


@pytest.mark.parametrize("command", [["prepare", "x.csv"], ["cache", "info", "x"]])
def test_a_flag_that_a_command_does_not_have_points_to_its_help(capsys, command):
    """Not to the help of `encash`, which lists no flags."""
    with pytest.raises(SystemExit) as stop:
        main([*command, "--features-out", "f", "--prices-out", "p", "--no-such"])
    name = " ".join(["encash", *(word for word in command if not word.startswith("x"))])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: unrecognized arguments: ")
    assert said.endswith(f"--no-such (see {name} --help)\n")
