"""Write random checkpoints of the reference transformer for tests; `write_checkpoint` needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encash.encoders.checkpoint import Layout
from encash.extras import import_optional

TINY = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "pred_mode": "regression"}


def write_checkpoint(
    path: str | Path,
    *,
    num_features: int,
    lookback: int = 8,
    seed: int = 0,
    extras: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Path:
    """Write a checkpoint with random weights; the same arguments give the same weights.

    Args:
        path: the file to write.
        num_features: number of features per session.
        lookback: the checkpoint's ``seq_len``, in sessions.
        seed: of the weights.
        extras: further keys of the file, such as ``train_end`` or ``bin_edges``.
        sizes: fields of `Layout` that differ from those of a tiny regression model.

    Returns:
        The path.
    """
    engine: Any = import_optional("encash.encoders.torch", package="torch", extra="torch")
    layout = Layout(num_features=num_features, **{**TINY, **sizes})
    keys = {"config": {"seq_len": lookback}, "epoch": 1, "val_loss": 1.0, **(extras or {})}
    engine.save_checkpoint(path, engine.new_model(layout, seed), keys)
    return Path(path)
