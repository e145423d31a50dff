"""The demo's own prices: live and cached are the same to the bit, and the demo would notice if they were not."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from encash.cli import main
from encash.cli.demo import package_prices, same_picks
from encash.encoders import load_encoder
from encash.errors import MissingExtraError
from encash.panel import gather_windows, open_panel, window_grid
from encash.testing import write_checkpoint

START, RANKED, TRADED = "2021-01-04", "2021-12-31", "2022-02-01"
LOOKBACK = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, prices, a random model, a cache of two years, clusters and a ranking."""
    try:
        metadata.distribution("skfolio")
    except metadata.PackageNotFoundError:
        pytest.skip("the demo's prices come with skfolio, which is not installed: pip install --no-deps skfolio")
    where = tmp_path_factory.mktemp("demo")
    files = ["--features-out", str(where / "f.h5"), "--prices-out", str(where / "p.h5")]
    assert main(["prepare", str(package_prices("skfolio")), *files, "--quiet"]) == 0
    panel = open_panel(where / "f.h5")
    write_checkpoint(where / "m.pt", num_features=panel.num_features, lookback=LOOKBACK)
    build = ["--model", str(where / "m.pt"), "--data", str(where / "f.h5"), "--cache", str(where / "c.lance")]
    assert main(["build", *build, "--start", START, "--quiet"]) == 0
    span = ["--cache", str(where / "c.lance"), "--start", START, "--end", RANKED]
    assert main(["clusters", "fit", *span, "-k", "6", "--out", str(where / "k")]) == 0
    ranked = ["--clusters", str(where / "k"), "--prices", str(where / "p.h5"), "--horizon", "5", "--top", "3"]
    assert main(["clusters", "rank", *span, *ranked]) == 0
    return where


def backtest(where: Path, name: str, *source: str) -> Path:
    files = ["--data", str(where / "f.h5"), "--prices", str(where / "p.h5"), "--clusters", str(where / "k")]
    run = ["--start", TRADED, "--run-dir", str(where / name), "--tranches", "--no-report", "--quiet"]
    assert main(["backtest", *files, *run, *source]) == 0
    return where / name


def test_an_embedding_of_the_cache_is_the_model_on_that_tickers_window(folder):
    """Each cached vector has the bits of the live forward pass on the same (ticker, session)."""
    from encash.cache import open_cache

    panel, encoder = open_panel(folder / "f.h5"), load_encoder(folder / "m.pt", precision="float32")
    cache = open_cache(folder / "c.lance")
    for day in ("2021-03-15", "2022-12-28"):
        rows = panel.rows(start=day, end=day, lookback=LOOKBACK)
        grid = window_grid(rows, np.array([day], dtype="datetime64[D]"), LOOKBACK)
        live = encoder.encode(gather_windows(rows, grid.end_row[0], LOOKBACK))
        vectors, found = cache.get(day, panel.tickers)
        assert found.all()
        np.testing.assert_array_equal(vectors, live.embedding)
        np.testing.assert_array_equal(cache.forecasts(day, panel.tickers)[0], live.forecast)


def test_live_and_cached_runs_have_the_same_clusters_picks_and_ledger(folder):
    """Every candidate of every day: same cluster, same distance, same pick; every trade to the byte."""
    live = backtest(folder, "live", "--model", str(folder / "m.pt"), "--precision", "float32")
    cached = backtest(folder, "cached", "--cache", str(folder / "c.lance"))
    assert same_picks(live, cached)
    for name in ("picks.parquet", "ledger.csv", "equity.parquet"):
        assert (live / name).read_bytes() == (cached / name).read_bytes(), name
    counts = json.loads((cached / "result.json").read_text())
    assert (counts["misses"], counts["stale"], counts["unavailable"]) == (0, 0, 0)


def test_the_demo_notices_a_different_pick(folder):
    """Another number of names held is not the same."""
    one = backtest(folder, "one", "--cache", str(folder / "c.lance"))
    other = backtest(folder, "other", "--cache", str(folder / "c.lance"), "--top-k", "4")
    assert not same_picks(one, other)


def test_a_package_that_is_not_installed_is_named_with_the_line_that_mends_it():
    """`encash demo --offline-data nobody`: what is missing, and how to install it."""
    with pytest.raises(MissingExtraError, match="pip install --no-deps nobody-ships-prices"):
        package_prices("nobody-ships-prices")
