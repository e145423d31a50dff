"""A data set in the formats of the guide, made without any code of ours: an outsider's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

LOOKBACK = 60
NUM_FEATURES = 8
HIDDEN = 16


@dataclass(frozen=True)
class Files:
    """The files of the guide, in a folder of their own."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"

    @property
    def data(self) -> Path:
        return self.folder / "data.h5"

    @property
    def prices(self) -> Path:
        return self.folder / "prices.h5"

    @property
    def clusters(self) -> Path:
        return self.folder / "clusters"

    @property
    def best(self) -> Path:
        return self.clusters / "best_clusters_5d.txt"

    def cache_command(self, output: Path) -> list[str]:
        return ["--model-path", str(self.model), "--dataset-path", str(self.data), "--output-path", str(output)]

    def backtest_command(self, cache: Path | None) -> list[str]:
        cached = [] if cache is None else ["--embeddings-cache", str(cache)]
        return [
            *("--data", str(self.data), "--model", str(self.model), "--prices", str(self.prices)),
            *("--cluster-dir", str(self.clusters), "--best-clusters-file", str(self.best)),
            *(*cached, "--test-months", "6", "--top-k", "3", "--output", str(self.folder / f"run-{bool(cached)}")),
        ]


class SeedModel(nn.Module):
    """The model of the guide's checkpoints, written down from their description alone."""

    def __init__(self, outputs: int = 4):
        super().__init__()
        self.input_proj = nn.Sequential(nn.Linear(NUM_FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.GELU())
        self.pos_encoding = nn.Parameter(torch.randn(1, 3000, HIDDEN) * 0.02)
        layer = nn.TransformerEncoderLayer(HIDDEN, 2, 4 * HIDDEN, 0.15, "gelu", batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        middle = HIDDEN if outputs == 4 else 2 * HIDDEN
        self.pred_head = nn.Sequential(
            nn.Linear(HIDDEN, middle), nn.GELU(), nn.Dropout(0.1), nn.Linear(middle, outputs)
        )
        self.confidence_head = nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(0.1), nn.Linear(HIDDEN, 4)
        )


def write_model(path: Path, *, mode: str = "regression", prefix: str = "", seed: int = 0) -> Path:
    """A checkpoint as the guide's users have it."""
    torch.manual_seed(seed)
    model = SeedModel(400 if mode == "classification" else 4)
    config = {"hidden_dim": HIDDEN, "num_layers": 1, "num_heads": 2, "dropout": 0.15, "pred_mode": mode}
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"model_state_dict": state, "config": config, "epoch": 3, "val_loss": 1.0}, path)
    return path


def write_data(folder: Path, *, num_tickers: int = 12, num_days: int = 300, seed: int = 0) -> None:
    """Features and prices; one ticker listed late, one that ends early, one with a gap, one with NaN."""
    random = np.random.default_rng(seed)
    days = np.arange("2022-01-03", "2025-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:num_days]
    own = {f"S{number:02d}": days for number in range(num_tickers)}
    own["S01"], own["S02"], own["S03"] = days[120:], days[:-40], np.delete(days, slice(200, 210))
    with h5py.File(folder / "data.h5", "w") as features, h5py.File(folder / "prices.h5", "w") as prices:
        for ticker, its in own.items():
            values = random.normal(size=(len(its), NUM_FEATURES)).astype(np.float32)
            if ticker == "S04":
                values[-50, 3] = np.nan
            group = features.create_group(ticker)
            group["features"], group["dates"] = values, its.astype("S10")
            group = prices.create_group(ticker)
            walk = 100 * np.exp(np.cumsum(random.normal(0, 0.02, len(its))))
            group["prices"], group["dates"] = walk.astype(np.float32), its.astype("S10")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Data, model, clusters and rankings, made by the guide's commands."""
    from encash.guide import analyze_clusters, create_clusters

    found = Files(tmp_path_factory.mktemp("guide"))
    write_data(found.folder)
    write_model(found.model)
    where = ["--model-path", str(found.model), "--dataset-path", str(found.data)]
    sizes = ["--n-clusters", "4", "--samples-per-stock", "40", "--output-dir", str(found.clusters)]
    assert create_clusters.main([*where, *sizes, "--quiet"]) == 0
    ranked = ["--cluster-dir", str(found.clusters), "--dataset-path", str(found.data)]
    assert analyze_clusters.main([*ranked, "--prices-path", str(found.prices), "--top-k", "2"]) == 0
    return found


@pytest.fixture(scope="session")
def cache(files: Files) -> Path:
    """The embeddings cache of the guide, HDF5."""
    from encash.guide import cache_embeddings

    path = files.folder / "embeddings_cache.h5"
    assert cache_embeddings.main([*files.cache_command(path), "--num-months", "8", "--quiet"]) == 0
    return path
