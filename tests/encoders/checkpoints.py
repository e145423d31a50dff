"""Checkpoints as the seed's own training writes them, made by a module of the tests' own."""

import torch
from torch import nn

CONFIG = {"hidden_dim": 16, "num_layers": 2, "num_heads": 4, "dropout": 0.15, "pred_mode": "regression", "seq_len": 6}


class SeedModel(nn.Module):
    """The model as `formats.md` describes it, written a second time; also the second way to get each answer."""

    def __init__(self, num_features, *, hidden_dim, num_layers, num_heads, dropout, pred_mode, bins=100, **_):
        super().__init__()
        self.bins = bins if pred_mode == "classification" else 0
        self.input_proj = nn.Sequential(nn.Linear(num_features, hidden_dim), nn.LayerNorm(hidden_dim), nn.GELU())
        self.pos_encoding = nn.Parameter(torch.randn(1, 3000, hidden_dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            hidden_dim, num_heads, 4 * hidden_dim, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        width, outputs = (2 * hidden_dim, 4 * bins) if self.bins else (hidden_dim, 4)
        self.pred_head = self._head(hidden_dim, width, outputs)
        self.confidence_head = self._head(hidden_dim, hidden_dim, 4)

    @staticmethod
    def _head(inputs, width, outputs):
        return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, outputs))

    def forward(self, x):
        states = self.transformer(self.input_proj(x) + self.pos_encoding[:, : x.shape[1]])
        mean = states.mean(dim=1)
        prediction = self.pred_head(mean)
        if self.bins:
            prediction = prediction.reshape(len(x), self.bins, 4)
        return states, prediction, torch.sigmoid(self.confidence_head(mean))


def seed_model(num_features=5, seed=0, **changes):
    torch.manual_seed(seed)
    return SeedModel(num_features, **{**CONFIG, **changes}).eval()


def checkpoint(num_features=5, seed=0, prefix="", more=None, **changes):
    """The content of a checkpoint of a seeded model."""
    state = {prefix + name: value for name, value in seed_model(num_features, seed, **changes).state_dict().items()}
    return {"model_state_dict": state, "config": {**CONFIG, **changes}, "epoch": 3, "val_loss": 1.18, **(more or {})}


def save_checkpoint(path, **options):
    torch.save(checkpoint(**options), path)
    return path
