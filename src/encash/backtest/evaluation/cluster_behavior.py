"""Out-of-sample behavior of each cluster in the sessions of a run: typical windows, tickers and returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from encash import metrics
from encash.arrays import Float64, Int64
from encash.backtest.files import json_value
from encash.backtest.inputs.run_setup import Sessions
from encash.backtest.inputs.signals import SignalGrid
from encash.significance import standard_errors

WINDOW_SESSIONS = tuple(range(-60, 1, 4))
"""Sessions before the entry at which its typical window is described."""
_MOST_WINDOWS = 500
_TOP = 3


@dataclass(frozen=True, kw_only=True)
class ClusterBehavior:
    """Entries of one cluster in a run. NaN if a figure is undefined."""

    cluster: int
    entries: int
    mean_return: float
    """Over the horizon, as a fraction."""
    mean_error: float
    """Standard error by days and overlapping horizons."""
    win_rate: float
    """Fraction of entries with a return above 0."""
    tickers: tuple[tuple[str, float], ...]
    """The most frequent tickers, and their fractions of the entries."""
    window: tuple[tuple[float, float, float], ...]
    """Lower quartile, median and upper quartile of the close at each of `WINDOW_SESSIONS`, relative to the close of the
    entry; empty without history."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; undefined figures are null."""
        return {name: json_value(value) for name, value in asdict(self).items()}


def describe_clusters(
    sessions: Sessions, signals: SignalGrid, horizon: int, *, delisting: metrics.Delisting = "last"
) -> tuple[ClusterBehavior, ...]:
    """Describe each cluster by its entries on the days of the signals; empty without clusters.

    Args:
        sessions: prices of the run; nothing after its last session is used.
        signals: signals of sessions of the run, on its universe.
        horizon: sessions ahead.
        delisting: the policy for tickers that stop trading.
    """
    rows = np.searchsorted(sessions.days, signals.days)
    returns = metrics.settled_returns(sessions.close, horizon, delisting)[0][rows]
    step = int(np.median(np.diff(rows))) if len(rows) > 1 else horizon
    overlap = -(-horizon // max(step, 1))
    day, column = np.nonzero(signals.cluster >= 0)
    cluster = signals.cluster[day, column]
    order = np.argsort(cluster, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1) if len(order) else []
    return tuple(
        _describe(
            sessions,
            int(cluster[group[0]]),
            rows[day[group]],
            column[group],
            returns[day[group], column[group]],
            overlap,
        )
        for group in groups
    )


def _describe(
    sessions: Sessions, cluster: int, row: Int64, column: Int64, returns: Float64, overlap: int
) -> ClusterBehavior:
    """Describe one cluster by its n entries: session, ticker and return of each, shape (n,)."""
    counts = np.bincount(column, minlength=len(sessions.tickers))
    top = np.argsort(-counts, kind="stable")[:_TOP]
    mean, error = _mean(row, returns, overlap)
    return ClusterBehavior(
        cluster=cluster,
        entries=len(row),
        mean_return=mean,
        mean_error=error,
        win_rate=metrics.win_rate(returns),
        tickers=tuple((sessions.tickers[at], float(counts[at] / len(row))) for at in top.tolist() if counts[at]),
        window=_window(sessions, row + sessions.first, column),
    )


def _mean(row: Int64, returns: Float64, overlap: int) -> tuple[float, float]:
    """Return the mean over all entries, and its error by days."""
    known = ~np.isnan(returns)
    if not known.any():
        return float("nan"), float("nan")
    _, day = np.unique(row[known], return_inverse=True)
    total, count = np.bincount(day, weights=returns[known]), np.bincount(day).astype(np.float64)
    mean = float(total.sum() / count.sum())
    influence = (total - mean * count) / count.mean()
    return mean, float(standard_errors(influence, overlap)) if np.ptp(influence) > 0 else float("nan")


def _window(sessions: Sessions, row: Int64, column: Int64) -> tuple[tuple[float, float, float], ...]:
    """Return quartiles of the closes before some entries, relative to their own close."""
    first = -WINDOW_SESSIONS[0]
    early = row >= first
    row, column = row[early], column[early]
    if not len(row):
        return ()
    some = np.unique(np.linspace(0, len(row) - 1, min(len(row), _MOST_WINDOWS)).round().astype(np.int64))
    close = sessions.history.close
    paths = (
        close[row[some][:, None] + np.array(WINDOW_SESSIONS), column[some][:, None]] / close[row, column][some, None]
    )
    complete = paths[np.isfinite(paths).all(axis=1)]
    if not len(complete):
        return ()
    low, middle, high = np.percentile(complete - 1.0, [25.0, 50.0, 75.0], axis=0)
    return tuple(zip(low.tolist(), middle.tolist(), high.tolist(), strict=True))
