"""Clusters, from a cache and prices: fitted, ranked, walked, kept. Knows cache and clusters by their public names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.arrays import DayLike, Int32
from encash.atomic_write import check_folder
from encash.errors import InputError, MismatchError, UnknownKeyError
from encash.pipeline.sources import cached_batches, encoder_fingerprint
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.clusters import (
        Assigner,
        Assignments,
        CacheEntries,
        ClusterModel,
        FitConfig,
        KSelection,
        Neighbours,
        RankConfig,
        Ranking,
        Rule,
        Sample,
        WalkConfig,
        WalkModel,
    )
    from encash.panel import PriceTable


def draw_sample(
    cache: Cache,
    config: FitConfig,
    *,
    start: DayLike | None = None,
    end: DayLike,
    progress: Progress | None = None,
) -> Sample:
    """The cached entries of a range that clusters are fitted on."""
    from encash.clusters import sample_vectors

    return sample_vectors(cached_batches(cache, start, end, progress=progress), config=config)


def fit_clusters(
    cache: Cache,
    sample: Sample,
    config: FitConfig,
    out: Path,
    *,
    counts: Sequence[int] = (),
    progress: Progress | None = None,
) -> tuple[ClusterModel, KSelection | None]:
    """Fit clusters on drawn entries of a cache, and save them with a map of them.

    Args:
        cache: where the entries are from.
        sample: the entries, from `draw_sample`.
        config: how to fit.
        out: the folder of the clusters.
        counts: numbers of clusters to choose from, instead of the one of `config`.
        progress: as `fit_sample` tells it; or numbers of clusters tried and their number.

    Returns:
        The model, and what it was chosen from where it was.
    """
    from encash.clusters import choose_k, fit_sample, map_entries, remove_rankings

    how: dict[str, Any] = {"config": config, "encoder": encoder_fingerprint(cache), "progress": progress}
    check_folder(out)
    if is_walk(out):
        raise InputError(f"{out} holds a walk; give another folder for these clusters (--out)")
    selection = choose_k(sample, counts, **how) if counts else None
    model = fit_sample(sample, **how) if selection is None else selection.best
    model.save(out)
    remove_rankings(out, but_of=model.fingerprint)
    map_entries(model, _entries(cache)).save(out)
    return model, selection


def assign_entries(cache: Cache, model: ClusterModel, *, start: DayLike | None, end: DayLike | None) -> Assignments:
    """The cluster of every cached entry of a range, from its vector.

    Raises:
        MismatchError: the clusters were fitted on another encoder's entries.
    """
    from encash.clusters import assign_batches

    model.check_encoder(encoder_fingerprint(cache))
    return assign_batches(
        cached_batches(cache, start, end),
        model.assign,
        k=model.k,
        model=model.fingerprint,
        cache=cache.spec.fingerprint,
        version=cache.version,
    )


def keep_assignments(cache: Cache, folder: Path, *, progress: Progress | None = None) -> Assignments:
    """The cluster of every cached entry under the model or the walk of a folder, kept there; only what has changed
    since the last time is read.

    Raises:
        MismatchError: the clusters are of another encoder, or nobody knows which model made the cache.
    """
    from encash.clusters import keep_assignments

    assigner = assigner_of(folder)
    assigner.check_encoder(encoder_fingerprint(cache))
    if not cache.verified:
        raise MismatchError(
            f"{cache.path} does not say which model made it, so nothing is kept of it; `encash cache verify` finds out"
        )
    return keep_assignments(folder, assigner, _entries(cache), progress=progress)


def assignments_to_rank(
    cache: Cache,
    folder: Path,
    *,
    start: DayLike | None,
    end: DayLike,
    progress: Progress | None = None,
) -> Assignments:
    """The cluster of every entry of the days that are ranked: kept ones; assigned anew where nothing can be kept of a
    cache, because nobody knows which model made it."""
    from encash.clusters import load_clusters

    if is_walk(folder):
        raise InputError(f"{folder} holds a walk, whose refits are ranked already; give a folder of clusters fit")
    if not cache.verified:
        return assign_entries(cache, load_clusters(folder), start=start, end=end)
    return keep_assignments(cache, folder, progress=progress).between(start, end)


def rank_clusters(
    assignments: Assignments, prices: PriceTable, folder: Path, *, config: RankConfig, rule: Rule
) -> tuple[Ranking, Int32]:
    """Rank the clusters of a folder by what their entries earned, and write the ranking beside them."""
    from encash.clusters import load_clusters, rank_clusters, select_best, write_ranking

    model = load_clusters(folder)
    known = replace(config, fit_end=model.fit_end, model=model.fingerprint, encoder=model.encoder)
    ranking = rank_clusters(assignments, prices, config=known)
    best = select_best(ranking, rule)
    write_ranking(folder, ranking, best, rule=rule)
    return ranking, best


def write_walk(
    cache: Cache, prices: PriceTable, config: WalkConfig, out: Path, *, progress: Progress | None
) -> WalkModel:
    """Refit and rank every so many sessions, each time on the past, and save every model with the days of its use.

    Each refit is kept as it is made: stopped at any instant, the same walk into the same folder goes on from there.
    Until it is whole, the folder holds what it held before. Of a cache that does not say which model made it, nothing
    is kept.

    Raises:
        ConflictError: another walk is writing into the folder.
        KeyboardInterrupt: says how many refits are kept.
    """
    from encash.clusters import sole_walk

    check_folder(out)
    if (out / "clusters.json").is_file():
        raise InputError(f"{out} holds clusters of one period; give another folder for the walk (--out)")
    with sole_walk(out):
        return _walk_into(out, cache, prices, config, progress)


def _walk_into(out: Path, cache: Cache, prices: PriceTable, config: WalkConfig, progress: Progress | None) -> WalkModel:
    """Walk and save, going on with what is unfinished in the folder."""
    from encash.clusters import Unfinished, map_entries, walk_forward

    unfinished = Unfinished(out, _entries(cache)) if cache.verified else None
    try:
        walk = walk_forward(
            prices,
            lambda start, end: cached_batches(cache, start, end),
            config=config if config.start is not None else replace(config, start=cache.first_day),
            encoder=encoder_fingerprint(cache),
            unfinished=unfinished,
            progress=progress,
        )
    except KeyboardInterrupt:
        if unfinished is None or not unfinished.kept:
            raise
        raise KeyboardInterrupt(
            f"{unfinished.kept} refits are kept: the same walk into {out} goes on from there"
        ) from None
    walk.save(out)
    map_entries(walk.periods[-1].model, _entries(cache)).save(out)
    if unfinished is not None:
        unfinished.remove()
    return walk


def find_similar(cache: Cache, ticker: str, day: DayLike, *, before: DayLike, count: int) -> Neighbours:
    """The entries up to a day whose embeddings are nearest to that of an entry.

    Raises:
        UnknownKeyError: the cache has no such entry.
        InputError: nothing that early.
    """
    from encash.clusters import Neighbours

    vectors, found = cache.get(day, [ticker])
    if not found[0]:
        raise UnknownKeyError(f"the cache has no entry of {ticker} on {day}; build it, or ask for another")
    days, tickers, distance = cache.nearest(vectors[0], count, last_day=before)
    if not len(days):
        raise InputError(f"no entry on or before {before}; ask about a later day, or build more of the past")
    return Neighbours(days=days, tickers=tickers, distance=distance)


def is_walk(folder: Path) -> bool:
    """Whether a folder holds a walk, and not clusters of one period."""
    return (folder / "walk.json").is_file()


def assigner_of(folder: Path) -> Assigner:
    """Load the assigner of the model of a folder, or of its walk."""
    from encash.clusters import Assigner, load_clusters

    if is_walk(folder):
        from encash.clusters import load_walk

        return load_walk(folder).assigner
    return Assigner.of_model(load_clusters(folder))


def cached_assignments(folder: Path, model: str, cache: Cache | None, *, distances: bool) -> Assignments | None:
    """What was kept of a cache under a model, as far as it still holds."""
    from encash.clusters import find_kept

    if cache is None or not cache.verified:
        return None
    return find_kept(folder, model, _entries(cache), distances=distances)


def _entries(cache: Cache) -> CacheEntries:
    """The entries of a cache as the clusters see them."""
    from encash.clusters import CacheEntries

    fingerprint, vectors = cache.spec.fingerprint, cache.store.vectors
    return CacheEntries(index=cache.index(), vectors=vectors, cache=fingerprint, version=cache.version)
