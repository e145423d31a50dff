"""Which charts a page shows, and the sentence that says what one sees in each. Knows runs and extras; how lines are
drawn is the business of charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash import metrics
from encash.arrays import Int64
from encash.errors import InputError
from encash.report import charts
from encash.report.charts import Band, Bar, BarWords, Line, Mark
from encash.report.extras import ClusterReturn, Extras
from encash.report.summary import Occupancy, Run, occupancy, thin
from encash.report.verdict import rank_of
from encash.report.wording import count, money, number, percent, several, signed_percent

POINTS = 1000
"""Points of a line at the most."""
POINTS_OF_ALL = 12_000
"""Points of all lines of several runs."""
NAMED = 8
"""Lines of several runs that carry their name."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One drawing and what it says."""

    title: str
    svg: str
    note: str = ""
    wide: bool = False


def run_charts(run: Run, extras: Extras) -> tuple[Chart, ...]:
    """The charts of one run, as far as there is something to draw."""
    candidates = (
        _equity(run, extras),
        _draws(run, extras),
        _seeds(run, extras),
        _phases(run, extras),
        _ranking(extras),
        _win_rates(extras),
        _cluster_map(extras),
        _skill(extras),
        _groups(run, extras),
        _occupancy(run),
        _refits(extras),
    )
    return tuple(chart for chart in candidates if chart is not None)


def runs_chart(runs: Sequence[Run], names: Sequence[str]) -> Chart:
    """Several runs in one drawing; of many, only the best are named."""
    growth = [run.path / run.capital for run in runs]
    order = sorted(range(len(runs)), key=lambda place: -growth[place][-1])
    best, worst = names[order[0]], names[order[-1]]
    roles = ("net", "bench", "good", "bad", "gross", "ink", "muted", "muted")
    most = max(40, min(POINTS, POINTS_OF_ALL // len(runs)))
    lines = []
    for rank, place in enumerate(order):
        points = thin(growth[place], most)
        named = rank < NAMED
        lines.append(
            (
                runs[place].equity.days[points],
                Line(
                    label=_short(names[place]) if named else "",
                    values=growth[place][points],
                    role=roles[rank] if named else "muted",
                    width=1.9 if named else 0.7,
                ),
            )
        )
    most_grown, least_grown = (number(growth[order[end]][-1]) for end in (0, -1))
    title = f"1 became from {least_grown} in {worst} to {most_grown} in {best}"
    return Chart(title=title, svg=charts.runs_chart(title, lines), wide=True)


def _equity(run: Run, extras: Extras) -> Chart:
    equity, path = run.equity, run.path
    points = thin(path, POINTS)
    lines = [
        Line(label="net", values=path[points], role="net", width=2.2),
        Line(label="gross", values=equity.gross[points], role="gross", width=1.4),
    ]
    underwater = [Line(label="net", values=metrics.drawdowns(path)[points], role="net", width=1.2)]
    title = (
        f"{money(run.capital)} became {money(path[-1])} after costs; costs took {money(equity.gross[-1] - path[-1])}"
    )
    if run.has_benchmark:
        lines.append(Line(label="benchmark", values=equity.benchmark[points], role="bench", width=1.6))
        drawn = metrics.drawdowns(equity.benchmark)[points]
        underwater.append(Line(label="benchmark", values=drawn, role="bench", width=1.2))
        title += f". The candidates in equal weights made {money(equity.benchmark[-1])}"
    bands, note = _bands(run, extras, points)
    svg = charts.equity_chart(title, equity.days[points], lines, underwater, bands)
    return Chart(title=title, svg=svg, note=note, wide=True)


def _bands(run: Run, extras: Extras, points: Int64) -> tuple[list[Band], str]:
    """Where random filters and other first days would have led, on the sessions that are drawn."""
    bands, notes = [], []
    for found, role, words in (
        (extras.random_range, "muted", "Grey: the middle 95 % of the random filters."),
        (extras.phase_range, "net", "Blue: the middle 95 % over the first days."),
    ):
        if found is None:
            continue
        if len(found.low) != len(run.equity.days) or len(found.high) != len(run.equity.days):
            raise InputError(
                f"a range of {len(found.low)} sessions beside a run of {len(run.equity.days)}; compare again"
            )
        bands.append(Band(low=found.low[points], high=found.high[points], role=role))
        notes.append(words)
    return bands, " ".join(notes)


def _draws(run: Run, extras: Extras) -> Chart | None:
    final = float(run.equity.net[-1])
    rank = rank_of(run, extras)
    if rank is None:
        return None
    marks = [Mark(label="this run", value=final, role="net")]
    if extras.no_filter is not None:
        marks.append(Mark(label="no filter", value=extras.no_filter, role="bench"))
    if len(extras.shuffled_clusters):
        middle = float(np.median(np.asarray(extras.shuffled_clusters)))
        marks.append(Mark(label="shuffled clusters, median", value=middle, role="muted"))
    below = percent(rank.percentile / 100, 0)
    title = f"{below} of {count(rank.draws)} random filters with its keep-rate ended below the run"
    capitals = np.asarray(extras.random_filters, dtype=np.float64)
    svg = charts.draws_chart(title, "draws", capitals, "random filters", marks)
    return Chart(title=title, svg=svg, note=f"Chance of ending this high at random: p = {number(rank.p_better, 3)}.")


def _seeds(run: Run, extras: Extras) -> Chart | None:
    if len(extras.seeds) < 2:
        return None
    capitals = np.asarray(extras.seeds, dtype=np.float64)
    mean, deviation = float(capitals.mean()), float(capitals.std(ddof=1))
    title = f"Over {count(len(capitals))} seeds it ends at {money(mean)} ± {money(deviation)}"
    marks = [
        Mark(label="this run", value=float(run.equity.net[-1]), role="net"),
        Mark(label="mean of the seeds", value=mean, role="muted"),
    ]
    low, high = np.percentile(capitals, [2.5, 97.5])
    note = f"The middle 95 % of the seeds: {money(float(low))} to {money(float(high))}."
    return Chart(title=title, svg=charts.draws_chart(title, "seeds", capitals, "seeds", marks), note=note)


def _phases(run: Run, extras: Extras) -> Chart | None:
    if len(extras.phases) < 2:
        return None
    low, high = min(extras.phases.values()), max(extras.phases.values())
    title = f"By the session on which it begins, it ends between {money(low)} and {money(high)}"
    phase = run.config.get("phase")
    own = phase if isinstance(phase, int) and not run.config.get("tranches") else None
    yardstick = None
    if extras.no_filter is not None:
        yardstick = Mark(label="no filter", value=extras.no_filter, role="bench")
    return Chart(title=title, svg=charts.phases_chart(title, extras.phases, own, yardstick))


def _ranking(extras: Extras) -> Chart | None:
    known = sorted((one for one in extras.ranking if np.isfinite(one.mean_return)), key=lambda one: -one.mean_return)
    if not known:
        return None
    span = f" in {several(extras.ranking_horizon, 'session')}" if extras.ranking_horizon else ""
    best, most = known[0].cluster, signed_percent(known[0].mean_return, 2)
    what = "earned most" if known[0].mean_return > 0 else "lost least"
    title = f"{_when(extras)}, entries of cluster {best} {what}: {most}{span}"
    bars = [_cluster_bar(one, one.mean_return, one.error) for one in known]
    note = f"{_kept_note(known)}Lines: 95 % interval of the mean; where they overlap, the order is mostly noise."
    words = BarWords(
        name="ranking",
        title="mean return in the ranking period",
        below="cluster, best first",
        unit=lambda value: signed_percent(value) if value else "0 %",
    )
    return Chart(title=title, svg=charts.bars_chart(title, bars, words), note=note + _chance_note(known))


def _win_rates(extras: Extras) -> Chart | None:
    known = sorted((one for one in extras.ranking if np.isfinite(one.win_rate)), key=lambda one: -one.win_rate)
    if not known:
        return None
    share = percent(known[0].win_rate)
    title = f"{_when(extras)}, cluster {known[0].cluster} won most often: {share} of its entries gained"
    bars = [_cluster_bar(one, one.win_rate - 0.5, one.win_error) for one in known]
    words = BarWords(
        name="wins",
        title="share of entries with a gain, from one half up or down",
        below="cluster, most wins first",
        unit=lambda value: percent(0.5 + value, 0),
    )
    note = f"{_kept_note(known)}Lines: 95 % interval."
    return Chart(title=title, svg=charts.bars_chart(title, bars, words), note=note)


def _cluster_bar(one: ClusterReturn, value: float, error: float | None) -> Bar:
    """A cluster's bar with its 95 % interval; blue where the filter keeps it."""
    half = None if error is None or not np.isfinite(error) else 1.96 * error
    return Bar(label=str(one.cluster), value=value, half_width=half, role="net" if one.best else "muted")


def _when(extras: Extras) -> str:
    """Which ranking is shown: of a walk the last one, which knows much of the run."""
    if extras.refits is None:
        return "When clusters were ranked"
    return f"At the last of {len(extras.refits.first_days)} refits"


def _kept_note(known: Sequence[ClusterReturn]) -> str:
    kept = [str(one.cluster) for one in known if one.best]
    return f"Blue clusters are kept: {', '.join(kept)}. " if kept else ""


def _chance_note(known: Sequence[ClusterReturn]) -> str:
    """How often other days would have chosen the same clusters."""
    shares = [one.selected_share for one in known if one.best and np.isfinite(one.selected_share)]
    if not shares:
        return ""
    least, most = (percent(share, 0) for share in (min(shares), max(shares)))
    how_often = least if least == most else f"{least} to {most}"
    return f" With other days drawn from the same period, each kept one is chosen in {how_often} of the draws."


def _cluster_map(extras: Extras) -> Chart | None:
    shown = extras.cluster_map
    if shown is None:
        return None
    best = np.array([one.cluster for one in extras.ranking if one.best], dtype=np.int64)
    kept = np.isin(np.arange(len(shown.centroids)), best)
    title = f"A plane through {len(kept)} clusters shows {percent(shown.explained, 0)} of how embeddings differ"
    fit = "the fit" if extras.refits is None else "the last refit"
    note = (
        f"{count(len(shown.entries))} entries of {fit}, projected to where the centroids lie farthest apart; "
        "numbers are centroids" + (", blue ones are kept." if kept.any() else ".")
    )
    svg = charts.cluster_map_chart(title, shown.centroids, shown.entries, kept[shown.cluster], kept)
    return Chart(title=title, svg=svg, note=note)


def _refits(extras: Extras) -> Chart | None:
    """Drift and persistence, where there are at least two refits."""
    found = extras.refits
    if found is None or len(found.first_days) < 2:
        return None
    days = found.first_days[1:]
    kept, agreed, moved = found.best_kept[1:], found.agreement[1:], found.drift[1:]
    title = (
        f"From refit to refit {percent(float(np.mean(agreed)), 0)} of the entries keep their cluster, and "
        f"{percent(float(np.mean(kept)), 0)} of the best clusters stay best"
    )
    shares = [Line(label="entries", values=agreed, role="net"), Line(label="best clusters", values=kept, role="bench")]
    middle = Line(label="median", values=np.median(moved, axis=1), role="net")
    band = Band(low=moved.min(axis=1), high=moved.max(axis=1), role="net")
    note = (
        f"{len(days) + 1} refits of {moved.shape[1]} clusters; ids are matched from each to the next, and drift is in "
        "deviations of a dimension."
    )
    return Chart(title=title, svg=charts.refits_chart(title, days, shares, middle, band), wide=True, note=note)


def _skill(extras: Extras) -> Chart | None:
    known = [one for one in extras.skill if np.isfinite(one.rank_ic)]
    if not known:
        return None
    best = max(known, key=lambda one: one.rank_ic)
    title = (
        f"Forecasts rank what follows best {several(best.horizon, 'session')} ahead: rank IC {number(best.rank_ic, 3)}"
    )
    bars = [
        Bar(
            label=str(one.horizon),
            value=one.rank_ic,
            half_width=abs(1.96 * one.rank_ic / one.rank_ic_t) if abs(one.rank_ic_t) > 0 else None,
            role="net" if one.rank_ic_t > 1.96 else "muted",
        )
        for one in known
    ]
    words = BarWords(
        name="skill",
        title="mean daily rank IC",
        below="horizon, sessions",
        unit=lambda value: number(value, 3),
    )
    note = "Lines: 95 % interval, robust to overlapping returns; blue where it lies above 0."
    return Chart(title=title, svg=charts.bars_chart(title, bars, words), note=note)


def _groups(run: Run, extras: Extras) -> Chart | None:
    """What tickers earned by the rank of their forecast, for the horizon that the run trades on."""
    horizon = run.config.get("forecast_horizon") or run.horizon
    skill = next((one for one in extras.skill if one.horizon == horizon and len(one.quantile_returns) > 1), None)
    if skill is None or not np.isfinite(skill.quantile_returns).all():
        return None
    spread = signed_percent(skill.quantile_returns[-1] - skill.quantile_returns[0], 2)
    title = f"In {several(horizon, 'session')} the highest fifth by forecast earned {spread} against the lowest"
    names = {0: "lowest", len(skill.quantile_returns) - 1: "highest"}
    bars = [
        Bar(label=names.get(place, str(place + 1)), value=value, role="net")
        for place, value in enumerate(skill.quantile_returns)
    ]
    words = BarWords(
        name="groups",
        title=f"mean return over {several(horizon, 'session')}",
        below="tickers by forecast, in fifths of each day",
        unit=lambda value: signed_percent(value, 2) if value else "0 %",
    )
    note = f"Highest less lowest: t = {number(skill.spread_t, 1)}, robust to overlapping returns."
    return Chart(title=title, svg=charts.bars_chart(title, bars, words), note=note)


def _occupancy(run: Run) -> Chart | None:
    found = occupancy(run.picks)
    if found is None or len(found.clusters) < 2:
        return None
    kept, mean = found.kept > 0.5, found.share.mean(axis=1)
    order = np.lexsort((found.clusters, -mean, ~kept))
    fullest = int(mean.argmax())
    title = (
        f"Of {len(found.clusters)} clusters, {int(kept.sum())} had most of their candidates kept; cluster "
        f"{found.clusters[fullest]} is the fullest, with {percent(float(mean[fullest]), 0)} of the candidates"
    )
    svg = charts.occupancy_chart(title, found.clusters[order], kept[order], found.labels, found.share[order])
    return Chart(title=title, svg=svg, wide=True, note=_drift_note(found))


def _drift_note(found: Occupancy) -> str:
    """How much the shares moved from the first half of the run to the second."""
    half = found.share.shape[1] // 2
    if half == 0:
        return ""
    moved = 0.5 * np.abs(found.share[:, :half].mean(axis=1) - found.share[:, half:].mean(axis=1)).sum()
    return (
        f"Between the first and the second half of the run {percent(float(moved), 0)} of the candidates changed "
        "cluster on balance."
    )


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
