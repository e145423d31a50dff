"""Loading of the encoder of a checkpoint, in the requested or the fastest engine and precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from encash.encoders.base import EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.bins import NO_EDGES, BinEdges
from encash.encoders.checkpoint import ENGINES, HORIZONS, choose_lookback
from encash.encoders.options import AUTO, LoadOptions
from encash.encoders.pooling import check_pooling
from encash.encoders.torch.choice import Candidate, LoadProgress, fastest, run_text
from encash.encoders.torch.devices import choose_device, equal_devices
from encash.encoders.torch.encoder import TorchEncoder
from encash.encoders.torch.files import Checkpoint, build_model, find_edges, read_checkpoint, weights_fingerprint
from encash.encoders.torch.precision import CPU_ONLY, check_precision, worth_measuring
from encash.encoders.torch.runtime import EXPORT_STEPS, fastest_possible, is_installed, runtime_encoder
from encash.errors import InputError, meant


def load_torch_encoder(path: str | Path, options: LoadOptions) -> BatchedEncoder:
    """Load the encoder of a checkpoint.

    Raises:
        MissingFileError: no such file.
        FormatError: see `read_checkpoint`; or invalid bin edges.
        InputError: an unknown device, engine, precision or pooling; a window longer than the model's positions.
        MissingExtraError: the engine is not installed.
    """
    if options.engine not in (AUTO, *ENGINES):
        raise InputError(
            f"invalid engine {options.engine!r}: expected auto or one of {', '.join(ENGINES)}"
            f"{meant(options.engine, ENGINES)}"
        )
    by_runtime = options.engine == "onnxruntime"
    if by_runtime and options.precision not in (AUTO, "float32"):
        raise InputError(
            f"precision {options.precision!r} with engine onnxruntime, which runs a checkpoint in float32 only; leave "
            "out either of them"
        )
    on_cpu = by_runtime or (options.device == AUTO and options.precision in CPU_ONLY)  # as of a cache made on a CPU
    device = torch.device("cpu") if on_cpu else choose_device(options.device)
    precision = "float32" if options.precision == AUTO else check_precision(options.precision, device.type)
    checkpoint = read_checkpoint(path, config=options.model_config, ignored=options.ignore_keys or ())
    edges = find_edges(checkpoint.files[0], checkpoint, options.bin_edges, options.bin_unit)
    spec, model = _spec(checkpoint, edges, options), build_model(checkpoint).to(device)

    def make(precision: str) -> TorchEncoder:
        return TorchEncoder(model, replace(spec, precision=precision), edges=edges, batch_size=options.batch_size)

    plain, progress = make(precision), LoadProgress(options.progress)
    encoder: BatchedEncoder = plain
    if by_runtime:
        progress.add(EXPORT_STEPS)
        encoder = runtime_encoder(plain, options.device)
        progress.complete(EXPORT_STEPS)
    elif options.precision == AUTO:
        fixed_batch = options.batch_size is not None or device.type != "cpu"  # a batch of an accelerator is tuned below
        others = list(_other_candidates(plain, make, engine=options.engine))
        encoder = fastest(plain, others, options.sample, fixed_batch=fixed_batch, progress=progress)
    encoder.choice = encoder.choice or f"{precision}, {run_text(encoder)}: as requested"
    if isinstance(encoder, TorchEncoder) and device.type != "cpu":
        encoder.also_on = equal_devices(device)
        if settled := encoder.settle(fixed_batch=options.batch_size is not None):
            encoder.choice += f"; {settled}"
    encoder.choice += f"; ignored weights: {', '.join(checkpoint.ignored)}" if checkpoint.ignored else ""
    encoder.source_digest = checkpoint.source_digest
    return encoder


def _spec(checkpoint: Checkpoint, edges: BinEdges | None, options: LoadOptions) -> EncoderSpec:
    """Return the spec of a checkpoint in torch and float32."""
    names, train_end, feature_set = (
        checkpoint.extras.get(key) for key in ("feature_names", "train_end", "feature_set")
    )
    if not checkpoint.layout.num_bins:
        forecast_rule = "regression: the outputs are returns"
    else:
        forecast_rule = NO_EDGES if edges is None else edges.rule
    return EncoderSpec(
        architecture=checkpoint.layout.architecture,
        weights=weights_fingerprint(checkpoint.weights),
        lookback=choose_lookback(options.lookback, checkpoint.extras["config"], options.default_lookback),
        num_features=checkpoint.layout.num_features,
        dim=checkpoint.layout.hidden_dim,
        horizons=HORIZONS if edges is not None or not checkpoint.layout.num_bins else (),
        pooling=check_pooling(options.pooling),
        feature_names=tuple(names) if names else None,
        forecast_rule=forecast_rule,
        train_end=str(train_end) if train_end else None,
        feature_set=str(feature_set) if feature_set else None,
    )


def _other_candidates(plain: TorchEncoder, make: Callable[[str], TorchEncoder], *, engine: str) -> Iterator[Candidate]:
    """Yield the candidates other than torch in float32; each must be faster than those before it.

    ONNX Runtime is the last, so it must be faster than everything in torch, because it exports the model at every load.
    """
    for precision in worth_measuring(plain.device):
        yield Candidate(make=partial(make, precision), precision=precision)
    if engine == AUTO and plain.device.type == "cpu" and is_installed():
        yield Candidate(
            make=partial(runtime_encoder, plain),
            engine="onnxruntime",
            speed_limit=partial(fastest_possible, plain),
            steps=EXPORT_STEPS,
        )
