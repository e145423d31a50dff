"""Portfolio weights from forecasts: confidence gate, ranking, top k, weighting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Float32, Float64, Int64
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RankedPicks:
    """Picks of R rebalances out of N candidates, best first."""

    column: Int64
    """Candidate of each pick, −1 if there are fewer than k; shape (R, k)."""
    score: Float64
    """forecast × confidence, NaN for candidates not ranked; shape (R, N)."""

    def chosen(self) -> Bool:
        """Return a mask of the picked candidates, shape (R, N)."""
        rows, ranks = np.nonzero(self.column >= 0)
        mask = np.zeros(self.score.shape, dtype=bool)
        mask[rows, self.column[rows, ranks]] = True
        return mask


def pick(forecast: Float32, confidence: Float32, admitted: Bool, *, top_k: int, percentile: float = 0.0) -> RankedPicks:
    """Pick the top k of forecast × confidence among the admitted candidates at or above a percentile of confidence.

    Ties go to the first column: to the first name, because columns are sorted by ticker.

    Args:
        forecast: shape (R, N); NaN for none.
        confidence: shape (R, N).
        admitted: candidates that the filter kept, shape (R, N).
        top_k: maximum number of picks of a rebalance.
        percentile: a fraction p from 0 to below 1: of the n admitted candidates of a rebalance in ascending order of
            confidence, the one in place ``int(n · p)`` is the threshold.

    >>> picks = pick(np.float32([[1, 3, 3, 2]]), np.float32([[1, 1, 1, 0]]), np.ones((1, 4), bool), top_k=2)
    >>> picks.column.tolist()
    [[1, 2]]
    """
    score = ranked_scores(forecast, confidence, admitted, percentile=percentile)
    return RankedPicks(column=best_columns(score, top_k), score=score)


def ranked_scores(forecast: Float32, confidence: Float32, admitted: Bool, *, percentile: float = 0.0) -> Float64:
    """Return forecast × confidence of the candidates that `pick` ranks, NaN of the others; arguments as for `pick`."""
    ranked = admitted & ~np.isnan(forecast) & ~np.isnan(confidence)
    if percentile > 0:
        ranked = _confident(confidence, ranked, percentile)
    return np.where(ranked, forecast.astype(np.float64) * confidence.astype(np.float64), np.nan)


def equal_weights(column: Int64) -> Float64:
    """Return 1 / (number of picks) for each pick of each rebalance, shape (R, k).

    >>> equal_weights(np.array([[4, 2], [7, -1]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    held = column >= 0
    weights: Float64 = held / np.maximum(held.sum(axis=1, keepdims=True), 1)
    return weights


def forecast_weights(column: Int64, score: Float64) -> Float64:
    """Return weights in proportion to the scores above 0; equal weights in a rebalance without any such score.

    >>> forecast_weights(np.array([[0, 1]]), np.array([[0.03, 0.01]])).tolist()
    [[0.75, 0.25]]
    """
    picked = np.take_along_axis(score, np.maximum(column, 0), axis=1)
    return _proportional(column, np.where(column >= 0, np.maximum(np.nan_to_num(picked), 0.0), 0.0))


def inverse_volatility_weights(column: Int64, deviation: Float64) -> Float64:
    """Return weights in proportion to 1 / deviation; a pick of unknown deviation gets the smallest weight.

    Args:
        column: picks, shape (R, k).
        deviation: standard deviation of each pick's past returns, NaN or 0 if unknown; shape (R, k).

    >>> inverse_volatility_weights(np.array([[0, 1]]), np.array([[0.01, 0.03]])).round(6).tolist()
    [[0.75, 0.25]]
    """
    known = (column >= 0) & (np.nan_to_num(deviation) > 0)
    raw = np.where(known, 1.0 / np.where(known, deviation, 1.0), np.inf)
    smallest = raw.min(axis=1, keepdims=True)
    raw = np.where(known, raw, np.where(np.isfinite(smallest), smallest, 0.0))
    return _proportional(column, np.where(column >= 0, raw, 0.0))


def past_deviation(close: Float64, rows: Int64, column: Int64, sessions: int) -> Float64:
    """Return the standard deviation (ddof 1) of each pick's daily returns over the sessions up to its signal.

    Args:
        close: the sessions of the run and those before it, shape (T, N).
        rows: session of each signal in `close`, shape (R,).
        column: picks, shape (R, k).
        sessions: maximum number of returns; fewer than 2 available returns give NaN.

    Returns:
        shape (R, k).

    Raises:
        InputError: fewer than 2 sessions requested.
    """
    if sessions < 2:
        raise InputError(f"invalid number of sessions {sessions} for a deviation: expected 2 or more")
    back = rows[:, None] - np.arange(sessions, -1, -1)
    window = close[np.maximum(back, 0)[:, None, :], np.maximum(column, 0)[:, :, None]]
    window = np.where((back >= 0)[:, None, :], window, np.nan)
    returns = window[:, :, 1:] / window[:, :, :-1] - 1.0
    present = ~np.isnan(returns)
    count = present.sum(axis=2)
    mean = np.where(present, returns, 0.0).sum(axis=2) / np.maximum(count, 1)
    square = np.where(present, (returns - mean[:, :, None]) ** 2, 0.0).sum(axis=2)
    result: Float64 = np.where(count >= 2, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)
    return result


def _confident(confidence: Float32, ranked: Bool, percentile: float) -> Bool:
    """Return the candidates at or above the percentile of their rebalance."""
    passed = np.zeros(ranked.shape, dtype=bool)
    for row, mask in enumerate(ranked):
        if mask.any():
            ascending = np.sort(confidence[row][mask])
            passed[row] = mask & (confidence[row] >= ascending[int(len(ascending) * percentile)])
    return passed


def best_columns(score: Float64, top_k: int) -> Int64:
    """Return the columns of the highest scores of each row, best first, ties by column; −1 for none."""
    rows, width = score.shape
    best = np.full((rows, top_k), -1, dtype=np.int64)
    loss = np.where(np.isnan(score), np.inf, -score)
    if width > 4 * top_k:  # sort only what can be among the best, ties of the last one included
        limit = np.partition(loss, top_k - 1, axis=1)[:, top_k - 1]
        for row in range(rows):
            near = np.flatnonzero(loss[row] <= limit[row])
            top = near[np.argsort(loss[row][near], kind="stable")][:top_k]
            best[row, : len(top)] = top
    else:
        order = np.argsort(loss, axis=1, kind="stable")[:, :top_k]
        best[:, : order.shape[1]] = order
    ranked = np.take_along_axis(loss, np.maximum(best, 0), axis=1) < np.inf
    return np.where(ranked & (best >= 0), best, -1)


def _proportional(column: Int64, raw: Float64) -> Float64:
    """Return weights that sum to 1 per row; equal ones if all raw weights are 0."""
    total = raw.sum(axis=1, keepdims=True)
    return np.where(total > 0, raw / np.where(total > 0, total, 1.0), equal_weights(column))
