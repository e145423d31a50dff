"""Is the best of many runs more than the luckiest? Deflated Sharpe ratio and probability of overfitting, from purgedcv.
Knows returns alone; the only file that imports that library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash import metrics
from encash.arrays import Float64
from encash.errors import InputError, MissingExtraError

_MOST_RUNS = 1_000
_SPLITS = 8
"""Blocks of the sessions; 70 ways to divide them into two halves."""


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """What the best Sharpe ratio of many runs is worth."""

    trials: int
    """Runs that were tried before choosing."""
    deflated_sharpe: float
    """Probability that the true Sharpe ratio of the best run is above what the best of so many worthless runs would
    show (Bailey and López de Prado 2014)."""
    expected_best: float
    """That Sharpe ratio, a year."""
    overfitting: float
    """Probability that the best run of one half of the sessions is below the median in the other (CSCV, Bailey et al.
    2017); 0.5 is no better than chance."""


def judge(returns: Float64, trials: int) -> Overfitting:
    """Judge the best of many runs.

    Args:
        returns: daily net returns of all runs on the same sessions, shape (runs, sessions). Of more than 1,000 runs
            every so-many-th in order of Sharpe ratio is looked at for the probability of overfitting, the best
            included.
        trials: how many runs were tried, these and earlier ones.

    Raises:
        InputError: fewer than 2 runs, or fewer sessions than blocks.
        MissingExtraError: purgedcv is not installed.
    """
    if len(returns) < 2 or returns.shape[1] < 2 * _SPLITS:
        raise InputError(
            f"{len(returns)} runs of {returns.shape[1]} sessions; expected at least 2 runs of {2 * _SPLITS} sessions"
        )
    try:
        import purgedcv  # noqa: PLC0415 pulls pandas and scikit-learn, which a sweep does not need
    except ImportError:
        raise MissingExtraError("the deflated Sharpe ratio needs purgedcv; pip install 'encash[stats]'") from None
    ratios = np.array([metrics.sharpe(row, sessions_per_year=1) for row in returns])
    ratios = np.nan_to_num(ratios)
    found = purgedcv.deflated_sharpe_ratio_full(
        returns[int(ratios.argmax())], n_trials=max(trials, 1), var_sharpe=float(ratios.var(ddof=1))
    )
    order = np.argsort(-ratios, kind="stable")
    looked_at = order[:: -(-len(order) // _MOST_RUNS)]
    divided = purgedcv.probability_of_backtest_overfitting(
        np.ascontiguousarray(returns[np.sort(looked_at)]), n_splits=_SPLITS, metric=_sharpe
    )
    return Overfitting(
        trials=trials,
        deflated_sharpe=float(found.dsr),
        expected_best=float(found.sr_star) * float(np.sqrt(metrics.SESSIONS_PER_YEAR)),
        overfitting=float(divided.pbo),
    )


def _sharpe(returns: Float64) -> float:
    """Mean over deviation of one slice; 0 without any deviation, so that an idle run is never the best."""
    mean = float(returns.sum()) / len(returns)
    centred = returns - mean
    deviation = float(np.sqrt(centred @ centred / (len(returns) - 1)))
    return mean / deviation if deviation > 1e-15 else 0.0
