"""P2: speed of the encoders, beside torch's eager float32 and the bare matrix products of the same shapes. Each answer
is checked against the transformer written out in numpy, float64."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encash.arrays import Float32, Float64
from encash.encoders import Encoder, load_encoder
from encash.encoders.agreement import compare_embeddings
from encash.encoders.checkpoint import Layout
from encash.encoders.torch import read_checkpoint, runtime
from encash.encoders.torch.precision import PRECISIONS, offered
from encash.encoders.torch.threads import map_on_threads
from encash.testing import write_checkpoint

Row = dict[str, Any]
Rates = dict[str, float]
FEATURES, LOOKBACK, ROUNDS = 64, 60, 3
TYPES = ("float32", "bfloat16", "int8", "int7")
"""Types of which the bare matrix products are measured, if the processor has them."""
HAS_BFLOAT16 = 1.5
"""Products in bfloat16 are at least this many times as fast as in float32 on a processor that has them."""
MODELS = {
    "tiny (64, 2 layers)": ({"hidden_dim": 64, "num_layers": 2, "num_heads": 4}, 512),
    "small (256, 4 layers)": ({"hidden_dim": 256, "num_layers": 4, "num_heads": 8}, 128),
    "100m (1024, 10 layers)": ({"hidden_dim": 1024, "num_layers": 10, "num_heads": 16}, 32),
}
"""Sizes, and how many windows a round encodes."""
BIGGEST = "100m (1024, 10 layers)"
EAGER, EAGER_BATCH = "eager float32", 16
"""Torch as one would call it: the model, a batch, all cores on every step."""


def run(scale: float = 1.0) -> list[Row]:
    """Rows of the table; a `scale` below 0.5 leaves the 100m model out."""
    rows: list[Row] = []
    for name, (sizes, windows) in MODELS.items():
        if name != BIGGEST or scale >= 0.5:
            with tempfile.TemporaryDirectory() as folder:
                rows += _model_rows(Path(folder), name, sizes, windows)
    return [*rows, *({"id": "P2t", "what": f"skipped: {text}", "figure": None} for text in _lacking().values())]


@cache
def _lacking() -> dict[str, str]:
    """Return the precisions and engines that are skipped, and why."""
    lacking = {name: f"torch {name}: not on this processor" for name in PRECISIONS if name not in offered("cpu")}
    rates = _side_by_side({name: partial(_product, name) for name in ("float32", "bfloat16")}, 1)
    if (slower := rates["float32"] / rates["bfloat16"]) > 1:
        lacking["bfloat16"] = (
            f"torch bfloat16: not on this processor, which emulates it, {slower:.1f}× slower than float32"
        )
    if not runtime.is_installed():
        lacking["onnxruntime"] = "onnxruntime float32: not installed"
    return lacking


def _product(dtype: str) -> None:
    rows, weight = (torch.ones(shape, dtype=getattr(torch, dtype)) for shape in ((960, 256), (1024, 256)))
    for _ in range(10):
        torch.nn.functional.linear(rows, weight)


def _ways() -> list[tuple[str, str]]:
    """Engines and precisions that this machine has."""
    ways = [*(("torch", precision) for precision in PRECISIONS), ("onnxruntime", "float32")]
    return [way for way in ways if not {*way} & {*_lacking()}]


def _types() -> list[str]:
    return [name for name in TYPES if name not in _lacking()]


def _model_rows(folder: Path, name: str, sizes: Mapping[str, Any], count: int) -> list[Row]:
    path = write_checkpoint(folder / "model.pt", num_features=FEATURES, lookback=LOOKBACK, **sizes)
    windows = np.random.default_rng(0).standard_normal((count, LOOKBACK, FEATURES)).astype(np.float32)
    encoders = {f"{e} {p}": load_encoder(path, engine=e, precision=p) for e, p in _ways()}
    embeddings = {way: encoder.encode(windows).embedding for way, encoder in encoders.items()}
    _check(path, windows, embeddings)
    ways = {way: _encoding(encoder, windows) for way, encoder in encoders.items()}
    ways[EAGER] = _eager(encoders["torch float32"], windows)
    rates = _side_by_side(ways | _products(sizes, count), count)
    limits = {
        precision: max(rate for way, rate in rates.items() if way.startswith(f"products {precision}"))
        for precision in _types()
    }
    rows = [
        _table_row(name, way, rates, limits, compare_embeddings(embeddings["torch float32"], found).cosine)
        for way, found in embeddings.items()
    ]
    return [*rows, _goal_row(load_encoder(path), rates, limits)] if name == BIGGEST else rows


def _table_row(name: str, way: str, rates: Rates, limits: Rates, cosine: float) -> Row:
    limit = limits.get(way.rsplit(maxsplit=1)[-1], limits["float32"])
    return {
        "id": "P2t",
        "what": f"{name}, {way}; centered cosine to float32 {cosine:.6f}",
        "figure": rates[way],
        "unit": "entries/s",
        "baseline": rates[EAGER],
        "limit": limit,
        "ratio_baseline": rates[way] / rates[EAGER],
        "ratio_limit": rates[way] / limit,
        "goal": "none; the table from which engine and precision are chosen",
        "met": True,
    }


def _goal_row(chosen: Encoder, rates: Rates, limits: Rates) -> Row:
    rate, precision = rates[f"{chosen.spec.engine} {chosen.spec.precision}"], chosen.spec.precision
    limit = limits.get(precision, limits["float32"])
    faster, share = rate / rates[EAGER], rate / limit
    speedups = {name: limits[name] / limits["float32"] for name in _types()[1:]}
    needed = 3.0 if speedups.get("bfloat16", 0.0) >= HAS_BFLOAT16 else 0.0
    return {
        "id": "P2",
        "what": f"bare encoder, 100m, as chosen at load ({chosen.choice}). Matrix products beside float32 on this "
        f"processor: {', '.join(f'{name} {speedup:.2f}×' for name, speedup in speedups.items()) or 'no other type'}",
        "figure": rate,
        "unit": "entries/s",
        "baseline": rates[EAGER],
        "limit": limit,
        "ratio_baseline": faster,
        "ratio_limit": share,
        "goal": "≥ 3× eager float32 if the processor has bfloat16; ≥ 70% of the GEMM rate",
        "met": faster >= needed and share >= 0.7,
    }


def _encoding(encoder: Encoder, windows: Float32) -> Callable[[], object]:
    return lambda: encoder.encode(windows)


def _side_by_side(ways: Mapping[str, Callable[[], object]], entries: int) -> Rates:
    """Entries a second of each, the best of some rounds in turn: a busy moment hits all alike."""
    best = dict.fromkeys(ways, math.inf)
    for _ in range(ROUNDS):
        for way, function in ways.items():
            started = time.perf_counter()
            function()
            best[way] = min(best[way], time.perf_counter() - started)
    return {way: entries / seconds for way, seconds in best.items()}


def _eager(encoder: Encoder, windows: Float32) -> Callable[[], object]:
    model: Any = encoder.model  # type: ignore[attr-defined]  # it is a torch encoder
    batches = torch.split(torch.from_numpy(windows), EAGER_BATCH)

    def run_all() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch)

    return run_all


def _products(sizes: Mapping[str, int], count: int) -> dict[str, Callable[[], object]]:
    """The matrix products of the layers and nothing else, for N windows in calls of 16, all cores on each call
    or each core with calls of its own: the faster of the two is the limit."""
    hidden, layers = sizes["hidden_dim"], sizes["num_layers"]
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)]

    def products(make: Callable[..., torch.Tensor], multiply: Callable[..., object]) -> Callable[[Any], None]:
        weights = [make(outputs, inputs) for _ in range(layers) for inputs, outputs in shapes]
        inputs = {width: make(EAGER_BATCH * LOOKBACK, width) for width in (hidden, 4 * hidden)}

        def multiply_all(_call: Any) -> None:
            with torch.inference_mode():
                for weight in weights:
                    multiply(inputs[weight.shape[1]], weight)

        return multiply_all

    def integers(*shape: int) -> torch.Tensor:
        return torch.randint(-63, 64, shape, dtype=torch.int8)

    def multiply_integers(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch._int_mm(rows, weight.t())

    linear, calls = torch.nn.functional.linear, range(count // EAGER_BATCH)
    ways = {
        "float32": products(torch.randn, linear),
        "bfloat16": products(lambda *shape: torch.randn(*shape, dtype=torch.bfloat16), linear),
        "int8": products(integers, multiply_integers),
        "int7": products(integers, multiply_integers),
    }
    found: dict[str, Callable[[], object]] = {}
    for name in _types():
        found[f"products {name}"] = partial(_one_after_another, ways[name], calls)
        found[f"products {name}, one core per call"] = partial(map_on_threads, ways[name], calls)
    return found


def _one_after_another(call: Callable[[Any], object], values: Iterable[Any]) -> None:
    for value in values:
        call(value)


def _check(path: Path, windows: Float32, embeddings: Mapping[str, Float32]) -> None:
    """Each way's embeddings of two windows against numpy."""
    checkpoint = read_checkpoint(path)
    weights = {name: value.double().numpy() for name, value in checkpoint.weights.items()}
    expected = _numpy_embedding(weights, checkpoint.layout, windows[:2].astype(np.float64))
    for way, found in embeddings.items():
        allowed = 1e-3 if way.endswith("float32") else 2e-2  # the others round factors to 8 bits or fewer
        difference = np.abs(found[:2] - expected).max() / np.abs(expected).max()
        assert difference < allowed, f"{way}: {difference:.2g} of the largest value away from numpy"


def _numpy_embedding(weights: Mapping[str, Float64], layout: Layout, windows: Float64) -> Float64:
    """The mean state of each window, written out (n, L, F) → (n, hidden)."""

    def linear(x: Float64, name: str) -> Float64:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Float64, name: str) -> Float64:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = _gelu(norm(linear(windows, "input_proj.0"), "input_proj.1")) + weights["pos_encoding"][:, : windows.shape[1]]
    for number in range(layout.num_layers):
        layer = f"transformer.layers.{number}"
        mixed = norm(x, f"{layer}.norm1") @ weights[f"{layer}.self_attn.in_proj_weight"].T
        heads = _attention(mixed + weights[f"{layer}.self_attn.in_proj_bias"], layout.num_heads)
        x = x + linear(heads, f"{layer}.self_attn.out_proj")
        x = x + linear(_gelu(linear(norm(x, f"{layer}.norm2"), f"{layer}.linear1")), f"{layer}.linear2")
    return x.mean(1)


def _attention(mixed: Float64, num_heads: int) -> Float64:
    """Softmax attention of queries, keys and values side by side (n, L, 3·hidden) → (n, L, hidden)."""
    n, length, width = mixed.shape
    query, key, value = mixed.reshape(n, length, 3, num_heads, width // 3 // num_heads).transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True) @ value).swapaxes(1, 2).reshape(n, length, width // 3)


def _gelu(x: Float64) -> Float64:
    return 0.5 * x * (1 + torch.erf(torch.from_numpy(x) / math.sqrt(2)).numpy())
