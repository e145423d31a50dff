"""Pretrained time-series encoders of chronos-forecasting (Chronos, Chronos-Bolt, Chronos-2).

They provide embeddings only: their forecasts are of the series, not of returns. Such a model reads one series:
``chronos:FOLDER?features=41&feature=3`` embeds feature 3 (counted from 0) of windows of 41 features. FOLDER holds
``config.json`` and ``model.safetensors``; nothing is downloaded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.base import Encoded, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.options import LoadOptions
from encash.encoders.outputs import DEFAULT_BATCH
from encash.encoders.pooling import check_pooling, pool
from encash.encoders.torch.devices import choose_device, is_memory_error
from encash.encoders.torch.files import weights_fingerprint
from encash.errors import FormatError, InputError, MissingFileError, reason
from encash.extras import import_optional
from encash.fingerprint import file_digest

SCHEME = "chronos:"
WEIGHTS_FILE = "model.safetensors"


def load_chronos_encoder(name: str, options: LoadOptions) -> ChronosEncoder:
    """Load the encoder that ``chronos:FOLDER?features=F&feature=I`` names.

    Raises:
        InputError: no number of features, a feature out of range, or a window longer than the model's context.
        MissingFileError: no such folder, or a folder without weights.
        FormatError: not a chronos model.
        MissingExtraError: chronos-forecasting is not installed.
    """
    chronos: Any = import_optional("chronos", package="chronos", extra="chronos")
    source = _parse(name)
    device = choose_device(options.device)
    try:
        pipeline = chronos.BaseChronosPipeline.from_pretrained(
            source.folder, device_map=str(device), dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{source.folder} does not hold a chronos model{reason(error)}; download it again") from None
    encoder = ChronosEncoder(pipeline, source, options)
    encoder.source_digest = file_digest(source.folder / WEIGHTS_FILE)
    return encoder


@dataclass(frozen=True, kw_only=True)
class ChronosSource:
    """The folder of a model and the feature that it reads."""

    folder: Path
    num_features: int
    feature: int


class ChronosEncoder(BatchedEncoder):
    """A chronos model that encodes one feature of each window and pools its tokens."""

    def __init__(self, pipeline: Any, source: ChronosSource, options: LoadOptions):
        self._pipeline, self._feature = pipeline, source.feature
        self._pooling = check_pooling(options.pooling)
        model = pipeline.model
        self.device = next(model.parameters()).device
        lookback = options.lookback or options.default_lookback
        if lookback > pipeline.model_context_length:
            raise InputError(
                f"a window of {lookback} sessions exceeds the context of the model, which would cut it silently; give "
                f"a lookback of at most {pipeline.model_context_length}"
            )
        model.eval().requires_grad_(False)
        weights = {name: value.cpu() for name, value in model.state_dict().items()}
        tokens = self._tokens(torch.zeros(1, lookback))
        spec = EncoderSpec(
            architecture=f"{type(pipeline).__name__} of feature {source.feature}",
            weights=weights_fingerprint(weights),
            lookback=lookback,
            num_features=source.num_features,
            dim=tokens.shape[-1],
            horizons=(),
            pooling=self._pooling,
            normaliser="the model's own scaling of each window",
            engine="chronos",
        )
        batch = options.batch_size or DEFAULT_BATCH
        super().__init__(spec, batch_size=batch, smallest_call=batch)
        self.choice = f"float32, chronos, batch {batch}: the model's own precision"

    def call(self, windows: Float32) -> Encoded:
        """Encode one batch; see `BatchedEncoder.call`."""
        try:
            tokens = self._tokens(torch.tensor(windows[:, :, self._feature]))
        except RuntimeError as error:
            if not is_memory_error(error):
                raise
            raise MemoryError(str(error)) from None
        embedding = pool(tokens, self._pooling).to("cpu", torch.float32).numpy()
        nothing = embedding[:, :0]
        return Encoded(embedding=embedding, forecast=nothing, confidence=nothing)

    def _tokens(self, series: Tensor) -> Tensor:
        """Return the encoder's states of n series (n, L), shape (n, tokens, D)."""
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of transformers, about versions
            if type(self._pipeline).__name__ == "Chronos2Pipeline":  # takes and returns several variates
                states: Any = self._pipeline.embed(series[:, None], batch_size=len(series))[0]
                return torch.cat(states)
            found: Tensor = self._pipeline.embed(series)[0]
            return found


def _parse(name: str) -> ChronosSource:
    folder, _, query = name.removeprefix(SCHEME).partition("?")
    given = parse_qs(query)
    try:
        num_features, feature = int(given["features"][0]), int(given.get("feature", ["0"])[0])
    except (KeyError, ValueError):
        raise InputError(
            f"{name}: expected {SCHEME}FOLDER?features=F&feature=I with the number of features of the data, and which "
            "of them (from 0) the model reads"
        ) from None
    if not 0 <= feature < num_features:
        raise InputError(
            f"{name}: there is no feature {feature} among {num_features}; give one from 0 to {num_features - 1}"
        )
    if not (Path(folder) / WEIGHTS_FILE).is_file():
        raise MissingFileError(
            f"there is no {WEIGHTS_FILE} in {folder}; give a folder with a downloaded chronos model (pickled weights "
            "are not read)"
        )
    return ChronosSource(folder=Path(folder), num_features=num_features, feature=feature)
