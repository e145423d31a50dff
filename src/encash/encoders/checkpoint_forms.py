"""The forms in which weights of the reference transformer are saved, and where each keeps its config.

    model_state_dict, config             a checkpoint of `encash.encoders.checkpoint`
    state_dict, hyper_parameters         PyTorch Lightning
    model, config                        common in training programs
    the weights themselves               a plain state dict, or safetensors

Weights without a config take that of a JSON file: the one that was given, else ``config.json`` beside them. It holds
the settings of a checkpoint's ``config``, or an object ``config`` with them, and may hold `NOTES` as a checkpoint may.
In safetensors the config is JSON under ``config`` in the metadata, with notes as text or JSON beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from encash.errors import FormatError, InputError
from encash.text_files import parse_json, read_json

CONFIG_FILE = "config.json"
"""The config beside weights that have none."""
WEIGHTS_FILE = "model.safetensors"
"""The weights in a folder."""
NOTES = ("feature_names", "feature_set", "train_end", "bin_edges")
"""Keys of optional facts about the model besides the config."""
WRAPPERS = ("module", "model", "_orig_mod")
"""Parts that wrappers add to the names of weights: data parallel training, a Lightning module, torch.compile."""
_OWN_STATE = "model_state_dict"
_STATES = ("state_dict", "model")
_CONFIGS = ("config", "hyper_parameters")
_SETTINGS = {"hidden_dim", "num_layers", "num_heads", "pred_mode"}
_TEXTS = ("feature_set", "train_end")
_FIX = "write it as JSON with hidden_dim, num_layers, num_heads and pred_mode"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Weights as they were saved, and their metadata."""

    state: Mapping[str, Any]
    config: Mapping[str, Any] | None
    extras: dict[str, Any] = field(default_factory=dict)
    """All else that the file holds, `NOTES` among it."""
    from_file: bool = False
    """True if the config is in a different file than the weights."""


def find_parts(content: Any, path: Path) -> Parts:
    """Return the parts of what `torch.save` wrote.

    Raises:
        FormatError: none of the forms, more than one of them, or a name of a weight that is not text.
    """
    found = content if isinstance(content, Mapping) else {}
    if isinstance(found.get(_OWN_STATE), Mapping):
        config = found["config"] if isinstance(found.get("config"), Mapping) else None
        extras = {key: value for key, value in found.items() if key not in (_OWN_STATE, "config")}
        notes = _notes((extras, config or {}), _TEXTS, str(path))  # the names of features are part of the identity
        parts = Parts(state=found[_OWN_STATE], config=config, extras=extras | notes)
    elif found and all(hasattr(value, "shape") for value in found.values()):
        parts = Parts(state=found, config=None)
    else:
        parts = _parts_of_other(content, path)
    if odd := [name for name in parts.state if not isinstance(name, str)]:
        raise FormatError(f"{path}: {odd[0]!r} in place of the name of a weight; save the state dict of the model")
    return parts


def find_safetensors_parts(state: Mapping[str, Any], metadata: Mapping[str, str], path: Path) -> Parts:
    """Return the parts of a safetensors file.

    Raises:
        FormatError: metadata that are not those of a checkpoint.
    """
    what = f"{path}: in its metadata,"
    notes = {name: metadata[name] for name in NOTES if name in metadata}
    for name in (name for name in notes if name not in _TEXTS):
        notes[name] = parse_json(notes[name], f"{what} {name}", fix="write it as JSON")
    if "config" not in metadata:
        return Parts(state=state, config=None, extras=_notes((notes,), NOTES, what))
    config = parse_json(metadata["config"], f"{what} config", fix=_FIX)
    return _with_document(Parts(state=state, config=None, extras=notes), config, f"{what} config")


def with_config(parts: Parts, path: Path, given: str | Path | None) -> Parts:
    """Return parts that have a config: their own, completed by the given one, or that beside the weights.

    Args:
        parts: of the weights.
        path: of the weights.
        given: a JSON file; None takes `CONFIG_FILE` beside the weights if they have no config.

    Raises:
        InputError: the given config contradicts that of the weights.
        MissingFileError: the given file does not exist.
        FormatError: no config anywhere, or not JSON.
    """
    own = parts.config or {}
    if given is None and _SETTINGS & set(own):
        return parts
    source = Path(given) if given is not None else path.with_name(CONFIG_FILE)
    if given is None and not source.is_file():
        raise FormatError(
            f"{path} has no config, and there is no {CONFIG_FILE} beside it; expected a model_state_dict and a config "
            "in one file, or --model-config FILE: JSON with hidden_dim, num_layers, num_heads, pred_mode"
        )
    document = read_json(source, kind="config of a model", fix=_FIX)
    if "model_type" in document:
        raise FormatError(
            f"{source} is the config of a {str(document['model_type'])[:40]} model of transformers; give such a model "
            f"as chronos:{path.parent}?…, timesfm:… or transformers:…"
        )
    parts = _with_document(parts, document, str(source))
    assert parts.config is not None
    shared = [name for name in parts.config if name in own and name not in NOTES]
    if odd := [name for name in shared if own[name] != parts.config[name]]:
        raise InputError(
            f"{path} has {odd[0]} = {own[odd[0]]!r} in its own config, and {source} has {parts.config[odd[0]]!r}; "
            "leave the latter out"
        )
    return replace(parts, config={**own, **parts.config}, from_file=True)


def plain_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights under their own names, without the parts that wrappers add, in any nesting.

    Raises:
        FormatError: two weights have the same name without them.

    >>> plain_names({"model._orig_mod.module.pred_head.0.bias": 1, "transformer._orig_mod.layers.0.norm1.bias": 2})
    {'pred_head.0.bias': 1, 'transformer.layers.0.norm1.bias': 2}
    """
    found: dict[str, str] = {}
    for name in state:
        plain = plain_name(name)
        if plain in found:
            raise FormatError(
                f"the weights {found[plain]} and {name} are both {plain}; save the state dict of one model"
            )
        found[plain] = name
    return {plain: state[name] for plain, name in found.items()}


def plain_name(name: str) -> str:
    """Return the name of a weight without the parts that wrappers add; a name of only such parts stays."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) or name


def drop_weights(state: Mapping[str, Any], ignored: Sequence[str]) -> dict[str, Any]:
    """Return the weights without those below the ignored names.

    Args:
        state: weights under their own names.
        ignored: names of weights or of parts of the model: ``aux_head`` for ``aux_head.0.weight``.

    Raises:
        InputError: a name that no weight has.
    """
    below = {name: [weight for weight in state if f"{weight}.".startswith(f"{plain_name(name)}.")] for name in ignored}
    if unused := [name for name, weights in below.items() if not weights]:
        raise InputError(
            f"no weight is named {unused[0]!r}, which was to be ignored; expected one of the parts "
            f"{', '.join(sorted({weight.split('.')[0] for weight in state}))}"
        )
    gone = {weight for weights in below.values() for weight in weights}
    return {weight: value for weight, value in state.items() if weight not in gone}


def _parts_of_other(content: Any, path: Path) -> Parts:
    """Return the parts of what a program other than encash wrote."""
    found = content if isinstance(content, Mapping) else {}
    states, configs = ([key for key in keys if isinstance(found.get(key), Mapping)] for keys in (_STATES, _CONFIGS))
    if len(states) != 1 or len(configs) > 1:
        keys = ", ".join(map(str, content))[:80] if isinstance(content, Mapping) else type(content).__name__
        raise FormatError(
            f"{path} is not a checkpoint: it holds {' and '.join(states + configs) if states else keys}; expected a "
            "model_state_dict with weights and a config, or a plain state dict"
        )
    extras = {key: value for key, value in found.items() if key not in (*states, *configs)}
    parts = Parts(state=found[states[0]], config=None, extras=extras)
    return _with_document(parts, found[configs[0]], f"{path}: its {configs[0]}") if configs else parts


def _with_document(parts: Parts, document: Any, what: str) -> Parts:
    """Return the parts with the config and the notes of a document."""
    if not isinstance(document, Mapping):
        raise FormatError(f"{what} is not a config; {_FIX}")
    config = document["config"] if isinstance(document.get("config"), Mapping) else document
    return replace(parts, config=config, extras=parts.extras | _notes((parts.extras, document, config), NOTES, what))


def _notes(sources: Sequence[Mapping[str, Any]], names: Sequence[str], what: str) -> dict[str, Any]:
    """Return the notes of some names, each from the first source that has it.

    Raises:
        FormatError: two sources differ, or names of features that are not a list of text.
    """
    found: dict[str, Any] = {}
    for name in names:
        given = [source[name] for source in sources if source.get(name) is not None]
        if name != "bin_edges" and len({str(list(one) if isinstance(one, tuple) else one) for one in given}) > 1:
            raise FormatError(f"{what} and the rest of the file differ in {name} ({given[0]}, {given[-1]}); save one")
        if name == "feature_names" and not all(_is_list_of_text(value) for value in given):
            raise FormatError(f"{what} has the {name} {str(given[0])[:40]!r}; expected a list of names")
        found |= {name: given[0]} if given else {}
    return found


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
