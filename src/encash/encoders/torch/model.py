"""The reference transformer as a torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encash.encoders.checkpoint import HORIZONS, MAX_POSITIONS, Layout
from encash.encoders.torch.transformer import Transformer


class ReferenceTransformer(nn.Module):
    """Projected sessions plus positions, a pre-norm transformer, and two heads on the mean state."""

    def __init__(self, layout: Layout):
        super().__init__()
        hidden, (head_dim, outputs) = layout.hidden_dim, layout.head_shape()
        self.layout = layout
        self.input_proj = nn.Sequential(
            nn.Linear(layout.num_features, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(layout.dropout)
        )
        # bit-identical to 0.02 · randn, which would import torch's compiler for a model on the meta device
        self.pos_encoding = nn.Parameter(torch.normal(0.0, 0.02, (1, MAX_POSITIONS, hidden)))
        self.transformer = Transformer(layout)
        self.pred_head = _head(hidden, head_dim, outputs, layout.dropout)
        self.confidence_head = _head(hidden, layout.confidence_dim or hidden, len(HORIZONS), layout.dropout)

    def projected(self, windows: Tensor) -> Tensor:
        """Return the input of the transformer, shape (n, L, hidden), for windows of shape (n, L, F)."""
        projected: Tensor = self.input_proj(windows) + self.pos_encoding[:, : windows.shape[1]]
        return projected

    def states(self, windows: Tensor) -> Tensor:
        """Return the output of the transformer, shape (n, L, hidden), for windows of shape (n, L, F)."""
        states: Tensor = self.transformer(self.projected(windows))
        return states

    def heads(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw predictions, and confidences in [0, 1], for mean states (n, hidden).

        Predictions have shape (n, 4) for regression and (n, bins, 4) for classification; confidences (n, 4).
        """
        predictions: Tensor = self.pred_head(mean)
        if self.layout.num_bins:
            predictions = predictions.reshape(-1, self.layout.num_bins, len(HORIZONS))
        return predictions, torch.sigmoid(self.confidence_head(mean))

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw predictions and confidences for windows of shape (n, L, F)."""
        return self.heads(self.states(windows).mean(1))


def new_model(layout: Layout, seed: int) -> ReferenceTransformer:
    """Return a model with random weights, the same for the same seed; torch's own random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ReferenceTransformer(layout)


def _head(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))
