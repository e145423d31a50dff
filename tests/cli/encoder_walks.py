"""A small walk over three encoders, from prices in a CSV file to the list of encoders."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encash.cli import main
from encash.clusters import FitConfig, SelectionRule
from encash.pipeline import EncoderWalk, EncoderWalkConfig, Interval, Sources, WalkedEncoder
from encash.training import TrainConfig

SESSIONS = np.busday_offset(np.datetime64("2014-01-01"), np.arange(520), roll="forward")
ENDS = (300, 370, 440)
"""Sessions at which the encoders end their training."""
TICKERS, LATE = tuple(f"T{number:02d}" for number in range(9)), "AAA"


def write_prices(path: Path, *, edit_after: int | None = None) -> None:
    """Write random walks; every bar after a session may be a different one, and a ticker be listed then."""
    random, rows = np.random.default_rng(0), []
    close = 50 * np.exp(np.cumsum(random.normal(0.0003, 0.02, (len(SESSIONS), len(TICKERS))), axis=0))
    volume = 1e6 + 1e4 * random.random(close.shape)
    names = TICKERS
    if edit_after is not None:
        other = np.random.default_rng(1)
        late = np.full((len(SESSIONS), 1), np.nan)
        late[edit_after + 1 :, 0] = 20.0
        close, names = np.hstack([late, close]), (LATE, *TICKERS)
        volume = np.hstack([np.full_like(late, 1e6), volume])
        shape = close[edit_after + 1 :].shape
        close[edit_after + 1 :] *= np.exp(other.normal(0, 0.2, shape))
        volume[edit_after + 1 :] *= other.uniform(0.5, 2, shape)
    for row, day in enumerate(SESSIONS):
        for column, ticker in enumerate(names):
            price = close[row, column]
            if not np.isnan(price):
                bar = [f"{price * factor:.4f}" for factor in (1, 1.01, 0.99, 1)]
                rows.append([str(day), ticker, *bar, f"{volume[row, column]:.0f}"])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["date", "ticker", "open", "high", "low", "close", "volume"], *rows])


def prepare(folder: Path, **edit: Any) -> Path:
    """Write prices, and the features that `encash prepare` computes from them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_prices(folder / "prices.csv", **edit)
    files = ["--features-out", str(folder / "f.h5"), "--prices-out", str(folder / "p.h5")]
    assert main(["prepare", str(folder / "prices.csv"), *files, "--quiet"]) == 0
    return folder


def open_walk(folder: Path, out: Path, **changes: Any) -> EncoderWalk:
    """Open the walk on the prepared files of a folder."""
    quick = {"lookback": 6, "epochs": 1, "samples_per_epoch": 128, "validation_samples": 100, "device": "cpu"}
    settings: dict[str, Any] = {
        "train": TrainConfig(train_end=str(SESSIONS[ENDS[0]]), **quick),  # type: ignore[arg-type]  # each fits its field
        "every": Interval(count=ENDS[1] - ENDS[0]),
        "fit": FitConfig(k=4),
        "rule": SelectionRule(top_k=2),
        "window": 60,
    }
    sources = Sources(data=folder / "f.h5", prices=folder / "p.h5", precision="float32", device="cpu")
    return EncoderWalk.open(sources, EncoderWalkConfig(**{**settings, **changes}), out)


def run_walk(folder: Path, out: Path, **changes: Any) -> tuple[WalkedEncoder, ...]:
    """Run the walk on one thread: the bytes of a training belong to a number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return open_walk(folder, out, **changes).run()
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":  # the process that tests kill
    run_walk(Path(sys.argv[1]), Path(sys.argv[2]))
