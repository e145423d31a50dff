"""The cost of a training, measured before it starts on an untrained model of the same sizes."""

from __future__ import annotations

import time
from pathlib import Path

from encash.encoders.torch import choose_device, new_model, save_checkpoint
from encash.encoders.torch.devices import synchronize
from encash.training.config import TrainConfig
from encash.training.start import layout_of


def measure_training(config: TrainConfig, num_features: int, untrained: Path) -> float:
    """Measure steps forward and back on a few windows, and on a whole batch if it takes less than a second.

    Args:
        config: of the training.
        num_features: features per session.
        untrained: the checkpoint to write, of the random model that was measured.

    Returns:
        windows per second.
    """
    device = choose_device(config.device)
    model = new_model(layout_of(config, num_features), config.seed).to(device)
    batch = config.sizes.batch_size
    for count in (1, min(8, batch), batch):  # the first step is slower than all others
        windows = next(model.parameters()).new_zeros((count, config.lookback, num_features))
        began = time.perf_counter()
        forecast, confidence = model(windows)
        (forecast.square().mean() + confidence.mean()).backward()
        synchronize(device)
        rate = count / (time.perf_counter() - began)
        if count > 1 and batch / rate > 1.0:
            break
    save_checkpoint(untrained, model.cpu().eval(), {"config": {"seq_len": config.lookback, "input_dim": num_features}})
    return rate
