"""The how-to pages: their commands run in order, and print what the pages show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from encash.cli import main
from encash.testing import write_checkpoint
from tests.docs.pages import blocks, run_page, without_hashes

TABLES = {
    "dates.csv": "date,ticker,close\n03/04/2024,A,10\n04/04/2024,A,11\n",
    "decimal.csv": 'date;ticker;close\n2024-01-02;A;"1,234"\n2024-01-03;A;"1,235"\n',
    "doubled.csv": "date,ticker,close\n2024-01-02,A,10\n2024-01-02,A,11\n",
    "zero.csv": "date,ticker,close\n2024-01-02,A,10\n2024-01-03,A,0\n",
    "sectors.csv": "ticker,sector\nT00,banks\n",
    "bad.toml": "[grid]\ntopk = [1, 2]\n",
}


@pytest.fixture
def refusals(workflow: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The files that the page on refusals has something against."""
    import torch

    for name, content in TABLES.items():
        Path(name).write_text(content, encoding="utf-8")
    content = torch.load("model.pt", weights_only=True)
    features = content["model_state_dict"]["input_proj.0.weight"].shape[1]
    torch.save({**content, "train_end": "2016-06-30"}, "late.pt")
    write_checkpoint(Path("other.pt"), num_features=features, lookback=8, seed=5)
    write_checkpoint(Path("wide.pt"), num_features=5, lookback=8)
    data = ["--data", "features.h5", "--precision", "float32", "--quiet"]
    assert main(["build", "--model", "late.pt", "--cache", "late.lance", *data]) == 0
    assert main(["build", "--model", "model.pt", "--cache", "part.lance", "--tickers", "T00,T01,T02", *data]) == 0
    inputs = ["--prices", "prices.h5", "--cache", "cache.lance", "--quiet"]
    assert main(["head", "fit", *inputs, "--end", "2015-12-31", "--horizon", "5", "--out", "head"]) == 0
    assert main(["backtest", *inputs, "--start", "2016-11-01", "--run-dir", "edited", "--no-report"]) == 0
    result = Path("edited/result.json")
    result.write_text(result.read_text().replace('"sharpe": ', '"sharpe": 1'), encoding="utf-8")
    return workflow


def test_every_refusal_of_the_page_occurs_word_for_word(refusals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the fixes that are commands run."""
    called = run_page("howto/refused.md", capsys, same=without_hashes)
    assert len(called) >= 20


@pytest.fixture
def second_model(workflow: Path) -> None:
    """Checkpoints with different weights, and the cache of one of them."""
    from encash.panel import open_panel

    features = open_panel("features.h5").num_features
    write_checkpoint(Path("model_v2.pt"), num_features=features, lookback=8, seed=5)
    build = ["build", "--model", "model_v2.pt", "--data", "features.h5", "--cache", "other.lance"]
    assert main([*build, "--precision", "float32", "--quiet"]) == 0


@pytest.mark.parametrize("page", ["restated-prices", "merging", "many-models", "own-filter"])
def test_the_commands_of_a_page_run(
    page: str, second_model: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command as it stands, in order, with the output that the page shows."""
    monkeypatch.delitem(sys.modules, "my_filter", raising=False)
    assert run_page(f"howto/{page}.md", capsys)


def test_the_contract_of_the_filter_of_the_page_holds(workflow: Path) -> None:
    """The file of the page passes under pytest, as its reader would run it."""
    for block in blocks("howto/own-filter.md", "python"):
        if block.startswith("# "):
            (workflow / block.split()[1]).write_text(block, encoding="utf-8")
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_filter.py"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
