"""Model files with named inputs and outputs (ONNX, exported programs): their metadata, and their outputs as embeddings
and forecasts.

A model takes windows (n, L, F) and returns, by these names or in this order:

    embedding      (n, D), or states (n, L, D) that are pooled here
    forecast       (n, H) expected returns as fractions; left out by a model without forecasts
    confidence     (n, H) in [0, 1], present with a forecast

Its metadata complement its shapes: under the key ``encash``, a JSON object with any of ``horizons,
feature_names, feature_set, train_end, pooling, forecast_rule, architecture``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.checkpoint import HORIZONS
from encash.encoders.options import LoadOptions
from encash.encoders.pooling import check_pooling, pool
from encash.errors import EncashError, FormatError, InputError, reason
from encash.text_files import parse_json

METADATA_KEY = "encash"
NAMES = ("embedding", "forecast", "confidence")
DEFAULT_BATCH = 16


class _Metadata(msgspec.Struct, kw_only=True):
    """Types of the metadata that are read; others are ignored."""

    horizons: list[int] = []
    feature_names: list[str] = []
    feature_set: str = ""
    train_end: str = ""
    pooling: str = ""
    forecast_rule: str = ""
    architecture: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The metadata and the input shape of a model file."""

    path: str
    engine: str
    weights: str
    """SHA-256 of the file and the files that it refers to."""
    shape: tuple[int | None, int | None, int | None]
    """(n, L, F) of its input; None for any number."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ModelFileEncoder(BatchedEncoder):
    """An encoder that is a model file. A subclass implements `run`.

    Its kernels are unknown, so every call has the same number of windows.
    """

    def __init__(self, facts: ModelFacts, options: LoadOptions):
        batch, lookback, num_features = _sizes(facts, options)
        self._pooling = check_pooling(options.pooling)
        spec = EncoderSpec(
            architecture=str(facts.metadata.get("architecture", facts.engine)),
            weights=facts.weights,
            lookback=lookback,
            num_features=num_features,
            dim=0,
            horizons=(),
            engine=facts.engine,
            feature_names=tuple(facts.metadata["feature_names"]) if facts.metadata.get("feature_names") else None,
            train_end=facts.metadata.get("train_end"),
            feature_set=facts.metadata.get("feature_set"),
        )
        super().__init__(spec, batch_size=batch, smallest_call=batch)
        self.spec = self._with_outputs(facts)
        self.choice = f"float32, {facts.engine}, batch {batch}: the model's own precision"

    @abstractmethod
    def run(self, windows: Float32) -> list[tuple[str, Any]]:
        """Return the name and value of each output of the model for one batch."""

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch; see `BatchedEncoder.call`."""
        found = _by_name(self.run(windows))
        embedding = found["embedding"]
        if embedding.ndim == 3:
            embedding = pool(embedding, self._pooling)
        nothing = np.empty((len(windows), 0), dtype=np.float32)
        return Encoded(
            embedding=embedding,
            forecast=found.get("forecast", nothing),
            confidence=found.get("confidence", nothing),
        )

    def _with_outputs(self, facts: ModelFacts) -> EncoderSpec:
        """Return the spec completed by the output for one batch of zeros."""
        shape = self.batch_size, self.spec.lookback, self.spec.num_features
        try:
            found = _by_name(self.run(np.zeros(shape, dtype=np.float32)))
        except (EncashError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # the exceptions of engines have no common base but Exception
            raise FormatError(
                f"{facts.path} fails on windows of shape {shape}{reason(error)}; export it again"
            ) from None
        _check_shapes(found, shape[:2], facts.path)
        horizons = _horizons(found, facts)
        return replace(
            self.spec,
            dim=found["embedding"].shape[-1],
            horizons=horizons,
            forecast_rule=str(facts.metadata.get("forecast_rule", "the model's own")) if horizons else "none",
            pooling=self._pooling_of(found, facts),
        )

    def _pooling_of(self, found: Mapping[str, Float32], facts: ModelFacts) -> str:
        if found["embedding"].ndim == 3:
            return self._pooling
        own = str(facts.metadata.get("pooling", "model"))
        if self._pooling not in ("mean", own):
            raise InputError(
                f"{facts.path} pools its states itself ({own}), so pooling {self._pooling!r} is not available; "
                "leave it out, or export the model with its states (n, L, D) as output"
            )
        return own


def read_metadata(text: str | None, path: str) -> dict[str, Any]:
    """Return the metadata of a model file; empty if there are none.

    Raises:
        FormatError: not a JSON object.
    """
    if not text:
        return {}
    what = f"{path}: its metadata under {METADATA_KEY!r}"
    found = parse_json(text, what, fix="export it again")
    if not isinstance(found, dict):
        raise FormatError(f"{what} are not a JSON object; export it again")
    try:
        msgspec.convert({name: value for name, value in found.items() if value is not None}, _Metadata)
    except msgspec.ValidationError as error:
        raise FormatError(f"{what} are not those of an encoder ({error}); export it again") from None
    return found


def _sizes(facts: ModelFacts, options: LoadOptions) -> tuple[int, int, int]:
    """Return batch size, lookback and number of features of the model's calls."""
    batch, lookback, num_features = facts.shape
    if num_features is None:
        raise FormatError(f"{facts.path}: the last axis of its input has no fixed size; export it with its features")
    for name, own, asked in (("batch size", batch, options.batch_size), ("lookback", lookback, options.lookback)):
        if own is not None and asked is not None and own != asked:
            raise InputError(f"{facts.path} has a fixed {name} of {own}, not {asked}; leave it out")
    return (
        batch or options.batch_size or DEFAULT_BATCH,
        lookback or options.lookback or options.default_lookback,
        num_features,
    )


def _by_name(outputs: list[tuple[str, Any]]) -> dict[str, Float32]:
    """Return the outputs under our names: by their own names if they have them, else in our order."""
    named = {name: np.asarray(value, dtype=np.float32) for name, value in outputs if name in NAMES}
    if "embedding" in named:
        return named
    return {name: np.asarray(value, dtype=np.float32) for name, (_, value) in zip(NAMES, outputs, strict=False)}


def _check_shapes(found: Mapping[str, Float32], windows: tuple[int, int], path: str) -> None:
    embedding, forecast = found.get("embedding"), found.get("forecast")
    if embedding is None or not embedding.size or embedding.shape[:-1] not in (windows[:1], windows):
        shape = None if embedding is None else embedding.shape
        raise FormatError(
            f"{path}: its first output has shape {shape} for {windows[0]} windows of {windows[1]} sessions; "
            "expected embeddings (n, D) or states (n, L, D)"
        )
    if forecast is None:
        return
    confidence = found.get("confidence")
    if forecast.ndim != 2 or confidence is None or confidence.shape != forecast.shape:
        shape = None if confidence is None else confidence.shape
        raise FormatError(
            f"{path}: forecast {forecast.shape} and confidence {shape} do not belong together; expected both (n, H)"
        )


def _horizons(found: Mapping[str, Float32], facts: ModelFacts) -> tuple[int, ...]:
    if "forecast" not in found:
        return ()
    horizons = tuple(facts.metadata.get("horizons") or HORIZONS)
    if found["forecast"].shape[1] != len(horizons):
        raise FormatError(
            f"{facts.path} forecasts {found['forecast'].shape[1]} horizons; its metadata (or the usual 1, 5, 10, 20) "
            f"name {len(horizons)}: write them into its metadata"
        )
    return horizons
