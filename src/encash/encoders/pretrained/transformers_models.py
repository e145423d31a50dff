"""Pretrained time-series models of transformers: TimesFM and PatchTST.

A model with any head can be read, and its states are used; the weights of the head must match, but are not part of the
identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encash.encoders.options import LoadOptions
from encash.encoders.pretrained.folder import ModelFolder, account_for_weights, loading, open_folder
from encash.encoders.pretrained.names import SeriesSource, parse_source
from encash.encoders.pretrained.series import OWN_SCALING, SeriesEncoder, SeriesModel, choose_context, features_text
from encash.encoders.torch.devices import choose_device
from encash.encoders.torch.files import weights_fingerprint
from encash.errors import FormatError, InputError
from encash.extras import import_optional

MOST_CHANNELS = 65_536


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the models of one type are read."""

    classes: str
    """The beginning of the names of its classes."""
    states: Callable[[Any, Tensor], Tensor]
    """Returns states (n, C, tokens, D) of series (n, C, L), by a model without its head."""
    channels: Callable[[dict[str, Any]], int] = lambda _: 1
    """Returns the number of series that a model reads jointly."""
    fixed_context: bool = False
    """True if a window has as many sessions as the context."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Parts of the names of weights in files, and what transformers calls them."""


def _patchtst_states(model: Any, series: Tensor) -> Tensor:
    states: Tensor = model(past_values=series.transpose(1, 2)).last_hidden_state
    return states


def _timesfm_states(model: Any, series: Tensor) -> Tensor:
    """Return the states of TimesFM 2.0 for daily data."""
    values, padding = _in_patches(series[:, 0], model.config.patch_length)
    daily = torch.zeros(len(values), 1, dtype=torch.int32, device=values.device)
    states: Tensor = model(past_values=values, past_values_padding=padding, freq=daily).last_hidden_state
    return states[:, None]


def _timesfm2_5_states(model: Any, series: Tensor) -> Tensor:
    values, padding = _in_patches(series[:, 0], model.config.patch_length)
    states: Tensor = model(past_values=values, past_values_padding=padding).last_hidden_state
    return states[:, None]


def _in_patches(series: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return series that fill whole patches from the left, as the model does, and the mask of what was added."""
    missing = -series.shape[1] % length
    return functional.pad(series, (missing, 0)), functional.pad(torch.zeros_like(series), (missing, 0), value=1.0)


FAMILIES = {
    "patchtst": Family(
        classes="PatchTST",
        states=_patchtst_states,
        channels=lambda config: config.get("num_input_channels", 1),
        fixed_context=True,
    ),
    "timesfm": Family(classes="TimesFm", states=_timesfm_states),
    "timesfm2_5": Family(classes="TimesFm2_5", states=_timesfm2_5_states, renamed={"ff0": "fc1", "ff1": "fc2"}),
}
"""Add a type of model here: its ``model_type`` in transformers."""


def load_transformers_encoder(name: str, options: LoadOptions) -> SeriesEncoder:
    """Load the encoder that ``transformers:FOLDER?features=F&feature=I,J`` names, or ``timesfm:FOLDER?…``.

    Raises:
        InputError: no number of features, features other than the model reads, or a window that it does not read.
        MissingFileError: no such folder, or a folder without config or weights.
        FormatError: not such a model, or weights that are not exactly those of its config.
        MissingExtraError: transformers is not installed.
    """
    library: Any = import_optional("transformers", package="transformers", extra="transformers")
    scheme, source = name.partition(":")[0], parse_source(name, options)
    folder = open_folder(source.folder)
    family = _family(folder, scheme)
    features, channels = _features(name, source, family.channels(folder.config))
    with loading(folder.path, scheme):
        kind = _class(library, folder, family)
        account_for_weights(folder, lambda: kind(kind.config_class.from_dict(folder.config)), family.renamed)
        model = kind.from_pretrained(
            folder.path,
            config=kind.config_class.from_dict(folder.config),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        device = choose_device(options.device)
        body = _without_masks(model.base_model.to(device).eval().requires_grad_(False))
        series_model = SeriesModel(
            folder=folder.path,
            states=_states(body, family, channels, device),
            architecture=f"{type(body).__name__} of {features_text(features)}, config {folder.settings_digest}",
            weights=weights_fingerprint({key: value.cpu() for key, value in body.state_dict().items()}),
            engine="transformers",
            num_features=source.num_features or channels,
            features=features,
            feature_names=source.feature_names,
            lookback=_lookback(options, body.config, family),
            normaliser=OWN_SCALING,
            source_digest=folder.source_digest,
        )
        return SeriesEncoder(series_model, options)


def _family(folder: ModelFolder, scheme: str) -> Family:
    kind = folder.config.get("model_type")
    names = [name for name in FAMILIES if scheme == "transformers" or name.startswith(scheme)]
    if kind not in names:
        raise FormatError(
            f"{folder.path} has a model of type {str(kind)[:40]!r}; expected a config.json of transformers with a "
            f"model_type of {', '.join(names)}"
        )
    return FAMILIES[kind]


def _class(library: Any, folder: ModelFolder, family: Family) -> Any:
    """Return the class of the model that the config names: of the family, and of transformers."""
    names = folder.config.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str) else ""
    kind = getattr(library, name, None) if name.startswith(family.classes) else None
    if getattr(getattr(kind, "config_class", None), "model_type", None) != folder.config["model_type"]:
        raise FormatError(f"{folder.path} has the architectures {names}; expected one {family.classes}… model")
    return kind


def _features(name: str, source: SeriesSource, channels: Any) -> tuple[tuple[int, ...], int]:
    """Return the features that are read, and how many of them jointly.

    By default, a model with several channels reads all features, and one with a single channel the first.
    """
    if not isinstance(channels, int) or not 1 <= channels <= MOST_CHANNELS:
        raise FormatError(f"{source.folder}: invalid number of channels {channels!r} in the config")
    count = source.num_features
    if count is None and channels == 1:
        raise InputError(f"{name}: the number of features of the data is unknown; add ?features=F&feature=I")
    together = (count or channels) if source.features is None else len(source.features)
    if channels not in (1, together):
        raise InputError(
            f"{name}: the model reads {channels} features together, and {together} of {count or channels} are given; "
            "give as many with ?features=F&feature=I,J,…"
        )
    return source.features or tuple(range(channels)), channels


def _lookback(options: LoadOptions, config: Any, family: Family) -> int:
    longest = int(config.context_length)
    if not family.fixed_context:
        return choose_context(options, longest)
    options.refuse(own={"lookback": longest})
    return longest


def _without_masks(body: Any) -> Any:
    """Return the model without the random masks that pretraining puts on its input."""
    if getattr(body, "do_mask_input", None):
        body.do_mask_input, body.masking = False, nn.Identity()
    return body


def _states(body: Any, family: Family, channels: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    def states(series: Tensor) -> Tensor:
        grouped = series.to(device).reshape(-1, channels, series.shape[-1])
        found = family.states(body, grouped)
        return found.reshape(*series.shape[:2], *found.shape[2:])

    return states
