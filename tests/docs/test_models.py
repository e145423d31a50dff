"""The page on models: its commands, in order, lead from prices to a report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from encash.cli import main
from encash.cli.main import parser
from encash.encoders import load_encoder
from encash.testing import write_checkpoint
from encash.training import PRESETS
from tests.docs.pages import blocks, write_prices, write_scores
from tests.encoders.checkpoints import CONFIG, seed_model
from tests.encoders.pretrained_models import save_bolt, save_patchtst, save_second, save_timesfm

PAGE = "models.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices of 12 tickers from 2014 to 2016 and their features, scores, positions, encoder and two caches."""
    monkeypatch.chdir(tmp_path)
    write_prices(Path("prices.csv"), 12)
    assert main(["prepare", "prices.csv", "--features-out", "features.h5", "--prices-out", "prices.h5", "--quiet"]) == 0
    write_scores(Path("scores.csv"), 12)
    Path("positions.csv").write_text("ticker,shares\nT00,10\n")
    Path("my_encoder.py").write_text(blocks(PAGE, "python")[0])
    for seed, name in enumerate(("one", "two")):
        write_checkpoint(f"{name}.pt", num_features=64, seed=seed)
        files = ["--model", f"{name}.pt", "--data", "features.h5", "--cache", f"{name}.lance"]
        assert main(["build", *files, "--start", "2016-01-01", "--quiet"]) == 0
    return tmp_path


def test_the_commands_of_the_page_run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command but the one on three encoders, which has tests of its own, as it stands."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], samples_per_epoch=256, epochs=1))
    lines = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if line]
    assert len(lines) == 15
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "encash"
        parser().parse_args(words[1:])
        if "encoders.toml" not in words:
            assert main([*words[1:], "--quiet"]) == 0, capsys.readouterr().err
    assert list(folder.glob("runs/*/report.html"))
    assert Path("orders.csv").read_text().startswith("ticker,side,shares,price")


def test_a_foundation_model_goes_from_prices_to_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of the section run as they stand, on a Chronos-Bolt with random weights."""
    pytest.importorskip("chronos", reason="chronos-forecasting is not installed (extra chronos)")
    save_bolt(folder / "chronos-bolt")
    lines = [line for line in blocks(PAGE, "sh")[0].splitlines() if line]
    assert len(lines) == 3
    for line in lines:
        assert main([*shlex.split(line)[1:], "--quiet"]) == 0, capsys.readouterr().err
    (report,) = folder.glob("runs/*/report.html")
    assert "training period" in report.read_text()


@pytest.mark.parametrize(
    ("scheme", "save"), [("chronos", save_second), ("timesfm", save_timesfm), ("transformers", save_patchtst)]
)
def test_each_kind_of_foundation_model_fills_a_cache(
    folder: Path, scheme: str, save: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two features by name, from the features of `prepare`; a second build finds all entries valid."""
    pytest.importorskip("chronos", reason="chronos-forecasting is not installed (extra chronos)")
    save(folder / "model")
    model = f"{scheme}:model?feature=return_1,volume_20"
    build = [
        "build",
        "--model",
        model,
        "--data",
        "features.h5",
        "--cache",
        "c.lance",
        "--months",
        "2",
        "--json",
        "--quiet",
    ]
    assert main(build) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(build) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first["failed"], second["computed"]) == (0, 0)
    assert first["computed"] == second["reused"] > 0
    captured = capsys.readouterr()
    assert captured.err == ""


def test_the_weights_are_saved_as_the_page_says(folder: Path) -> None:
    """The lines of the page that save a model as safetensors make a file that is its encoder."""
    (block,) = (block for block in blocks(PAGE, "python") if "save_file" in block)
    exec(compile(block, "models.md", "exec"), {"model": seed_model(), "config": CONFIG, "json": json})
    spec = load_encoder("model.safetensors").spec
    assert (spec.train_end, spec.lookback) == ("2015-12-31", CONFIG["seq_len"])
