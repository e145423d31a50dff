"""The transformer with its matrix products in 8-bit integers. Knows the layers of the model; no file, no measurement.

A product y = x·Wᵀ + b is taken as integers: each row of x (one session of one window) and each row of W (one output)
is divided by its largest magnitude over 127 and rounded. The integer product is exact, so a window's result does not
depend on the others of its batch. Norms, attention, GELU and the sums stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 127
TINY = 1e-12
"""Stands for the largest magnitude of a row of zeros."""
DEEPEST_GELU = 0.17
"""No value of GELU is below −0.17: only a row's largest value can have a larger magnitude."""


def products_are_exact() -> bool:
    """Whether this processor's integer products are exact; older instructions saturate at 16 bits."""
    extreme = torch.full((64, 64), LARGEST, dtype=torch.int8)
    expected = 64 * LARGEST * LARGEST
    return all(bool((torch._int_mm(extreme, sign * extreme) == sign * expected).all()) for sign in (1, -1))


class Int8Transformer:
    """A transformer of pre-norm layers, its weights rounded to 8 bits once."""

    def __init__(self, transformer: nn.TransformerEncoder):
        self._layers = [_Layer(layer) for layer in transformer.layers]

    def __call__(self, projected: Tensor) -> Tensor:
        """States (n, L, hidden) of what was projected, of the same shape; both float32."""
        rows = projected.reshape(-1, projected.shape[-1]).clone()
        for layer in self._layers:
            layer.add_to(rows, projected.shape[1])
        return rows.view_as(projected)


class _Product:
    """One linear map."""

    def __init__(self, weight: Tensor, bias: Tensor):
        self._scale = weight.abs().amax(1).clamp(min=TINY) / LARGEST
        self._weight = torch.round(weight / self._scale[:, None]).to(torch.int8).t()
        self._bias = bias

    def __call__(self, rows: Tensor, largest: Tensor) -> Tensor:
        """The map of `rows`, which are used up; `largest` holds each row's largest magnitude, shape (rows, 1)."""
        scale = largest.clamp_(min=TINY).div_(LARGEST)
        integers = rows.mul_(scale.reciprocal()).round_().to(torch.int8)
        return torch._int_mm(integers, self._weight).to(torch.float32).mul_(self._scale).mul_(scale).add_(self._bias)


class _Layer:
    """One layer; works in place, for fresh memory costs more than the arithmetic."""

    def __init__(self, layer: Any):
        attention = layer.self_attn
        self._norms = layer.norm1, layer.norm2
        self._heads: int = attention.num_heads
        self._mix = _Product(attention.in_proj_weight, attention.in_proj_bias)
        self._out = _Product(attention.out_proj.weight, attention.out_proj.bias)
        self._widen = _Product(layer.linear1.weight, layer.linear1.bias)
        self._narrow = _Product(layer.linear2.weight, layer.linear2.bias)

    def add_to(self, rows: Tensor, lookback: int) -> None:
        """Add what the layer says of the rows (n·L, hidden) to them."""
        normed = self._norms[0](rows)
        attended = self._attend(self._mix(normed, _largest(normed)), lookback)
        rows.add_(self._out(attended, _largest(attended)))
        normed = self._norms[1](rows)
        wide = functional.gelu(self._widen(normed, _largest(normed)))
        rows.add_(self._narrow(wide, wide.amax(1, keepdim=True).clamp_(min=DEEPEST_GELU)))

    def _attend(self, mixed: Tensor, lookback: int) -> Tensor:
        """Attention of queries, keys and values side by side, (n·L, 3·hidden) → (n·L, hidden)."""
        width = mixed.shape[1] // 3
        query, key, value = mixed.view(-1, lookback, 3, self._heads, width // self._heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(-1, width)


def _largest(rows: Tensor) -> Tensor:
    return rows.abs().amax(1, keepdim=True)
