"""The transformer with matrix products in 8-bit integers.

A product y = x·Wᵀ + b is computed in integers: each row of x (one session of one window) is divided by its largest
magnitude over 127 and rounded, and each row of W (one output) by its own over 127 or 63. The integer product is exact,
so a window's result does not depend on the other windows of its batch. Norms, softmax, GELU and sums are in float32.

int8   weights up to 127, the two products of attention in bfloat16: for processors with 8-bit products (VNNI)
int7   weights up to 63, attention in float32: a processor without them adds pairs of products in 16 bits, and
       2 · 255 · 63 is the largest such sum that these hold
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from encash.encoders.torch.transformer import Transformer

LARGEST = 127
LARGEST_WEIGHT = {"int8": 127, "int7": 63}
ATTENTION = {"int8": torch.bfloat16, "int7": torch.float32}
ZERO = 128
"""The zero point of the unsigned integers in which the processor's instructions take the rows of x."""
TINY = 1e-12
"""Replaces the largest magnitude of a row of zeros."""
DEEPEST_GELU = 0.17
"""No value of GELU is below −0.17, so that only the largest value of a row can have a larger magnitude."""


@cache
def products_are_exact(precision: str) -> bool:
    """Return whether torch has exact integer products in a precision here; older processors saturate at 16 bits."""
    if not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return False
    extreme, weight = torch.full((64, 64), float(LARGEST)), LARGEST_WEIGHT[precision]
    try:
        product = _Product(torch.full((64, 64), float(weight)), torch.zeros(64), weight)
        signs = (1, -1)
        found = [product(sign * extreme, extreme[:, :1].clone()) for sign in signs]
    except RuntimeError:  # a build of torch without such a product for this processor
        return False
    return all(bool((rows == sign * 64 * LARGEST * weight).all()) for sign, rows in zip(signs, found, strict=True))


class Int8Transformer:
    """A transformer of pre-norm layers with weights rounded to 8 or 7 bits, sign included."""

    def __init__(self, transformer: Transformer, precision: str):
        self._layers = [_Layer(layer, precision) for layer in transformer.layers]

    def __call__(self, projected: Tensor) -> Tensor:
        """Return the states (n, L, hidden) of projected windows of the same shape; both float32."""
        rows = projected.reshape(-1, projected.shape[-1]).clone()
        for layer in self._layers:
            layer.add_to(rows, projected.shape[1])
        return rows.view_as(projected)


class _Product:
    """A linear map."""

    def __init__(self, weight: Tensor, bias: Tensor, largest: int):
        self._scale = weight.abs().amax(1).clamp(min=TINY) / largest
        integers = torch.round(weight / self._scale[:, None]).to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(integers, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = bias

    def __call__(self, rows: Tensor, largest: Tensor) -> Tensor:
        """Map `rows`, which are overwritten; `largest` holds each row's largest magnitude, shape (rows, 1)."""
        scale = largest.clamp_(min=TINY).div_(LARGEST)
        signed = rows.mul_(scale.reciprocal()).round_().to(torch.int8)
        integers = signed.view(torch.uint8).bitwise_xor_(ZERO)  # adds it
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            integers, 1.0, ZERO, self._weight, self._scale, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product.mul_(scale).add_(self._bias)


class _Layer:
    """A layer; it works in place, because new memory costs more time than the arithmetic."""

    def __init__(self, layer: Any, precision: str):
        attention, largest = layer.self_attn, LARGEST_WEIGHT[precision]
        self._norms = layer.norm1, layer.norm2
        self._heads: int = attention.num_heads
        self._attention = ATTENTION[precision]
        self._mix = _Product(attention.in_proj_weight, attention.in_proj_bias, largest)
        self._out = _Product(attention.out_proj.weight, attention.out_proj.bias, largest)
        self._widen = _Product(layer.linear1.weight, layer.linear1.bias, largest)
        self._narrow = _Product(layer.linear2.weight, layer.linear2.bias, largest)

    def add_to(self, rows: Tensor, lookback: int) -> None:
        """Add the output of the layer for the rows (n·L, hidden) to them."""
        normed = self._norms[0](rows)
        attended = self._attend(self._mix(normed, _largest(normed)), lookback)
        rows.add_(self._out(attended, _largest(attended)))
        normed = self._norms[1](rows)
        wide = functional.gelu(self._widen(normed, _largest(normed)))
        rows.add_(self._narrow(wide, wide.amax(1, keepdim=True).clamp_(min=DEEPEST_GELU)))

    def _attend(self, mixed: Tensor, lookback: int) -> Tensor:
        """Return the attention of concatenated queries, keys and values, (n·L, 3·hidden) → (n·L, hidden)."""
        width = mixed.shape[1] // 3
        head = width // self._heads
        by_head = mixed.view(-1, lookback, 3, self._heads, head).permute(2, 0, 3, 1, 4).to(self._attention)
        query, key, value = by_head.reshape(3, -1, lookback, head)
        scores = torch.bmm(query, key.transpose(1, 2)).to(torch.float32).mul_(head**-0.5)
        attended = torch.bmm(torch.softmax(scores, -1).to(self._attention), value)
        return attended.view(-1, self._heads, lookback, head).transpose(1, 2).reshape(-1, width).to(torch.float32)


def _largest(rows: Tensor) -> Tensor:
    return rows.abs().amax(1, keepdim=True)
