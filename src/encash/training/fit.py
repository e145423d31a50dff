"""Training of the reference transformer, from samples to a checkpoint.

The model learns, per horizon, a ticker's return minus the mean of its session, in standard deviations (winsorized, mean
squared error). It starts as a ridge regression (`training.start`) and is trained by gradient descent from there; an
epoch is kept only if it ranks the choosing sessions better, beyond chance. Then the mean return of the training period
and the deviation are folded into the last layer, so that the checkpoint forecasts returns as fractions, as expected in
a session of average return.

The confidence of a forecast is the probability that it is right about the sign of the return relative to the average of
its session. Forecasts and confidences are calibrated on sessions after those of their fit (walk-forward within the
training sessions, then those that choose and report): their scale is that of the expected return, and of 100 forecasts
with a confidence of 0.55 about 55 are right. Without skill, forecasts are nearly constant.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from encash.arrays import Float32, Float64, Int64
from encash.atomic_write import check_folder
from encash.encoders.checkpoint import HORIZONS, Layout
from encash.encoders.torch import ReferenceTransformer, choose_device, save_checkpoint
from encash.encoders.torch.devices import free_memory, half_dtype
from encash.errors import WorkError
from encash.metrics import reliability, right_signs
from encash.panel import Panel
from encash.panel.windows import window_starts
from encash.progress import Progress
from encash.serialization import describe
from encash.training.calibration import Evidence, ExpectedSlope, expect_slopes
from encash.training.config import TrainConfig
from encash.training.linear import LinearFit, LinearForecast, fit_baseline, fit_linear, regression
from encash.training.samples import Samples, Split, split_by_date
from encash.training.skill import Skill, daily_rank_ic, finite, measure_skill, measure_slopes, within_session
from encash.training.start import fit_heads, layout_of, start_model

GRADIENT_NORM = 1.0
WARM_UP_SHARE = 0.05
AVERAGING = 0.98
"""Decay per step of the averaged weights, which are the ones that are evaluated and kept."""
EVALUATION_BATCH = 256
ROWS_SHARE = 0.25
"""Maximum fraction of an accelerator's free memory for the feature rows."""
HEAD_WINDOWS = 1024
"""Training windows that the heads of the start are fitted on."""
CERTAINTY = 2.0
"""Standard errors by which an epoch must rank better than the best before it."""


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """Summary of a completed training run.

    All figures are of the validation sessions, on which nothing was chosen. After they are measured, the checkpoint is
    calibrated on these sessions too, because they are the latest: see `recalibration`.
    """

    result: str
    """Outcome in one sentence."""
    path: str
    parameters: int
    tickers: int
    tickers_without_prices: int
    train_samples: int
    """Windows from which training draws."""
    choosing_samples: int
    """Windows that choose the epoch and calibrate."""
    validation_samples: int
    """Windows of the reported figures."""
    settled_samples: int
    """Training windows whose ticker stopped trading within a horizon; the delisting policy decides their return."""
    train_end: str
    period: dict[str, str]
    """First and last days of the parts."""
    epochs: int
    """Completed epochs."""
    best_epoch: int
    """The epoch of the kept weights, from 1; 0 is the start, a ridge regression in the layout of the model."""
    train_loss: float
    """Mean squared error in standard deviations in the best epoch; of held-out training windows for epoch 0."""
    val_loss: float
    """The same on the validation samples."""
    val_loss_error: float | None
    """Standard error of the difference from the loss of a forecast of the mean."""
    rank_ic: dict[str, float]
    """Mean rank correlation of forecast and return over the validation sessions, by horizon."""
    rank_ic_error: dict[str, float | None]
    """Its standard error, robust to overlapping returns."""
    baselines: dict[str, Any]
    """The same figures of a ridge regression (last session and mean of the window), and of a forecast of the mean."""
    calibration_slope: dict[str, float | None]
    """Slope of realized on forecast excess returns, by horizon; 1 is calibrated. None without skill: forecasts are then
    nearly constant, and their slope is not estimable."""
    calibration_slope_error: dict[str, float | None]
    """Its standard error, robust to overlapping returns; a slope cannot be judged by the 1 if this is large."""
    cross_section_slope: dict[str, float | None]
    """The same slope if forecasts are relative to the mean forecast of their session, which is what a choice between
    tickers uses."""
    cross_section_slope_error: dict[str, float | None]
    skill_probability: dict[str, float]
    """Probability, by horizon, that the forecasts of later sessions have any skill; 0.5 without evidence."""
    shrinkage: dict[str, float]
    """Factor of the forecasts by horizon that makes their expected slope 1, estimated from all walk-forward
    forecasts."""
    recalibration: dict[str, float]
    """Final factor of the forecasts by horizon, from the validation sessions; far from 1 if their slope clearly
    differs from the earlier one."""
    confidence_hits: float
    """Fraction of right signs in the more confident half of the validation forecasts, minus that in the other half."""
    reliability: list[dict[str, float]]
    """Claimed confidence and fraction of right signs in five groups of forecasts, least confident first."""
    outliers: int
    """Closes that look like wrong prices; their effect is limited, but they should be checked."""
    outlier_bars: list[dict[str, Any]]
    """The largest 20 of them: ticker, day, and return since the close before."""
    seconds: float


def train(panel: Panel, out: str | Path, *, config: TrainConfig, progress: Progress | None = None) -> TrainReport:
    """Fit the reference transformer on the panel as of `config.train_end` and write a checkpoint.

    Args:
        panel: features and prices; nothing after `train_end` is read.
        out: the checkpoint, written atomically when training has ended.
        config: sizes, split and limits of the work.
        progress: called with (done, total) steps; the total grows if an epoch is an improvement.

    Raises:
        InputError: no prices, or too little history.
        WorkError: the loss is not finite; or `out` cannot be written, which is checked before training begins.
    """
    started = time.monotonic()
    check_folder(Path(out).parent)
    split = split_by_date(panel, config, HORIZONS)
    device = choose_device(config.device)
    layout = layout_of(config, panel.num_features)
    data, standardizer = regression(split, HORIZONS)
    linear, baseline = fit_linear(data, standardizer, layout.num_heads), fit_baseline(data, standardizer).forecast
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        run = _Run(_start(layout, split, linear, config.seed).to(device), split, config, progress)
        run.fit_heads(linear, data.overlap)
        best = run.fit(_held_out_loss(linear))
    model = run.model
    model.load_state_dict(best.weights)
    evidence = _evidence(run, linear, trained=best.epoch > 0)
    before, latest = (expect_slopes(some, HORIZONS) for some in (evidence[:-1], evidence))
    applied, factors = (np.array([one.factor for one in slopes]) for slopes in (before, latest))
    run.rescale(applied)
    figures = _figures(run, baseline, before)
    run.rescale(factors / applied)
    _fold_scale(model, split)
    train_end = min(config.train_end, str(max(split.sessions[-1], split.rows.days.max())))  # the data may end before
    period = split.period()
    extras: dict[str, Any] = {
        "config": {"seq_len": config.lookback, "input_dim": panel.num_features},
        "epoch": best.epoch,
        "val_loss": figures["val_loss"],
        "train_end": train_end,
        "feature_names": list(panel.feature_names) if panel.feature_names else None,
        "feature_set": panel.feature_config.feature_set if panel.feature_config else None,
        "validation": {**figures, **period},
        "training": describe(config),
    }
    save_checkpoint(out, model.eval(), extras)
    return TrainReport(
        path=str(out),
        parameters=sum(weight.numel() for weight in model.parameters()),
        tickers=len(split.rows.tickers),
        tickers_without_prices=len(set(panel.tickers) - set(panel.prices.tickers if panel.prices else ())),
        train_samples=len(split.train),
        choosing_samples=len(split.choosing),
        validation_samples=len(split.validation),
        settled_samples=int(split.train.settled.any(axis=1).sum()),
        train_end=train_end,
        period=period,
        epochs=run.epochs_done,
        best_epoch=best.epoch,
        train_loss=best.train_loss,
        shrinkage=_by_horizon(factors.tolist()),
        recalibration=_by_horizon((factors / applied).tolist()),
        skill_probability=_by_horizon(one.probability for one in latest),
        outliers=len(split.outliers),
        outlier_bars=[asdict(one) for one in split.outliers[:20]],
        seconds=time.monotonic() - started,
        **figures,
    )


@dataclass(frozen=True, kw_only=True)
class _Best:
    """The best epoch so far, with its weights."""

    epoch: int
    train_loss: float
    daily: Float64
    """Mean rank correlation over the horizons in each choosing session."""
    weights: dict[str, Tensor]


class _Run:
    """The state of one training run. Outputs of its model are excess returns in standard deviations."""

    def __init__(self, model: ReferenceTransformer, split: Split, config: TrainConfig, progress: Progress | None):
        self.model, self.split, self.config = model, split, config
        self.device = next(model.parameters()).device
        self.epochs_done = 0
        self._half = None if self.device.type == "cpu" else half_dtype(self.device)
        self._rows = _rows_on_device(split, self.device)
        self._progress = progress or (lambda done, total: None)
        self._draws = min(config.epoch_samples, len(split.train))
        self._steps_per_epoch = math.ceil(self._draws / config.sizes.batch_size)
        self._total_steps = self._steps_per_epoch * config.max_epochs
        self._expected_steps = self._steps_per_epoch * min(config.max_epochs, config.patience)
        self._steps = 0
        self._optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.sizes.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if self.device.type == "cuda" else None,  # the only kind that takes float16 without a wait
        )
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._half == torch.float16)

    @property
    def how(self) -> str:
        """Note on the device, if a repeated run may not give the same bytes."""
        if self._half is None:
            return ""
        precision = str(self._half).removeprefix("torch.")
        return f"; trained on {self.device.type} in {precision}: a repeated run agrees closely, not bit by bit"

    def fit_heads(self, linear: LinearFit, overlap: Float64) -> None:
        """Make the linear forecast that of the model, with the confidence of its held-out forecasts."""
        samples = self.split.train
        some = samples.take(np.linspace(0, len(samples) - 1, min(HEAD_WINDOWS, len(samples))).round().astype(int))
        self.model.eval()
        with torch.inference_mode():
            means = torch.cat([self.model.states(windows).mean(1) for windows in self._windows(some)])
        forecasts = linear.forecast.predict(self.split.rows, some.end_rows)
        fit_heads(self.model, len(linear.forecast.bounds) - 1, means, forecasts, linear.platt(overlap))

    def fit(self, start_loss: float) -> _Best:
        """Train until no epoch has improved for `patience` epochs; return the best epoch, or the start as epoch 0."""
        averaged = _AveragedWeights(self.model)
        best = _Best(epoch=0, train_loss=start_loss, daily=self._daily(), weights=_copy(self.model))
        for epoch in range(1, self.config.max_epochs + 1):
            train_loss = self._epoch(epoch, averaged)
            if not math.isfinite(train_loss):
                raise WorkError(
                    f"the loss is not finite in epoch {epoch}; check the features and prices for extreme values"
                )
            trained = _copy(self.model)
            self.model.load_state_dict(averaged.module.state_dict())
            daily = self._daily()
            self.epochs_done = epoch
            if _is_better(daily, best.daily):
                best = _Best(epoch=epoch, train_loss=train_loss, daily=daily, weights=_copy(self.model))
            self.model.load_state_dict(trained)
            if epoch - best.epoch >= self.config.patience:
                break
            expected = min(self.config.max_epochs, best.epoch + self.config.patience)
            self._expected_steps = self._steps_per_epoch * expected
        self._progress(self._expected_steps, self._expected_steps)
        return best

    @torch.no_grad()
    def rescale(self, factors: Float64) -> None:
        """Multiply the forecasts of each horizon, and the log odds that depend on them, by a factor."""
        predict: Any
        doubt: Any
        predict, doubt = self.model.pred_head[3], self.model.confidence_head[3]
        factor = torch.tensor(factors, dtype=predict.bias.dtype, device=self.device)
        predict.weight.mul_(factor[:, None])
        predict.bias.mul_(factor)
        doubt.weight.mul_(factor[:, None])

    def predict(self, samples: Samples) -> tuple[Float64, Float64]:
        """Return the outputs and confidences of the model, each (n, H)."""
        self.model.eval()
        with torch.inference_mode():
            parts = [self.model(windows) for windows in self._windows(samples)]
            outputs, confidences = (torch.cat(each).cpu().double().numpy() for each in zip(*parts, strict=True))
        return outputs, confidences

    def _epoch(self, epoch: int, averaged: _AveragedWeights) -> float:
        """Train on the samples drawn for an epoch; return the mean loss of the forecasts.

        No step waits for the device: losses stay there until the end.
        """
        self.model.train()
        losses: list[Tensor] = []
        for samples in self._batches(epoch):
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate()
            forecast_loss, confidence_loss = self._losses(samples)
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._scaler.scale(forecast_loss + confidence_loss)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            self._scaler.step(self._optimizer)
            self._scaler.update()
            averaged.update(self.model)
            self._steps += 1
            losses.append(forecast_loss.detach())
            self._progress(self._steps, self._expected_steps)
        return float(torch.stack(losses).cpu().double().numpy().mean())

    def _batches(self, epoch: int) -> Iterator[Samples]:
        """Yield batches drawn without replacement; the place of a window depends only on seed, epoch and its cell."""
        samples, grid = self.split.train, (len(self.split.sessions), len(self.split.rows.tickers))
        places = np.random.default_rng([self.config.seed, epoch]).random(grid)[samples.session, samples.ticker]
        draw = np.argsort(places, kind="stable")[: self._draws]
        for at in range(0, len(draw), self.config.sizes.batch_size):
            yield self.split.train.take(draw[at : at + self.config.sizes.batch_size])

    def _losses(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of the forecasts and the cross-entropy of the confidences."""
        targets = self.split.targets(samples).reshape(-1)
        known = np.flatnonzero(np.isfinite(targets))  # on the host: a mask of the device would wait for it
        with torch.autocast(self.device.type, dtype=self._half, enabled=self._half is not None):
            mean = self.model.states(self._inputs(samples)).mean(1)
            outputs = self.model.pred_head(mean), self.model.confidence_head(mean.detach())
        at, wanted = self._tensor(known), self._tensor(targets[known])
        forecast, doubt = (output.float().flatten().index_select(0, at) for output in outputs)
        right = (torch.sign(forecast.detach()) == torch.sign(wanted)).float()
        error = functional.mse_loss(forecast, wanted)
        return error, functional.binary_cross_entropy_with_logits(doubt, right)

    def _daily(self) -> Float64:
        """Return the mean rank correlation over the horizons in each choosing session; NaN if there is none."""
        daily = daily_rank_ic(self.predict(self.split.choosing)[0], self.split.choosing)
        known = np.isfinite(daily)
        counts = known.sum(axis=1)
        return np.where(counts > 0, np.where(known, daily, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)

    def _learning_rate(self) -> float:
        """Return the rate of a linear warm-up, followed by half a cosine down to zero."""
        warm_up = max(1, int(WARM_UP_SHARE * self._total_steps))
        rate = self.config.sizes.learning_rate
        if self._steps < warm_up:
            return rate * (self._steps + 1) / warm_up
        done = (self._steps - warm_up) / max(1, self._total_steps - warm_up)
        return rate * 0.5 * (1 + math.cos(math.pi * done))

    def _windows(self, samples: Samples) -> Iterator[Tensor]:
        """Yield the windows of samples in batches for evaluation."""
        for at in range(0, len(samples), EVALUATION_BATCH):
            part = samples.take(np.arange(at, min(at + EVALUATION_BATCH, len(samples))))
            yield self._inputs(part)

    def _inputs(self, samples: Samples) -> Tensor:
        """Return the windows of samples on the device, gathered there if it holds the rows."""
        if self._rows is None:
            return self._tensor(self.split.windows(samples))
        starts = self._tensor(window_starts(self.split.rows, samples.end_rows, self.split.lookback))
        return self._rows[starts[:, None] + torch.arange(self.split.lookback, device=self.device)]

    def _tensor(self, array: Float32 | Int64) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":  # other memory than pinned may be freed before it is copied
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)  # the copy runs beside the step before


class _AveragedWeights:
    """Moving averages of the weights of a model."""

    def __init__(self, model: ReferenceTransformer):
        self.module = copy.deepcopy(model)
        self._average = get_ema_multi_avg_fn(AVERAGING)  # type: ignore[no-untyped-call]  # torch has no type for it
        self._updates = 0  # a number of the host, where AveragedModel copies one to the device in every step

    @torch.no_grad()
    def update(self, model: ReferenceTransformer) -> None:
        """Include the current weights; the first ones are taken as they are."""
        ours, theirs = list(self.module.parameters()), list(model.parameters())
        if self._updates:
            self._average(ours, theirs, self._updates)
        else:
            for our, their in zip(ours, theirs, strict=True):
                our.copy_(their)
        self._updates += 1


def _evidence(run: _Run, linear: LinearFit, *, trained: bool) -> list[Evidence]:
    """Return forecasts of later sessions than those of their fit: of the training, choosing and reporting sessions.

    Those of the training sessions are walk-forward forecasts of the regression. The others are of the model: of some
    windows, or of all by the regression that an untrained model still holds.
    """
    split, forecast = run.split, linear.forecast
    later = (split.choosing, split.validation) if trained else (split.choosing_all, split.validation_all)
    return [linear.walked] + [
        Evidence(
            forecast=run.predict(one)[0] if trained else forecast.predict(split.rows, one.end_rows),
            target=split.targets(one).astype(np.float64),
            session=one.session,
            model=int(trained),
        )
        for one in later
    ]


def _start(layout: Layout, split: Split, linear: LinearFit, seed: int) -> ReferenceTransformer:
    """Return the model that holds the linear forecast."""
    forecast = linear.forecast
    some = split.rows.values[split.train.end_rows[:: max(1, len(split.train) // 2000)]]
    tokens = np.einsum("nf,kfh->nkh", forecast.standardizer.apply(some), forecast.coefficients)
    return start_model(layout, seed, forecast, tokens.std(axis=0))


def _rows_on_device(split: Split, device: torch.device) -> Tensor | None:
    """Return all feature rows on an accelerator, if they take at most a quarter of its free memory."""
    free = free_memory(device)
    if free is None or split.rows.values.nbytes > ROWS_SHARE * free:
        return None
    return torch.from_numpy(split.rows.values).to(device)


def _copy(model: ReferenceTransformer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _held_out_loss(linear: LinearFit) -> float:
    return float(np.mean((linear.held_out - linear.held_out_targets) ** 2))


def _is_better(daily: Float64, best: Float64) -> bool:
    """Return whether an epoch ranks the choosing sessions better than the best before, beyond chance."""
    gap = (daily - best)[np.isfinite(daily - best)]
    if len(gap) < 2:
        return False
    return bool(gap.mean() > CERTAINTY * gap.std(ddof=1) / np.sqrt(len(gap)))


def _figures(run: _Run, baseline: LinearForecast, expected: Sequence[ExpectedSlope]) -> dict[str, Any]:
    """Return the figures of the validation sessions, of the model and of the baselines."""
    samples, split = run.split.validation, run.split
    targets = split.targets(samples).astype(np.float64)
    forecast, confidence = run.predict(samples)
    skill = measure_skill(forecast, samples, targets, HORIZONS)
    ridge = measure_skill(baseline.predict(split.rows, samples.end_rows), samples, targets, HORIZONS)
    mean = float(np.nanmean(targets**2))
    known = np.isfinite(targets)
    right = right_signs(forecast, targets)
    return {
        "result": _result(skill, ridge, mean, expected) + run.how,
        "val_loss": skill.loss,
        "val_loss_error": skill.loss_error,
        "rank_ic": skill.rank_ic,
        "rank_ic_error": skill.rank_ic_error,
        "baselines": {"ridge": asdict(ridge), "mean": {"loss": mean}},
        **_slopes("calibration_slope", forecast, samples, targets, expected),
        **_slopes("cross_section_slope", within_session(forecast, samples), samples, targets, expected),
        "confidence_hits": _confidence_hits(right, confidence, known),
        "reliability": reliability(confidence[known], right[known]),
    }


def _slopes(
    name: str, forecast: Float64, samples: Samples, targets: Float64, expected: Sequence[ExpectedSlope]
) -> dict[str, Any]:
    """Return slopes and standard errors by horizon, None where no skill was found."""
    slopes = measure_slopes(forecast, samples, targets, HORIZONS)
    shown = [pair if one.found else (np.nan, np.nan) for pair, one in zip(slopes, expected, strict=True)]
    values, errors = zip(*shown, strict=True)
    return {
        name: _by_horizon(finite(one) for one in values),
        f"{name}_error": _by_horizon(finite(one) for one in errors),
    }


def _by_horizon(values: Iterable[Any]) -> dict[str, Any]:
    return {str(h): value for h, value in zip(HORIZONS, values, strict=True)}


def _result(skill: Skill, ridge: Skill, mean: float, expected: Sequence[ExpectedSlope]) -> str:
    """Summarize the result in one sentence."""
    ours, theirs = (float(np.mean(list(one.rank_ic.values()))) for one in (skill, ridge))
    error = skill.loss_error or float("nan")
    against = f"loss {skill.loss:.4f} against {mean:.4f} ± {error:.4f} of predicting the mean"
    ranks = f"rank IC {ours:+.3f} against {theirs:+.3f} of a ridge regression, mean of the horizons{_without(expected)}"
    if skill.loss >= mean:
        return f"no better than predicting the mean: {against}; {ranks}"
    if not skill.loss + 2 * error < mean:
        return f"not clearly better than predicting the mean: {against}; {ranks}"
    return f"better than predicting the mean: {against}; {ranks}"


def _without(expected: Sequence[ExpectedSlope]) -> str:
    """Name the horizons without clear skill, and the shrinkage of their forecasts."""
    bare = {str(h): f"{one.factor:.0%}" for h, one in zip(HORIZONS, expected, strict=True) if not one.found}
    if not bare:
        return ""
    return f"; no skill found over {', '.join(bare)} sessions, so forecasts are shrunk to {', '.join(bare.values())}"


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


def _confidence_hits(right: Float64, confidence: Float64, known: np.ndarray) -> float:
    """Return the fraction of right signs in the more confident half, minus that in the other half."""
    right = right[known]
    sure = (confidence > np.median(confidence, axis=0))[known]
    if sure.all() or not sure.any():
        return 0.0
    return float(right[sure].mean() - right[~sure].mean())
