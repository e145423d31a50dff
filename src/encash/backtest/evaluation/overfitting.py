"""Overfitting of a sweep: deflated Sharpe ratio and probability of overfitting, from purgedcv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash import metrics
from encash.arrays import Float64
from encash.errors import InputError, MissingExtraError

_MOST_RUNS = 1_000
_DECIMALS = 12
"""Of a daily return; further ones are rounding."""
_SPLITS = 8
"""Blocks of the sessions; 70 ways to divide them into two halves."""


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Significance of the best Sharpe ratio of many runs."""

    trials: int
    """Runs that the best one was chosen from; runs with the same returns count once."""
    deflated_sharpe: float
    """Probability that the true Sharpe ratio of the best run is above the expected best of as many runs without skill
    (Bailey and López de Prado 2014)."""
    expected_best: float
    """Expected best Sharpe ratio of runs without skill, annualized."""
    overfitting: float
    """Probability that the best run of one half of the sessions is below the median in the other (CSCV, Bailey et al.
    2017); 0.5 is no better than chance."""


def judge(returns: Float64, trials: int, sessions_per_year: int = metrics.SESSIONS_PER_YEAR) -> Overfitting:
    """Judge the best of many runs.

    Args:
        returns: daily net returns of all runs on the same sessions, shape (runs, sessions). Of more than 1,000 runs
            every n-th in order of Sharpe ratio is used for the probability of overfitting, the best included.
        trials: number of runs tried, earlier ones included. Runs of equal returns count as one trial, and idle runs,
            whose Sharpe ratio is undefined, are never the best.
        sessions_per_year: annualizes the expected best Sharpe ratio.

    Raises:
        InputError: fewer than 2 different runs that trade, or fewer sessions than blocks.
        MissingExtraError: purgedcv is not installed.
    """
    different = _distinct(returns)
    trials -= len(returns) - len(different)
    returns = different[~np.isnan([metrics.sharpe(row) for row in different])]
    if len(returns) < 2 or returns.shape[1] < 2 * _SPLITS:
        raise InputError(
            f"{len(returns)} different runs that trade, of {returns.shape[1]} sessions; expected at least 2 runs of "
            f"{2 * _SPLITS} sessions"
        )
    try:
        import purgedcv  # noqa: PLC0415 imports pandas and scikit-learn, which only this needs
    except ImportError:
        raise MissingExtraError("the deflated Sharpe ratio needs purgedcv; pip install 'encash[stats]'") from None
    ratios = np.array([metrics.sharpe(row, sessions_per_year=1) for row in returns])
    returns = np.nan_to_num(returns)  # an account at 0 or in debt earns nothing
    found = purgedcv.deflated_sharpe_ratio_full(
        returns[int(ratios.argmax())], n_trials=max(trials, 2), var_sharpe=float(ratios.var(ddof=1))
    )
    order = np.argsort(-ratios, kind="stable")
    sampled = order[:: -(-len(order) // _MOST_RUNS)]
    divided = purgedcv.probability_of_backtest_overfitting(
        np.ascontiguousarray(returns[np.sort(sampled)]), n_splits=_SPLITS, metric=_sharpe
    )
    return Overfitting(
        trials=trials,
        deflated_sharpe=float(found.dsr),
        expected_best=float(found.sr_star) * float(np.sqrt(sessions_per_year)),
        overfitting=float(divided.pbo),
    )


def _distinct(returns: Float64) -> Float64:
    """Return the runs without those that repeat an earlier one, up to rounding; shape (distinct runs, sessions)."""
    _, first = np.unique(returns.round(_DECIMALS) + 0.0, axis=0, return_index=True)  # + 0.0: −0 is 0
    return returns[np.sort(first)]


def _sharpe(returns: Float64) -> float:
    """Return the mean over the deviation of a slice; 0 without deviation, so that an idle run is never the best."""
    mean = float(returns.sum()) / len(returns)
    centred = returns - mean
    deviation = float(np.sqrt(centred @ centred / (len(returns) - 1)))
    return mean / deviation if deviation > 1e-15 else 0.0
