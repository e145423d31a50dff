"""Features, prices, a model and its cache, and clusters of it, for the tests of the functions in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import encash
from encash.cli import main
from encash.panel import write_panel
from encash.panel.toy import toy_panel
from encash.testing import write_checkpoint

END, START = "2020-04-08", "2020-05-13"


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Features, prices, a model and its cache, made by the command line."""
    folder = tmp_path_factory.mktemp("api")
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=180)
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    write_checkpoint(folder / "m.pt", num_features=panel.num_features, lookback=8)
    build = ["build", "--model", "m.pt", "--data", "f.h5", "--cache", "c.lance", "--precision", "float32", "--quiet"]
    assert main([str(folder / word) if word in ("m.pt", "f.h5", "c.lance") else word for word in build]) == 0
    return folder


@pytest.fixture
def sources(home, monkeypatch) -> dict[str, str]:
    """The inputs by name, in the working folder of the test."""
    monkeypatch.chdir(home)
    return {"prices": "p.h5", "cache": "c.lance", "panel": "f.h5"}


@pytest.fixture
def ranked(sources):
    fitted = encash.fit_clusters("c.lance", end=END, k=4, seed=3)
    return encash.rank_clusters(fitted, "c.lance", "p.h5", end=END, horizon=5, top=2)
