"""Typical windows, tickers and returns of the entries of each cluster in the sessions of a run, out of sample."""

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
    """Share of entries with a return above 0."""
    tickers: tuple[tuple[str, float], ...]
    """The most frequent tickers, and their shares of the entries."""
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
    names = np.asarray(sessions.tickers)
    found = []
    for cluster in np.unique(signals.cluster[signals.cluster >= 0]).tolist():
        inside = signals.cluster == cluster
        day, column = np.nonzero(inside)
        known = np.where(inside, returns, np.nan)
        mean, error = _mean(known, overlap)
        counts = np.bincount(column, minlength=len(names))
        top = np.argsort(-counts, kind="stable")[:_TOP]
        found.append(
            ClusterBehavior(
                cluster=int(cluster),
                entries=len(day),
                mean_return=mean,
                mean_error=error,
                win_rate=metrics.win_rate(known[inside]),
                tickers=tuple((str(names[at]), float(counts[at] / len(day))) for at in top if counts[at]),
                window=_window(sessions, rows[day] + sessions.first, column),
            )
        )
    return tuple(found)


def _mean(returns: Float64, overlap: int) -> tuple[float, float]:
    """Return the mean over all entries, and its error by days."""
    known = ~np.isnan(returns)
    count = known.sum(axis=1).astype(np.float64)
    if not count.any():
        return float("nan"), float("nan")
    total = np.where(known, returns, 0.0).sum(axis=1)
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
