"""Layers of the reference transformer: the same function on every device and in training.

Names and initial values of the weights are those of ``torch.nn.TransformerEncoder`` (pre-norm, GELU). On a CPU, so are
the outputs: bit for bit with an even number of heads, within 1e-6 otherwise. On CUDA that module is a different model
unless gradients are needed, because it computes GELU by tanh instead of erf.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encash.encoders.checkpoint import Layout


class Transformer(nn.Module):
    """Layers in sequence."""

    def __init__(self, layout: Layout):
        super().__init__()
        layer = Layer(layout.hidden_dim, layout.num_heads, layout.dropout)
        self.layers = nn.ModuleList(deepcopy(layer) for _ in range(layout.num_layers))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the states, shape (n, L, hidden), for an input of the same shape."""
        for layer in self.layers:
            rows = layer(rows)
        return rows


class Layer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); Xiong et al. (2020), "On Layer Normalization in the
    Transformer Architecture"."""

    def __init__(self, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.self_attn = SelfAttention(hidden, heads, dropout)
        self.linear1 = nn.Linear(hidden, 4 * hidden)
        self.linear2 = nn.Linear(4 * hidden, hidden)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the output, shape (n, L, hidden), for an input of the same shape."""
        rows = rows + self.dropout(self.self_attn(self.norm1(rows)))
        wide = functional.gelu(self.linear1(self.norm2(rows)), approximate="none")
        output: Tensor = rows + self.dropout(self.linear2(self.dropout(wide)))
        return output


class SelfAttention(nn.Module):
    """Every session of a window attends to all of them."""

    def __init__(self, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = heads, dropout
        self.out_proj = nn.Linear(hidden, hidden)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * hidden))
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the output, shape (n, L, hidden), for an input of the same shape."""
        if not self.training and rows.device.type == "cpu" and rows.dtype == torch.float32:
            mixed = functional.linear(rows, self.in_proj_weight).add_(self.in_proj_bias)
            attended = _attend(*self._by_head(mixed))
        else:
            mixed = functional.linear(rows, self.in_proj_weight, self.in_proj_bias)
            dropout = self.dropout if self.training else 0.0
            attended = functional.scaled_dot_product_attention(*self._by_head(mixed), dropout_p=dropout)
        output: Tensor = self.out_proj(attended.transpose(1, 2).reshape(rows.shape))
        return output

    def _by_head(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split queries, keys and values side by side, (n, L, 3·hidden), into three of shape (n, heads, L, d)."""
        size = mixed.shape[-1] // (3 * self.num_heads)
        query, key, value = mixed.view(*mixed.shape[:2], 3, self.num_heads, size).permute(2, 0, 3, 1, 4)
        return query, key, value


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q·Kᵀ/√d)·V with the memory layout and roundings of ``torch.nn.TransformerEncoder`` on a CPU."""
    rooted = float(np.sqrt(np.float32(query.shape[-1])))
    query, key, value = (query * (1 / rooted)).contiguous(), key.contiguous(), value.contiguous()
    return torch.matmul(torch.softmax(torch.matmul(query, key.transpose(-2, -1)), -1), value)
