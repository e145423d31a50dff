"""Out-of-sample skill of a head, and the calibration that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from encash.arrays import Float64, Int64
from encash.heads.samples import Sample
from encash.metrics import rank_ic, right_signs
from encash.significance import mean_of
from encash.training.calibration import NORMAL_SLOPE, fit_platt

LEAST_SLOPE = 0.05
"""Minimum fraction of a forecast that is kept, because a ranking needs an order, even one without skill."""


class HeldOut:
    """Some entries of whole sessions with the forecasts of a fit without them; the vectors are not kept."""

    def __init__(self, sample: Sample, forecast: Float64):
        self.session: Int64 = sample.session
        """shape (n,)."""
        self.excess: Float64 = sample.excess
        """shape (n, H)."""
        self.forecast: Float64 = forecast - _session_means(sample.session, forecast)
        """Less its mean over the session; shape (n, H)."""


@dataclass(frozen=True, kw_only=True)
class HeldOutSkill:
    """Skill of the forecasts of one horizon on held-out sessions of the past."""

    horizon: int
    ic: float
    """Mean rank correlation with the returns, by session."""
    ic_error: float
    """Its standard error, see `encash.significance`; NaN if undefined."""
    slope: float
    """Slope of returns on forecasts before calibration."""
    sessions: int
    entries: int

    @property
    def t(self) -> float:
        """The t-statistic of the rank correlation."""
        return self.ic / self.ic_error


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Sizes of forecasts and confidences for each of H horizons."""

    slope: Float64
    """Factor of the raw forecasts, shape (H,)."""
    spread: Float64
    """Standard deviation of the excess returns, shape (H,); above 0."""
    platt: Float64
    """Intercept and slope of the log odds of a right sign on the absolute forecast in standard deviations of the
    returns, shape (H, 2)."""

    def confidence(self, raw: Float64) -> Float64:
        """Return the probability that a forecast is on the same side of the session's mean as the return, (n, H)."""
        odds = self.platt[:, 0] + self.platt[:, 1] * self.slope * np.abs(raw) / self.spread
        probability: Float64 = 1.0 / (1.0 + np.exp(-odds))
        return probability


def measure_skill(held_out: Sequence[HeldOut], horizons: Sequence[int]) -> tuple[tuple[HeldOutSkill, ...], Calibration]:
    """Measure held-out forecasts and calibrate them: their slope becomes 1, their confidence a frequency.

    Args:
        held_out: forecasts of entries that did not take part in their fit.
        horizons: H numbers of sessions.
    """
    session = np.concatenate([part.session for part in held_out])
    forecast = np.concatenate([part.forecast for part in held_out])
    excess = np.concatenate([part.excess for part in held_out])
    order = np.argsort(session, kind="stable")
    session, forecast, excess = session[order], forecast[order], excess[order]
    bounds = np.flatnonzero(np.diff(session, prepend=-1, append=session[-1] + 1))
    found, platt = [], []
    square = (forecast**2).sum(axis=0)
    slope = np.divide((forecast * excess).sum(axis=0), square, out=np.zeros(len(horizons)), where=square > 0)
    kept = np.clip(slope, LEAST_SLOPE, 1.0)
    spread = np.maximum(excess.std(axis=0), np.finfo(np.float64).tiny)
    for at, horizon in enumerate(horizons):
        daily = np.array(
            [
                rank_ic(forecast[None, first:stop, at], excess[None, first:stop, at])[0]
                for first, stop in pairwise(bounds)
            ]
        )
        estimate = mean_of(daily, overlap=horizon)
        found.append(
            HeldOutSkill(
                horizon=horizon,
                ic=estimate.value,
                ic_error=estimate.error,
                slope=float(slope[at]),
                sessions=len(daily),
                entries=len(session),
            )
        )
        size, right = kept[at] * np.abs(forecast[:, at]) / spread[at], right_signs(forecast[:, at], excess[:, at])
        platt.append(fit_platt(size, right, 1.0 / (2.0 * horizon - 1.0), (0.0, NORMAL_SLOPE), (0.1, 1.0)))
    calibration = Calibration(slope=kept, spread=spread, platt=np.stack(platt))
    return tuple(found), calibration


def _session_means(session: Int64, values: Float64) -> Float64:
    """Return the mean over the session of each entry, shape of `values`."""
    _, place, count = np.unique(session, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(place, weights=column) for column in values.T], axis=1)
    means: Float64 = sums[place] / count[place, None]
    return means
