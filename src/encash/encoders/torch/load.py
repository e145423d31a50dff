"""Loads the encoder of a checkpoint, in the engine and precision that were asked for or measured. Knows its file; no
panel and no cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from encash.encoders.base import EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.bins import NO_EDGES, BinEdges
from encash.encoders.checkpoint import DEFAULT_LOOKBACK, ENGINES, HORIZONS, Layout, choose_lookback
from encash.encoders.pooling import check_pooling
from encash.encoders.torch.choice import Sample, Steps, Way, described, fastest
from encash.encoders.torch.encoder import TorchEncoder, choose_device
from encash.encoders.torch.files import Checkpoint, build_model, find_edges, read_checkpoint, weights_fingerprint
from encash.encoders.torch.precision import check_precision, offered
from encash.encoders.torch.runtime import EXPORT_STEPS, fastest_possible, is_installed, runtime_encoder
from encash.errors import InputError
from encash.fingerprint import file_digest
from encash.progress import Progress

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """How a checkpoint is run; everything but device and batch size is part of its identity."""

    device: str = AUTO
    engine: str = AUTO
    """torch, onnxruntime; auto measures where the precision is auto too, and is torch where that is given."""
    precision: str = "float32"
    """float32, medium, bfloat16, int8; auto measures."""
    batch_size: int | None = None
    lookback: int | None = None
    default_lookback: int = DEFAULT_LOOKBACK
    """Where neither `lookback` nor the checkpoint says."""
    bin_edges: Any = None
    pooling: str = "mean"
    sample: Sample | None = None
    """Gives windows of the data for a lookback: those on which auto measures; None measures on random ones."""
    progress: Progress | None = None
    """Told the steps done and those that are known; see `load_encoder`."""


def load_torch_encoder(path: str | Path, options: TorchOptions) -> BatchedEncoder:
    """The encoder of a checkpoint.

    Raises:
        MissingFileError: no such file.
        FormatError: see `read_checkpoint`; or bin edges that are none.
        InputError: an unknown device, engine, precision or pooling; a window longer than the model's positions.
        MissingExtraError: the engine is not installed.
    """
    by_runtime = _check_engine(options) == "onnxruntime"
    device = torch.device("cpu") if by_runtime else choose_device(options.device)
    precision = "float32" if options.precision == AUTO else check_precision(options.precision, device.type)
    checkpoint = read_checkpoint(path)
    edges = find_edges(Path(path), checkpoint, options.bin_edges)
    spec, model = _spec(checkpoint, edges, options), build_model(checkpoint).to(device)

    def make(precision: str) -> TorchEncoder:
        return TorchEncoder(model, replace(spec, precision=precision), edges=edges, batch_size=options.batch_size)

    plain, steps = make(precision), Steps(options.progress)
    encoder: BatchedEncoder = plain
    if by_runtime:
        steps.ahead(EXPORT_STEPS)
        encoder = runtime_encoder(plain, options.device)
        steps.passed(EXPORT_STEPS)
    elif options.precision == AUTO:
        fixed_batch = options.batch_size is not None or device.type != "cpu"
        ways = list(_other_ways(plain, make, engine=options.engine))
        encoder = fastest(plain, ways, options.sample, fixed_batch=fixed_batch, steps=steps)
    encoder.choice = encoder.choice or f"{precision}, {described(encoder)}: as asked"
    encoder.source_digest = file_digest(path)
    return encoder


def _check_engine(options: TorchOptions) -> str:
    """The engine asked for, if there is one of that name and it has the precision asked for."""
    if options.engine not in (AUTO, *ENGINES):
        raise InputError(f"engine {options.engine!r} came; expected auto or one of {', '.join(ENGINES)}")
    if options.engine == "onnxruntime" and options.precision not in (AUTO, "float32"):
        raise InputError(
            f"precision {options.precision!r} came with engine onnxruntime, which runs a checkpoint in float32 alone; "
            "leave one of the two out"
        )
    return options.engine


def _spec(checkpoint: Checkpoint, edges: BinEdges | None, options: TorchOptions) -> EncoderSpec:
    """What the checkpoint says in torch and float32."""
    names, train_end = (checkpoint.extras.get(key) for key in ("feature_names", "train_end"))
    return EncoderSpec(
        architecture=checkpoint.layout.architecture,
        weights=weights_fingerprint(checkpoint.weights),
        lookback=choose_lookback(options.lookback, checkpoint.extras["config"], options.default_lookback),
        num_features=checkpoint.layout.num_features,
        dim=checkpoint.layout.hidden_dim,
        horizons=HORIZONS if edges is not None or not checkpoint.layout.num_bins else (),
        pooling=check_pooling(options.pooling),
        feature_names=tuple(names) if names else None,
        forecast_rule=_forecast_rule(checkpoint.layout, edges),
        train_end=str(train_end) if train_end else None,
    )


def _other_ways(plain: TorchEncoder, make: Callable[[str], TorchEncoder], *, engine: str) -> Iterator[Way]:
    """The ways to run a model beside torch's float32, in the order in which each must pay over those before it.

    ONNX Runtime is the last: it must be faster than all that torch has by as much, because the model is exported again
    at every load.
    """
    for precision in offered(plain.device.type)[1:]:
        yield Way(make=partial(make, precision), precision=precision)
    if engine == AUTO and plain.device.type == "cpu" and is_installed():
        limit = partial(fastest_possible, plain)
        yield Way(make=partial(runtime_encoder, plain), engine="onnxruntime", limit=limit, steps=EXPORT_STEPS)


def _forecast_rule(layout: Layout, edges: BinEdges | None) -> str:
    if not layout.num_bins:
        return "regression: the outputs are returns"
    return NO_EDGES if edges is None else edges.rule
