"""Open the candidate filter of a backtest, or those of a sweep, from a folder of clusters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash import clusters
from encash.arrays import Days
from encash.errors import InputError, MismatchError
from encash.pipeline.clusters import assign_entries, cached_assignments, is_walk

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.clusters import ModelPeriod


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """The filter that a backtest is to use."""

    clusters: Path | None = None
    """A folder of clusters and their ranking, or of a walk."""
    name: str | None = None
    """As `encash.clusters.filter_class` takes it, or ``none``; None is hard with clusters, else none."""
    keep: float | None = None
    """Share of the candidates to keep; None is the filter's own default."""
    periods: tuple[ModelPeriod, ...] = ()
    """Periods of several encoders, instead of a folder."""
    best_file: Path | None = None
    """A file of best clusters, instead of those of the ranking. The ranking beside it of the horizon in its name says
    when they may be used."""
    horizon: int = 5
    seed: int = 42
    own: Mapping[str, Any] = field(default_factory=dict)
    """Values of the fields that only this filter has."""


def open_filter(choice: FilterChoice, sessions: Days, cache: Cache | None) -> clusters.CandidateFilter | None:
    """Open the filter of a backtest; None if it has none.

    Args:
        choice: which filter, and where its clusters are.
        sessions: trading days, ascending, for counting the embargo.
        cache: its cached assignments are used as far as they are valid.

    Raises:
        InputError: an unknown filter, clusters or a share that it needs and does not have, a share that it does not
            take or that no filter takes, or `static` without a cache.
        MismatchError: a walk that was ranked over a different horizon.
    """
    name = choice.name or ("hard" if choice.clusters or choice.periods else clusters.NO_FILTER)
    if name == clusters.NO_FILTER:
        if choice.keep is not None:
            raise InputError("--keep is the share of a filter, and there is none; give --filter too, or leave it out")
        return None
    kind = clusters.filter_class(name)
    if choice.keep is not None and not kind.takes_share:
        others = " or ".join(one for one, registered in clusters.FILTERS.items() if registered.takes_share)
        raise InputError(f"the filter {name!r} takes no share; leave --keep out, or filter by {others}")
    periods, assignments = choice.periods, None
    if choice.clusters is not None:
        periods, assignments = load_periods(choice, kind, sessions, cache)
    share = kind.default_share if choice.keep is None else choice.keep
    return kind(periods=periods, keep_share=share, seed=choice.seed, assignments=assignments, **choice.own)


def open_filters(
    choice: FilterChoice, names: Iterable[str], sessions: Days, cache: Cache | None
) -> dict[str, clusters.CandidateFilter]:
    """Open the filters that the runs of a sweep name, as `open_filter` does; `none` needs no filter.

    The share of the choice is given to the filters that take one.
    """
    filters = {}
    for name in sorted(set(names) - {clusters.NO_FILTER}):
        keep = choice.keep if clusters.filter_class(name).takes_share else None
        if (opened := open_filter(replace(choice, name=name, keep=keep), sessions, cache)) is not None:
            filters[name] = opened
    return filters


def load_periods(
    choice: FilterChoice, kind: type[clusters.CandidateFilter], sessions: Days, cache: Cache | None
) -> tuple[tuple[clusters.ModelPeriod, ...], clusters.Assignments | None]:
    """Load the model periods of a folder, and the cached assignments that belong to them."""
    folder, horizon = choice.clusters, choice.horizon
    assert folder is not None
    if is_walk(folder):
        walk = clusters.load_walk(folder)
        if (ranked := walk.refits[0].ranking.horizon) != horizon:
            raise MismatchError(
                f"the walk in {folder} was ranked over {ranked} sessions, the run holds for {horizon}; "
                f"walk again with --horizon {horizon}, or hold for {ranked}"
            )
        return walk.periods, cached_assignments(folder, walk.fingerprint, cache, distances=kind.needs_distances)
    model = clusters.load_clusters(folder)
    assignments = cached_assignments(folder, model.fingerprint, cache, distances=kind.needs_distances)
    best_file = choice.best_file or folder / f"best_clusters_{horizon}d.txt"
    best, ranked = clusters.read_best_clusters(best_file), ranked_horizon(best_file) or horizon
    known = (best_file.parent / f"ranking_{ranked}d.json").is_file()
    ranking = clusters.load_ranking(best_file.parent, ranked) if known else None
    static = _static_clusters(model, cache, assignments) if kind.needs_static else None
    return (clusters.make_period(model, best, ranking, sessions, static=static),), assignments


def ranked_horizon(best_file: Path) -> int | None:
    """Return the horizon in the name of a file of best clusters, in sessions; None if it names none.

    >>> ranked_horizon(Path("cluster_results/best_clusters_20d.txt"))
    20
    """
    named = re.fullmatch(r"best_clusters_(\d+)d\.txt", best_file.name)
    return int(named[1]) if named else None


def _static_clusters(
    model: clusters.ClusterModel, cache: Cache | None, assignments: clusters.Assignments | None
) -> clusters.Assignments:
    """Find the cluster of each ticker at the end of the fit; entries without a cached assignment are assigned again."""
    if cache is None:
        raise InputError("the static filter takes each ticker's cluster from the cache; give --cache C")
    fitted = {"start": model.fit_start, "end": model.fit_end}
    if assignments is None or not clusters.covers(assignments, cache.index(), **fitted):
        return clusters.static_clusters(assign_entries(cache, model, **fitted), model.fit_end)
    return clusters.static_clusters(assignments.between(**fitted), model.fit_end)
