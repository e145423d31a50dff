"""The commands `plan`, `build` and `update`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from encash.cache.build import BuildReport, Failure
from encash.cli import main
from encash.cli.build import report_build
from encash.cli.console import Console
from encash.panel import toy_panel
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, models, refusal, runs


def test_plan_and_build_agree_and_a_second_build_computes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`plan` tells what `build` then does."""
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "2"]
    plan = answer(capsys, "plan", *where)
    assert {"valid", "stale", "missing", "unavailable", "bytes_estimate", "seconds_estimate"} < set(plan)
    built = answer(capsys, "build", *where)
    assert built["computed"] == plan["missing"] > 0
    assert built["failed"] == 0
    again = answer(capsys, "update", *where)
    assert (again["computed"], again["reused"]) == (0, built["computed"])


def test_a_cache_keeps_its_engine(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
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


def test_stages_of_a_build_add_up(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The first three stocks, the next three and all the rest are together the whole."""
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "1"]
    first = answer(capsys, "build", *where, "--skip", "0", "--num-stocks", "3")
    second = answer(capsys, "build", *where, "--skip", "3", "--num-stocks", "3")
    rest = answer(capsys, "build", *where)
    assert first["computed"] + second["computed"] == rest["reused"] > 0
    assert answer(capsys, "cache", "info", str(tmp_path / "new.lance"))["tickers"] == 8


def test_an_update_computes_nothing_that_was_never_built(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A cache of two tickers and one month stays that: what the data have besides is left out, and it says so."""
    cache = ["--cache", str(tmp_path / "new.lance")]
    built = answer(capsys, "build", *models(folder), *cache, "--months", "1", "--skip", "0", "--num-stocks", "2")
    again = answer(capsys, "update", *models(folder), *cache)
    assert (again["computed"], again["reused"]) == (0, built["computed"])
    assert "6 tickers" in again["warnings"][0]
    assert "`encash build` adds them" in again["warnings"][0]


def test_tickers_come_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--tickers @FILE`: one ticker a line; the mark that some editors put before a text is no part of the first."""
    names = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[:2]
    (tmp_path / "tickers.txt").write_text("\n".join(names) + "\n", encoding="utf-8-sig")
    where = [*models(folder), "--cache", str(tmp_path / "new.lance"), "--months", "1"]
    answer(capsys, "build", *where, "--tickers", f"@{tmp_path / 'tickers.txt'}")
    assert answer(capsys, "cache", "info", str(tmp_path / "new.lance"))["tickers"] == 2


def test_a_checkpoint_that_names_no_window_takes_the_caches(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only where the checkpoint says nothing does the cache that it fills decide; a flag still comes first."""
    silent = write_checkpoint(tmp_path / "silent.pt", num_features=19, extras={"config": {}})
    where = ["--model", str(silent), "--data", str(folder / "f.h5"), "--cache", str(folder / "c.lance")]
    assert answer(capsys, "plan", *where)["missing"] == 0
    assert "windows of 9 sessions" in refusal(capsys, "plan", *where, "--lookback", "9")


@pytest.mark.parametrize("members", [1, 2])
def test_a_cache_gives_back_the_window_that_it_was_built_with(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, members: int
) -> None:
    """Built once with --lookback, it needs no flag again from the same model or ensemble, whatever window that states;
    other weights, and another flag, are refused as always."""
    second, other = (
        str(write_checkpoint(tmp_path / f"{seed}.pt", num_features=19, lookback=LOOKBACK, seed=seed)) for seed in (5, 6)
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


def test_bin_edges_that_are_none_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A checkpoint given as bin edges, and a file of edges that is not there: exit 2, in the words of the flag."""
    classes = write_checkpoint(
        tmp_path / "classes.pt", num_features=19, lookback=LOOKBACK, pred_mode="classification", num_bins=10
    )
    where = ["--model", str(classes), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert "invalid bin edges" in refusal(capsys, "build", *where, "--bin-edges", str(classes))
    assert "--bin-edges" in refusal(capsys, "build", *where, "--bin-edges", str(tmp_path / "no.pt"))


def test_a_build_without_forecasts_says_so(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A classifier without bin edges: on stderr and in the JSON, of a plan and of a build; not of any other model."""
    classes = write_checkpoint(
        tmp_path / "c.pt", num_features=19, lookback=LOOKBACK, pred_mode="classification", num_bins=10
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


@pytest.mark.parametrize(
    "named", [{"extras": {"config": {}}}, pytest.param({"lookback": LOOKBACK}, marks=pytest.mark.slow)]
)
def test_workers_of_ray_encode_with_the_window_of_the_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, named: dict[str, Any]
) -> None:
    """They do not see the cache: whatever window the checkpoint names, they get the one that was settled on before."""
    pytest.importorskip("ray", reason="ray comes with the dev install")
    model = write_checkpoint(tmp_path / "m.pt", num_features=19, **named)
    where = ["--model", str(model), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    answer(capsys, "build", *where, "--months", "1", "--num-stocks", "2", "--lookback", "9")
    assert main(["build", *where, "--months", "1", "--executor", "ray", "--workers", "1", "--json"]) == 0
    out, said = capsys.readouterr()
    ours = json.loads(out)
    assert ours["failed"] == 0 < ours["computed"]
    assert re.search(r"^Ray at [0-9.]+:\d+, started on this machine \(1 node, \d+ CPUs?\): 1 worker with ", said, re.M)


def test_a_build_that_fails_says_so_in_one_line_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the counts on stdout, and one line on stderr."""
    failures = (
        Failure(tickers=("A",), first="2024-01-02", last="2024-01-03", entries=2, cause="NaN"),
        Failure(tickers=("B",), first="2024-01-02", last="2024-01-02", entries=1, cause="NaN"),
    )
    report = BuildReport(
        computed=0,
        reused=0,
        unavailable=0,
        failed=3,
        seconds=1.0,
        encode_seconds=1.0,
        entries_per_second=0.0,
        engine="torch",
        precision="float32",
        device="cpu",
        failures=failures,
    )
    assert report_build(report, Console(as_json=True, quiet=True)) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["failed"] == 3
    assert printed.err == "3 entries failed; the first: 2 entries failed (A; 2024-01-02 to 2024-01-03): NaN\n"


def test_the_weights_of_a_model_are_the_same_model_in_any_file(folder, tmp_path, capsys, monkeypatch):
    """A cache serves the weights of its model from a plain state dict with a config of its own and an extra head, read
    relative to the working folder; without the flags that name them it is refused in one line."""
    content = torch.load(folder / "m.pt", weights_only=True)
    state = {f"module.{name}": value for name, value in content["model_state_dict"].items()}
    torch.save(state | {"module.aux.weight": torch.ones(2)}, tmp_path / "w.pth")
    (tmp_path / "sizes.json").write_text(json.dumps(content["config"]))
    monkeypatch.chdir(tmp_path)
    plan = ["plan", "--model", "w.pth", "--data", str(folder / "f.h5"), "--cache", str(folder / "c.lance")]
    assert "has no config" in refusal(capsys, *plan)
    assert "--ignore-keys aux" in refusal(capsys, *plan, "--model-config", "sizes.json")
    found = answer(capsys, *plan, "--model-config", "sizes.json", "--ignore-keys", "aux")
    assert (found["missing"], found["stale"]) == (0, 0)
