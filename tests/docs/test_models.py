"""The page on models: its commands, in order, lead from prices to a report."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encash.cli import main
from encash.cli.main import parser
from encash.testing import write_checkpoint
from encash.training import PRESETS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices of 12 tickers from 2014 to 2016 and their features, scores, positions, encoder and two caches."""
    monkeypatch.chdir(tmp_path)
    rng, days = np.random.default_rng(0), np.arange("2014-01-01", "2016-12-31", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (len(days), 12)), axis=0))
    rows = [
        f"{day},T{number:02d},{price:.4f},{price * 1.01:.4f},{price * 0.99:.4f},{price:.4f},{1e6 + 1e3 * number:.0f}"
        for day, prices in zip(days, close, strict=True)
        for number, price in enumerate(prices)
    ]
    Path("prices.csv").write_text("\n".join(["date,ticker,open,high,low,close,volume", *rows]) + "\n")
    assert main(["prepare", "prices.csv", "--features-out", "features.h5", "--prices-out", "prices.h5", "--quiet"]) == 0
    scores = [f"{day},T{number:02d},{rng.normal():.4f}" for day in days for number in range(12)]
    Path("scores.csv").write_text("\n".join(["date,ticker,score", *scores]) + "\n")
    Path("positions.csv").write_text("ticker,shares\nT00,10\n")
    Path("my_encoder.py").write_text(blocks("python")[0])
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
    lines = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(lines) == 15
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "encash"
        parser().parse_args(words[1:])
        if "encoders.toml" not in words:
            assert main([*words[1:], "--quiet"]) == 0, capsys.readouterr().err
    assert list(folder.glob("runs/*/report.html"))
    assert Path("orders.csv").read_text().startswith("ticker,side,shares,price")
