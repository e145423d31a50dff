"""Clusters from Python: fit, rank and walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encash import clusters, pipeline
from encash.api.inputs import (
    CacheLike,
    PricesLike,
    Progresses,
    counts_of,
    path_of,
    spec_of,
    take,
    the_cache,
    the_prices,
)
from encash.api.results import Home, InFolder
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.arrays import DayLike, Int32
from encash.live_progress import progress_bars

AUTO_COUNTS = (3, 5, 10, 20, 35, 50, 75, 100)
"""Numbers of clusters that ``k="auto"`` tries, up to the number of entries."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A ranking over one horizon, and what was chosen from it."""

    ranking: clusters.Ranking
    best: Int32
    """Clusters that the hard filter keeps, best first."""
    rule: clusters.SelectionRule


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Clusters(InFolder, Tabular):
    """Clusters in a folder, and their rankings."""

    model: clusters.ClusterModel
    rankings: tuple[Ranked, ...] = ()
    """One per horizon; empty before `rank_clusters`."""
    choice: clusters.KSelection | None = None
    """The numbers of clusters that were tried, if several were given."""

    @property
    def ranking(self) -> Table | None:
        """The first ranking, best cluster first; None before `rank_clusters`."""
        return Table(_columns(self.rankings[0].ranking.rows())) if self.rankings else None

    @property
    def table(self) -> Table:
        """The first ranking; before `rank_clusters`, the number of entries of each cluster."""
        return self.ranking or Table({"cluster": np.arange(self.model.k), "entries": self.model.counts})

    @property
    def best(self) -> tuple[int, ...]:
        """Clusters that the hard filter keeps, best first; empty before `rank_clusters`."""
        return tuple(self.rankings[0].best.tolist()) if self.rankings else ()

    def title(self) -> str:
        """Return one sentence."""
        model = self.model
        return f"{model.k} clusters of {int(model.counts.sum()):,} entries, {model.fit_start} to {model.fit_end}"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return what was fitted and ranked."""
        ranked = [
            (
                f"best over {one.ranking.horizon} sessions",
                f"{_listed(one.best.tolist())}, on returns that ended by {one.ranking.rank_end}",
            )
            for one in self.rankings
        ]
        return [("smallest, largest", f"{self.model.counts.min():,}, {self.model.counts.max():,}"), *ranked]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Walk(InFolder, Tabular):
    """Clusters that are fitted and ranked anew every N sessions, each time on the past."""

    walk: clusters.WalkModel

    @property
    def refits(self) -> Table:
        """One row per refit: the first day on which it may be used, and what it knew."""
        refits = self.walk.refits
        return Table(
            {
                "first_day": np.array([one.period.first_day for one in refits], dtype="datetime64[D]"),
                "fit_end": np.array([one.period.model.fit_end for one in refits], dtype="datetime64[D]"),
                "rank_end": np.array([one.period.rank_end for one in refits], dtype="datetime64[D]"),
                "agreement": np.array([one.agreement for one in refits], dtype=np.float64),
            }
        )

    @property
    def table(self) -> Table:
        """The refits."""
        return self.refits

    def title(self) -> str:
        """Return one sentence."""
        return f"{len(self.walk.refits)} refits of {self.walk.k} clusters, from {self.walk.refits[0].period.first_day}"


@with_settings(clusters.FitConfig)
@typed
def fit_clusters(
    cache: CacheLike,
    *,
    end: DayLike,
    start: DayLike | None = None,
    k: int | Sequence[int] | Literal["auto"] = 50,
    out: str | Path | None = None,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> Clusters:
    """Fit clusters on the embeddings of a cache up to a day.

    Args:
        cache: a cache or its path.
        end: last day of entries.
        start: first day of entries; None for the first of the cache.
        k: number of clusters; several, or "auto", choose the one with the highest Calinski–Harabasz index.
        out: folder of the clusters; None keeps them in a temporary one as long as the result exists.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: other fields of `encash.clusters.FitConfig`, such as ``seed`` and ``standardize``.

    Raises:
        InputError: an unknown setting, an invalid number of clusters, or no entries.

    Example::

        fitted = encash.fit_clusters("cache.lance", end="2020-04-08", k=4, seed=0)
        fitted.model.centroids.shape
    """
    counts = AUTO_COUNTS if k == "auto" else counts_of("k", k)
    config, opened, home = fit_config(counts, settings), the_cache(cache), Home.at(out)
    with progress("read", "entries") as bar:
        sample = pipeline.draw_sample(opened, config, start=start, end=end, progress=bar)
    fitting = tuple(one for one in counts if one < len(sample.days)) if counts is AUTO_COUNTS else counts
    several = fitting if len(counts) > 1 else ()
    with progress("fit", "numbers of clusters" if several else "entries × iterations") as bar:
        model, choice = pipeline.fit_clusters(opened, sample, config, home.folder, counts=several, progress=bar)
    return Clusters(home=home, model=model, choice=choice)


@with_settings(clusters.RankConfig, clusters.SelectionRule, without=("top_k", "model"))
@typed
def rank_clusters(
    fitted: Clusters | str | Path,
    cache: CacheLike,
    prices: PricesLike,
    *,
    end: DayLike,
    horizon: int | Sequence[int],
    embargo: int | None = None,
    start: DayLike | None = None,
    top: int | None = None,
    winsorize: bool = True,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> Clusters:
    """Rank clusters by the forward returns of their entries, and choose the best of them.

    Nothing after `end` is known: an entry counts only if its return has ended by then.

    Args:
        fitted: clusters, or their folder.
        cache: a cache or its path.
        prices: prices or their path.
        end: last day whose price may be known.
        horizon: sessions held; several make a ranking each.
        embargo: sessions between the ranking and the first trade; None is the horizon, which is also the least.
        start: first day of entries; None for all.
        top: how many of the best; 5 if no other criterion is given.
        winsorize: limit returns to the quantiles 0.005 and 0.995.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: other fields of `encash.clusters.SelectionRule` (``coverage``, ``min_return``, …) and of
            `encash.clusters.RankConfig` (``metric``, ``delisting``, …).

    Returns:
        The clusters with these rankings, which are also written into their folder.

    Raises:
        InputError: an unknown setting, an embargo below the horizon, or no entry whose return has ended.

    Example::

        fitted = encash.fit_clusters("cache.lance", end="2020-04-08", k=4)
        ranked = encash.rank_clusters(fitted, "cache.lance", "prices.h5", end="2020-04-08", horizon=5, top=2)
        ranked.best, ranked.ranking
    """
    folder, opened, table = Path(path_of("fitted", fitted)), the_cache(cache), the_prices(prices)
    rule = selection_rule(top, settings)
    horizons = counts_of("horizon", horizon)
    configs = [
        spec_of(
            clusters.RankConfig,
            {
                "horizon": one,
                "end": end,
                "start": start,
                "embargo": one if embargo is None else embargo,
                "winsorize": clusters.RankConfig.winsorize if winsorize else None,
                **settings,
            },
            "a setting of a ranking",
        )
        for one in horizons
    ]
    with progress("assign", "entries") as bar:
        assignments = pipeline.assignments_to_rank(opened, folder, start=start, end=end, progress=bar)
    found = [pipeline.rank_clusters(assignments, table, folder, config=config, rule=rule) for config in configs]
    home = fitted.home if isinstance(fitted, Clusters) else Home(folder=folder)
    rankings = tuple(Ranked(ranking=ranking, best=best, rule=rule) for ranking, best in found)
    return Clusters(home=home, model=clusters.load_clusters(folder), rankings=rankings)


@with_settings(clusters.WalkConfig, clusters.FitConfig, clusters.SelectionRule, without=("top_k",))
@typed
def walk_clusters(
    cache: CacheLike,
    prices: PricesLike,
    *,
    every: int,
    horizon: int,
    embargo: int,
    k: int | Sequence[int] = 50,
    top: int | None = None,
    winsorize: bool = True,
    out: str | Path | None = None,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> Walk:
    """Fit and rank clusters every N sessions, each time on the past.

    Args:
        cache: a cache or its path.
        prices: prices or their path.
        every: sessions from one refit to the next.
        horizon: sessions held.
        embargo: sessions from the end of what a refit knows to its first use; at least the horizon.
        k: number of clusters; of several, the best at the first refit.
        top: how many of the best clusters; 5 if no other criterion is given.
        winsorize: limit returns to the quantiles 0.005 and 0.995.
        out: folder of the walk; None keeps it in a temporary one as long as the result exists.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: other fields of `encash.clusters.WalkConfig` (``window``, ``history``, …), of `FitConfig` and of
            `SelectionRule`.

    Raises:
        InputError: an unknown setting, an embargo below the horizon, or too few sessions for a refit.

    Example::

        walk = encash.walk_clusters("cache.lance", "prices.h5", every=40, horizon=5, embargo=5, k=3, history=60)
        walk.refits
    """
    opened, home = the_cache(cache), Home.at(out)
    counts = counts_of("k", k)
    fit = fit_config(counts, take(clusters.FitConfig, settings))
    config = spec_of(
        clusters.WalkConfig,
        {
            "every": every,
            "horizon": horizon,
            "embargo": embargo,
            "fit": fit,
            "counts": counts if len(counts) > 1 else (),
            "rule": selection_rule(top, settings),
            "winsorize": clusters.WalkConfig.winsorize if winsorize else None,
            **settings,
        },
        "a setting of a walk",
    )
    with progress("walk", "fits" if config.counts else "refits") as bar:
        found = pipeline.write_walk(opened, the_prices(prices), config, home.folder, progress=bar)
    if opened.verified:
        with progress("assign", "entries") as bar:
            pipeline.update_assignment_cache(opened, home.folder, progress=bar)
    return Walk(home=home, walk=found)


def fit_config(counts: Sequence[int], settings: dict[str, Any]) -> clusters.FitConfig:
    """Return the settings of a fit; several numbers of clusters are tried from the first on."""
    return spec_of(clusters.FitConfig, {"k": counts[0], **settings}, "a setting of a fit")


def selection_rule(top: int | None, settings: dict[str, Any]) -> clusters.SelectionRule:
    """Return the criteria among some settings, which lose them; without any, the best five."""
    rule = spec_of(
        clusters.SelectionRule, {**take(clusters.SelectionRule, settings), "top_k": top}, "a criterion of a selection"
    )
    return clusters.SelectionRule(top_k=5) if rule == clusters.SelectionRule() else rule


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
