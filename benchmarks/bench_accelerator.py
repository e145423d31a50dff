"""P2 and P1 on an accelerator: entries per second of the 100m model, its share of the card's peak, and how much of the
bare encoder's rate a build keeps. Skipped if there is none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encash.arrays import Days, Float32, Int64
from encash.cache import Selection, open_cache
from encash.encoders import load_encoder
from encash.encoders.batches import BatchedEncoder
from encash.encoders.checkpoint import Layout
from encash.encoders.torch import TorchEncoder, choose_device
from encash.encoders.torch.device_feed import PlainLanes
from encash.encoders.torch.devices import half_dtype, synchronize
from encash.panel import ArraySource, Panel
from encash.testing import write_checkpoint

Row = dict[str, Any]
LOOKBACK, FEATURES = 60, 64
MODELS: dict[str, dict[str, Any]] = {
    "100m": {"hidden_dim": 1024, "num_layers": 10, "num_heads": 16},
    "tiny": {"hidden_dim": 64, "num_layers": 2, "num_heads": 4},
}
WHOLE_CACHE = 240_000
"""Entries that the goal encodes in a minute."""
PEAKS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "A40": 150,
    "A10G": 70,
    "A10": 125,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "T4": 65,
    "V100": 125,
    "RTX 6000 Ada": 364,
    "RTX A6000": 155,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 4080": 97,
    "RTX 3090": 71,
    "RTX 3080": 60,
}
"""Dense matrix products in bfloat16 (float16 on T4 and V100) with float32 sums, TFLOP/s, as the makers state them."""
LIMITED = {"Laptop", "Max", "Ti", "SUPER", "D", "MIG"}
"""Words in the names of cards that have other figures."""


def run(scale: float = 1.0) -> list[Row]:
    """Rows of the table; a `scale` below 0.5 takes a tiny model."""
    device = choose_device("auto")
    if device.type == "cpu":
        return [{"id": "P2g", "what": "skipped: no accelerator (CUDA, XPU or MPS) on this machine", "figure": None}]
    return measure(device, "100m" if scale >= 0.5 else "tiny")


def measure(device: torch.device, size: str) -> list[Row]:
    """Measure a model on a device; a CPU may stand in."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_checkpoint(Path(folder) / "m.pt", num_features=FEATURES, lookback=LOOKBACK, **MODELS[size])
        encoder = load_on(path, device)
        rate = bare_rate(encoder, seconds=2.0)
        built, bare = build_rate(Path(folder), encoder, entries=max(encoder.batch_size * 8, int(6 * rate)))
    flop, dtype = flop_per_entry(encoder.model.layout), str(half_dtype(device)).removeprefix("torch.")
    peak, products = peak_flops(card(device)), product_flops(device, encoder.model.layout)
    limit = (peak or products) / flop
    name = f"{size}, {card(device)}, {flop / 1e9:.2f} GFLOP per entry"
    of_peak = f"{rate * flop / peak:.1%} of the {dtype} peak ({peak / 1e12:,.0f} TFLOP/s)" if peak else "peak not known"
    minute = WHOLE_CACHE / rate
    return [
        {
            "id": "P2g",
            "what": f"bare encoder, {name}: {of_peak}; {WHOLE_CACHE:,} entries in {minute:,.0f} s; {encoder.choice}",
            "figure": rate,
            "unit": "entries/s",
            "baseline": products / flop,
            "limit": limit,
            "ratio_baseline": rate * flop / products,
            "ratio_limit": rate / limit,
            "goal": "≥ 50% of the peak, 240,000 entries in under a minute (baseline: the bare matrix products)",
            "met": rate / limit >= 0.5 and minute < 60,
        },
        {
            "id": "P1g",
            "what": f"build end to end, {name}",
            "figure": built,
            "unit": "entries/s",
            "baseline": bare,
            "limit": None,
            "ratio_baseline": built / bare,
            "ratio_limit": None,
            "goal": "≥ 95% of the bare encoder's entries/s",
            "met": built >= 0.95 * bare,
        },
    ]


def load_on(path: Path, device: torch.device, **options: Any) -> TorchEncoder:
    """Load a checkpoint as `encash` does on an accelerator; a CPU stands in with the calls of one."""
    if device.type != "cpu":
        loaded: Any = load_encoder(path, device=str(device), engine="torch", **options)
        assert isinstance(loaded, TorchEncoder)
        return loaded
    batch = options.pop("batch_size", None)
    plain: Any = load_encoder(path, device="cpu", **{"precision": "float32", **options})
    encoder = TorchEncoder(plain.model, plain.spec, lanes=PlainLanes(), batch_size=batch)
    encoder.choice = f"{plain.choice}; a CPU stands in" + ("" if batch else f"; {encoder.settle()}")
    return encoder


def card(device: torch.device) -> str:
    """The name of a device."""
    if device.type in ("cuda", "xpu"):
        return str(getattr(torch, device.type).get_device_name(device))
    return device.type


def peak_flops(name: str) -> float | None:
    """The peak of a card by its name, FLOP/s; None if it is not in the table."""
    words = set(name.replace("-", " ").split())
    if words & LIMITED:
        return None
    return next((1e12 * peak for key, peak in PEAKS.items() if set(key.split()) <= words), None)


def flop_per_entry(layout: Layout, lookback: int = LOOKBACK) -> float:
    """Multiplications and additions of a forward pass: projection, layers and attention; heads are left out."""
    hidden = layout.hidden_dim
    per_session = 2 * layout.num_features * hidden + layout.num_layers * (24 * hidden**2 + 4 * lookback * hidden)
    return float(lookback * per_session)


def product_flops(device: torch.device, layout: Layout, rows: int = 256 * LOOKBACK) -> float:
    """The rate of the matrix products of a layer and nothing else, FLOP/s, in the device's 16-bit type."""
    hidden, dtype = layout.hidden_dim, torch.float32 if device.type == "cpu" else half_dtype(device)
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)]
    weights = [torch.randn(outputs, inputs, dtype=dtype, device=device) for inputs, outputs in shapes]
    inputs = {width: torch.randn(rows, width, dtype=dtype, device=device) for width in (hidden, 4 * hidden)}

    def layer() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    return 2 * rows * sum(a * b for a, b in shapes) / _seconds_of(layer, device)


def bare_rate(encoder: BatchedEncoder, seconds: float) -> float:
    """Entries per second of only the encoder, with as many callers as it has, for at least some seconds."""
    rows, starts = _rows(encoder, 4 * encoder.batch_size)
    _encode_all(encoder, rows, starts, 1)
    calls = 1
    while (taken := _encode_all(encoder, rows, starts, calls)) < seconds:
        calls = max(2 * calls, min(64 * calls, int(1.2 * calls * seconds / taken)))
    return encoder.callers * calls * len(starts) / taken


def build_rate(folder: Path, encoder: TorchEncoder, entries: int) -> tuple[float, float]:
    """Entries per second of a build from an empty cache, and of the bare encoder right after it."""
    tickers = max(8, min(2000, entries // 40))
    panel = random_panel(tickers, LOOKBACK - 1 + max(2, entries // tickers))
    report = open_cache(folder / "cache.lance").build(panel, encoder, Selection())
    assert report.failed == 0
    assert report.computed == tickers * max(2, entries // tickers), report
    return report.entries_per_second, bare_rate(encoder, seconds=1.0)


def random_panel(tickers: int, sessions: int) -> Panel:
    """Features of random numbers."""
    days: Days = np.datetime64("2020-01-01", "D") + np.arange(sessions)
    random = np.random.default_rng(0)
    rows = {f"T{n:04}": random.standard_normal((sessions, FEATURES), dtype=np.float32) for n in range(tickers)}
    return Panel(ArraySource({name: (days, values) for name, values in rows.items()}))


def _rows(encoder: BatchedEncoder, count: int) -> tuple[Float32, Int64]:
    shape = count + LOOKBACK - 1, encoder.spec.num_features
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32), np.arange(count)


def _encode_all(encoder: BatchedEncoder, rows: Float32, starts: Int64, calls: int) -> float:
    """Seconds of some calls of each caller."""

    def one(_caller: int) -> None:
        for _ in range(calls):
            for _ in encoder.encode_rows(rows, starts):
                pass

    began = time.perf_counter()
    with ThreadPoolExecutor(encoder.callers) as callers:
        list(callers.map(one, range(encoder.callers)))
    return time.perf_counter() - began


def _seconds_of(call: Callable[[], None], device: torch.device) -> float:
    """The fastest of some warm calls, each waited for."""
    times = []
    for _ in range(8):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times[3:])
