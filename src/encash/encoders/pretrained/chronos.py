"""Pretrained encoders of chronos-forecasting: Chronos, Chronos-Bolt and Chronos-2.

Chronos and Chronos-Bolt read each feature as a separate series. Chronos-2 reads several features of a window
jointly; windows of one call are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from encash.encoders.options import LoadOptions
from encash.encoders.pretrained.folder import ModelFolder, account_for_weights, loading, open_folder
from encash.encoders.pretrained.names import parse_source
from encash.encoders.pretrained.series import OWN_SCALING, SeriesEncoder, SeriesModel, choose_context, features_text
from encash.encoders.torch.devices import choose_device
from encash.encoders.torch.files import weights_fingerprint
from encash.errors import FormatError, InputError
from encash.extras import import_optional

FIRST = "ChronosPipeline"
SECOND = "Chronos2Pipeline"
MODELS = {
    FIRST: ("transformers", "T5ForConditionalGeneration"),
    "ChronosBoltPipeline": ("chronos.chronos_bolt", "ChronosBoltModelForForecasting"),
    SECOND: ("chronos.chronos2", "Chronos2Model"),
}
"""The module and the class of the model of each pipeline."""


def load_chronos_encoder(name: str, options: LoadOptions) -> SeriesEncoder:
    """Load the encoder that ``chronos:FOLDER?features=F&feature=I,J`` names; see `encash.encoders.pretrained.names`.

    Raises:
        InputError: no number of features, a feature out of range, or a window longer than the model's context.
        MissingFileError: no such folder, or a folder without weights.
        FormatError: not a chronos model, or weights that are not exactly those of its config.
        MissingExtraError: chronos-forecasting is not installed.
    """
    chronos: Any = import_optional("chronos", package="chronos", extra="chronos")
    source = parse_source(name, options)
    features = source.features or (0,)
    if source.num_features is None:
        raise InputError(f"{name}: the number of features of the data is unknown; add ?features=F&feature=I")
    folder = open_folder(source.folder)
    with loading(folder.path, "chronos"):
        _check(folder)
        pipeline = chronos.BaseChronosPipeline.from_pretrained(
            folder.path,
            device_map=str(choose_device(options.device)),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        model = pipeline.model.eval().requires_grad_(False)
        architecture = f"{type(pipeline).__name__} of {features_text(features)}"
        if len(features) > 1 or source.feature_names:  # one feature by number has the identity of version 0.1.0
            architecture += f", config {folder.settings_digest}"
        series_model = SeriesModel(
            folder=folder.path,
            states=_states(pipeline, len(features)),
            architecture=architecture,
            weights=weights_fingerprint({key: value.cpu() for key, value in model.state_dict().items()}),
            engine="chronos",
            num_features=source.num_features,
            features=features,
            feature_names=source.feature_names,
            lookback=choose_context(options, pipeline.model_context_length),
            normaliser=OWN_SCALING,
            source_digest=folder.source_digest,
        )
        return SeriesEncoder(series_model, options)


def _check(folder: ModelFolder) -> None:
    """Refuse a folder that is not a chronos model, or whose weights are not those of its config."""
    pipeline = folder.config.get("chronos_pipeline_class", FIRST)
    if not isinstance(folder.config.get("chronos_config"), dict) or pipeline not in MODELS:
        raise FormatError(
            f"{folder.path} is not a chronos model: expected a chronos_config for one of {', '.join(MODELS)}"
        )
    module, kind = MODELS[pipeline]
    if folder.config.get("architectures") != [kind]:
        raise FormatError(f"{folder.path} is a {folder.config.get('architectures')}; expected {kind} for {pipeline}")
    model = getattr(import_module(module), kind)
    account_for_weights(folder, lambda: model(model.config_class.from_dict(folder.config)))


def _states(pipeline: Any, num_series: int) -> Callable[[Tensor], Tensor]:
    """Return the function of the states of series (n, V, L), shape (n, V, tokens, D)."""
    second = type(pipeline).__name__ == SECOND
    group = torch.zeros(num_series, dtype=torch.long, device=pipeline.model.device)

    def together(series: Tensor) -> Tensor:
        """Return the states of the features of one window, shape (V, tokens, D)."""
        states: Tensor = pipeline.model.encode(context=series, group_ids=group)[0][0]
        return states

    def states(series: Tensor) -> Tensor:
        if second and num_series > 1:  # in one group per window, whatever the others are: the same bits as one by one
            found: Tensor = torch.func.vmap(together)(series.to(group.device))
            return found
        if second:
            return torch.stack(pipeline.embed(series, batch_size=len(series))[0])
        tokens: Tensor = pipeline.embed(series.flatten(0, 1))[0]
        return tokens.reshape(-1, num_series, *tokens.shape[1:])

    return states
