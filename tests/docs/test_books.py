"""The page on books: its commands and its code run, in order."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from encash.cli import main

PAGES = Path(__file__).resolve().parents[2] / "docs"


def blocks(language: str, page: str = "books.md") -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices of 18 tickers from 2014 to 2016, scores, sectors, and the files of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    rng, days = np.random.default_rng(0), np.arange("2014-01-01", "2016-12-31", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (len(days), 18)), axis=0))
    rows = [
        f"{day},T{number:02d},{price:.4f},{price * 1.01:.4f},{price * 0.99:.4f},{price:.4f},{2e5 + 1e4 * number:.0f}"
        for day, prices in zip(days, close, strict=True)
        for number, price in enumerate(prices)
    ]
    Path("prices.csv").write_text("\n".join(["date,ticker,open,high,low,close,volume", *rows]) + "\n")
    scores = [f"{day},T{number:02d},{rng.normal():.4f}" for day in days for number in range(18)]
    Path("scores.csv").write_text("\n".join(["date,ticker,score", *scores]) + "\n")
    sectors = [f"T{number:02d},{('energy', 'banks', 'shops')[number % 3]}" for number in range(18)]
    Path("sectors.csv").write_text("\n".join(["ticker,sector", *sectors]) + "\n")
    Path("books.toml").write_text(blocks("toml")[0])
    for source in blocks("python")[:2]:
        Path(source.split()[1]).write_text(source)
    for name in ("my_weights", "my_optimizer", "my_encoder"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command as it stands."""
    words = shlex.split(line)
    assert words[0] == "encash"
    assert main([*words[1:], "--quiet"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture
def clusters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Features, a cache of the encoder of the page on models, and ranked clusters."""
    Path("my_encoder.py").write_text(blocks("python", "models.md")[0])
    run("encash prepare prices.csv --features-out features.h5 --prices-out prices.h5", capsys)
    run("encash build --model my_encoder:MeanAndTrend --data features.h5 --cache own.lance", capsys)
    run("encash clusters fit --cache own.lance --end 2015-12-31 -k 6 --out clusters", capsys)
    ranked = "--prices prices.h5 --end 2015-12-31 --horizon 5 --top 2"
    run(f"encash clusters rank --clusters clusters --cache own.lance {ranked}", capsys)


def test_the_page_runs(clusters: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command as it stands, then the code that repeats one of them in Python."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(lines) == 10
    found = {line: run(line, capsys) for line in lines}
    (limited,) = [text for line, text in found.items() if "--max-volume-share" in line]
    assert re.search(r"volume +[\d,]+ orders cut or put off", limited)
    (worst,) = [text for line, text in found.items() if "worst-clusters" in line]
    assert "exposure       long" in worst
    assert "8 (8 computed)" in next(text for line, text in found.items() if "sweep" in line)
    exec(blocks("python")[2], {})  # the code of the page, as a reader would run it


def test_the_optimizer_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If skfolio is installed with what it needs; its weights are kept below its limit."""
    pytest.importorskip("skfolio.optimization", reason="skfolio or its solvers are not installed", exc_type=ImportError)
    run("encash prepare prices.csv --prices-out prices.h5 --features-out features.h5", capsys)
    options = "--weights my_optimizer:least_variance --start 2016-02-08 --run-dir run --no-report"
    run(f"encash backtest --prices prices.h5 --scores scores.csv {options}", capsys)
    import pyarrow.parquet as pq

    weights = pq.read_table("run/picks.parquet")["weight"].to_numpy()
    assert 0.2 < weights.max() <= 0.5 + 1e-6
