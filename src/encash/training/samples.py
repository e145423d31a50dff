"""Samples of a training run: windows, the returns after them, and the split by date.

The target of (ticker, day, h) is the ticker's return over its next h own trading days, ``close[k + h] / close[k] − 1``
with k the day itself among the days on which it has a price. A target belongs to a split only if it has ended there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Float32, Float64, Int64, day_text
from encash.errors import InputError
from encash.metrics import forward_returns
from encash.panel import FeatureRows, Panel, PriceTable, gather_windows, window_grid
from encash.training.config import TrainConfig

FEWEST_FOR_A_MEAN = 5
"""A session with fewer tickers uses the mean return of all sessions."""
WINSORIZED_AT = 4.0
"""Standard deviations at which targets are clipped for the loss."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """n windows and the returns after them."""

    end_rows: Int64
    """The last feature row of each window, shape (n,)."""
    session: Int64
    """The session on which each window ends, shape (n,)."""
    ticker: Int64
    """shape (n,)."""
    returns: Float64
    """Forward returns, NaN if they have not ended within the split; shape (n, H)."""
    excess: Float64
    """Forward returns minus the mean over the tickers of their session, shape (n, H)."""

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.end_rows)

    def take(self, chosen: Int64) -> Samples:
        """Return some of the samples, in the given order."""
        return Samples(
            end_rows=self.end_rows[chosen],
            session=self.session[chosen],
            ticker=self.ticker[chosen],
            returns=self.returns[chosen],
            excess=self.excess[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class Split:
    """A panel split by date into training and validation."""

    rows: FeatureRows
    sessions: Days
    lookback: int
    train: Samples
    validation: Samples
    validation_start: np.datetime64
    mean_return: Float64
    """Mean forward return over the training samples, shape (H,)."""
    scale: Float64
    """Standard deviation of the excess over the training samples, shape (H,)."""

    def windows(self, samples: Samples) -> Float32:
        """Return the windows of samples, shape (n, L, F)."""
        return gather_windows(self.rows, samples.end_rows, self.lookback)

    def targets(self, samples: Samples) -> Float32:
        """Return excess returns in standard deviations, winsorized; NaN if missing. Shape (n, H)."""
        return np.clip(samples.excess / self.scale, -WINSORIZED_AT, WINSORIZED_AT).astype(np.float32)

    def period(self) -> dict[str, str]:
        """Return the first and last days of the two parts."""
        return {
            "train_start": day_text(self.sessions[self.train.session.min()]),
            "train_last_window": day_text(self.sessions[self.train.session.max()]),
            "validation_start": day_text(self.sessions[self.validation.session.min()]),
            "validation_last_window": day_text(self.sessions[self.validation.session.max()]),
        }


def split_by_date(panel: Panel, config: TrainConfig, horizons: Sequence[int]) -> Split:
    """Split the panel as of `train_end` into training and validation.

    Validation is the last share of the sessions. Training targets end at least `embargo_sessions` before it starts. No
    row or price after `train_end` is read.

    Raises:
        InputError: no prices, or too little history before `train_end` for either part.
    """
    seen = panel.as_of(config.train_end)
    if seen.prices is None:
        raise InputError("the panel has no prices; training needs them for its targets: open it with prices")
    tickers = tuple(ticker for ticker in seen.tickers if ticker in set(seen.prices.tickers))
    rows, prices = seen.rows(tickers), seen.prices.select(tickers)
    grid = window_grid(rows, prices.days, config.lookback)
    returns, ended = own_forward_returns(prices, horizons)

    first = len(prices.days) - int(np.ceil(len(prices.days) * config.validation_share))
    last_for_training = first - config.embargo_sessions - 1
    train = _samples(grid.end_row, returns, ended, range(first), last_for_training)
    validation = _samples(grid.end_row, returns, ended, range(first, len(prices.days)), len(prices.days) - 1)
    for name, samples in (("training", train), ("validation", validation)):
        if not len(samples) or not np.isfinite(samples.returns).any(axis=0).all():
            raise InputError(
                f"no {name} samples for every horizon: {len(prices.days)} sessions up to {config.train_end} contain "
                f"too few windows of {config.lookback} sessions; give more history, a later train_end or a shorter "
                "lookback"
            )
    return Split(
        rows=rows,
        sessions=prices.days,
        lookback=config.lookback,
        train=train,
        validation=_whole_sessions(validation, config.validation_samples),
        validation_start=prices.days[first],
        mean_return=np.nanmean(train.returns, axis=0),
        scale=np.nanstd(train.excess, axis=0),
    )


def own_forward_returns(prices: PriceTable, horizons: Sequence[int]) -> tuple[Float64, Int64]:
    """Return the returns over the next h trading days of each ticker, and the sessions at which they end.

    Returns:
        returns of shape (T, N, H), NaN if the ticker has no price on the day or fewer than h afterwards, and the
        position among the sessions at which each return has ended (−1 without a return).

    >>> days = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]")
    >>> table = PriceTable(days=days, tickers=("A",), close=np.array([[10.0], [np.nan], [11.0], [12.1]]))
    >>> returns, ended = own_forward_returns(table, (1, 2))
    >>> returns[0, 0].round(6).tolist(), ended[0, 0].tolist()
    ([0.1, 0.21], [2, 3])
    """
    num_sessions, num_tickers = prices.close.shape
    returns = np.full((num_sessions, num_tickers, len(horizons)), np.nan)
    ended = np.full(returns.shape, -1, dtype=np.int64)
    for column in range(num_tickers):
        own = np.flatnonzero(np.isfinite(prices.close[:, column]))
        close = prices.close[own, column]
        for at, horizon in enumerate(horizons):
            returns[own, column, at] = forward_returns(close, horizon)
            ended[own[:-horizon], column, at] = own[horizon:]
    return returns, ended


def _samples(end_row: Int64, returns: Float64, ended: Int64, sessions: range, last_ended: int) -> Samples:
    """Return the windows of some sessions with a target that has ended by the session `last_ended`."""
    kept = np.where((ended >= 0) & (ended <= last_ended), returns, np.nan)[sessions.start : sessions.stop]
    rows = end_row[sessions.start : sessions.stop]
    kept[rows < 0] = np.nan
    excess = kept - _session_means(kept)
    session, ticker = np.nonzero(np.isfinite(kept).any(axis=2))
    return Samples(
        end_rows=rows[session, ticker],
        session=session + sessions.start,
        ticker=ticker,
        returns=kept[session, ticker],
        excess=excess[session, ticker],
    )


def _session_means(returns: Float64) -> Float64:
    """Return the mean over the tickers of each session, shape (T, 1, H); the overall mean if there are too few."""
    finite = np.isfinite(returns)
    counts = finite.sum(axis=1, keepdims=True)
    sums = np.where(finite, returns, 0.0).sum(axis=1, keepdims=True)
    overall = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    means: Float64 = np.where(counts >= FEWEST_FOR_A_MEAN, sums / np.maximum(counts, 1), overall)
    return means


def _whole_sessions(samples: Samples, wanted: int) -> Samples:
    """Return all samples of some evenly spread sessions, about `wanted` in all."""
    sessions = np.unique(samples.session)
    count = min(len(sessions), max(1, round(wanted * len(sessions) / len(samples))))
    chosen = sessions[np.linspace(0, len(sessions) - 1, count).round().astype(int)]
    return samples.take(np.flatnonzero(np.isin(samples.session, chosen)))
