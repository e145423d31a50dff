"""Files of earlier releases: what users have on disk stays readable and keeps its fingerprints and results."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from encash.backtest import BacktestConfig
from encash.cli import main
from encash.fingerprint import fingerprint
from encash.serialization import from_description, identity

FIXTURE = Path(__file__).parent / "fixtures" / "format1"
ENCODER = "93234caf2e4e7f066f95b561ecc58b7c7d89fba6617e72212fb72a5a8a31dd29"
CONTENT = {
    "cache.lance": ("float32", 332),
    "float16.lance": ("float16", 88),
    "int8.lance": ("int8", 88),
    "export.h5": ("float16", 88),
}
"""Type and number of entries of each cache."""
MODEL = ("--model", "model.pt", "--data", "features.h5")
DATA = ("--cache", "cache.lance", "--prices", "prices.h5")
DAYS = ("--start", "2020-04-13", "--end", "2020-05-29")
SETTINGS = (
    *("--top-k", "3", "--rebalance", "net", "--weights", "forecast", "--lag", "1", "--phase", "2", "--whole-shares"),
    *("--slippage", "0.001", "--fixed-fee", "1", "--buy-fee", "0.001", "--delisting=-30%", "--num-test-stocks", "3"),
    *("--confidence-percentile", "0.34"),
)
"""Flags of the run whose configuration is mostly not the default. Its `--confidence-percentile 0.2` was a percentage,
which excluded the least confident of three candidates, as the fraction 0.34 does now."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old files, as the working directory."""
    shutil.copytree(FIXTURE, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def run(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    """The JSON object of a command that succeeds."""
    capsys.readouterr()
    assert main([*command, "--json", "--quiet"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def backtest(capsys: pytest.CaptureFixture[str], *flags: str, out: str = "again") -> dict[str, Any]:
    """The result of a cached backtest that may not load the model."""
    command = ["backtest", "--data", "features.h5", *DATA, *DAYS, "--no-model", "--no-report", "--run-dir", out]
    return run(capsys, *command, *flags)


@pytest.mark.parametrize("cache", CONTENT)
def test_an_old_cache_belongs_to_its_model(cache: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It has its entries, type and encoder, all of them are valid, and they agree with the model."""
    dtype, entries = CONTENT[cache]
    info = run(capsys, "cache", "info", cache)
    assert (info["dtype"], info["entries"], info["encoder"]) == (dtype, entries, ENCODER)
    assert info["verified"]
    months = () if entries > 88 else ("--months", "1")
    plan = run(capsys, "plan", *MODEL, "--cache", cache, *months)
    assert (plan["valid"], plan["stale"], plan["missing"]) == (entries, 0, 0)
    verified = run(capsys, "cache", "verify", cache, *MODEL)
    assert (verified["checked"], verified["corrupt"], verified["differing"]) == (entries, 0, 0)
    assert run(capsys, "update", *MODEL, "--cache", cache)["computed"] == 0


def test_an_old_export_is_imported_as_the_model_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Its provenance is read from the root attributes, so that `--trust` is not needed."""
    assert run(capsys, "cache", "import", "export.h5", "new.lance")["entries"] == 88
    assert run(capsys, "plan", *MODEL, "--cache", "new.lance", "--months", "1")["valid"] == 88


def test_an_old_cache_takes_new_entries(capsys: pytest.CaptureFixture[str]) -> None:
    """A build adds what is missing and computes nothing again."""
    built = run(capsys, "build", *MODEL, "--cache", "int8.lance")
    assert (built["reused"], built["computed"], built["failed"]) == (88, 332 - 88, 0)
    assert run(capsys, "cache", "verify", "int8.lance", *MODEL)["corrupt"] == 0


def test_a_run_on_old_files_gives_the_old_bytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ledger, equity and fingerprints; the kept assignments of the clusters are used, not made again."""
    kept = sorted((folder / "clusters" / "assignments").rglob("*"))
    result = backtest(capsys, "--clusters", "clusters", "--top-k", "2", "--subset-size", "3")
    old = json.loads(Path("run/result.json").read_text())
    assert result["fingerprints"] == old["fingerprints"]
    assert result["configuration"] == {"format": 1, **old["configuration"]}
    assert Path("again/ledger.csv").read_bytes() == Path("run/ledger.csv").read_bytes()
    if pyarrow.__version__ == old["versions"]["pyarrow"]:  # another one may write the same table in other bytes
        assert Path("again/equity.parquet").read_bytes() == Path("run/equity.parquet").read_bytes()
    assert sorted((folder / "clusters" / "assignments").rglob("*")) == kept


@pytest.mark.parametrize(
    "name", [f"{where}-{kind}" for where in ("clusters", "walk") for kind in ("hard", "nearest", "static", "random")]
)
def test_old_clusters_filter_as_before(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Clusters and walks give the same fingerprints and results with each filter."""
    where, kind = name.split("-")
    result = backtest(capsys, "--clusters", where, "--filter", kind, "--top-k", "2")
    old = json.loads(Path("runs.json").read_text())[name]
    assert result["fingerprints"] == old["fingerprints"]
    assert result["final_capital"] == pytest.approx(old["final_capital"], rel=1e-12)


def test_settings_keep_their_fingerprint(capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration far from the default one gives the same result, and the same fingerprint with the old percentage
    under its name; the fraction has a fingerprint of its own, so that no sweep takes one for the other."""
    result = backtest(capsys, *SETTINGS)
    old = json.loads(Path("runs.json").read_text())["settings"]
    named = from_description(BacktestConfig, result["configuration"], what="the run")
    assert (result["configuration"]["format"], named.confidence_percentile) == (3, 0.34)
    percentage = {**identity(replace(named, confidence_percentile=0.0)), "confidence_percentile": 0.2}
    assert fingerprint(percentage) == old["fingerprints"]["configuration"]
    assert result["fingerprints"].pop("configuration") != old["fingerprints"].pop("configuration")
    assert result["fingerprints"] == old["fingerprints"]
    assert result["final_capital"] == pytest.approx(old["final_capital"], rel=1e-12)


def test_old_clusters_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Model, ranking and terms of a walk."""
    shown = run(capsys, "clusters", "show", "clusters")
    assert (shown["k"], shown["entries"], shown["encoder"]) == (3, 144, ENCODER)
    assert shown["rankings"] == [{"horizon": 5, "best": [1, 2], "rank_end": "2020-03-27", "embargo": 5}]
    walk = run(capsys, "clusters", "show", "walk")
    assert [term["best"] for term in walk["terms"]] == [[1], [1], [2]]


def test_an_old_run_is_rendered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page of a run folder, with its clusters and with its comparisons."""
    run(capsys, "report", "run", "--clusters", "clusters", "--out", "page.html")
    page = (folder / "page.html").read_text()
    assert "98,064" in page
    assert "0.381" in page


def test_an_old_sweep_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is computed again; the table has the old rows."""
    swept = run(capsys, "sweep", "grid.toml", *DATA, "--clusters", "clusters", "--workers", "1", "--out", "sweep")
    assert (swept["runs"], swept["computed"], swept["trials"]) == (2, 0, 2)
    old = [json.loads(line) for line in (FIXTURE / "sweep" / "runs.jsonl").read_text().splitlines()[1:]]
    assert swept["best"] == old[1]
