"""The format of a checkpoint of the reference transformer: its settings, and its weights by name and shape.

A checkpoint is a mapping with ``model_state_dict`` and ``config``; other keys (such as an optimizer's state) are
ignored. The weights, with H = hidden_dim, F = features of one session:

    input_proj.{0,1}          Linear F → H and LayerNorm, then GELU
    pos_encoding              (1, 3000, H), added to the projected sessions
    transformer.layers.N      pre-norm, GELU, feed-forward 4·H
    pred_head.{0,3}           regression: H → H → 4;  classification: H → 2·H → bins × 4
    confidence_head.{0,3}     H → any → 4, then a sigmoid

Both heads are Linear, GELU, Dropout, Linear; their input is the mean over the window of the transformer's output. The
outputs of a classifier have the layout (bins, 4): the logit of bin b for horizon h is output ``b · 4 + h``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encash.errors import FormatError, InputError

HORIZONS = (1, 5, 10, 20)
"""Sessions ahead of the four forecasts."""
MAX_POSITIONS = 3000
"""The longest window that the position encoding covers."""
DEFAULT_LOOKBACK = 60
"""Sessions in a window if neither the caller nor the checkpoint sets them."""
ENGINES = ("torch", "onnxruntime")
"""The engines that run a checkpoint."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The sizes of a reference transformer."""

    num_features: int
    hidden_dim: int
    num_layers: int
    num_heads: int
    pred_mode: str
    """regression or classification."""
    num_bins: int = 0
    """Bins of a classifier, 0 for regression."""
    confidence_dim: int = 0
    """Width of the confidence head; 0 for hidden_dim."""
    dropout: float = 0.0
    """Used in training only."""

    @property
    def architecture(self) -> str:
        """Sizes in one readable line."""
        head = f"classification bins={self.num_bins}" if self.num_bins else self.pred_mode
        return f"transformer hidden={self.hidden_dim} layers={self.num_layers} heads={self.num_heads} head={head}"

    def head_shape(self) -> tuple[int, int]:
        """Return the width and the number of outputs of the prediction head."""
        if self.pred_mode == "classification":
            return 2 * self.hidden_dim, self.num_bins * len(HORIZONS)
        return self.hidden_dim, len(HORIZONS)

    def weights(self) -> dict[str, Shape]:
        """Return the name and shape of every weight.

        >>> layout = Layout(num_features=64, hidden_dim=1024, num_layers=10, num_heads=16, pred_mode="regression")
        >>> layout.weights()["pos_encoding"]
        (1, 3000, 1024)
        """
        hidden, (head_dim, outputs) = self.hidden_dim, self.head_shape()
        confidence_dim = self.confidence_dim or hidden
        shapes: dict[str, Shape] = {
            "pos_encoding": (1, MAX_POSITIONS, hidden),
            **_linear("input_proj.0", self.num_features, hidden),
            **_norm("input_proj.1", hidden),
            **_linear("pred_head.0", hidden, head_dim),
            **_linear("pred_head.3", head_dim, outputs),
            **_linear("confidence_head.0", hidden, confidence_dim),
            **_linear("confidence_head.3", confidence_dim, len(HORIZONS)),
        }
        for layer in range(self.num_layers):
            shapes |= _layer(f"transformer.layers.{layer}", hidden)
        return shapes


def read_layout(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Layout:
    """Return the layout that a config states, checked against every weight.

    Args:
        config: needs ``hidden_dim, num_layers, num_heads, pred_mode``.
        shapes: the shape of each weight under its own name.

    Raises:
        FormatError: a setting is missing or contradicts the weights; a weight is missing, unknown or has a wrong shape.
    """
    for name in ("input_proj.0.weight", "pred_head.3.weight", "confidence_head.0.weight"):
        if len(shapes.get(name, ())) != 2:
            raise FormatError(
                f"the weight {name} is missing or not a matrix: these are not the weights of the reference transformer "
                f"(found {_some(sorted(shapes))})"
            )
    layout = Layout(
        num_features=shapes["input_proj.0.weight"][1],
        hidden_dim=_positive(config, "hidden_dim"),
        num_layers=_positive(config, "num_layers"),
        num_heads=_positive(config, "num_heads"),
        pred_mode=_pred_mode(config),
        num_bins=_num_bins(config, shapes["pred_head.3.weight"][0]),
        confidence_dim=shapes["confidence_head.0.weight"][0],
        dropout=_dropout(config),
    )
    if layout.num_layers > len(shapes):  # before their shapes are listed
        raise FormatError(
            f"the checkpoint's config has num_layers = {layout.num_layers}, and there are {len(shapes)} weights in "
            "all; the config does not belong to these weights"
        )
    if layout.hidden_dim % layout.num_heads:
        raise FormatError(
            f"hidden_dim {layout.hidden_dim} is not a multiple of num_heads {layout.num_heads} in the config"
        )
    check_weights(layout, shapes)
    return layout


def check_weights(layout: Layout, shapes: Mapping[str, Shape]) -> None:
    """Refuse weights that are not exactly those of the layout.

    Raises:
        FormatError: names the weights that are missing, unknown or have a wrong shape.
    """
    expected = layout.weights()
    if wrong := [name for name in expected if name in shapes and shapes[name] != expected[name]]:
        name = wrong[0]
        raise FormatError(
            f"the weight {name} has shape {tuple(shapes[name])}, expected {expected[name]} for the config "
            f"({layout.architecture}); the config does not belong to these weights"
        )
    missing = [name for name in expected if name not in shapes]
    extra = [name for name in shapes if name not in expected]
    if missing or extra:
        parts = [
            f"{len(names)} weights are {word} ({_some(names)})"
            for names, word in ((missing, "missing"), (extra, "unknown"))
            if names
        ]
        raise FormatError(
            f"{' and '.join(parts)} for {layout.architecture}; each weight must be accounted for{_how_to_ignore(extra)}"
        )


def choose_lookback(asked: int | None, config: Mapping[str, Any], default: int = DEFAULT_LOOKBACK) -> int:
    """Return the sessions in a window: the requested ones, else the checkpoint's seq_len, else the default.

    Raises:
        InputError: below 1 or beyond the model's positions.
    """
    found = asked if asked is not None else config.get("seq_len") or default
    if type(found) is not int or not 1 <= found <= MAX_POSITIONS:
        raise InputError(
            f"invalid window of {found} sessions: the model has {MAX_POSITIONS} positions; "
            f"give a lookback from 1 to {MAX_POSITIONS}"
        )
    return found


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _layer(name: str, hidden: int) -> dict[str, Shape]:
    return {
        f"{name}.self_attn.in_proj_weight": (3 * hidden, hidden),
        f"{name}.self_attn.in_proj_bias": (3 * hidden,),
        **_linear(f"{name}.self_attn.out_proj", hidden, hidden),
        **_linear(f"{name}.linear1", hidden, 4 * hidden),
        **_linear(f"{name}.linear2", 4 * hidden, hidden),
        **_norm(f"{name}.norm1", hidden),
        **_norm(f"{name}.norm2", hidden),
    }


def _positive(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:  # True is an int
        raise FormatError(f"the checkpoint's config has {key} = {value!r}; expected an integer above 0")
    return value


def _dropout(config: Mapping[str, Any]) -> float:
    value = config.get("dropout", 0.0)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise FormatError(f"the checkpoint's config has dropout = {value!r}; expected a number from 0 to 1")
    return float(value)


def _pred_mode(config: Mapping[str, Any]) -> str:
    mode = config.get("pred_mode")
    if mode not in ("regression", "classification"):
        raise FormatError(f"the checkpoint's config has pred_mode = {mode!r}; expected regression or classification")
    return str(mode)


def _num_bins(config: Mapping[str, Any], outputs: int) -> int:
    horizons = len(HORIZONS)
    if _pred_mode(config) == "regression":
        return 0
    if outputs % horizons or outputs <= horizons:
        raise FormatError(
            f"a classifier's head has {outputs} outputs; expected a multiple of its {horizons} horizons, such as 400"
        )
    return outputs // horizons


def _how_to_ignore(extra: list[str]) -> str:
    """Return how to leave out weights that the model does not have."""
    parts = sorted({name.rsplit(".", 1)[0].split(".")[0] for name in extra})
    return f": to leave out what this model does not use, give --ignore-keys {' '.join(parts[:3])}" if extra else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"
