"""Training of the reference transformer, from samples to a checkpoint.

The model learns, per horizon, a ticker's return minus the mean of its session, in standard deviations (winsorized, mean
squared error). The mean return of the training period and the deviation are then folded into the last layer, so that
the checkpoint forecasts returns as fractions, as expected in a session of average return. The confidence of a forecast
is the probability that its sign (relative to the average) is right; it is fitted by cross-entropy on the states, which
it does not change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from encash.arrays import Float32, Float64
from encash.atomic_write import check_folder
from encash.encoders.checkpoint import HORIZONS, Layout
from encash.encoders.torch import ReferenceTransformer, choose_device, new_model, save_checkpoint
from encash.errors import WorkError
from encash.metrics import rank_ic
from encash.panel import Panel
from encash.progress import Progress
from encash.serialization import describe
from encash.training.config import TrainConfig
from encash.training.samples import Samples, Split, split_by_date

GRADIENT_NORM = 1.0
POSITION_DEVIATION = 0.5
"""Standard deviation of the initial position encodings. Both heads see the mean over the window: unless positions are
as large as the features from the start, it takes many epochs to distinguish the last sessions from the first (for a
planted signal in the last session, the rank correlation after 6 epochs is 0.02 with 0.02, and 0.25 with 0.5)."""
WARM_UP_SHARE = 0.05
EVALUATION_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """Summary of a completed training run."""

    path: str
    parameters: int
    tickers: int
    tickers_without_prices: int
    train_samples: int
    """Windows from which training draws."""
    validation_samples: int
    train_end: str
    period: dict[str, str]
    """First and last days of the two parts."""
    epochs: int
    """Completed epochs."""
    best_epoch: int
    """The epoch of the kept weights, from 1."""
    train_loss: float
    """Mean squared error in standard deviations in the best epoch; a forecast of the mean has 1."""
    val_loss: float
    """The same on the validation samples."""
    rank_ic: dict[str, float]
    """Mean rank correlation of forecast and return over the validation sessions, by horizon."""
    confidence_hits: float
    """Share of right signs in the more confident half of the validation forecasts, minus that in the other half."""
    seconds: float


def train(panel: Panel, out: str | Path, *, config: TrainConfig, progress: Progress | None = None) -> TrainReport:
    """Fit the reference transformer on the panel as of `config.train_end` and write a checkpoint.

    Args:
        panel: features and prices; nothing after `train_end` is read.
        out: the checkpoint, written atomically when training has ended.
        config: sizes, split and limits of the work.
        progress: called with (done, total) steps, where the total is the most steps.

    Raises:
        InputError: no prices, or too little history.
        WorkError: the loss is not finite; or `out` cannot be written, which is checked before training begins.
    """
    started = time.monotonic()
    check_folder(Path(out).parent)
    split = split_by_date(panel, config, HORIZONS)
    device = choose_device(config.device)
    layout = Layout(
        num_features=panel.num_features,
        hidden_dim=config.sizes.hidden_dim,
        num_layers=config.sizes.num_layers,
        num_heads=config.sizes.num_heads,
        pred_mode="regression",
        dropout=config.sizes.dropout,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        run = _Run(_new_model(layout, config.seed).to(device), split, config, progress)
        best = run.fit()
    model = run.model
    model.load_state_dict(best.weights)
    _fold_scale(model, split)
    forecast, confidence = run.predict(split.validation)
    rank_ics = _rank_ics(forecast, split.validation)
    confidence_hits = _confidence_hits(forecast - split.mean_return, confidence, split.validation)
    train_end = min(config.train_end, str(max(split.sessions[-1], split.rows.days.max())))  # the data may end before
    extras: dict[str, Any] = {
        "config": {"seq_len": config.lookback, "input_dim": panel.num_features},
        "epoch": best.epoch,
        "val_loss": best.val_loss,
        "train_end": train_end,
        "feature_names": list(panel.feature_names) if panel.feature_names else None,
        "feature_set": panel.feature_config.feature_set if panel.feature_config else None,
        "validation": {"rank_ic": rank_ics, "confidence_hits": confidence_hits, **split.period()},
        "training": describe(config),
    }
    save_checkpoint(out, model.eval(), extras)
    return TrainReport(
        path=str(out),
        parameters=sum(weight.numel() for weight in model.parameters()),
        tickers=len(split.rows.tickers),
        tickers_without_prices=len(panel.tickers) - len(split.rows.tickers),
        train_samples=len(split.train),
        validation_samples=len(split.validation),
        train_end=train_end,
        period=split.period(),
        epochs=run.epochs_done,
        best_epoch=best.epoch,
        train_loss=best.train_loss,
        val_loss=best.val_loss,
        rank_ic=rank_ics,
        confidence_hits=confidence_hits,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, kw_only=True)
class _Best:
    """The epoch with the lowest validation loss so far, with its weights."""

    epoch: int
    train_loss: float
    val_loss: float
    weights: dict[str, Tensor]


class _Run:
    """The state of one training run."""

    def __init__(self, model: ReferenceTransformer, split: Split, config: TrainConfig, progress: Progress | None):
        self.model, self.split, self.config = model, split, config
        self.device = next(model.parameters()).device
        self.epochs_done = 0
        self._progress = progress or (lambda done, total: None)
        self._draws = min(config.epoch_samples, len(split.train))
        self._steps_per_epoch = math.ceil(self._draws / config.sizes.batch_size)
        self._total_steps = self._steps_per_epoch * config.max_epochs
        self._steps = 0
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.sizes.learning_rate, weight_decay=config.weight_decay
        )

    def fit(self) -> _Best:
        """Train until the validation loss has not improved for `patience` epochs; return the best epoch."""
        best: _Best | None = None
        for epoch in range(1, self.config.max_epochs + 1):
            train_loss = self._epoch(epoch)
            val_loss = self._validation_loss()
            self.epochs_done = epoch
            if not math.isfinite(train_loss + val_loss):
                raise WorkError(
                    f"the loss is not finite in epoch {epoch}; check the features and prices for extreme values"
                )
            if best is None or val_loss < best.val_loss:
                weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
                best = _Best(epoch=epoch, train_loss=train_loss, val_loss=val_loss, weights=weights)
            if epoch - best.epoch >= self.config.patience:
                break
        self._progress(self._total_steps, self._total_steps)
        assert best is not None  # there is at least one epoch
        return best

    def predict(self, samples: Samples) -> tuple[Float64, Float64]:
        """Return the outputs and confidences of the model, each (n, H)."""
        self.model.eval()
        outputs: list[Float32] = []
        confidences: list[Float32] = []
        with torch.inference_mode():
            for at in range(0, len(samples), EVALUATION_BATCH):
                part = samples.take(np.arange(at, min(at + EVALUATION_BATCH, len(samples))))
                output, confidence = self.model(self._tensor(self.split.windows(part)))
                outputs.append(output.cpu().numpy())
                confidences.append(confidence.cpu().numpy())
        return np.concatenate(outputs).astype(np.float64), np.concatenate(confidences).astype(np.float64)

    def _epoch(self, epoch: int) -> float:
        """Train on the samples drawn for an epoch; return the mean loss of the forecasts."""
        self.model.train()
        losses = []
        for samples in self._batches(epoch):
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate()
            forecast_loss, confidence_loss = self._losses(samples)
            self._optimizer.zero_grad(set_to_none=True)
            (forecast_loss + confidence_loss).backward()  # type: ignore[no-untyped-call]  # torch has no type for it
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            self._optimizer.step()
            self._steps += 1
            losses.append(forecast_loss.item())
            self._progress(self._steps, self._total_steps)
        return float(np.mean(losses))

    def _batches(self, epoch: int) -> Iterator[Samples]:
        """Yield batches drawn without replacement, which depend only on seed and epoch."""
        draw = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.split.train))[: self._draws]
        for at in range(0, len(draw), self.config.sizes.batch_size):
            yield self.split.train.take(draw[at : at + self.config.sizes.batch_size])

    def _losses(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of the forecasts and the cross-entropy of the confidences."""
        targets = self._tensor(self.split.targets(samples))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            mean = self.model.states(self._tensor(self.split.windows(samples))).mean(1)
            forecast = self.model.pred_head(mean)
            doubt = self.model.confidence_head(mean.detach())
        known = torch.isfinite(targets)
        right = (torch.sign(forecast.detach()) == torch.sign(targets)).float()
        error = functional.mse_loss(forecast.float()[known], targets[known])
        return error, functional.binary_cross_entropy_with_logits(doubt.float()[known], right[known])

    def _validation_loss(self) -> float:
        forecast, _ = self.predict(self.split.validation)
        return float(np.nanmean((forecast - self.split.targets(self.split.validation)) ** 2))

    def _learning_rate(self) -> float:
        """Return the rate of a linear warm-up, followed by half a cosine down to zero."""
        warm_up = max(1, int(WARM_UP_SHARE * self._total_steps))
        rate = self.config.sizes.learning_rate
        if self._steps < warm_up:
            return rate * (self._steps + 1) / warm_up
        done = (self._steps - warm_up) / max(1, self._total_steps - warm_up)
        return rate * 0.5 * (1 + math.cos(math.pi * done))

    def _tensor(self, array: Float32) -> Tensor:
        return torch.from_numpy(array).to(self.device)


@torch.no_grad()
def _new_model(layout: Layout, seed: int) -> ReferenceTransformer:
    model = new_model(layout, seed)
    model.pos_encoding.mul_(POSITION_DEVIATION / model.pos_encoding.std())
    return model


@torch.no_grad()
def _fold_scale(model: ReferenceTransformer, split: Split) -> None:
    """Convert the output of the last layer to returns: times the scale, plus the mean return."""
    last: Any = model.pred_head[3]
    scale, mean = (
        torch.tensor(values, dtype=torch.float32, device=last.bias.device)
        for values in (split.scale, split.mean_return)
    )
    last.weight.mul_(scale[:, None])
    last.bias.mul_(scale).add_(mean)


def _rank_ics(forecast: Float64, samples: Samples) -> dict[str, float]:
    """Return the mean rank correlation across tickers over the sessions, by horizon."""
    sessions, row = np.unique(samples.session, return_inverse=True)
    shape = len(sessions), int(samples.ticker.max()) + 1

    def on_grid(values: Float64) -> Float64:
        grid = np.full(shape, np.nan)
        grid[row, samples.ticker] = values
        return grid

    result = {}
    for at, horizon in enumerate(HORIZONS):
        daily = rank_ic(on_grid(forecast[:, at]), on_grid(samples.returns[:, at]))
        known = daily[np.isfinite(daily)]
        result[str(horizon)] = float(known.mean()) if len(known) else 0.0
    return result


def _confidence_hits(forecast: Float64, confidence: Float64, samples: Samples) -> float:
    """Return the share of right signs in the more confident half, minus that in the other half."""
    known = np.isfinite(samples.excess)
    right = (np.sign(forecast) == np.sign(samples.excess))[known]
    sure = (confidence > np.median(confidence, axis=0))[known]
    if sure.all() or not sure.any():
        return 0.0
    return float(right[sure].mean() - right[~sure].mean())
