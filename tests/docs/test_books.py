"""The page on books: its commands and its code run, in order."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks, run, write_prices, write_scores

PAGE = "books.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices of 18 tickers from 2014 to 2016, scores, sectors, and the files of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_prices(Path("prices.csv"), 18)
    write_scores(Path("scores.csv"), 18)
    sectors = [f"T{number:02d},{('energy', 'banks', 'shops')[number % 3]}" for number in range(18)]
    Path("sectors.csv").write_text("\n".join(["ticker,sector", *sectors]) + "\n")
    Path("books.toml").write_text(blocks(PAGE, "toml")[0])
    for source in blocks(PAGE, "python")[:2]:
        Path(source.split()[1]).write_text(source)
    for name in ("my_weights", "my_optimizer", "my_encoder"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.fixture
def clusters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Features, a cache of the encoder of the page on models, and ranked clusters."""
    Path("my_encoder.py").write_text(blocks("models.md", "python")[0])
    run("encash prepare prices.csv --features-out features.h5 --prices-out prices.h5", capsys)
    run("encash build --model my_encoder:MeanAndTrend --data features.h5 --cache own.lance", capsys)
    run("encash clusters fit --cache own.lance --end 2015-12-31 -k 6 --out clusters", capsys)
    ranked = "--prices prices.h5 --end 2015-12-31 --horizon 5 --top 2"
    run(f"encash clusters rank --clusters clusters --cache own.lance {ranked}", capsys)


def test_the_page_runs(clusters: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command as it stands, then the code that repeats one of them in Python."""
    lines = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if line]
    assert len(lines) == 10
    found = {line: run(line, capsys) for line in lines}
    (limited,) = [text for line, text in found.items() if "--max-volume-share" in line]
    assert re.search(r"volume +[\d,]+ orders cut or put off", limited)
    (worst,) = [text for line, text in found.items() if "worst-clusters" in line]
    assert "exposure       long" in worst
    assert "8 (8 computed)" in next(text for line, text in found.items() if "sweep" in line)
    exec(blocks(PAGE, "python")[2], {})  # the code of the page, as a reader would run it


def test_the_optimizer_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If skfolio is installed with what it needs; its weights are kept below its limit."""
    pytest.importorskip("skfolio.optimization", reason="skfolio or its solvers are not installed", exc_type=ImportError)
    run("encash prepare prices.csv --prices-out prices.h5 --features-out features.h5", capsys)
    options = "--weights my_optimizer:least_variance --start 2016-02-08 --run-dir run --no-report"
    run(f"encash backtest --prices prices.h5 --scores scores.csv {options}", capsys)
    import pyarrow.parquet as pq

    weights = pq.read_table("run/picks.parquet")["weight"].to_numpy()
    assert 0.2 < weights.max() <= 0.5 + 1e-6
