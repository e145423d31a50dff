"""The files that the commands work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from encash.cli import main
from encash.panel import toy_panel, write_panel
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, models


@pytest.fixture(scope="session")
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
