"""Training on planted signals: rank correlation on later sessions against the usual ridge regression.

Each row is one kind of signal, averaged over seeds and horizons; the ridge sees the same windows.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from encash.encoders import load_encoder
from encash.metrics import rank_ic, settled_returns
from encash.panel import Panel, gather_windows, window_grid
from encash.panel.toy import SIGNALS, Signal, signal_panel
from encash.training import TrainConfig, train
from encash.training.linear import fit_baseline, regression
from encash.training.samples import split_by_date

HORIZONS = (1, 5, 10, 20)
TRAIN_SESSIONS, EVERY = 1000, 8
"""Sessions before the test, and sessions from one tested session to the next."""
SEEDS = 3


def run(scale: float = 1.0) -> list[dict[str, Any]]:
    """Rows of the table; `scale` 1 is three seeds of 100 tickers × 1,500 sessions × 64 features."""
    return [_row(signal, max(1, round(SEEDS * min(scale, 1.0)))) for signal in SIGNALS]


def _row(signal: Signal, seeds: int) -> dict[str, Any]:
    ours, theirs, began = [], [], time.perf_counter()
    for seed in range(seeds):
        panel = signal_panel(signal, seed)
        config = TrainConfig(train_end=str(panel.sessions[TRAIN_SESSIONS - 1]), seed=seed)
        found = _test(panel, config)
        ours.append(found[0])
        theirs.append(found[1])
    model, ridge = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    text = ", ".join(f"{a:.3f} against {b:.3f} over {h}" for a, b, h in zip(model, ridge, HORIZONS, strict=True))
    return {
        "id": "T1",
        "what": f"planted signal ({signal}), tiny preset, rank IC of the model against a ridge: {text} sessions; "
        f"{(time.perf_counter() - began) / seeds:.0f} s each",
        "figure": float(model.mean()),
        "unit": "rank IC",
        "baseline": float(ridge.mean()),
        "limit": None,
        "ratio_baseline": float(model.mean() / ridge.mean()),
        "ratio_limit": None,
        "goal": "at least the ridge on the same windows",
        "met": bool(model.mean() >= ridge.mean()),
    }


def _test(panel: Panel, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean rank correlations of the model and of the ridge in the sessions after the training, each (H,)."""
    assert panel.prices is not None
    with tempfile.TemporaryDirectory() as folder:
        train(panel, Path(folder) / "m.pt", config=config)
        encoder = load_encoder(Path(folder) / "m.pt", device="cpu", precision="float32")
    split = split_by_date(panel, config, HORIZONS)
    ridge = fit_baseline(*regression(split, HORIZONS)).forecast
    rows = panel.rows(panel.tickers)
    tested = np.arange(TRAIN_SESSIONS + max(HORIZONS) + 1, len(panel.sessions) - max(HORIZONS), EVERY)
    ends = window_grid(rows, panel.sessions, config.lookback).end_row[tested]
    forecasts = (
        np.stack([encoder.encode(gather_windows(rows, day, config.lookback)).forecast for day in ends]),
        np.stack([ridge.predict(rows, day) for day in ends]),
    )
    returns = [settled_returns(panel.prices.close, horizon, "last")[0][tested] for horizon in HORIZONS]
    daily = [
        [np.nan_to_num(rank_ic(one[..., at].astype(np.float64), returns[at])).mean() for at in range(len(HORIZONS))]
        for one in forecasts
    ]
    return np.array(daily[0]), np.array(daily[1])
