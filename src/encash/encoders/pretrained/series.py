"""The encoder of models that read the features of a window as series."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.base import Encoded, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.options import LoadOptions
from encash.encoders.outputs import DEFAULT_BATCH
from encash.encoders.pooling import check_pooling, pool
from encash.encoders.torch.devices import memory_errors
from encash.encoders.torch.threads import matmul_precision
from encash.errors import FormatError, InputError

OWN_SCALING = "the model's own scaling of each window"
LARGEST = 1e18
"""A larger value has a square beyond float32, and no model can scale its window."""


@dataclass(frozen=True, kw_only=True)
class SeriesModel:
    """A model on its device, and everything that determines its output."""

    folder: Path
    states: Callable[[Tensor], Tensor]
    """Returns states (n, V, tokens, D) of the V features of n windows, shape (n, V, L)."""
    architecture: str
    weights: str
    """SHA-256 of the weights."""
    engine: str
    num_features: int
    features: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    lookback: int
    normaliser: str
    source_digest: str


class SeriesEncoder(BatchedEncoder):
    """A model that encodes some features of each window; its embedding is their concatenated pooled states.

    It has no forecasts: those of such models are of the series, and features of `prepare` are not prices. Every call
    has the same number of windows, because its kernels are unknown.
    """

    def __init__(self, model: SeriesModel, options: LoadOptions):
        self._model, self._pooling = model, check_pooling(options.pooling)
        trial = self._vectors(torch.linspace(-1, 1, model.lookback).expand(1, len(model.features), -1))
        if not torch.isfinite(trial).all():
            raise FormatError(
                f"the model in {model.folder} returns NaN or infinity for a straight line; download it again"
            )
        spec = EncoderSpec(
            architecture=model.architecture,
            weights=model.weights,
            lookback=model.lookback,
            num_features=model.num_features,
            dim=trial.shape[1],
            horizons=(),
            pooling=self._pooling,
            normaliser=model.normaliser,
            engine=model.engine,
            feature_names=model.feature_names,
        )
        batch = options.batch_size or DEFAULT_BATCH
        super().__init__(spec, batch_size=batch, smallest_call=batch)
        self.source_digest = model.source_digest
        self.choice = f"float32, {model.engine}, batch {batch}: the model's own precision"

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch; see `BatchedEncoder.call`."""
        series = np.ascontiguousarray(windows[:, :, self._model.features].transpose(0, 2, 1))
        failed = ~(np.abs(series).max(axis=(1, 2)) < LARGEST)
        series[failed] = 0.0  # otherwise its NaN would reach other windows through a mask, as 0 · NaN
        with memory_errors():
            embedding = self._vectors(torch.from_numpy(series)).to("cpu", torch.float32).numpy()
        embedding[failed] = np.nan
        nothing = embedding[:, :0]
        return Encoded(embedding=embedding, forecast=nothing, confidence=nothing)

    def _vectors(self, series: Tensor) -> Tensor:
        """Return embeddings (n, V · D) of series (n, V, L)."""
        with torch.inference_mode(), matmul_precision("highest"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of transformers about versions, of vmap about speed
            states = self._model.states(series)
            vectors: Tensor = pool(states.flatten(0, 1), self._pooling).reshape(len(series), -1)
            return vectors


def choose_context(options: LoadOptions, longest: int) -> int:
    """Return the sessions in a window for a model that reads any number of them up to its context.

    Raises:
        InputError: more sessions than that.
    """
    lookback = options.lookback or options.default_lookback
    if lookback > longest:
        raise InputError(
            f"a window of {lookback} sessions exceeds the context of the model, which would cut it silently; give "
            f"a lookback of at most {longest}"
        )
    return lookback


def features_text(features: tuple[int, ...]) -> str:
    """Return the features that a model reads, for its architecture.

    >>> features_text((3,)), features_text((3, 7))
    ('feature 3', 'features 3, 7')
    """
    return f"feature{'s' * (len(features) > 1)} {', '.join(map(str, features))}"
