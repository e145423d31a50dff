"""The start of a training: a reference transformer whose forecasts are those of a ridge regression.

Returns are mostly noise, and gradient descent needs many passes to find a weak signal that a regression finds in one
step. So the model starts as the fitted regression, and is trained from there. In the layout of a checkpoint:

- ``input_proj`` computes, for each segment of the window and each horizon, the linear function of a session's features
  whose mean over the segment the regression adds up. These channels are kept where GELU is nearly linear.
- Each head of the first layer averages over one segment: its logits depend on the position only, 0 inside the segment
  and very low outside. The sum over the heads is written to one output dimension per horizon, where it is the same in
  every session of the window, and so in the mean state.
- ``pred_head`` passes these dimensions on, ``confidence_head`` their absolute values.

All other dimensions start at random, on standardized features, and do not write to those above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float64
from encash.encoders.checkpoint import HORIZONS, Layout
from encash.encoders.torch import ReferenceTransformer, new_model
from encash.training.config import TrainConfig
from encash.training.linear import LinearForecast

POSITION_DEVIATION = 0.5
"""Standard deviation of the initial position encodings of the random dimensions, about that of the features there."""
CHANNEL_DEVIATION = 0.35
"""Standard deviation of a channel before the first normalization, small enough for GELU to be nearly linear."""
CHANNEL_OFFSET = 3.0
"""Center of a channel, and of a forecast, in the argument of GELU, where it is nearly the identity."""
OUTSIDE = -2.0
"""Position encoding of a session outside of a segment; inside it is 0."""
ATTENTION = 30.0
"""Query with which a head reads these encodings."""
READ_DEVIATION = 0.5
"""Standard deviation of a forecast in the argument of GELU."""
ABSOLUTE_STEEPNESS = 3.0
"""GELU(x) + GELU(−x) is close to |x| if x has this standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Hidden dimensions with a purpose: K · H channels, then K positions, then H outputs."""

    segments: int
    horizons: int = len(HORIZONS)

    @property
    def channels(self) -> slice:
        """Channel of (segment k, horizon h): k · H + h."""
        return slice(0, self.segments * self.horizons)

    @property
    def positions(self) -> slice:
        """Position encoding of each segment."""
        return slice(self.channels.stop, self.channels.stop + self.segments)

    @property
    def outputs(self) -> slice:
        """Linear forecast of each horizon."""
        return slice(self.positions.stop, self.positions.stop + self.horizons)


def layout_of(config: TrainConfig, num_features: int) -> Layout:
    """Return the layout of the model that a training makes."""
    sizes = config.sizes
    return Layout(
        num_features=num_features,
        hidden_dim=sizes.hidden_dim,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        pred_mode="regression",
        dropout=sizes.dropout,
    )


@torch.no_grad()
def start_model(layout: Layout, seed: int, linear: LinearForecast, token_deviation: Float64) -> ReferenceTransformer:
    """Return a new model whose output dimensions hold a linear forecast, up to a factor and nearly.

    `fit_heads` then makes them the model's forecasts.

    Args:
        layout: at least as many heads as the forecast has segments.
        seed: of the random dimensions.
        linear: the forecast.
        token_deviation: standard deviation of each channel over single sessions, shape (K, H).
    """
    model = new_model(layout, seed)
    places = Places(segments=len(linear.bounds) - 1)
    random = torch.Generator().manual_seed(seed)
    _start_input(model, places, linear, token_deviation, random)
    _start_positions(model, places, linear, random)
    layers: Any = model.transformer.layers
    for number, layer in enumerate(layers):
        for part in (layer.self_attn.out_proj, layer.linear2):
            part.weight[: places.outputs.stop] = 0.0
            part.bias[: places.outputs.stop] = 0.0
        if number == 0:
            _start_attention(layer.self_attn, places, layout, token_deviation)
    return model


@torch.no_grad()
def fit_heads(model: ReferenceTransformer, segments: int, means: Tensor, forecasts: Float64, platt: Float64) -> None:
    """Set the heads so that the model forecasts what a linear forecast does, with its confidence.

    Args:
        model: from `start_model`.
        segments: number of segments of the linear forecast.
        means: mean states of some windows, shape (n, hidden).
        forecasts: linear forecasts of the same windows, shape (n, H).
        platt: intercept, and slope on the absolute forecast, of the log odds of a right sign; shape (H, 2).
    """
    outputs = Places(segments=segments).outputs
    predict, doubt = _parts(model.pred_head), _parts(model.confidence_head)
    for part in (predict[1], doubt[1]):
        part.weight.zero_()
        part.bias.zero_()
    for horizon in range(len(HORIZONS)):
        place = outputs.start + horizon
        found = means[:, place].cpu().double().numpy()  # MPS has no float64
        center, deviation = found.mean(), max(found.std(), 1e-6)
        slope, level = _line((found - center) / deviation, forecasts[:, horizon])
        _read(predict[0], horizon, place, READ_DEVIATION / deviation, center, CHANNEL_OFFSET)
        predict[1].weight[horizon, horizon] = slope / READ_DEVIATION
        predict[1].bias[horizon] = level - slope / READ_DEVIATION * CHANNEL_OFFSET
        zero = center - level / slope * deviation if slope else center  # where the forecast changes its sign
        for sign, row in ((1, 2 * horizon), (-1, 2 * horizon + 1)):
            _read(doubt[0], row, place, sign * ABSOLUTE_STEEPNESS / deviation, zero, 0.0)
            doubt[1].weight[horizon, row] = platt[horizon, 1] * abs(slope) / ABSOLUTE_STEEPNESS
        doubt[1].bias[horizon] = platt[horizon, 0]


def _start_input(
    model: ReferenceTransformer, places: Places, linear: LinearForecast, deviation: Float64, random: torch.Generator
) -> None:
    """Set the projection: channels, nothing in positions and outputs, random features elsewhere."""
    projection: Any
    norm: Any
    projection, norm = model.input_proj[0], model.input_proj[1]
    weight = projection.weight.double()
    rows = linear.coefficients.transpose(0, 2, 1).reshape(places.channels.stop, -1)
    weight[places.channels] = torch.from_numpy(CHANNEL_DEVIATION * rows / np.maximum(deviation.reshape(-1, 1), 1e-12))
    weight[places.channels.stop : places.outputs.stop] = 0.0
    rest = slice(places.outputs.stop, None)
    weight[rest] -= weight.sum(0) / len(weight[rest])  # so that the mean of a state does not disturb the channels
    bias = torch.zeros(len(weight), dtype=torch.float64)
    bias[rest] = torch.randn(len(weight[rest]), generator=random, dtype=torch.float64) / 3**0.5
    bias[rest] -= bias[rest].mean()
    scaled = weight / torch.from_numpy(linear.standardizer.scale)
    projection.weight.copy_(scaled)
    projection.bias.copy_(bias - scaled @ torch.from_numpy(linear.standardizer.center))
    norm.weight[places.channels.stop : places.outputs.stop] = 0.0
    norm.bias[places.channels] = CHANNEL_OFFSET


def _start_positions(
    model: ReferenceTransformer, places: Places, linear: LinearForecast, random: torch.Generator
) -> None:
    """Set the position encodings: which segment, in the dimensions for it, and random values elsewhere."""
    encoding = model.pos_encoding[0]
    encoding.mul_(POSITION_DEVIATION / encoding.std())
    encoding[:, places.channels] = -torch.nn.functional.gelu(torch.tensor(CHANNEL_OFFSET)).item()
    encoding[:, places.positions] = OUTSIDE
    encoding[:, places.outputs] = 0.0
    for number, (first, stop) in enumerate(zip(linear.bounds[:-1], linear.bounds[1:], strict=True)):
        encoding[first:stop, places.positions.start + number] = 0.0


def _start_attention(attention: Any, places: Places, layout: Layout, deviation: Float64) -> None:
    """Set one head per segment to average its channels, and to write their sum to the outputs.

    Values and keys are read as differences from an output, which is still 0, so that the normalization before the
    layer does not shift them.
    """
    hidden, size = layout.hidden_dim, layout.hidden_dim // layout.num_heads
    weight, bias, zero = attention.in_proj_weight, attention.in_proj_bias, places.outputs.start
    share = deviation / np.maximum(deviation.max(axis=0), 1e-12)
    for head in range(places.segments):
        query, key, value = (part * hidden + head * size for part in range(3))
        weight[query : query + size] = 0.0
        bias[query : query + size] = 0.0
        bias[query] = ATTENTION
        for row, column in [(key, places.positions.start + head)] + [
            (value + horizon, head * places.horizons + horizon) for horizon in range(places.horizons)
        ]:
            weight[row] = 0.0
            weight[row, column], weight[row, zero] = 1.0, -1.0
            bias[row] = 0.0
        for horizon in range(places.horizons):
            attention.out_proj.weight[zero + horizon, head * size + horizon] = share[head, horizon]


def _parts(head: Any) -> tuple[Any, Any]:
    return head[0], head[3]


def _read(linear: Any, row: int, place: int, factor: float, center: float, offset: float) -> None:
    """Set a row of a head to one hidden dimension, shifted and scaled."""
    linear.weight[row] = 0.0
    linear.weight[row, place] = factor
    linear.bias[row] = offset - factor * center


def _line(x: Float64, y: Float64) -> tuple[float, float]:
    """Return slope and intercept of y on x by least squares, for x of mean 0 and deviation 1."""
    return float(x @ (y - y.mean()) / len(x)), float(y.mean())
