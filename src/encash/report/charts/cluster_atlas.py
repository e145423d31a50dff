"""Cluster atlas: how the entries of each cluster looked, which tickers they were, and what they earned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encash import metrics
from encash.backtest.evaluation.cluster_behavior import WINDOW_SESSIONS, ClusterBehavior
from encash.report import style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.formatting import COUNT, RETURN, percent, pluralize, shorten, signed_percent
from encash.report.run_extras import ClusterReturn, Extras
from encash.report.summary import Run
from encash.significance import CRITICAL

_MOST = 30
"""Clusters that are drawn; the table has all of them."""
_ROW, _TOP = 34, 44
_WINDOW, _TICKERS, _RETURNS = (70.0, 250.0), 280.0, (580.0, 960.0)
"""Columns of the drawing, in pixels."""


def cluster_atlas(run: Run, extras: Extras) -> Chart | None:
    """Draw a row per cluster: typical window, top tickers, mean return in the ranking period and in the run."""
    if not extras.behavior:
        return None
    before = {one.cluster: one for one in extras.ranking}
    kept = {one.cluster for one in extras.ranking if one.best}
    rows = sorted(extras.behavior, key=lambda one: (one.cluster not in kept, -one.entries, one.cluster))
    shown = rows[:_MOST]
    height = _TOP + _ROW * len(shown) + 34
    figure = style.new_figure(style.WIDE, height)
    axes = style.new_axes(figure, (0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, style.WIDE)
    axes.set_ylim(height, 0)
    _headings(axes, bool(before))
    low, high = _return_range(shown, before)
    _return_axis(axes, low, high, height)
    points = []
    for place, one in enumerate(shown):
        at = _TOP + _ROW * (place + 0.5)
        _text(axes, 12, at, str(one.cluster), "net" if one.cluster in kept else "ink", weight="bold")
        _sparkline(axes, one, at)
        names = "  ".join(f"{shorten(name, 8)} {percent(share, 0)}" for name, share in one.tickers)
        _text(axes, _TICKERS, at, names, "muted")
        for result, offset, role in ((before.get(one.cluster), -6, "muted"), (one, 6, "net")):
            if result is not None and np.isfinite(result.mean_return):
                points.append(_interval(axes, result, at + offset, role, (low, high)))
    agreement, count = _agreement(extras.behavior, before)
    reading = f"{pluralize(len(rows), 'cluster')}; "
    if count > 2:
        reading += (
            f"their mean returns in the ranking period and in this run have a rank correlation of {agreement:.2f}"
            f"{'' if abs(agreement) * np.sqrt(count - 1) >= 2 else ', not distinguishable from zero'}."
        ).replace("-", "−")
    else:
        reading += "their entries in the sessions of this run."
    return Chart(
        title="Cluster atlas",
        reading=reading,
        section="clusters",
        figure=figure,
        points=sorted(points),
        table=_table(rows, before, kept),
        note=f"Window: median and quartiles of the closes of {-WINDOW_SESSIONS[0]} sessions up to the entry, each "
        "relative to the close of the entry. Returns: means of entries with 95% intervals."
        + (" Blue numbers are kept clusters." if kept else "")
        + ("" if len(rows) == len(shown) else f" Drawn: {_MOST} of {len(rows)} clusters."),
        wide=True,
    )


def _text(axes: style.Axes, x: float, y: float, text: str, role: str, weight: str = "normal") -> None:
    axes.text(x, y, text, va="center", fontsize=12, color=style.COLOR[role], fontweight=weight)


def _headings(axes: style.Axes, ranked: bool) -> None:
    _text(axes, 0, 18, "cluster", "muted")
    _text(axes, _WINDOW[0], 18, "typical window", "muted")
    _text(axes, _TICKERS, 18, "most frequent tickers", "muted")
    _text(axes, _RETURNS[0], 18, "mean return:", "muted")
    if ranked:
        _text(axes, _RETURNS[0] + 86, 18, "● ranking period", "muted")
    _text(axes, _RETURNS[0] + 206, 18, "● this run", "net")


def _sparkline(axes: style.Axes, one: ClusterBehavior, at: float) -> None:
    """Draw the quartiles and the median of the window, scaled to its own row."""
    if not one.window:
        return
    low, middle, high = np.array(one.window).T
    across = np.linspace(*_WINDOW, len(middle))
    spread = max(float(max(high.max(), -low.min())), 1e-9)
    lines = [at - values / spread * (_ROW / 2 - 4) for values in (low, middle, high)]
    axes.fill_between(across, lines[0], lines[2], color=style.COLOR["net"], alpha=0.16, linewidth=0)
    axes.plot(across, lines[1], color=style.COLOR["net"], linewidth=1.5)
    axes.plot([_WINDOW[0], _WINDOW[1]], [at, at], color=style.COLOR["grid"], linewidth=1.0, zorder=0)


def _interval(
    axes: style.Axes, one: ClusterReturn | ClusterBehavior, at: float, role: str, limits: tuple[float, float]
) -> Point:
    """Draw a mean return and its interval."""
    error = _error(one)
    ends = [_across(one.mean_return + side * CRITICAL * error, limits) for side in (-1, 1)]
    x = _across(one.mean_return, limits)
    if np.isfinite(error):
        axes.plot(ends, [at, at], color=style.COLOR[role], linewidth=1.4, alpha=0.7)
    axes.plot([x], [at], "o", markersize=6, markeredgewidth=0, color=style.COLOR[role])
    when = "ranking period" if isinstance(one, ClusterReturn) else "this run"
    text = f"cluster {one.cluster}, {when}: {signed_percent(one.mean_return, 2)}"
    return Point(round(x, 1), round(at, 1), text)


def _error(one: ClusterReturn | ClusterBehavior) -> float:
    error = one.error if isinstance(one, ClusterReturn) else one.mean_error
    return float("nan") if error is None else error


def _across(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    place = (min(max(value, low), high) - low) / (high - low)
    return _RETURNS[0] + place * (_RETURNS[1] - _RETURNS[0])


def _return_range(shown: Sequence[ClusterBehavior], before: dict[int, ClusterReturn]) -> tuple[float, float]:
    """Return the range of means and most intervals, 0 included."""
    both: list[ClusterReturn | ClusterBehavior] = [
        *shown,
        *(before[one.cluster] for one in shown if one.cluster in before),
    ]
    ends = np.array(
        [[one.mean_return + side * CRITICAL * np.nan_to_num(_error(one)) for side in (-1, 1)] for one in both]
    )
    ends = ends[np.isfinite(ends).all(axis=1)]
    low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.04 * max(high - low, 1e-6)
    return low - margin, high + margin


def _return_axis(axes: style.Axes, low: float, high: float, height: int) -> None:
    ticks = style.round_values((low, high), 5)
    for tick, label in zip(ticks.tolist(), RETURN.labels(ticks.tolist()), strict=True):
        x = _across(tick, (low, high))
        role = "muted" if tick == 0 else "grid"
        axes.plot([x, x], [_TOP - 8, height - 30], color=style.COLOR[role], linewidth=1.0, zorder=0)
        axes.text(x, height - 16, label, ha="center", va="center", fontsize=12)


def _agreement(behavior: Sequence[ClusterBehavior], before: dict[int, ClusterReturn]) -> tuple[float, int]:
    """Return the rank correlation of the mean returns in both periods, and the number of clusters in it."""
    pairs = [(before[one.cluster].mean_return, one.mean_return) for one in behavior if one.cluster in before]
    known = np.array([pair for pair in pairs if np.isfinite(pair).all()], dtype=np.float64).reshape(-1, 2)
    return float(metrics.rank_ic(known[:, 0][None, :], known[:, 1][None, :])[0]) if len(known) else 0.0, len(known)


def _table(rows: Sequence[ClusterBehavior], before: dict[int, ClusterReturn], kept: set[int]) -> Table:
    nan = float("nan")
    ranked = [before[one.cluster].mean_return if one.cluster in before else nan for one in rows]
    columns = [
        Column(name="cluster", values=[str(one.cluster) for one in rows]),
        Column(name="kept", values=["yes" if one.cluster in kept else "no" for one in rows]),
        Column(name="entries", values=[one.entries for one in rows], unit=COUNT),
        Column(name="most frequent tickers", values=[", ".join(name for name, _ in one.tickers) for one in rows]),
        Column(name="mean return, ranking period", values=ranked, unit=RETURN),
        Column(name="mean return, this run", values=[one.mean_return for one in rows], unit=RETURN),
        Column(name="its standard error", values=[one.mean_error for one in rows], unit=RETURN),
    ]
    return Table(columns=tuple(columns))
