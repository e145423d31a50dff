"""Mean return and win rate by cluster in the ranking period."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encash.report.charts.base import Chart
from encash.report.charts.elements import IntervalBar, bars, distinguishable
from encash.report.formatting import PERCENT, SIGNED_PERCENT, percent, pluralize, signed_percent
from encash.report.run_extras import ClusterReturn, Extras
from encash.report.summary import Run


def mean_returns(run: Run, extras: Extras) -> Chart | None:
    """Draw the mean return of each cluster's entries, highest first."""
    known = [cluster for cluster in extras.ranking if np.isfinite(cluster.mean_return)]
    known.sort(key=lambda cluster: -cluster.mean_return)
    if not known:
        return None
    best = known[0]
    average = float(np.mean([cluster.mean_return for cluster in known]))
    what = "earned the most" if best.mean_return > 0 else "lost the least"
    span = f" in {pluralize(extras.ranking_horizon, 'session')}" if extras.ranking_horizon else ""
    values = [_bar(cluster, cluster.mean_return, cluster.error) for cluster in known]
    found = f"{_when(extras)}, entries of cluster {best.cluster} {what}: {signed_percent(best.mean_return, 2)}{span}"
    doubt = f", which is not distinguishable from the mean of all clusters, {signed_percent(average, 2)}"
    return Chart(
        title="Mean return by cluster",
        reading=f"{found}{'' if distinguishable(best.mean_return - average, best.error) else doubt}.",
        section="clusters",
        **bars(
            values,
            SIGNED_PERCENT,
            y_title="mean return in the ranking period",
            x_title="cluster, highest return first",
        ),
        note=f"{_kept_note(known)}Lines: 95% interval of the mean; if they overlap, the order is mostly noise."
        + _selection_note(known),
    )


def win_rates(run: Run, extras: Extras) -> Chart | None:
    """Draw the share of each cluster's entries with a positive return, highest first, from one half up or down."""
    known = [cluster for cluster in extras.ranking if np.isfinite(cluster.win_rate)]
    known.sort(key=lambda cluster: -cluster.win_rate)
    if not known:
        return None
    best, average = known[0], float(np.mean([cluster.win_rate for cluster in known]))
    values = [_bar(cluster, cluster.win_rate, cluster.win_error) for cluster in known]
    found = (
        f"{_when(extras)}, cluster {best.cluster} had the highest win rate: {percent(best.win_rate)} of its entries "
        "had a positive return"
    )
    doubt = f", which is not distinguishable from the mean of all clusters, {percent(average)}"
    return Chart(
        title="Win rate by cluster",
        reading=f"{found}{'' if distinguishable(best.win_rate - average, best.win_error) else doubt}.",
        section="clusters",
        **bars(
            values,
            PERCENT,
            y_title="share of entries with a positive return",
            x_title="cluster, highest win rate first",
            base=0.5,
        ),
        note=f"{_kept_note(known)}Lines: 95% interval.",
    )


def _bar(cluster: ClusterReturn, value: float, error: float | None) -> IntervalBar:
    return IntervalBar(label=str(cluster.cluster), value=value, error=error, highlighted=cluster.best)


def _when(extras: Extras) -> str:
    """Name the ranking that is shown; of a walk the last one, which uses data from most of the run."""
    return f"At the last of {len(extras.refits.first_days)} refits" if extras.refits else "In the ranking period"


def _kept_note(known: Sequence[ClusterReturn]) -> str:
    kept = [str(cluster.cluster) for cluster in known if cluster.best]
    return f"Blue clusters are kept: {', '.join(kept)}. " if kept else ""


def _selection_note(known: Sequence[ClusterReturn]) -> str:
    """Say how often the kept clusters are chosen in bootstrap draws."""
    shares = [cluster.selected_share for cluster in known if cluster.best and np.isfinite(cluster.selected_share)]
    if not shares:
        return ""
    least, most = (percent(share, 0) for share in (min(shares), max(shares)))
    often = least if least == most else f"{least} to {most}"
    return f" With days resampled from the same period, each kept cluster is chosen in {often} of the draws."
