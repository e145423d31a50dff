"""Returns without what their own past explains, so that honest momentum and reversal are not taken for foresight."""

from __future__ import annotations

import numpy as np

from encash.arrays import Float64

OWN_LAGS = 5
"""Single past sessions that explain a return."""
SPANS = (10, 20, 60, 120, 250)
"""Past sums of returns, in sessions, that explain a return."""
SIZE_SPANS = (1, 5, 20, 60)
"""Past means of sizes that explain the size of a return, in sessions."""
USUAL_SIZE = (2 / np.pi) ** 0.5
"""Mean size of a standard normal variable."""
MOST_FACTORS = 12
"""Principal components whose past explains a return: the market, sectors, styles."""
FEWEST_OF_FACTORS = 20
"""Minimum number of tickers that have principal components."""
MOST_LEADERS = 3
"""Principal components whose last session explains a return by the ticker's own weight: markets that close earlier."""
ROWS_PER_TERM = 30
"""Minimum number of observations per estimated coefficient."""


def session_returns(close: Float64) -> Float64:
    """Return the simple return of each session since the ticker's last price, NaN on a session without a price; (T, N).

    >>> session_returns(np.array([[1.0], [np.nan], [1.5]])).ravel().tolist()
    [nan, nan, 0.5]
    """
    row = np.where(np.isnan(close), 0, np.arange(len(close))[:, None])
    last = np.maximum.accumulate(row, axis=0)
    known = np.take_along_axis(close, last, axis=0)
    returns = np.full(close.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns[1:] = close[1:] / known[:-1] - 1.0
    return returns


def innovations(close: Float64) -> Float64:
    """Return standardized returns less their regression on the past of the ticker, of common factors, and on both.

    Returns are divided by the ticker's deviation and clipped at ±4. One regression over all tickers takes `OWN_LAGS`
    past sessions, past sums over `SPANS`, and the same of the part that principal components explain; a second one
    gives each ticker its own weights of its past sessions and of the last one of the first components. Terms that the
    data are too short for are left out. Under honest linear predictability nothing known at t correlates with the
    result at t + 1.

    Args:
        close: shape (T, N), NaN where a ticker did not trade.

    Returns:
        shape (T, N), mean 0 and deviation 1 per ticker, NaN without a return.
    """
    returns = session_returns(close)
    there = np.isfinite(returns)
    filled = np.where(there, returns, 0.0)
    count = np.maximum(there.sum(axis=0), 1)
    mean = filled.sum(axis=0) / count
    deviation = np.sqrt(np.where(there, (filled - mean) ** 2, 0.0).sum(axis=0) / count)
    scaled = np.where(there, (filled - mean) / np.where(deviation > 0, deviation, 1.0), 0.0).clip(-4, 4)
    common = [_common(scaled)] if close.shape[1] >= FEWEST_OF_FACTORS else []
    terms = [term for values in (scaled, *common) for term in _past(values)]
    left = _residual(scaled, terms[: int(there.sum()) // ROWS_PER_TERM], there)
    own = [_shift(scaled, lag) for lag in range(1, OWN_LAGS + 1)]
    shared = [_shift(values, lag) for values in common for lag in (1, 2, 3)]
    leaders = [_shift(values, 1) for values in _leaders(scaled)]
    left = _own_residual(left, [own[0], *leaders, *shared[:1], *own[1:], *shared[1:]], there)
    spread = np.sqrt((left**2).sum(axis=0) / count)
    return np.where(there & (spread > 0), left / np.where(spread > 0, spread, 1.0), np.nan)


def _past(values: Float64) -> list[Float64]:
    """Return the past sessions and past sums of values, each of shape (T, N); zero before the first session."""
    lagged = [_shift(values, lag) for lag in range(1, OWN_LAGS + 1)]
    total = np.cumsum(values, axis=0)
    sums = [(_shift(total, 1) - _shift(total, span + 1)) / np.sqrt(span) for span in SPANS if span < len(values)]
    return [lagged[0], *sums, *lagged[1:]]


def _shift(values: Float64, lag: int) -> Float64:
    moved = np.zeros_like(values)
    moved[lag:] = values[: max(0, len(values) - lag)]
    return moved


def _common(values: Float64) -> Float64:
    """Return the part of values that their first principal components explain, shape (T, N)."""
    factors = min(MOST_FACTORS, values.shape[1] // 5)
    _, vectors = np.linalg.eigh(values.T @ values)
    loading = vectors[:, -factors:]
    result: Float64 = (values @ loading) @ loading.T
    return result


def _leaders(values: Float64) -> list[Float64]:
    """Return the first principal components of (T, N), the same for every ticker, each of shape (T, N)."""
    _, vectors = np.linalg.eigh(values.T @ values)
    scores = values @ vectors[:, ::-1][:, : min(MOST_LEADERS, values.shape[1] - 1)]
    deviation = np.sqrt((scores**2).mean(axis=0))
    scores /= np.where(deviation > 0, deviation, 1.0)
    return [np.broadcast_to(score[:, None], values.shape) for score in scores.T]


def sizes(unexplained: Float64) -> Float64:
    """Return the sizes of innovations less what past sizes explain: those of the ticker, and of all; shape (T, N).

    Volatility comes in regimes, so a size is predictable by far more than a return (the terms are those of Corsi
    2009: the last session, week, month and quarter).
    """
    there = np.isfinite(unexplained)
    size = np.where(there, np.abs(unexplained) - USUAL_SIZE, 0.0)
    mean = size.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    terms = [term for values in (size, np.broadcast_to(mean, size.shape)) for term in _past_means(values)]
    left = _residual(size, terms[: int(there.sum()) // ROWS_PER_TERM], there)
    return np.where(there, left, np.nan)


def _past_means(values: Float64) -> list[Float64]:
    """Return the means of the past `SIZE_SPANS` sessions, each of shape (T, N); zero before the first session."""
    total = np.cumsum(values, axis=0)
    return [(_shift(total, 1) - _shift(total, span + 1)) / span for span in SIZE_SPANS if span < len(values)]


def _residual(values: Float64, terms: list[Float64], there: np.ndarray) -> Float64:
    """Return values less their least-squares fit by all terms over all cells, 0 for a missing one; shape (T, N)."""
    if not terms:
        return values
    used = [np.where(there, term, 0.0) for term in terms]
    gram = np.array([[float(np.vdot(one, other)) for other in used] for one in used])
    moment = np.array([float(np.vdot(one, values)) for one in used])
    weight = np.linalg.lstsq(gram, moment, rcond=1e-10)[0]
    fitted = np.zeros_like(values)
    for share, term in zip(weight, used, strict=True):
        fitted += share * term
    return values - fitted


def _own_residual(left: Float64, terms: list[Float64], there: np.ndarray) -> Float64:
    """Return what is left of each ticker less its own fit by these terms, the first ones that most tickers have enough
    sessions for; shape (T, N)."""
    count = there.sum(axis=0)
    terms = terms[: int(np.median(count)) // ROWS_PER_TERM]
    if not terms:
        return left
    stacked = np.stack([np.where(there, term, 0.0) for term in terms])
    gram = np.einsum("atn,btn->nab", stacked, stacked, optimize=True)
    moment = np.einsum("atn,tn->na", stacked, left, optimize=True)
    small = 1e-9 * np.trace(gram, axis1=1, axis2=2) + 1e-12
    gram = gram + small[:, None, None] * np.eye(len(terms))
    enough = count >= ROWS_PER_TERM * len(terms)
    weight = np.where(enough[:, None], np.linalg.solve(gram, moment[:, :, None])[:, :, 0], 0.0)
    result: Float64 = np.where(there, left - np.einsum("na,atn->tn", weight, stacked, optimize=True), 0.0)
    return result
