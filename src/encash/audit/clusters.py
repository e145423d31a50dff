"""Checks of the clusters: fitted, walked and ranked again without the future."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from encash import clusters, pipeline
from encash.arrays import Days, Float32, Text, day_text
from encash.audit.poison import poisoned_prices
from encash.audit.subject import Check, Subject
from encash.cache import Cache
from encash.errors import MismatchError
from encash.progress import Progress


def cluster_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Make the clusters of the filter again."""
    if subject.clusters is None:
        yield Check.not_applicable("clusters", "no clusters were given")
    elif subject.cache is None:
        yield Check.not_tried("clusters", "the clusters cannot be fitted again without their cache; give --cache C")
    elif pipeline.is_walk(subject.clusters):
        yield walk_check(subject, subject.cache, subject.clusters)
    else:
        yield fit_check(subject.cache, subject.clusters)
        yield ranking_check(subject, subject.cache, subject.clusters)


def fit_check(cache: Cache, folder: Path) -> Check:
    """Fit the clusters again on the entries up to the end of the fit, read without any later one."""
    name = "clusters: fit repeated on the past"
    model = clusters.load_clusters(folder)
    held, seen = cache.count(model.fit_start, model.fit_end), model.notes.get("entries_seen")
    if held != seen:
        detail = f"the fit used {seen} entries up to {model.fit_end}, the cache now has {held}"
        return Check.not_tried(name, detail)
    try:
        config = clusters.FitConfig.of_model(model)
    except MismatchError as error:
        return Check.not_tried(name, str(error))
    sample = pipeline.draw_sample(cache, config, start=model.fit_start, end=model.fit_end)
    again = clusters.fit_sample(sample, config=config, encoder=model.encoder)
    same = again.fingerprint == model.fingerprint
    detail = f"{held:,} entries from {model.fit_start} to {model.fit_end} give " + (
        f"the same {model.k} clusters, bit for bit"
        if same
        else "different clusters: they used more data, or were changed"
    )
    return Check.judged(name, same, detail)


def walk_check(subject: Subject, cache: Cache, folder: Path) -> Check:
    """Walk again on data that end on a random day, and compare with the beginning of the walk."""
    name, walk = "clusters: walk repeated on truncated data", clusters.load_walk(folder)
    day = subject.cut_days()[-1]
    known = subject.prices.as_of(day)

    def read(start: np.datetime64, end: np.datetime64) -> Iterator[tuple[Days, Text, Float32]]:
        return pipeline.cached_batches(cache, start, min(end, day))

    try:
        config = replace(clusters.WalkConfig.of_walk(walk), end=None)
    except MismatchError as error:
        return Check.not_tried(name, str(error))
    again = clusters.walk_forward(known, read, config=config, encoder=walk.periods[0].model.encoder)
    pairs = list(zip(walk.periods, again.periods, strict=False))
    if not pairs:
        return Check.not_tried(name, f"no refit was made by {day}, where the data were cut; give a later --start")
    moved = [
        day_text(one.first_day)
        for one, other in pairs
        if one.first_day is not None
        and (one.model.fingerprint != other.model.fingerprint or one.best.tolist() != other.best.tolist())
    ]
    detail = f"cut after {day}: {len(pairs)} of {len(walk.periods)} refits repeated, " + (
        f"different from those in use from {', '.join(moved[:3])}" if moved else "with the same clusters and ranking"
    )
    return Check.judged(name, not moved, detail)


def ranking_check(subject: Subject, cache: Cache, folder: Path) -> Check:
    """Rank the clusters again with noise in place of all prices after the end of the ranking."""
    name = "clusters and ranking: poison"
    horizon = subject.config.horizon
    if not (folder / f"ranking_{horizon}d.json").is_file():
        return Check.not_tried(name, f"{folder} has no ranking_{horizon}d.json; rank with --horizon {horizon}")
    model, ranking = clusters.load_clusters(folder), clusters.load_ranking(folder, horizon)
    assignments = pipeline.assign_entries(cache, model, start=ranking.rank_start, end=ranking.rank_end)
    config = clusters.RankConfig(
        horizon=horizon,
        end=ranking.rank_end,
        embargo=ranking.embargo,
        start=ranking.rank_start,
        metric=ranking.metric,
        winsorize=ranking.winsorize,
        delisting=ranking.delisting,
        draws=0,
    )
    noise = poisoned_prices(subject.prices, np.datetime64(ranking.rank_end), subject.seed)
    again = clusters.rank_clusters(assignments, noise, config=config)
    same = again.order.tolist() == ranking.order.tolist() and model.fit_end <= ranking.rank_end
    detail = (
        f"the same order of {ranking.k} clusters, fitted to {model.fit_end}, ranked to {ranking.rank_end}"
        if same
        else f"a different order: {again.order.tolist()[:8]} … instead of {ranking.order.tolist()[:8]} …, "
        f"fitted to {model.fit_end}, ranked to {ranking.rank_end}"
    )
    other = subject.filter is not None and clusters.ranking_prices(subject.filter.periods, subject.prices) == "other"
    warning = "the ranking was made on other prices than these; rank again with these" if other else ""
    return Check.judged(name, same, detail, warning=warning)
